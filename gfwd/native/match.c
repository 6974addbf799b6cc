#include <stdlib.h>
#include <string.h>

#include "bytes.h"
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

static bool
is_sender(const struct fw_plan *plan, const struct fw_key *key)
{
	const struct fw_plan_sender *s = plan_senders(plan);

	for (uint32_t i = 0; i < plan->n_senders; i++)
		if (s[i].lo == key->src_lo && s[i].hi == key->src_hi && s[i].family == key_family(key))
			return true;
	return false;
}

/*
 * Is a source address one of our own, or one that copies leave with? Then what comes from there was sent by gfwd (a network
 * of ours has exporters, too).
 */
static bool
is_from_us(const struct fw_plan *plan, const struct fw_key *key)
{
	const struct fw_plan_own4 *own4 = plan_own4(plan);
	const struct fw_plan_own6 *own6 = plan_own6(plan);

	if (is_sender(plan, key))
		return true;
	if (key_family(key) == 4) {
		for (uint32_t i = 0; i < plan->n_own4; i++)
			if (load32(own4[i].mask) == UINT32_MAX && get32(own4[i].value) == key->src_lo)
				return true;
		return false;
	}
	for (uint32_t i = 0; i < plan->n_own6; i++)
		if ((own6[i].mask_hi & own6[i].mask_lo) == UINT64_MAX && own6[i].value_hi == key->src_hi &&
		    own6[i].value_lo == key->src_lo)
			return true;
	return false;
}

/* The limit that holds for an exporter's address: ns from one datagram to the next. */
static uint32_t
pace_of(const struct fw_plan *plan, const struct fw_key *key)
{
	const struct fw_plan_pace4 *v4 = plan_paces4(plan);
	const struct fw_plan_pace6 *v6 = plan_paces6(plan);
	bool is_v4 = key_family(key) == 4;
	uint32_t first = 0, n = is_v4 ? plan->n_paces4 : plan->n_paces6;

	while (n > 1) {
		uint32_t half = n / 2, m = first + half;
		bool starts_before = is_v4 ? v4[m].start <= key->src_lo :
		    v6[m].start_hi < key->src_hi || (v6[m].start_hi == key->src_hi && v6[m].start_lo <= key->src_lo);

		first = starts_before ? m : first;
		n -= half;
	}
	return is_v4 ? v4[first].ns : (uint32_t)v6[first].ns;
}

/* ---- exporters ---- */

/* Both halves of one wide product, of which outsiders know neither factor: they cannot choose addresses that meet. */
static inline uint32_t
hash(const uint64_t *seeds, const struct fw_key *key)
{
	unsigned __int128 product = (unsigned __int128)(key->src_lo ^ seeds[0]) * (key->src_hi ^ key->rest ^ seeds[1]);

	return (uint32_t)(product >> 64) ^ (uint32_t)(product >> 32);
}

static inline bool
is_key(const struct fw_key *a, const struct fw_key *b)
{
	return a->src_lo == b->src_lo && a->rest == b->rest && a->src_hi == b->src_hi;
}

/* The exporter's number; a new one gets the next, and 0 once the table is full. */
static uint32_t
exporter_of(struct fw_matcher *m, const struct fw_key *key)
{
	struct fw_key exporter = { key->src_hi, key->src_lo, key_family(key) };
	uint32_t i = hash(m->seeds, &exporter) & m->index_mask;

	/* The index is at most half full, so the walk ends soon. */
	for (; m->exporter_index[i] != 0; i = (i + 1) & m->index_mask)
		if (is_key(&m->exporters[m->exporter_index[i]], &exporter))
			return m->exporter_index[i];
	if (m->n_exporters > m->max_exporters)
		return 0;
	m->exporters[m->n_exporters] = exporter;
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
		list[i] = (struct fw_exporter){
			.family = key_family(&m->exporters[i]),
			.packets = __atomic_load_n(&m->exporter_counts[i].packets, __ATOMIC_RELAXED),
			.bytes = __atomic_load_n(&m->exporter_counts[i].bytes, __ATOMIC_RELAXED),
		};
		put_address(list[i].address, m->exporters[i].src_hi, m->exporters[i].src_lo, list[i].family);
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

static void
promote(struct fw_matcher *m, struct fw_flow *set)
{
	uint32_t to = m->turn++ % FLOW_LAST;
	struct fw_flow f = set[to];

	set[to] = set[FLOW_LAST];
	set[FLOW_LAST] = f;
}

static inline struct fw_flow *
set_of(const struct fw_matcher *m, const struct fw_key *key)
{
	return (struct fw_flow *)(void *)((char *)m->flows + (hash(m->seeds, key) & m->set_mask));
}

static inline void
answer(struct fw_packet *p, const struct fw_flow *f)
{
	p->rule = f->rule;
	p->exporter = f->exporter;
}

/* All places of a set, in order; false: none has the answer. */
static __attribute__((noinline)) bool
search_set(struct fw_matcher *m, struct fw_flow *set, struct fw_packet *p)
{
	for (unsigned way = 0; way < FLOW_WAYS; way++) {
		if (!is_key(&set[way].key, &p->key))
			continue;
		answer(p, &set[way]);
		if (way == FLOW_LAST)
			promote(m, set);
		return true;
	}
	return false;
}

/*
 * Answers from the cache; false: it has none. Nearly all answers are in one of the first two places, and in which one cannot
 * be foretold: so that is chosen without a branch.
 */
static inline bool
look_in_cache(struct fw_matcher *m, struct fw_flow *set, struct fw_packet *p)
{
	const struct fw_flow *f = &set[set[0].key.src_lo != p->key.src_lo];

	if (unlikely(!is_key(&f->key, &p->key)))
		return search_set(m, set, p);
	answer(p, f);
	return true;
}

/* The answer for this very key is not to be given from the cache any more. */
static void
forget(struct fw_matcher *m, const struct fw_key *key)
{
	struct fw_flow *set = set_of(m, key);

	for (unsigned way = 0; way < FLOW_WAYS; way++)
		if (is_key(&set[way].key, key))
			set[way] = (struct fw_flow){ 0 };
}

/*
 * Suspects are not remembered, and the datagrams that they may be doubles of are not any more: so all of both are looked
 * at, as long as it takes.
 */
static bool
is_suspect(struct fw_matcher *m, const struct fw_key *key)
{
	struct fw_key usual = *key;
	uint8_t usual_ttl;
	bool suspects = loop_suspects(&m->loops, key, &usual_ttl);

	if (usual_ttl != 0) {
		usual.rest ^= (uint32_t)(usual_ttl ^ key_ttl(key)) << 8;
		forget(m, &usual);
	}
	return suspects;
}

/* Does anybody want these datagrams? Strangers, of whom there may be any number, get no place in the table of exporters. */
static bool
is_wanted(const struct fw_plan *plan, uint32_t number)
{
	const struct fw_plan_rule *rule;

	if (number == FW_NONE)
		return false;
	rule = &plan_rules(plan)[number];
	return rule->n_targets > 0 || plan_specials(plan)[rule->special].fate == FW_FORWARD;
}

/* A miss: ask the plan, and remember. */
static void
look_up(struct fw_matcher *m, const struct fw_plan *plan, struct fw_flow *set, struct fw_packet *p)
{
	unsigned way = 0;

	p->exporter = 0;
	if (is_from_us(plan, &p->key)) {
		p->rule = FW_NONE;
		p->fate = FW_DROP_LOOP;
		return;
	}
	p->rule = match_lookup(plan, key_family(&p->key), p->key.src_hi, p->key.src_lo, key_dport(&p->key));
	if (is_wanted(plan, p->rule))
		p->exporter = exporter_of(m, &p->key);
	if (plan_has_paces(plan))
		m->exporter_paces[p->exporter].ns = p->exporter == 0 ? plan->pace_of_rest : pace_of(plan, &p->key);
	if (is_suspect(m, &p->key)) {
		p->fate = FW_SUSPECT;
		return;
	}
	while (way < FLOW_LAST && set[way].key.rest >> 32 == plan->generation)
		way++;
	set[way] = (struct fw_flow){ p->key, p->rule, p->exporter };
}

/*
 * A first fragment is matched when its turn comes, as a datagram like any other; that it is a fragment stays beside what
 * comes of it. True: it had to be looked up.
 */
static __attribute__((noinline)) bool
match_first_fragment(struct fw_matcher *m, const struct fw_plan *plan, struct fw_packet *p)
{
	bool misses;

	p->fate = FW_FORWARD;
	p->set = set_of(m, &p->key);
	misses = !look_in_cache(m, p->set, p);
	if (misses)
		look_up(m, plan, p->set, p);
	if (p->fate != FW_DROP_LOOP && p->rule == FW_NONE)
		p->fate = FW_DROP_NO_RULE;
	p->fate |= FIRST_FRAGMENT;
	return misses;
}

void
fw_match(struct fw_matcher *m, const struct fw_plan *plan, struct fw_work *work, struct fw_packet *restrict packets,
    unsigned n)
{
	const struct fw_plan_rule *rules = plan_rules(plan);
	unsigned ours = 0, lookups = 0;

	/* All sets are on their way from memory before the first is needed. */
	for (unsigned i = 0; i < n; i++) {
		struct fw_packet *p = &packets[i];

		if (unlikely(p->fate != FW_FORWARD))
			continue;
		p->set = set_of(m, &p->key);
		__builtin_prefetch(p->set);
		ours++;
	}
	for (unsigned i = 0; i < n; i++) {
		struct fw_packet *p = &packets[i];

		if (unlikely(p->fate != FW_FORWARD)) {
			if (p->fate == (FW_FORWARD | FIRST_FRAGMENT)) {
				lookups += match_first_fragment(m, plan, p);
				ours++;
			}
			continue;
		}
		if (unlikely(!look_in_cache(m, p->set, p))) {
			look_up(m, plan, p->set, p);
			lookups++;
			if (p->fate == FW_DROP_LOOP)
				continue;
		}
		if (unlikely(p->rule == FW_NONE)) {
			p->fate = FW_DROP_NO_RULE;
			continue;
		}
		__builtin_prefetch(&rules[p->rule]);
		__builtin_prefetch(&m->exporter_counts[p->exporter], 1);
	}
	work->cache_hits += ours - lookups;
	work->lookups += lookups;
}

/* ---- what was not dealt with ---- */

void
match_give_back(struct fw_matcher *m, const struct fw_packet *packets, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if ((packets[i].fate & ~FIRST_FRAGMENT) == FW_SUSPECT)
			loop_give_back(&m->loops, &packets[i].key);
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
	uint32_t set_bytes = FLOW_WAYS * sizeof(struct fw_flow);
	uint32_t sets = power_of_two((limits->flows + FLOW_WAYS - 1) / FLOW_WAYS);

	m->seeds[0] = limits->seeds[0];
	m->seeds[1] = limits->seeds[1];
	m->set_mask = (sets - 1) * set_bytes;
	m->flows = zeroed_lines((size_t)sets * set_bytes);
	m->max_exporters = limits->exporters;
	m->n_exporters = 1;
	_Static_assert((FLOW_WAYS * sizeof(struct fw_flow) & (FLOW_WAYS * sizeof(struct fw_flow) - 1)) == 0,
	    "the mask counts in sets");
	m->index_mask = power_of_two(2 * (limits->exporters + 1)) - 1;
	m->exporters = calloc(limits->exporters + 1, sizeof *m->exporters);
	m->exporter_counts = zeroed_lines((limits->exporters + 1) * sizeof *m->exporter_counts);
	m->exporter_index = calloc(m->index_mask + 1, sizeof *m->exporter_index);
	m->exporter_paces = calloc(limits->exporters + 1, sizeof *m->exporter_paces);
	return loop_init(&m->loops, limits) && m->flows != NULL && m->exporters != NULL && m->exporter_counts != NULL &&
	    m->exporter_index != NULL && m->exporter_paces != NULL;
}

void
match_free(struct fw_matcher *m)
{
	free(m->flows);
	free(m->exporters);
	free(m->exporter_counts);
	free(m->exporter_index);
	free(m->exporter_paces);
	loop_free(&m->loops);
}
