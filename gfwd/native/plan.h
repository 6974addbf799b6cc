/*
 * Reading a plan: its sections as typed pointers. A plan is checked once, when it is published; after that its offsets
 * and numbers are believed.
 */
#ifndef GFWD_PLAN_H
#define GFWD_PLAN_H

#include <stdbool.h>

#include "fw.h"

/* What a plan may refer to: the core's own sizes. */
struct plan_bounds {
	uint32_t ports;
	uint32_t rules;
	uint32_t collectors;
	uint32_t neighbours;
};

/* False: `error` (FW_ERROR_BYTES long) says what is wrong with it. */
bool plan_check(const struct fw_plan *, size_t bytes, const struct plan_bounds *, char *error);

#define PLAN_SECTION(name, type)                                                                                           \
	static inline const type *plan_##name(const struct fw_plan *p)                                                     \
	{                                                                                                                  \
		return (const type *)(const void *)((const char *)p + p->name);                                            \
	}

PLAN_SECTION(listen, uint32_t)
PLAN_SECTION(any, uint32_t)
PLAN_SECTION(ports, struct fw_plan_port)
PLAN_SECTION(targets, struct fw_plan_target)
PLAN_SECTION(rules, struct fw_plan_rule)
PLAN_SECTION(nodes, struct fw_plan_node)
PLAN_SECTION(ranges, struct fw_plan_range)
PLAN_SECTION(own4, struct fw_plan_own4)
PLAN_SECTION(own6, struct fw_plan_own6)
PLAN_SECTION(top4, uint32_t)
PLAN_SECTION(segments4, struct fw_plan_segment4)
PLAN_SECTION(segments6, struct fw_plan_segment6)
PLAN_SECTION(options, struct fw_plan_option)
PLAN_SECTION(specials, struct fw_plan_special)
PLAN_SECTION(choices, struct fw_plan_choice)
PLAN_SECTION(members, uint32_t)
PLAN_SECTION(counters, uint32_t)
PLAN_SECTION(paces4, struct fw_plan_pace4)
PLAN_SECTION(paces6, struct fw_plan_pace6)
PLAN_SECTION(others, uint32_t)
PLAN_SECTION(senders, struct fw_plan_sender)
PLAN_SECTION(follow, uint32_t)
PLAN_SECTION(taps, struct fw_plan_tap)
PLAN_SECTION(tap_sources, struct fw_plan_tap_source)
PLAN_SECTION(tap_bits, uint32_t)

/* Has any exporter a limit? */
static inline bool
plan_has_paces(const struct fw_plan *plan)
{
	return (plan->n_paces4 | plan->n_paces6) != 0;
}

static inline bool
plan_listens(const struct fw_plan *plan, uint16_t port)
{
	return plan_listen(plan)[port / 32] >> port % 32 & 1;
}

/* Are sequence numbers followed on this port? Some port asks for it. */
static inline bool
plan_follows(const struct fw_plan *plan, uint16_t port)
{
	return plan_follow(plan)[port / 32] >> port % 32 & 1;
}

#endif
