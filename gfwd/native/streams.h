/*
 * The sequence numbers of all exporters, on the ports that ask for it: one sequence for each exporter, source port and
 * domain, in a bounded table of each worker. So what never reached gfwd is known without a look at any record.
 *
 * Only the header is read, of NetFlow v5, v7, v9 and sFlow v5. IPFIX counts data records, and only who keeps its templates
 * can count those: its datagrams are copied into a ring for Python. gfwd/netflow/streams.py is the same table, for captures.
 *
 * Anybody can make up streams. When the table is full, a stream that is new takes the place of one that has been silent for
 * STREAM_STALE_NS, if the one that it looks at is; else it is counted, and not followed. What was found out about those that
 * are gone is added up.
 */
#ifndef GFWD_STREAMS_H
#define GFWD_STREAMS_H

#include "clock.h"
#include "exported.h"
#include "ring.h"
#include "sequence.h"

#define STREAM_STALE_NS (UINT64_C(15) * 60 * 1000000000)

/* A datagram in order touches a pair of lines: who it is, and the beginning of the first way. */
struct stream {
	_Alignas(FW_CACHE_LINE) uint64_t version;	/* seqlock.h: odd while it becomes another's; findings go on without */
	struct stream_key key;
	uint64_t last;			/* ns since 1970 */
	uint8_t way;			/* by which it counts, as far as is known */
	bool is_sure;			/* then no other is tried any more */
	uint32_t epoch;			/* of its last datagram: see streams_take_up() */
	_Alignas(FW_CACHE_LINE / 2) struct fw_sequence ways[STREAM_WAYS];
	uint64_t first;
};

struct fw_streams {
	struct stream *streams;		/* in the order in which they were first seen */
	uint32_t n;
	uint32_t max;
	uint32_t turn;			/* which one the next that finds no room looks at */
	uint32_t *latest;		/* the stream of an exporter's last datagram, by the exporter's number: it mostly has one */
	uint32_t *index;		/* hash → number + 1; 0: free */
	uint32_t index_mask;
	uint64_t seeds[2];
	struct fw_findings gone;	/* of those that gave up their places */
	struct fw_clock clock;		/* of this burst */
	struct fw_ring ipfix;
	uint32_t ipfix_interruption;	/* goes up, modulo 2^32, where some are not handed out there */
	uint32_t epoch;
	uint32_t ports[65536 / 32];	/* ours, and followed: a bit for each */
};

/* False: no memory. */
bool streams_init(struct fw_streams *, const struct fw_limits *);
void streams_free(struct fw_streams *);

/*
 * Another plan. Where it follows ports that the one before did not, datagrams may have come there meanwhile that nobody has
 * followed. A stream may change its port, so of all it is unknown what is missing before their next datagrams.
 */
void streams_take_up(struct fw_streams *, const struct fw_plan *);

/*
 * Datagrams of ours, whatever becomes of them. The first `left` have been followed before: they stayed where they came in,
 * and were handed out again.
 */
void streams_follow(struct fw_streams *, const struct fw_plan *, struct fw_work *, const struct fw_queue *in,
    const struct fw_frame *, const struct fw_packet *, unsigned left, unsigned n);

/* So many entries are enough for streams_read(). */
uint32_t streams_room(const struct fw_streams *);
/* Fills at most n, those that are gone (family 0) first; returns how many. */
uint32_t streams_read(const struct fw_streams *, struct fw_stream *list, uint32_t n);

#endif
