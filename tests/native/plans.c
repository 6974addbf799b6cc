/*
 * plan_check() on plans that were changed or cut at random: it never reads outside, and whatever it accepts can be used
 * with any address, port and frame without reading outside.
 *
 *     plans PLAN ROUNDS
 *
 * The plan lies in a block of exactly its length.
 */
#include <string.h>

#include "check.h"
#include "choose.h"
#include "match.h"
#include "tap.h"

static const struct plan_bounds BOUNDS = { .ports = 1, .rules = 64, .collectors = 64, .neighbours = 8 };
static const struct fw_limits LIMITS = { .rules = 64, .collectors = 64, .neighbours = 8, .exporters = 16, .flows = 16 };
static struct fw_matcher matcher;

enum { EDITS_MAX = 4 };

static const uint32_t NUMBERS[] = { 0, 1, 2, 3, 4, 6, 7, 8, 15, 16, 31, 32, 63, 64, 0xff, 0xffff, 0x10000, 0x7fffffff,
	0x80000000, 0xfffffffe, 0xffffffff };

/* ---- using what was accepted ---- */

static uint64_t
some_number(uint64_t *random)
{
	switch (draw_below(random, 4)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return NUMBERS[draw_below(random, sizeof NUMBERS / sizeof NUMBERS[0])];
	default:
		return draw(random);
	}
}

static void
use_target(const struct fw_plan *plan, uint32_t number)
{
	const struct fw_plan_target *t = &plan_targets(plan)[number];

	CHECK(number < plan->n_targets && t->egress < BOUNDS.ports && t->neighbour < BOUNDS.neighbours &&
	    t->collector < BOUNDS.collectors, "target %u", number);
	CHECK(plan_ports(plan)[t->egress].tags_bytes <= 8, "tags of port %u", t->egress);
	if (plan->n_options != 0)
		CHECK(number < plan->n_options && plan_options(plan)[number].ttl <= 255, "option %u", number);
}

static void
use_special(const struct fw_plan *plan, const struct fw_plan_special *s, const struct fw_packet *p)
{
	static uint32_t turns[64];
	static const uint8_t udp[8];

	CHECK(s->fate == FW_FORWARD ? s->n_choices > 0 : s->fate < FW_DROP_CAUSES, "a fate of %u", s->fate);
	CHECK(s->n_choices <= FW_TARGETS_MAX, "%u copies", s->n_choices);
	for (uint32_t k = 0; k < s->n_choices; k++) {
		uint32_t choice = s->first_choice + k;

		CHECK(plan_choices(plan)[choice].turn < BOUNDS.collectors, "the turns of choice %u", choice);
		use_target(plan, choose_target(plan, choice, p, udp, turns));
	}
	for (uint32_t k = 0; k < s->n_counters; k++)
		CHECK(plan_counters(plan)[s->first_counter + k] < BOUNDS.rules, "counter %u", k);
}

static void
use_rule(const struct fw_plan *plan, uint32_t number, const struct fw_packet *p)
{
	const struct fw_plan_rule *rule;

	if (number == FW_NONE)
		return;
	CHECK(number < plan->n_rules, "rule %u of %u", number, plan->n_rules);
	rule = &plan_rules(plan)[number];
	if (rule->n_targets == 0) {
		use_special(plan, &plan_specials(plan)[rule->special], p);
		return;
	}
	CHECK(rule->counter < BOUNDS.rules, "rule %u", number);
	for (uint32_t i = 0; i < rule->n_targets; i++)
		use_target(plan, rule->first_target + i);
}

/* The full lookup, and the whole way through match, agree, and what they say can be used. */
static void
look_up(const struct fw_plan *plan, uint64_t hi, uint64_t lo, uint16_t port)
{
	struct fw_packet packets[2] = {
		{ .key = { 0, lo & UINT32_MAX, key_rest(plan->generation, port, 64, 4) }, .fate = FW_FORWARD },
		{ .key = { hi, lo, key_rest(plan->generation, port, (uint8_t)hi | 2, 6) }, .fate = FW_FORWARD },
	};
	struct fw_work work = { 0 };

	fw_match(&matcher, plan, &work, packets, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct fw_key *key = &packets[i].key;
		uint32_t rule = match_lookup(plan, key_family(key), key->src_hi, key->src_lo, port);

		CHECK(packets[i].exporter <= LIMITS.exporters, "exporter %u", packets[i].exporter);
		CHECK(packets[i].rule == rule || packets[i].fate == FW_DROP_LOOP, "rule %u, and %u", packets[i].rule, rule);
		use_rule(plan, rule, &packets[i]);
		tap_wanted(plan, &packets[i], i == 0);
	}
}

/* At the start of each segment and one before it, with ports at the ends of ranges. */
static void
look_up_edges(const struct fw_plan *plan, uint64_t *random)
{
	uint16_t port = 0;

	if (plan->n_ranges > 0)
		port = plan_ranges(plan)[draw_below(random, plan->n_ranges)].lo;
	for (uint32_t i = 0; i < plan->n_segments4; i++)
		for (uint32_t before = 0; before < 2; before++)
			look_up(plan, 0, plan_segments4(plan)[i].start - before, port);
	for (uint32_t i = 0; i < plan->n_segments6; i++) {
		const struct fw_plan_segment6 *s = &plan_segments6(plan)[i];

		look_up(plan, s->start_hi, s->start_lo, port);
		look_up(plan, s->start_hi, s->start_lo - 1, port);
	}
}

static void
use(const struct fw_plan *plan, uint64_t *random)
{
	static uint8_t ipv4[42], ipv6[62];

	look_up_edges(plan, random);
	for (uint32_t i = 0; i < plan->n_members; i++)
		use_target(plan, plan_members(plan)[i]);
	for (unsigned i = 0; i < 32; i++)
		look_up(plan, some_number(random), some_number(random), (uint16_t)some_number(random));
	for (unsigned i = 0; i < 4; i++) {
		struct fw_frame frames[2] = { { .data = ipv4, .len = sizeof ipv4 }, { .data = ipv6, .len = sizeof ipv6 } };
		struct fw_packet packets[2];

		memcpy(ipv4 + 12, (const uint8_t[4]){ 8, 0, 0x45, 0 }, 4);
		ipv4[23] = 17;
		memcpy(ipv6 + 12, (const uint8_t[4]){ 0x86, 0xdd, 0x60, 0 }, 4);
		ipv6[20] = 17;
		for (unsigned j = 30; j < 42; j++)
			ipv4[j] = (uint8_t)some_number(random);
		for (unsigned j = 38; j < 58; j++)
			ipv6[j] = (uint8_t)some_number(random);
		fw_parse(plan, i % BOUNDS.ports, frames, packets, 2);
	}
}

/* ---- changing ---- */

/* Where to change: mostly where one number decides much. */
static size_t
some_place(const struct fw_plan *plan, size_t bytes, uint64_t *random)
{
	const uint64_t starts[] = { plan->ports, plan->targets, plan->rules, plan->nodes, plan->ranges, plan->own4, plan->own6,
		plan->top4, plan->segments4, plan->segments6, plan->options, plan->specials, plan->choices, plan->members,
		plan->counters, plan->paces4, plan->paces6 };
	const uint64_t start = starts[draw_below(random, sizeof starts / sizeof starts[0])];

	if (draw_below(random, 2) == 0)
		return draw_below(random, sizeof *plan);
	if (draw_below(random, 16) == 0 || start >= bytes)
		return draw_below(random, (uint32_t)bytes);
	return start + draw_below(random, bytes - start < 512 ? (uint32_t)(bytes - start) : 512);
}

struct edit {
	size_t at;
	uint8_t before[4];
};

static struct edit
change(uint8_t *plan, size_t bytes, size_t at, uint64_t *random)
{
	struct edit e;
	uint32_t number;

	at = at / 4 * 4;
	if (at > bytes - 4)
		at = bytes - 4;
	e.at = at;
	memcpy(e.before, plan + at, 4);
	memcpy(&number, plan + at, 4);
	switch (draw_below(random, 4)) {
	case 0:
		number = NUMBERS[draw_below(random, sizeof NUMBERS / sizeof NUMBERS[0])];
		break;
	case 1:
		number ^= 1U << draw_below(random, 32);
		break;
	case 2:
		number += draw_below(random, 2) == 0 ? 1 : UINT32_MAX;
		break;
	default:
		number += (uint32_t)draw_below(random, 4) * 8;
	}
	memcpy(plan + at, &number, 4);
	return e;
}

/* Returns whether it was accepted. */
static bool
try(uint8_t *bytes, size_t n, uint64_t *random)
{
	static uint32_t generation;
	struct fw_plan *plan = (struct fw_plan *)(void *)bytes;
	char error[FW_ERROR_BYTES] = "";

	if (!plan_check(plan, n, &BOUNDS, error)) {
		CHECK(error[0] != '\0', "refused without a word");
		return false;
	}
	plan->generation = ++generation;	/* as the core does, so that no answer is another plan's */
	use(plan, random);
	return true;
}

/* The plan's own words about its length: as they were, or right for what is left. */
static void
cut(const uint8_t *whole, size_t bytes, uint64_t *random, bool is_told)
{
	size_t left = draw_below(random, (uint32_t)bytes);
	uint8_t *plan = exact(left);
	uint64_t length = left;

	memcpy(plan, whole, left);
	if (is_told && left >= sizeof(struct fw_plan))
		memcpy(plan + offsetof(struct fw_plan, bytes), &length, sizeof length);
	if (try(plan, left, random))
		CHECK(is_told, "a plan of %zu bytes, of which %zu are missing", left, bytes - left);
	free(plan);
}

int
main(int argc, char **argv)
{
	uint64_t random = 20180131;
	size_t bytes;
	uint8_t *plan;
	unsigned rounds, accepted = 0;

	CHECK(argc == 3, "two arguments, not %d", argc - 1);
	plan = read_file(argv[1], &bytes);
	rounds = (unsigned)strtoul(argv[2], NULL, 10);
	CHECK(match_init(&matcher, &LIMITS), "no memory");
	CHECK(try(plan, bytes, &random), "the plan itself is refused");
	for (unsigned i = 0; i < rounds; i++) {
		struct edit edits[EDITS_MAX];
		unsigned n = 1 + draw_below(&random, EDITS_MAX);

		for (unsigned j = 0; j < n; j++)
			edits[j] = change(plan, bytes,
			    some_place((const struct fw_plan *)(const void *)plan, bytes, &random), &random);
		accepted += try(plan, bytes, &random);
		while (n-- > 0)
			memcpy(plan + edits[n].at, edits[n].before, 4);
		if (i % 8 == 0)
			cut(plan, bytes, &random, i % 16 == 0);
	}
	CHECK(try(plan, bytes, &random), "the plan is as it was");
	CHECK(accepted > rounds / 100 && accepted < rounds, "%u of %u accepted", accepted, rounds);
	printf("%u of %u accepted\n", accepted, rounds);
	match_free(&matcher);
	free(plan);
	return 0;
}
