/*
 * Datagrams that come back: two forwarders that send to each other, or a route that leads back.
 *
 * Whoever forwards lowers the TTL, so what comes back has another one than when it came first, and that of an exporter's
 * datagrams to a port hardly ever changes. So nothing is done for a datagram whose TTL is the usual one. Once there is
 * another, all datagrams of that exporter to that port are suspects for a while: a fingerprint of each is kept, and one that
 * was here within the last second, with another TTL, has come back.
 *
 * Where a forwarder writes a fixed TTL into what it sends, what comes back may have the same one each time: so one that was
 * here with the same TTL, again and again, has come back, too (LOOP_TIMES); and who writes TTLs looks at all.
 */
#ifndef GFWD_LOOP_H
#define GFWD_LOOP_H

#include <stdbool.h>

#include "parse.h"

/* So many datagrams with one and the same TTL, and none that comes back: no suspects any more. */
#define LOOP_CALM 4096U

/* Once in a second each, with one TTL: some exporters repeat themselves, but not as often as this. */
#define LOOP_TIMES 8U
#define LOOP_STEP_NS 0x10000U

/* The TTL that an exporter's datagrams to a port have. */
struct fw_habit {
	uint32_t tag;			/* of exporter and port; 0: never used */
	uint16_t suspects;		/* so many datagrams are still to be looked at */
	uint8_t ttl;
	uint8_t unused;
};

struct fw_print {
	uint64_t hash;			/* of what stays the same wherever a datagram is sent */
	uint64_t time;			/* ns since 1970 when it was here last, in steps of LOOP_STEP_NS … */
					/* … whose last two bytes are the TTL, and how often with that */
};

struct fw_loops {
	struct fw_habit *habits;
	struct fw_print *prints;
	uint64_t seed;
};

/* False: no memory. */
bool loop_init(struct fw_loops *, const struct fw_limits *);
void loop_free(struct fw_loops *);

/*
 * Asked where the TTL is not the usual one, or not known: is the datagram to be looked at? *before: the TTL that was usual
 * until now, if it is another one; else 0.
 */
bool loop_suspects(struct fw_loops *, const struct fw_key *, uint8_t *before);

/* A suspect has not been looked at, and will be asked for again. */
void loop_give_back(struct fw_loops *, const struct fw_key *);

/* Was this datagram here before, with another TTL, or with this one too often? Else it is remembered. */
bool loop_comes_back(struct fw_loops *, const struct fw_packet *, const uint8_t *frame, uint64_t now);

#endif
