#include <stdarg.h>
#include <stdio.h>

#include "plan.h"

static bool __attribute__((format(printf, 2, 3)))
refuse(char *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, FW_ERROR_BYTES, format, args);
	va_end(args);
	return false;
}

/* ---- the frame: every section lies inside ---- */

static bool
check_section(const struct fw_plan *p, const char *name, uint64_t offset, uint64_t n, uint64_t entry_bytes, char *error)
{
	if (offset % 8 != 0 || offset < sizeof *p || offset > p->bytes || n > (p->bytes - offset) / entry_bytes)
		return refuse(error, "plan: section %s lies outside", name);
	return true;
}

static bool
check_sections(const struct fw_plan *p, char *error)
{
	const struct {
		const char *name;
		uint64_t offset, n, entry_bytes;
	} sections[] = {
		{ "listen", p->listen, 65536 / 32, sizeof(uint32_t) },
		{ "any", p->any, 65536, sizeof(uint32_t) },
		{ "ports", p->ports, p->n_ports, sizeof(struct fw_plan_port) },
		{ "targets", p->targets, p->n_targets, sizeof(struct fw_plan_target) },
		{ "rules", p->rules, p->n_rules, sizeof(struct fw_plan_rule) },
		{ "nodes", p->nodes, p->n_nodes, sizeof(struct fw_plan_node) },
		{ "ranges", p->ranges, p->n_ranges, sizeof(struct fw_plan_range) },
		{ "own4", p->own4, p->n_own4, sizeof(struct fw_plan_own4) },
		{ "own6", p->own6, p->n_own6, sizeof(struct fw_plan_own6) },
		{ "top4", p->top4, p->n_top4, sizeof(uint32_t) },
		{ "segments4", p->segments4, p->n_segments4, sizeof(struct fw_plan_segment4) },
		{ "segments6", p->segments6, p->n_segments6, sizeof(struct fw_plan_segment6) },
		{ "options", p->options, p->n_options, sizeof(struct fw_plan_option) },
		{ "specials", p->specials, p->n_specials, sizeof(struct fw_plan_special) },
		{ "choices", p->choices, p->n_choices, sizeof(struct fw_plan_choice) },
		{ "members", p->members, p->n_members, sizeof(uint32_t) },
		{ "counters", p->counters, p->n_counters, sizeof(uint32_t) },
		{ "paces4", p->paces4, p->n_paces4, sizeof(struct fw_plan_pace4) },
		{ "paces6", p->paces6, p->n_paces6, sizeof(struct fw_plan_pace6) },
		{ "others", p->others, p->n_others, sizeof(uint32_t) },
		{ "senders", p->senders, p->n_senders, sizeof(struct fw_plan_sender) },
		{ "follow", p->follow, p->n_follow, sizeof(uint32_t) },
		{ "taps", p->taps, p->n_taps, sizeof(struct fw_plan_tap) },
		{ "tap_sources", p->tap_sources, p->n_tap_sources, sizeof(struct fw_plan_tap_source) },
		{ "tap_bits", p->tap_bits, p->n_tap_bits, sizeof(uint32_t) },
	};

	for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
		if (!check_section(p, sections[i].name, sections[i].offset, sections[i].n, sections[i].entry_bytes, error))
			return false;
	return true;
}

/* ---- what a rule leads to ---- */

static bool
check_tags(const char *what, uint32_t i, uint32_t bytes, char *error)
{
	return bytes == 0 || bytes == 4 || bytes == 8 || refuse(error, "plan: %s %u has VLAN tags of %u bytes", what, i, bytes);
}

static bool
check_ports(const struct fw_plan *p, const struct plan_bounds *b, char *error)
{
	if (p->n_own4 < 1)
		return refuse(error, "plan: no own IPv4 address, not even one that nothing matches");
	if (p->only_egress != FW_NONE && p->only_egress >= b->ports)
		return refuse(error, "plan: all leaves by port %u, there are %u", p->only_egress, b->ports);
	if (p->n_follow != 0 && p->n_follow != 65536 / 32)
		return refuse(error, "plan: follow has %u entries", p->n_follow);
	if (p->n_ports != b->ports)
		return refuse(error, "plan: made for %u ports, there are %u", p->n_ports, b->ports);
	for (uint32_t i = 0; i < p->n_ports; i++) {
		if (!check_tags("port", i, plan_ports(p)[i].tags_bytes, error))
			return false;
		if (plan_ports(p)[i].passes_to != FW_NONE && plan_ports(p)[i].passes_to >= b->ports)
			return refuse(error, "plan: port %u passes on to port %u, there are %u", i,
			    plan_ports(p)[i].passes_to, b->ports);
	}
	return true;
}

static bool
check_targets(const struct fw_plan *p, const struct plan_bounds *b, char *error)
{
	for (uint32_t i = 0; i < p->n_targets; i++) {
		const struct fw_plan_target *t = &plan_targets(p)[i];

		if (t->family != 0 && t->family != 4 && t->family != 6)
			return refuse(error, "plan: target %u is of family %u", i, t->family);
		if (t->collector >= b->collectors)
			return refuse(error, "plan: target %u counts as collector %u, there is room for %u", i, t->collector,
			    b->collectors);
		if (t->egress >= b->ports || t->neighbour >= b->neighbours)
			return refuse(error, "plan: target %u leaves by port %u, neighbour %u; there are %u and %u", i,
			    t->egress, t->neighbour, b->ports, b->neighbours);
		if (t->family != 0 && p->only_egress != FW_NONE && p->only_egress != t->egress)
			return refuse(error, "plan: target %u does not leave by port %u, the only one", i, p->only_egress);
	}
	return true;
}

/* How a copy leaves beyond its target, and where it leaves to when it is of the other family. */
static bool
check_options(const struct fw_plan *p, char *error)
{
	if (p->n_options != 0 && p->n_options != p->n_targets)
		return refuse(error, "plan: %u options for %u targets", p->n_options, p->n_targets);
	for (uint32_t i = 0; i < p->n_options; i++)
		if (!check_tags("option", i, plan_options(p)[i].tags_bytes, error))
			return false;
	if (p->n_others != 0 && p->n_others != p->n_targets)
		return refuse(error, "plan: others of %u targets, there are %u", p->n_others, p->n_targets);
	for (uint32_t i = 0; i < p->n_others; i++) {
		uint32_t other = plan_others(p)[i];

		/* It counts as the same collector, and is of another family: so none is its own other. */
		if (other != FW_NONE && (other >= p->n_targets || plan_targets(p)[other].family == plan_targets(p)[i].family ||
		    plan_targets(p)[other].collector != plan_targets(p)[i].collector))
			return refuse(error, "plan: target %u has target %u as its other", i, other);
	}
	return true;
}

/* Do these n, from the first on, lie among so many? */
static bool
lie_within(uint32_t first, uint32_t n, uint32_t all)
{
	return first <= all && n <= all - first;
}

static bool
check_choices(const struct fw_plan *p, const struct plan_bounds *b, char *error)
{
	for (uint32_t i = 0; i < p->n_members; i++)
		if (plan_members(p)[i] >= p->n_targets)
			return refuse(error, "plan: member %u is target %u, there are %u", i, plan_members(p)[i],
			    p->n_targets);
	for (uint32_t i = 0; i < p->n_choices; i++) {
		const struct fw_plan_choice *c = &plan_choices(p)[i];

		if (c->n_members < 1 || !lie_within(c->first_member, c->n_members, p->n_members))
			return refuse(error, "plan: choice %u has %u members from %u", i, c->n_members, c->first_member);
		if (c->balance > FW_BALANCE_ROUND_ROBIN ||
		    (c->n_members > 1 && c->balance != FW_BALANCE_ROUND_ROBIN && c->n_members != FW_SHARES))
			return refuse(error, "plan: choice %u cannot be made among %u", i, c->n_members);
		if (c->turn >= b->collectors)
			return refuse(error, "plan: choice %u takes turns %u, there is room for %u", i, c->turn, b->collectors);
	}
	return true;
}

static bool
check_specials(const struct fw_plan *p, const struct plan_bounds *b, char *error)
{
	for (uint32_t i = 0; i < p->n_counters; i++)
		if (plan_counters(p)[i] >= b->rules)
			return refuse(error, "plan: a rule counts in %u, there is room for %u", plan_counters(p)[i], b->rules);
	for (uint32_t i = 0; i < p->n_specials; i++) {
		const struct fw_plan_special *s = &plan_specials(p)[i];

		if (s->fate != FW_FORWARD && s->fate >= FW_DROP_CAUSES)
			return refuse(error, "plan: special %u has a fate of %u", i, s->fate);
		if (s->n_choices > FW_TARGETS_MAX || !lie_within(s->first_choice, s->n_choices, p->n_choices) ||
		    (s->fate == FW_FORWARD && s->n_choices < 1))
			return refuse(error, "plan: special %u has %u choices from %u", i, s->n_choices, s->first_choice);
		if (!lie_within(s->first_counter, s->n_counters, p->n_counters))
			return refuse(error, "plan: special %u has %u counters from %u", i, s->n_counters, s->first_counter);
	}
	return true;
}

static bool
check_rules(const struct fw_plan *p, const struct plan_bounds *b, char *error)
{
	for (uint32_t i = 0; i < p->n_rules; i++) {
		const struct fw_plan_rule *r = &plan_rules(p)[i];

		if (r->n_targets == 0) {
			if (r->special >= p->n_specials)
				return refuse(error, "plan: rule %u is special %u, there are %u", i, r->special, p->n_specials);
			continue;
		}
		if (r->n_targets > FW_TARGETS_MAX || !lie_within(r->first_target, r->n_targets, p->n_targets))
			return refuse(error, "plan: rule %u has %u targets from %u", i, r->n_targets, r->first_target);
		if (r->counter >= b->rules)
			return refuse(error, "plan: rule %u counts in %u, there is room for %u", i, r->counter, b->rules);
	}
	return true;
}

/* ---- what leads to a rule ---- */

static bool
is_rule(const struct fw_plan *p, uint32_t rule)
{
	return rule < p->n_rules;
}

static bool
check_node(const struct fw_plan *p, uint32_t i, char *error)
{
	const struct fw_plan_node *n = &plan_nodes(p)[i];
	uint32_t best = FW_NONE;

	if (n->parent != FW_NONE) {
		/* Parents have smaller numbers: every walk upwards ends. */
		if (n->parent >= i)
			return refuse(error, "plan: node %u has node %u as its parent", i, n->parent);
		best = plan_nodes(p)[n->parent].best;
	}
	if (n->n_ranges < 1 || n->first_range > p->n_ranges || n->n_ranges > p->n_ranges - n->first_range)
		return refuse(error, "plan: node %u has %u ranges from %u", i, n->n_ranges, n->first_range);
	for (uint32_t j = 0; j < n->n_ranges; j++) {
		const struct fw_plan_range *r = &plan_ranges(p)[n->first_range + j];

		if (r->lo > r->hi || (j > 0 && r->lo <= r[-1].hi) || !is_rule(p, r->rule))
			return refuse(error, "plan: node %u has a range %u-%u for rule %u", i, r->lo, r->hi, r->rule);
		if (r->rule < best)
			best = r->rule;
	}
	if (n->best != best)
		return refuse(error, "plan: node %u names %u as its best rule, and it is %u", i, n->best, best);
	return true;
}

static bool
check_segments4(const struct fw_plan *p, char *error)
{
	const struct fw_plan_segment4 *s = plan_segments4(p);
	const uint32_t *top = plan_top4(p);

	if (p->n_segments4 < 1 || s[0].start != 0)
		return refuse(error, "plan: IPv4 segments do not start at 0");
	for (uint32_t i = 0; i < p->n_segments4; i++)
		if ((i > 0 && s[i].start <= s[i - 1].start) || (s[i].node != FW_NONE && s[i].node >= p->n_nodes))
			return refuse(error, "plan: IPv4 segment %u is out of order, or of an unknown node", i);
	if (p->top4_shift < 16 || p->top4_shift > 31 || p->n_top4 != (UINT32_MAX >> p->top4_shift) + 2)
		return refuse(error, "plan: top4 has %u entries for a shift of %u", p->n_top4, p->top4_shift);
	/* Whatever the address, the search between two entries must find its segment there. */
	for (uint32_t i = 0; i + 1 < p->n_top4; i++) {
		uint64_t first = (uint64_t)i << p->top4_shift, last = first + (1ULL << p->top4_shift) - 1;

		if (top[i] > top[i + 1] || top[i + 1] >= p->n_segments4 || s[top[i]].start > first ||
		    (top[i + 1] + 1 < p->n_segments4 && s[top[i + 1] + 1].start <= last))
			return refuse(error, "plan: top4 entry %u is wrong", i);
	}
	return true;
}

static bool
check_segments6(const struct fw_plan *p, char *error)
{
	const struct fw_plan_segment6 *s = plan_segments6(p);

	if (p->n_segments6 < 1 || s[0].start_hi != 0 || s[0].start_lo != 0)
		return refuse(error, "plan: IPv6 segments do not start at 0");
	for (uint32_t i = 0; i < p->n_segments6; i++) {
		if (s[i].node != FW_NONE && s[i].node >= p->n_nodes)
			return refuse(error, "plan: IPv6 segment %u is of an unknown node", i);
		if (i > 0 && (s[i].start_hi < s[i - 1].start_hi ||
		    (s[i].start_hi == s[i - 1].start_hi && s[i].start_lo <= s[i - 1].start_lo)))
			return refuse(error, "plan: IPv6 segment %u is out of order", i);
	}
	return true;
}

/* Where there are any, every address has one. */
static bool
check_paces(const struct fw_plan *p, char *error)
{
	const struct fw_plan_pace4 *v4 = plan_paces4(p);
	const struct fw_plan_pace6 *v6 = plan_paces6(p);

	if (plan_has_paces(p) && (p->n_paces4 == 0 || p->n_paces6 == 0 || v4[0].start != 0 || v6[0].start_hi != 0 ||
	    v6[0].start_lo != 0))
		return refuse(error, "plan: limits of exporters do not start at 0");
	for (uint32_t i = 1; i < p->n_paces4; i++)
		if (v4[i].start <= v4[i - 1].start)
			return refuse(error, "plan: IPv4 limit %u is out of order", i);
	for (uint32_t i = 1; i < p->n_paces6; i++)
		if (v6[i].start_hi < v6[i - 1].start_hi ||
		    (v6[i].start_hi == v6[i - 1].start_hi && v6[i].start_lo <= v6[i - 1].start_lo))
			return refuse(error, "plan: IPv6 limit %u is out of order", i);
	return true;
}

static bool
check_lookup(const struct fw_plan *p, char *error)
{
	for (uint32_t i = 0; i < 65536; i++)
		if (plan_any(p)[i] != FW_NONE && !is_rule(p, plan_any(p)[i]))
			return refuse(error, "plan: port %u leads to rule %u, there are %u", i, plan_any(p)[i], p->n_rules);
	for (uint32_t i = 0; i < p->n_nodes; i++)
		if (!check_node(p, i, error))
			return false;
	return check_segments4(p, error) && check_segments6(p, error);
}

/* ---- who looks ---- */

static bool
check_taps(const struct fw_plan *p, char *error)
{
	uint32_t numbers = 0;

	if (p->n_taps > FW_TAPS_MAX)
		return refuse(error, "plan: %u taps, and no more than %u can be", p->n_taps, FW_TAPS_MAX);
	for (uint32_t i = 0; i < p->n_taps; i++) {
		const struct fw_plan_tap *t = &plan_taps(p)[i];

		if (t->number >= FW_TAPS_MAX || (numbers >> t->number & 1) != 0 || t->every < 1)
			return refuse(error, "plan: tap %u has number %u, and takes one in %u", i, t->number, t->every);
		numbers |= 1U << t->number;
		if (t->n_sources > FW_TAP_SOURCES_MAX || !lie_within(t->first_source, t->n_sources, p->n_tap_sources))
			return refuse(error, "plan: tap %u has %u sources from %u", i, t->n_sources, t->first_source);
		if ((t->ports != FW_NONE && !lie_within(t->ports, 65536 / 32, p->n_tap_bits)) ||
		    (t->rules != FW_NONE && !lie_within(t->rules, p->n_rules / 32 + (p->n_rules % 32 != 0), p->n_tap_bits)))
			return refuse(error, "plan: the ports or rules of tap %u lie outside", i);
	}
	return true;
}

bool
plan_check(const struct fw_plan *p, size_t bytes, const struct plan_bounds *b, char *error)
{
	if (bytes < sizeof *p || p->bytes != bytes || p->abi != FW_ABI)
		return refuse(error, "plan: cut short, or made for another version of the core");
	return check_sections(p, error) && check_ports(p, b, error) && check_targets(p, b, error) &&
	    check_options(p, error) && check_choices(p, b, error) && check_specials(p, b, error) && check_rules(p, b, error) &&
	    check_paces(p, error) && check_lookup(p, error) && check_taps(p, error);
}
