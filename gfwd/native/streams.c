#include <stdlib.h>

#include "bytes.h"
#include "seqlock.h"
#include "streams.h"

/* Datagrams in order by one way to count: then no other is tried any more. */
#define SURE 32U

_Static_assert(sizeof(struct stream) == 512, "what docs/config.md says that one takes");

/* ---- finding a stream ---- */

static inline uint64_t
fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

/* Who makes up a stream chooses all of its key, but of each product he knows one factor at most, and no result. */
static uint32_t
hash(const struct fw_streams *s, const struct stream_key *key)
{
	uint64_t h = fold(key->src_lo ^ s->seeds[0], key->src_hi ^ s->seeds[1]);

	h = fold(h ^ key->rest, s->seeds[0] | 1);
	if (key->agent_lo != 0 || key->agent_hi != 0) {
		h = fold(h ^ key->agent_lo, s->seeds[1] | 1);
		h = fold(h ^ key->agent_hi, s->seeds[0] | 1);
	}
	return (uint32_t)(h ^ h >> 32);
}

static inline bool
is_key(const struct stream_key *a, const struct stream_key *b)
{
	return a->src_lo == b->src_lo && a->rest == b->rest && a->src_hi == b->src_hi && a->agent_lo == b->agent_lo &&
	    a->agent_hi == b->agent_hi;
}

/* The place in the index that has it, or where it belongs. The index is at most half full, so the walk ends soon. */
static uint32_t
find(const struct fw_streams *s, const struct stream_key *key)
{
	uint32_t i = hash(s, key) & s->index_mask;

	while (s->index[i] != 0 && !is_key(&s->streams[s->index[i] - 1].key, key))
		i = (i + 1) & s->index_mask;
	return i;
}

/* ---- streams that come and go ---- */

static void
add_findings(struct fw_findings *sum, const struct fw_findings *f)
{
	sum->datagrams += f->datagrams;
	sum->in_order += f->in_order;
	sum->counted += f->counted;
	sum->lost += f->lost;
	sum->reordered += f->reordered;
	sum->doubled += f->doubled;
	sum->restarts += f->restarts;
	sum->strays += f->strays;
	sum->unproven += f->unproven;
}

/* Takes it out of the index: those behind it that would no longer be found move up. */
static void
unlink_stream(struct fw_streams *s, const struct stream_key *key)
{
	uint32_t hole = find(s, key), i = hole;

	while (s->index[i = (i + 1) & s->index_mask] != 0) {
		uint32_t home = hash(s, &s->streams[s->index[i] - 1].key);

		if (((i - home) & s->index_mask) < ((i - hole) & s->index_mask))
			continue;
		s->index[hole] = s->index[i];
		hole = i;
	}
	s->index[hole] = 0;
}

static bool
is_stale(const struct stream *its, uint64_t now)
{
	return now > its->last && now - its->last > STREAM_STALE_NS;
}

/* FW_NONE: there is no room. */
static uint32_t
make_room(struct fw_streams *s, uint64_t now)
{
	uint32_t number;

	if (s->n < s->max)
		return s->n;
	/* One look for each that is new, so that a flood of them costs no more than a few streams. */
	number = s->turn;
	s->turn = number + 1 == s->max ? 0 : number + 1;
	if (!is_stale(&s->streams[number], now))
		return FW_NONE;
	unlink_stream(s, &s->streams[number].key);
	add_findings(&s->gone, &s->streams[number].ways[s->streams[number].way].findings);
	return number;
}

/* NULL: there is no room. */
static __attribute__((noinline)) struct stream *
begin(struct fw_streams *s, const struct stream_key *key, uint64_t now)
{
	uint32_t number = make_room(s, now);
	struct stream *its;

	if (number == FW_NONE)
		return NULL;
	its = &s->streams[number];
	if (number == s->n)
		its->version = 0;	/* it was never used */
	seqlock_begin(&its->version);
	seqlock_put(&its->key.src_hi, key->src_hi);
	seqlock_put(&its->key.src_lo, key->src_lo);
	seqlock_put(&its->key.agent_hi, key->agent_hi);
	seqlock_put(&its->key.agent_lo, key->agent_lo);
	seqlock_put(&its->key.rest, key->rest);
	seqlock_put(&its->first, now);
	seqlock_put(&its->last, now);
	its->way = 0;
	its->is_sure = false;
	its->epoch = s->epoch;
	memset(its->ways, 0, sizeof its->ways);
	seqlock_end(&its->version);
	s->index[find(s, key)] = number + 1;
	if (number == s->n)
		__atomic_store_n(&s->n, s->n + 1, __ATOMIC_RELEASE);
	return its;
}

/* ---- a datagram ---- */

static inline void
take_by_way(struct stream *its, const struct exported *h, unsigned way)
{
	const struct fw_place by_records = { h->place.number, h->n_records, h->place.uptime };

	sequence_take(&its->ways[way], way == 0 ? &h->place : &by_records);
}

/* The way by which most stand in order; of equals, the first. Loss makes no other look better: chance is rarely right. */
static __attribute__((noinline)) void
take_by_each_way(struct stream *its, const struct exported *h)
{
	unsigned best = 0;

	for (unsigned i = 0; i < h->n_ways; i++) {
		take_by_way(its, h, i);
		if (its->ways[i].findings.in_order > its->ways[best].findings.in_order)
			best = i;
	}
	its->way = (uint8_t)best;
	its->is_sure = its->ways[best].findings.in_order >= SURE;
}

static void
hand_out(struct fw_streams *s, struct fw_work *work, const struct fw_queue *in, const struct fw_frame *frame)
{
	const struct fw_record head = {
		.time = frame->time,
		.bytes = frame->len,
		.port = in->port,
		.rule = FW_NONE,
		.interruption = s->ipfix_interruption,
	};

	if (ring_put(&s->ipfix, &head, frame->data)) {
		work->ipfix++;
	} else {
		work->ipfix_lost++;
		s->ipfix_interruption++;
	}
}

/* Where there is a payload that an exporter has sent: not a later fragment, and not what gfwd has sent itself. */
static inline bool
is_exporters(const struct fw_packet *p)
{
	uint32_t fate = p->fate & ~FIRST_FRAGMENT;

	return fate == FW_FORWARD || fate == FW_SUSPECT || fate == FW_DROP_NO_RULE;
}

static inline bool
is_followed(const struct fw_plan *plan, const struct fw_packet *p)
{
	return is_exporters(p) && plan_follows(plan, key_dport(&p->key));
}

static __attribute__((noinline)) void
interrupt(struct stream *its, uint32_t epoch)
{
	its->epoch = epoch;
	for (unsigned i = 0; i < STREAM_WAYS; i++)
		sequence_interrupt(&its->ways[i]);
}

/* Not the stream of its exporter's last datagram. NULL: there is no room. */
static __attribute__((noinline)) struct stream *
find_or_begin(struct fw_streams *s, const struct exported *h, uint32_t exporter, uint64_t now)
{
	uint32_t there = s->index[find(s, &h->key)];
	struct stream *its = there != 0 ? &s->streams[there - 1] : begin(s, &h->key, now);

	if (its != NULL)
		s->latest[exporter] = (uint32_t)(its - s->streams);
	return its;
}

static inline void
follow(struct fw_streams *s, struct fw_work *work, const struct fw_queue *in, const struct fw_frame *frame,
    const struct fw_packet *p)
{
	struct exported h;
	enum exported_as content = exported_read(&h, p, frame->data);
	struct stream *its = &s->streams[s->latest[p->exporter]];
	uint64_t now;

	if (unlikely(content != EXPORTED_PLACE)) {
		if (content == EXPORTED_IPFIX)
			hand_out(s, work, in, frame);
		else
			work->numberless++;
		return;
	}
	now = clock_of(&s->clock, frame);
	if (unlikely(!is_key(&its->key, &h.key)) && (its = find_or_begin(s, &h, p->exporter, now)) == NULL) {
		work->unfollowed++;
		return;
	}
	if (unlikely(its->epoch != s->epoch))
		interrupt(its, s->epoch);
	its->last = now;
	if (likely(its->is_sure && its->way == 0))
		sequence_take(&its->ways[0], &h.place);
	else if (its->is_sure)
		take_by_way(its, &h, its->way);
	else
		take_by_each_way(its, &h);
}

void
streams_follow(struct fw_streams *s, const struct fw_plan *plan, struct fw_work *work, const struct fw_queue *in,
    const struct fw_frame *frames, const struct fw_packet *packets, unsigned left, unsigned n)
{
	s->clock.now = 0;
	/* All streams are on their way from memory before the first is needed. */
	for (unsigned i = left; i < n; i++) {
		const struct stream *its;

		if (unlikely(packets[i].fate != FW_FORWARD))
			continue;
		its = &s->streams[s->latest[packets[i].exporter]];
		__builtin_prefetch(its, 1);
		__builtin_prefetch(its->ways, 1);
	}
	for (unsigned i = left; i < n; i++)
		if (is_followed(plan, &packets[i]))
			follow(s, work, in, &frames[i], &packets[i]);
}

/* ---- another plan ---- */

void
streams_take_up(struct fw_streams *s, const struct fw_plan *plan)
{
	const uint32_t *listen = plan_listen(plan), *follow = plan->n_follow != 0 ? plan_follow(plan) : NULL;
	bool has_more = false;

	for (unsigned i = 0; i < sizeof s->ports / sizeof s->ports[0]; i++) {
		uint32_t ports = follow != NULL ? follow[i] & listen[i] : 0;

		has_more |= (ports & ~s->ports[i]) != 0;
		s->ports[i] = ports;
	}
	if (has_more) {
		s->epoch++;
		s->ipfix_interruption++;
	}
}

/* ---- reading, from another thread ---- */

static void
read_findings(const struct fw_findings *f, struct fw_findings *to)
{
	*to = (struct fw_findings){
		.datagrams = seqlock_get(&f->datagrams),
		.in_order = seqlock_get(&f->in_order),
		.counted = seqlock_get(&f->counted),
		.lost = seqlock_get(&f->lost),
		.reordered = seqlock_get(&f->reordered),
		.doubled = seqlock_get(&f->doubled),
		.restarts = seqlock_get(&f->restarts),
		.strays = seqlock_get(&f->strays),
		.unproven = seqlock_get(&f->unproven),
	};
}

/* What the stream is now, or, where it becomes another's meanwhile, anything. */
static void
copy_stream(const void *stream, void *copy)
{
	static const struct {
		uint16_t version;
		uint8_t agent_family, counts[STREAM_WAYS];
	} kinds[] = {
		[STREAM_V5] = { 5, 0, { FW_COUNTS_FLOWS } },
		[STREAM_V7] = { 7, 0, { FW_COUNTS_FLOWS } },
		[STREAM_V9] = { 9, 0, { FW_COUNTS_DATAGRAMS, FW_COUNTS_RECORDS } },
		[STREAM_SFLOW4] = { 5, 4, { FW_COUNTS_DATAGRAMS } },
		[STREAM_SFLOW6] = { 5, 6, { FW_COUNTS_DATAGRAMS } },
	};
	const struct stream *its = stream;
	struct fw_stream *to = copy;
	uint64_t rest = seqlock_get(&its->key.rest);
	unsigned kind = (uint8_t)(rest >> 8), way = __atomic_load_n(&its->way, __ATOMIC_ACQUIRE);

	*to = (struct fw_stream){
		.family = (uint8_t)rest,
		.agent_family = kinds[kind].agent_family,
		.source_port = (uint16_t)(rest >> 16),
		.version = kinds[kind].version,
		.domain = (uint32_t)(rest >> 32),
		.counts = kinds[kind].counts[way],
		.first = seqlock_get(&its->first),
		.last = seqlock_get(&its->last),
	};
	put_address(to->address, seqlock_get(&its->key.src_hi), seqlock_get(&its->key.src_lo), to->family);
	put_address(to->agent, seqlock_get(&its->key.agent_hi), seqlock_get(&its->key.agent_lo), to->agent_family);
	read_findings(&its->ways[way].findings, &to->findings);
}

uint32_t
streams_room(const struct fw_streams *s)
{
	return __atomic_load_n(&s->n, __ATOMIC_ACQUIRE) + 1;
}

uint32_t
streams_read(const struct fw_streams *s, struct fw_stream *list, uint32_t n)
{
	uint32_t there = streams_room(s) - 1, filled = 0;

	if (n == 0)
		return 0;
	list[filled] = (struct fw_stream){ 0 };
	read_findings(&s->gone, &list[filled++].findings);
	for (uint32_t i = 0; i < there && filled < n; i++)
		if (seqlock_read(&s->streams[i].version, copy_stream, &s->streams[i], &list[filled]))
			filled++;
	return filled;
}

/* ---- life ---- */

bool
streams_init(struct fw_streams *s, const struct fw_limits *limits)
{
	uint32_t places = 2;

	while (places < 2 * limits->streams)
		places *= 2;
	s->max = limits->streams;
	s->index_mask = places - 1;
	s->seeds[0] = limits->seeds[0];
	s->seeds[1] = limits->seeds[1];
	s->index = calloc(places, sizeof *s->index);
	s->latest = calloc((size_t)limits->exporters + 1, sizeof *s->latest);
	/* begin() clears a stream, so only those that there are take memory. The first is everybody's latest, and nobody's. */
	s->streams = aligned_alloc(FW_CACHE_LINE, (size_t)limits->streams * sizeof *s->streams);
	if (s->streams != NULL)
		memset(s->streams, 0, sizeof *s->streams);
	return s->index != NULL && s->latest != NULL && s->streams != NULL &&
	    ring_init(&s->ipfix, limits->ring_slots, limits->frame_bytes);
}

void
streams_free(struct fw_streams *s)
{
	free(s->streams);
	free(s->index);
	free(s->latest);
	ring_free(&s->ipfix);
}
