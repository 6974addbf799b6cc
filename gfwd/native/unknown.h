/*
 * Who sends datagrams of ours that no rule wants, and what: a bounded table of each worker, by (source address, destination
 * port), fed where a frame ends as no_rule. A datagram that has a rule pays for none of it.
 *
 * Anybody can send from any number of addresses, so the table is made to be full. Those that repeat must outlast those that
 * are never seen again, as in match.c's cache, but with two differences, since here nobody looks up again what was forgotten:
 * the count of who is pushed out is lost to it.
 *
 * - A set has UNKNOWN_WAYS places, not four. Of a thousand places in sets of four, three of each kept, two hundred that repeat
 *   have more than is kept of some set in nine cases of ten; in sets of sixteen, in two or three of a million.
 * - A source that has come twice keeps its place; whoever is new takes that of one that has come once, in turn. So a source
 *   has the time in which all those places are taken once to come again, not only that of a single one. Only who has not come
 *   for UNKNOWN_STALE_NS gives a place up that it had kept, or two datagrams would keep it for ever.
 *
 * What leaves the table, and what found no place, is added up: the table and `others` together are always all of no_rule.
 */
#ifndef GFWD_UNKNOWN_H
#define GFWD_UNKNOWN_H

#include "parse.h"

#define UNKNOWN_WAYS 16U
#define UNKNOWN_STALE_NS (UINT64_C(15) * 60 * 1000000000)
#define UNKNOWN_PAYLOAD_WORDS (FW_UNKNOWN_PAYLOAD / 8)

/* The worker writes it, others read it: see seqlock.h. */
struct unknown_entry {
	_Alignas(FW_CACHE_LINE) uint64_t version;	/* 0: never used */
	struct fw_key key;		/* its generation and TTL are 0 */
	uint64_t packets;
	uint64_t bytes;
	uint64_t first;
	uint64_t last;
	uint64_t sent;			/* of the last datagram: UDP source port << 32 | bytes of payload */
	uint64_t payload[UNKNOWN_PAYLOAD_WORDS];	/* as it lies in the frame */
};

/* What the worker alone looks at to find a place. */
struct unknown_set {
	_Alignas(FW_CACHE_LINE) uint32_t tags[UNKNOWN_WAYS];	/* hash of the key, never 0; 0: free */
	uint32_t kept;			/* a bit for each place: has come more than once */
	uint32_t turn;			/* where the next that is new looks first */
};

struct fw_unknowns {
	struct unknown_set *sets;
	struct unknown_entry *entries;	/* UNKNOWN_WAYS a set */
	uint32_t set_mask;		/* number of sets - 1 */
	uint64_t seeds[2];
	struct fw_count others;		/* that have, or keep, no place */
};

/* False: no memory. */
bool unknown_init(struct fw_unknowns *, const struct fw_limits *);
void unknown_free(struct fw_unknowns *);

/* A datagram that ends as no_rule: its frame as it came, where its headers lie, and when it came, ns since 1970. */
void unknown_count(struct fw_unknowns *, const struct fw_frame *, const struct fw_packet *, uint64_t now);

/* So many entries are enough for unknown_read(). */
uint32_t unknown_room(const struct fw_unknowns *);
/* Fills at most n, `others` (family 0) first; returns how many. One that is written all the time is left out. */
uint32_t unknown_read(const struct fw_unknowns *, struct fw_unknown *list, uint32_t n);

#endif
