#include <stdlib.h>

#include "bytes.h"
#include "seqlock.h"
#include "unknown.h"

enum { UDP_LENGTH = 4 };

/* ---- finding a place ---- */

/* As in match.c: outsiders know neither factor, and cannot choose addresses that meet. */
static uint32_t
hash(const uint64_t *seeds, const struct fw_key *key)
{
	unsigned __int128 product = (unsigned __int128)(key->src_lo ^ seeds[0]) * (key->src_hi ^ key->rest ^ seeds[1]);

	return (uint32_t)(product >> 64) ^ (uint32_t)(product >> 32);
}

/* The place that has the key; UNKNOWN_WAYS: none has. */
static unsigned
find(const struct unknown_set *set, const struct unknown_entry *entries, uint32_t tag, const struct fw_key *key)
{
	unsigned way = 0;

	for (; way < UNKNOWN_WAYS; way++) {
		const struct fw_key *its = &entries[way].key;

		if (set->tags[way] == tag && its->src_lo == key->src_lo && its->rest == key->rest && its->src_hi == key->src_hi)
			break;
	}
	return way;
}

static bool
is_stale(const struct unknown_entry *e, uint64_t now)
{
	return now > e->last && now - e->last > UNKNOWN_STALE_NS;
}

/* The place for one that is new; UNKNOWN_WAYS: those that repeat have all of them. */
static unsigned
choose(struct unknown_set *set, const struct unknown_entry *entries, uint64_t now)
{
	unsigned way;

	for (unsigned i = 0; i < UNKNOWN_WAYS; i++) {
		way = (set->turn + i) % UNKNOWN_WAYS;
		if ((set->kept >> way & 1) == 0) {
			set->turn = way + 1;
			return way;
		}
	}
	/* One look for each that is new, so that a flood costs no more here than anywhere. */
	way = set->turn++ % UNKNOWN_WAYS;
	return is_stale(&entries[way], now) ? way : UNKNOWN_WAYS;
}

/* ---- writing an entry ---- */

/* A counter that nothing else is read with. */
static void
add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static void
count_others(struct fw_unknowns *u, uint64_t packets, uint64_t bytes)
{
	add(&u->others.packets, packets);
	add(&u->others.bytes, bytes);
}

/* `there`: bytes of UDP that the frame holds, its header among them. */
static void
put_payload(struct unknown_entry *e, const uint8_t *udp, uint32_t there)
{
	uint32_t length = get16(udp + UDP_LENGTH) - UDP_BYTES, kept = there - UDP_BYTES;
	uint64_t words[UNKNOWN_PAYLOAD_WORDS] = { 0 };

	memcpy(words, udp + UDP_BYTES, kept < FW_UNKNOWN_PAYLOAD ? kept : FW_UNKNOWN_PAYLOAD);
	for (unsigned i = 0; i < UNKNOWN_PAYLOAD_WORDS; i++)
		seqlock_put(&e->payload[i], words[i]);
	seqlock_put(&e->sent, (uint64_t)get16(udp) << 32 | length);
}

void
unknown_count(struct fw_unknowns *u, const struct fw_frame *frame, const struct fw_packet *p, uint64_t now)
{
	const struct fw_key key = { p->key.src_hi, p->key.src_lo, key_rest(0, key_dport(&p->key), 0, key_family(&p->key)) };
	uint32_t h = hash(u->seeds, &key), tag = h | 1;
	struct unknown_set *set = &u->sets[h & u->set_mask];
	struct unknown_entry *entries = &u->entries[(h & u->set_mask) * UNKNOWN_WAYS];
	unsigned way = find(set, entries, tag, &key);
	bool is_new = way == UNKNOWN_WAYS;
	struct unknown_entry *e;

	if (is_new)
		way = choose(set, entries, now);
	if (way == UNKNOWN_WAYS) {
		count_others(u, 1, frame->len);
		return;
	}
	e = &entries[way];
	seqlock_begin(&e->version);
	if (is_new) {
		count_others(u, e->packets, e->bytes);
		set->tags[way] = tag;
		set->kept &= ~(1U << way);
		seqlock_put(&e->key.src_hi, key.src_hi);
		seqlock_put(&e->key.src_lo, key.src_lo);
		seqlock_put(&e->key.rest, key.rest);
		seqlock_put(&e->first, now);
	} else {
		set->kept |= 1U << way;
	}
	seqlock_put(&e->packets, is_new ? 1 : e->packets + 1);
	seqlock_put(&e->bytes, is_new ? frame->len : e->bytes + frame->len);
	seqlock_put(&e->last, now);
	put_payload(e, frame->data + p->udp, packet_udp_bytes(p, frame->data));
	seqlock_end(&e->version);
}

/* ---- reading, from another thread ---- */

/* What the entry holds now, or, where it is being written meanwhile, anything. */
static void
copy_entry(const void *entry, void *copy)
{
	const struct unknown_entry *e = entry;
	struct fw_unknown *to = copy;
	const struct fw_key key = { seqlock_get(&e->key.src_hi), seqlock_get(&e->key.src_lo), seqlock_get(&e->key.rest) };
	uint64_t sent = seqlock_get(&e->sent), words[UNKNOWN_PAYLOAD_WORDS];

	*to = (struct fw_unknown){
		.family = key_family(&key),
		.port = key_dport(&key),
		.source_port = (uint16_t)(sent >> 32),
		.packets = seqlock_get(&e->packets),
		.bytes = seqlock_get(&e->bytes),
		.first = seqlock_get(&e->first),
		.last = seqlock_get(&e->last),
		.length = (uint32_t)sent,
	};
	put_address(to->address, key.src_hi, key.src_lo, to->family);
	for (unsigned i = 0; i < UNKNOWN_PAYLOAD_WORDS; i++)
		words[i] = seqlock_get(&e->payload[i]);
	memcpy(to->payload, words, sizeof to->payload);
}

/* False: there is nothing, or it was written at every look. */
static bool
read_entry(const struct unknown_entry *e, struct fw_unknown *to)
{
	return seqlock_get(&e->version) != 0 && seqlock_read(&e->version, copy_entry, e, to);
}

uint32_t
unknown_room(const struct fw_unknowns *u)
{
	return (u->set_mask + 1) * UNKNOWN_WAYS + 1;
}

uint32_t
unknown_read(const struct fw_unknowns *u, struct fw_unknown *list, uint32_t n)
{
	uint32_t places = unknown_room(u) - 1, filled = 0;

	if (n == 0)
		return 0;
	list[filled++] = (struct fw_unknown){
		.packets = __atomic_load_n(&u->others.packets, __ATOMIC_RELAXED),
		.bytes = __atomic_load_n(&u->others.bytes, __ATOMIC_RELAXED),
	};
	for (uint32_t i = 0; i < places && filled < n; i++)
		if (read_entry(&u->entries[i], &list[filled]))
			filled++;
	return filled;
}

/* ---- life ---- */

static void *
zeroed(size_t n, size_t bytes)
{
	void *p = aligned_alloc(FW_CACHE_LINE, n * bytes);

	if (p != NULL)
		memset(p, 0, n * bytes);
	return p;
}

bool
unknown_init(struct fw_unknowns *u, const struct fw_limits *limits)
{
	size_t sets = 1;

	_Static_assert(FW_UNKNOWN_PAYLOAD % 8 == 0, "a payload's beginning is written in words");
	while (sets * UNKNOWN_WAYS < limits->unknown)
		sets *= 2;
	u->set_mask = (uint32_t)sets - 1;
	u->seeds[0] = limits->seeds[0];
	u->seeds[1] = limits->seeds[1];
	u->sets = zeroed(sets, sizeof *u->sets);
	u->entries = zeroed(sets * UNKNOWN_WAYS, sizeof *u->entries);
	return u->sets != NULL && u->entries != NULL;
}

void
unknown_free(struct fw_unknowns *u)
{
	free(u->sets);
	free(u->entries);
}
