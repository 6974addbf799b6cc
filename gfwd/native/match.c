#include <stdlib.h>
#include <string.h>

#include "match.h"

/* ---- the full lookup ---- */

/* The segment that holds an address: the last one that starts at or before it. */
static uint32_t
node_of4(const struct fw_plan *plan, uint32_t address)
{
	const struct fw_plan_segment4 *s = plan_segments4(plan);
	const uint32_t *top = plan_top4(plan) + (address >> plan->top4_shift);
	uint32_t first = top[0], n = top[1] - top[0] + 1;

	/* Halving without a branch: what an unknown source looks like cannot be predicted. */
	while (n > 1) {
		uint32_t half = n / 2;

		first += s[first + half].start <= address ? half : 0;
		n -= half;
	}
	return s[first].node;
}

static uint32_t
node_of6(const struct fw_plan *plan, uint64_t hi, uint64_t lo)
{
	const struct fw_plan_segment6 *s = plan_segments6(plan);
	uint32_t first = 0, n = plan->n_segments6;

	while (n > 1) {
		uint32_t half = n / 2;
		const struct fw_plan_segment6 *m = &s[first + half];

		first += m->start_hi < hi || (m->start_hi == hi && m->start_lo <= lo) ? half : 0;
		n -= half;
	}
	return (uint32_t)s[first].node;
}

/* The rule of a node whose range holds the port. */
static uint32_t
rule_in_node(const struct fw_plan *plan, const struct fw_plan_node *node, uint16_t port)
{
	const struct fw_plan_range *r = plan_ranges(plan) + node->first_range;
	uint32_t n = node->n_ranges;

	while (n > 1) {
		uint32_t half = n / 2;

		r += r[half].lo <= port ? half : 0;
		n -= half;
	}
	return r->lo <= port && port <= r->hi ? r->rule : FW_NONE;
}

uint32_t
match_lookup(const struct fw_plan *plan, unsigned family, uint64_t src_hi, uint64_t src_lo, uint16_t dport)
{
	const struct fw_plan_node *nodes = plan_nodes(plan);
	uint32_t best = plan_any(plan)[dport];
	uint32_t node = family == 4 ? node_of4(plan, (uint32_t)src_lo) : node_of6(plan, src_hi, src_lo);

	/* From the longest prefix outwards, until nothing further out can beat what was found. */
	while (node != FW_NONE && nodes[node].best < best) {
		uint32_t rule = rule_in_node(plan, &nodes[node], dport);

		if (rule < best)
			best = rule;
		node = nodes[node].parent;
	}
	return best;
}

/* ---- exporters ---- */

static inline uint64_t
hash(uint64_t seed, uint64_t src_hi, uint64_t src_lo, uint64_t rest)
{
	uint64_t h = (src_lo ^ seed) * 0x9e3779b97f4a7c15;

	h ^= h >> 32;
	h = (h ^ src_hi ^ rest << 48) * 0xd6e8feb86659fd93;
	return h ^ h >> 32;
}

static void
write_address(struct fw_exporter *e, const struct fw_packet *p)
{
	e->family = p->family;
	for (unsigned i = 0; i < 16; i++) {
		uint64_t half = i < 8 ? p->src_hi : p->src_lo;

		if (p->family == 6)
			e->address[i] = (uint8_t)(half >> (56 - i % 8 * 8));
		else if (i < 4)
			e->address[i] = (uint8_t)(p->src_lo >> (24 - i * 8));
	}
}

static bool
is_exporter(const struct fw_exporter *e, const struct fw_exporter *wanted)
{
	return e->family == wanted->family && memcmp(e->address, wanted->address, sizeof e->address) == 0;
}

/* The exporter's number; a new one gets the next, and 0 once the table is full. */
static uint32_t
exporter_of(struct fw_matcher *m, const struct fw_packet *p)
{
	struct fw_exporter wanted = { 0 };
	uint32_t i = (uint32_t)hash(m->seed, p->src_hi, p->src_lo, p->family) & m->index_mask;

	write_address(&wanted, p);
	/* The index is at most half full, so the walk ends soon. */
	for (; m->exporter_index[i] != 0; i = (i + 1) & m->index_mask)
		if (is_exporter(&m->exporters[m->exporter_index[i]], &wanted))
			return m->exporter_index[i];
	if (m->n_exporters > m->max_exporters)
		return 0;
	m->exporters[m->n_exporters] = wanted;
	m->exporter_index[i] = m->n_exporters;
	/* Who reads the table meanwhile sees whole entries only. */
	__atomic_store_n(&m->n_exporters, m->n_exporters + 1, __ATOMIC_RELEASE);
	return m->n_exporters - 1;
}

uint32_t
match_read_exporters(const struct fw_matcher *m, struct fw_exporter *list, uint32_t n)
{
	uint32_t there = __atomic_load_n(&m->n_exporters, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < there && i < n; i++) {
		list[i] = m->exporters[i];
		list[i].packets = __atomic_load_n(&m->exporter_counts[i].packets, __ATOMIC_RELAXED);
		list[i].bytes = __atomic_load_n(&m->exporter_counts[i].bytes, __ATOMIC_RELAXED);
	}
	return there;
}

/* ---- the cache ---- */

/*
 * A set is searched in order. A new answer takes the last place, and the first hit there moves it to one of the others:
 * so a flood of sources that are never seen again turns over the last places only, and known exporters stay.
 */
#define FLOW_WAYS 4
#define FLOW_LAST (FLOW_WAYS - 1)

static inline uint64_t
flow_key(uint32_t generation, uint16_t dport, uint16_t family)
{
	return (uint64_t)generation << 32 | (uint32_t)dport << 16 | family;
}

static inline bool
is_flow(const struct fw_flow *f, const struct fw_packet *p, uint64_t key)
{
	return f->src_lo == p->src_lo && flow_key(f->generation, f->dport, f->family) == key && f->src_hi == p->src_hi;
}

static void
promote(struct fw_matcher *m, struct fw_flow *set)
{
	uint32_t to = m->turn++ % FLOW_LAST;
	struct fw_flow f = set[to];

	set[to] = set[FLOW_LAST];
	set[FLOW_LAST] = f;
}

/* A miss: ask the plan, and remember. */
static void
look_up(struct fw_matcher *m, const struct fw_plan *plan, struct fw_flow *set, struct fw_packet *p)
{
	unsigned way = 0;

	p->rule = match_lookup(plan, p->family, p->src_hi, p->src_lo, p->dport);
	p->exporter = exporter_of(m, p);
	while (way < FLOW_LAST && set[way].generation == plan->generation)
		way++;
	set[way] = (struct fw_flow){
		.src_hi = p->src_hi,
		.src_lo = p->src_lo,
		.generation = plan->generation,
		.dport = p->dport,
		.family = p->family,
		.rule = p->rule,
		.exporter = p->exporter,
	};
}

/* False: not in the cache. */
static inline bool
look_in_cache(struct fw_matcher *m, struct fw_flow *set, uint64_t key, struct fw_packet *p)
{
	for (unsigned way = 0; way < FLOW_WAYS; way++) {
		if (!is_flow(&set[way], p, key))
			continue;
		p->rule = set[way].rule;
		p->exporter = set[way].exporter;
		if (unlikely(way == FLOW_LAST))
			promote(m, set);
		return true;
	}
	return false;
}

void
fw_match(struct fw_matcher *m, const struct fw_plan *plan, struct fw_work *work, struct fw_packet *packets, unsigned n)
{
	unsigned hits = 0, lookups = 0;

	/* All sets are on their way from memory before the first is needed. */
	for (unsigned i = 0; i < n; i++) {
		struct fw_packet *p = &packets[i];

		if (unlikely(p->fate != FW_FORWARD))
			continue;
		p->slot = ((uint32_t)hash(m->seed, p->src_hi, p->src_lo, p->dport) & m->set_mask) * FLOW_WAYS;
		__builtin_prefetch(&m->flows[p->slot]);
	}
	for (unsigned i = 0; i < n; i++) {
		struct fw_packet *p = &packets[i];
		struct fw_flow *set = &m->flows[p->slot];

		if (unlikely(p->fate != FW_FORWARD))
			continue;
		if (likely(look_in_cache(m, set, flow_key(plan->generation, p->dport, p->family), p))) {
			hits++;
		} else {
			look_up(m, plan, set, p);
			lookups++;
		}
		if (unlikely(p->rule == FW_NONE)) {
			p->fate = FW_DROP_NO_RULE;
			continue;
		}
		__builtin_prefetch(&plan_rules(plan)[p->rule]);
		__builtin_prefetch(&m->exporter_counts[p->exporter], 1);
	}
	work->cache_hits += hits;
	work->lookups += lookups;
}

/* ---- life ---- */

static uint32_t
power_of_two(uint32_t at_least)
{
	uint32_t n = 1;

	while (n < at_least)
		n *= 2;
	return n;
}

static void *
zeroed_lines(size_t bytes)
{
	void *p;

	bytes = (bytes + FW_CACHE_LINE - 1) / FW_CACHE_LINE * FW_CACHE_LINE;
	p = aligned_alloc(FW_CACHE_LINE, bytes);
	if (p != NULL)
		memset(p, 0, bytes);
	return p;
}

bool
match_init(struct fw_matcher *m, const struct fw_limits *limits)
{
	uint32_t sets = power_of_two((limits->flows + FLOW_WAYS - 1) / FLOW_WAYS);

	m->seed = limits->seed;
	m->set_mask = sets - 1;
	m->flows = zeroed_lines((size_t)sets * FLOW_WAYS * sizeof *m->flows);
	m->max_exporters = limits->exporters;
	m->n_exporters = 1;
	m->index_mask = power_of_two(2 * (limits->exporters + 1)) - 1;
	m->exporters = calloc(limits->exporters + 1, sizeof *m->exporters);
	m->exporter_counts = zeroed_lines((limits->exporters + 1) * sizeof *m->exporter_counts);
	m->exporter_index = calloc(m->index_mask + 1, sizeof *m->exporter_index);
	return m->flows != NULL && m->exporters != NULL && m->exporter_counts != NULL && m->exporter_index != NULL;
}

void
match_free(struct fw_matcher *m)
{
	free(m->flows);
	free(m->exporters);
	free(m->exporter_counts);
	free(m->exporter_index);
}
