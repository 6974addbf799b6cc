#include <stdlib.h>

#include "bytes.h"
#include "clock.h"
#include "fragment.h"

/* ---- the table ---- */

static struct fw_datagram *
datagram_at(const struct fw_fragments *f, uint32_t number)
{
	return pool_entry(&f->datagrams, number);
}

static struct fw_fragment_key
key_of(const struct fw_frame *frame, const struct fw_packet *p)
{
	const uint8_t *ip = frame->data + p->ip;
	struct fw_fragment_key key = { .src_hi = p->key.src_hi, .src_lo = p->key.src_lo };

	if (key_family(&p->key) == 4) {
		key.dst_lo = get32(ip + 16);
	} else {
		key.dst_hi = get64(ip + 24);
		key.dst_lo = get64(ip + 32);
	}
	key.rest = (uint64_t)p->ident << 8 | key_family(&p->key);
	return key;
}

static bool
is_key(const struct fw_fragment_key *a, const struct fw_fragment_key *b)
{
	return a->src_lo == b->src_lo && a->dst_lo == b->dst_lo && a->rest == b->rest && a->src_hi == b->src_hi &&
	    a->dst_hi == b->dst_hi;
}

static inline uint64_t
fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

/* Products of which outsiders know neither factor, as in match.c: they cannot choose identifications that meet. */
static uint32_t *
bucket_of(const struct fw_fragments *f, const struct fw_fragment_key *key)
{
	uint64_t src = fold(key->src_lo ^ f->seeds[0], key->src_hi ^ f->seeds[1]);
	uint64_t dst = fold(key->dst_lo ^ f->seeds[1], key->dst_hi ^ f->seeds[0]);

	return &f->buckets[fold(src ^ key->rest ^ f->seeds[0], dst ^ f->seeds[1]) & f->bucket_mask];
}

/* Where its number stands: in the bucket, or in the one before it there. FW_NONE stands there: it is not known. */
static uint32_t *
place_of(const struct fw_fragments *f, const struct fw_fragment_key *key)
{
	uint32_t *at = bucket_of(f, key);

	while (*at != FW_NONE && !is_key(&datagram_at(f, *at)->key, key))
		at = &datagram_at(f, *at)->next;
	return at;
}

struct fw_datagram *
fragments_find(struct fw_fragments *f, const struct fw_frame *frame, const struct fw_packet *p)
{
	struct fw_fragment_key key = key_of(frame, p);
	uint32_t number = *place_of(f, &key);

	return number == FW_NONE ? NULL : datagram_at(f, number);
}

/* ---- from the oldest to the newest ---- */

static void
link_as_newest(struct fw_fragments *f, uint32_t number)
{
	struct fw_datagram *d = datagram_at(f, number);

	d->newer = FW_NONE;
	d->older = f->newest;
	if (f->newest != FW_NONE)
		datagram_at(f, f->newest)->newer = number;
	else
		f->oldest = number;
	f->newest = number;
}

static void
unlink_from_age(struct fw_fragments *f, const struct fw_datagram *d)
{
	if (d->older != FW_NONE)
		datagram_at(f, d->older)->newer = d->newer;
	else
		f->oldest = d->newer;
	if (d->newer != FW_NONE)
		datagram_at(f, d->newer)->older = d->older;
	else
		f->newest = d->older;
}

/* What waited for its first fragment will not get it. */
static void
lose_waiting(struct fw_fragments *f, struct fw_stats *stats, struct fw_datagram *d)
{
	uint32_t number;

	while ((number = fragments_take(f, d)) != FW_NONE) {
		stats->frames.pending--;
		stats->frames.drops[FW_DROP_FRAGMENT_LOST]++;
		waiting_let_go(f->room, number);
	}
}

static void
forget_oldest(struct fw_fragments *f, struct fw_stats *stats)
{
	uint32_t number = f->oldest;
	struct fw_datagram *d = datagram_at(f, number);

	lose_waiting(f, stats, d);
	unlink_from_age(f, d);
	*place_of(f, &d->key) = d->next;
	pool_give(&f->datagrams, number);
}

static struct fw_datagram *
add(struct fw_fragments *f, struct fw_stats *stats, const struct fw_fragment_key *key)
{
	uint32_t number = pool_take(&f->datagrams), *place;
	struct fw_datagram *d;

	if (number == FW_NONE) {
		forget_oldest(f, stats);
		number = pool_take(&f->datagrams);
	}
	d = datagram_at(f, number);
	d->key = *key;
	d->n_waiting = 0;
	d->first_waiting = FW_NONE;
	place = bucket_of(f, key);
	d->next = *place;
	*place = number;
	link_as_newest(f, number);
	return d;
}

static void
begin_now(struct fw_datagram *d, const struct fw_frame *frame, uint64_t now)
{
	d->time = now;
	d->is_stamped = frame->time != 0;
	d->is_decided = false;
	d->n_copies = d->n_counters = 0;
}

/*
 * Whatever was decided before, for a datagram with the same identification or for this one, is decided anew: a first
 * fragment that comes again may be in a loop, and identifications come again, too.
 */
struct fw_datagram *
fragments_begin(struct fw_fragments *f, struct fw_stats *stats, const struct fw_frame *frame, const struct fw_packet *p,
    uint64_t now)
{
	struct fw_fragment_key key = key_of(frame, p);
	uint32_t number = *place_of(f, &key);
	struct fw_datagram *d;

	if (number == FW_NONE) {
		d = add(f, stats, &key);
	} else {
		d = datagram_at(f, number);
		unlink_from_age(f, d);
		link_as_newest(f, number);
	}
	begin_now(d, frame, now);
	return d;
}

/* ---- those that wait ---- */

bool
fragments_wait(struct fw_fragments *f, struct fw_stats *stats, uint32_t in_port, const struct fw_frame *frame,
    const struct fw_packet *p, uint64_t now)
{
	struct fw_fragment_key key = key_of(frame, p);
	uint32_t kept, number;
	struct fw_datagram *d;

	/* Nobody is to give way to one that cannot wait. */
	if (frame->len > f->room->frame_bytes)
		return false;
	/* Then there is room for it, too. */
	while (f->n_waiting == f->n_waiting_max)
		forget_oldest(f, stats);
	kept = waiting_keep(f->room, in_port, frame, p);
	if (kept == FW_NONE)
		return false;
	number = *place_of(f, &key);
	if (number == FW_NONE) {
		d = add(f, stats, &key);
		begin_now(d, frame, now);
	} else {
		d = datagram_at(f, number);
	}
	if (d->n_waiting == 0)
		d->first_waiting = kept;
	else
		waiting_frame(f->room, d->last_waiting)->next = kept;
	d->last_waiting = kept;
	d->n_waiting++;
	f->n_waiting++;
	stats->frames.pending++;
	return true;
}

uint32_t
fragments_take(struct fw_fragments *f, struct fw_datagram *d)
{
	uint32_t number = d->first_waiting;

	if (d->n_waiting == 0)
		return FW_NONE;
	d->first_waiting = waiting_frame(f->room, number)->next;
	d->n_waiting--;
	f->n_waiting--;
	return number;
}

/* ---- time ---- */

/* Also where it comes from the future: the clock was set back. */
static bool
is_too_old(const struct fw_datagram *d, uint64_t now)
{
	return now - d->time + FRAGMENT_NS > 2 * (uint64_t)FRAGMENT_NS;
}

void
fragments_expire(struct fw_fragments *f, struct fw_stats *stats, uint64_t now)
{
	while (f->oldest != FW_NONE && is_too_old(datagram_at(f, f->oldest), now))
		forget_oldest(f, stats);
}

/* Where frames are stamped, their stamps are the time, and it stands still when none comes. */
uint32_t
fragments_expire_idle(struct fw_fragments *f, struct fw_stats *stats)
{
	static const struct fw_frame unstamped = { .time = 0 };
	struct fw_clock clock = { 0 };
	uint32_t before = f->n_waiting;

	if (f->oldest != FW_NONE && !datagram_at(f, f->oldest)->is_stamped)
		fragments_expire(f, stats, clock_of(&clock, &unstamped));
	return before - f->n_waiting;
}

void
fragments_give_up(struct fw_fragments *f, struct fw_stats *stats)
{
	for (uint32_t number = f->oldest; number != FW_NONE; number = datagram_at(f, number)->newer)
		lose_waiting(f, stats, datagram_at(f, number));
}

/* ---- life ---- */

bool
fragments_init(struct fw_fragments *f, struct fw_waiting *room, const struct fw_limits *limits)
{
	uint32_t buckets = 1;

	while (buckets < limits->fragments)
		buckets *= 2;
	f->room = room;
	f->n_waiting_max = limits->fragments;
	f->bucket_mask = buckets - 1;
	f->seeds[0] = limits->seeds[0];
	f->seeds[1] = limits->seeds[1];
	f->oldest = f->newest = FW_NONE;
	f->buckets = malloc(buckets * sizeof *f->buckets);
	if (f->buckets == NULL)
		return false;
	memset(f->buckets, 0xff, buckets * sizeof *f->buckets);	/* FW_NONE */
	return pool_init(&f->datagrams, limits->fragments, sizeof(struct fw_datagram));
}

void
fragments_free(struct fw_fragments *f)
{
	free(f->buckets);
	pool_free(&f->datagrams);
}
