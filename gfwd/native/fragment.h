/*
 * Datagrams that come in fragments (RFC 791 §3.2, RFC 8200 §4.5).
 *
 * Only the first fragment has ports. So the first is matched like any datagram, and what is decided for it is kept, by value:
 * the others follow it, whatever plan is in force by then. Those that come before it wait. Nothing is put together here; that
 * fragments overlap or are missing is the collector's to judge.
 *
 * All of it is bounded, in number and in time: where there is no more room, the oldest goes, and what waited for its first
 * fragment is lost.
 */
#ifndef GFWD_FRAGMENT_H
#define GFWD_FRAGMENT_H

#include "neigh.h"
#include "pool.h"
#include "stats.h"

/*
 * How long a datagram is followed. Routers send its fragments one after the other, so that milliseconds are long; and whoever
 * puts it together waits 15 s (RFC 791) or 60 s (RFC 8200) for hosts far away. It must be less than the 5 s for which a neighbour
 * is remembered that no rule leads to any more.
 */
#define FRAGMENT_NS 2000000000U

/* What the fragments of one datagram have in common. The protocol is UDP. */
struct fw_fragment_key {
	uint64_t src_hi;		/* addresses in host order; IPv4: 0 … */
	uint64_t src_lo;		/* … and the address */
	uint64_t dst_hi;
	uint64_t dst_lo;
	uint64_t rest;			/* identification and family */
};

/* A copy of the first fragment: everything needed to send the others after it. */
struct fw_fragment_copy {
	struct fw_plan_target target;
	struct fw_plan_option option;
	enum fw_fate fate;		/* neither sent nor waiting: the others will not be, either, for the same cause */
};

struct fw_datagram {
	struct fw_fragment_key key;
	uint64_t time;			/* ns since 1970: when it was seen first … */
	bool is_stamped;		/* … as the frame says; else the clock */
	bool is_decided;		/* its first fragment was here */
	uint32_t next;			/* in the bucket */
	uint32_t older;
	uint32_t newer;
	uint32_t first_waiting;		/* in the waiting room, in the order in which they came */
	uint32_t last_waiting;
	uint32_t n_waiting;
	/* What was decided. */
	enum fw_fate end;		/* where n_copies is 0: of all its fragments */
	uint32_t exporter;		/* FW_NONE: it is not ours, and passed */
	uint32_t n_copies;
	uint32_t n_counters;
	uint32_t counters[FW_TARGETS_MAX];	/* of the rules that apply; where these are more, of the best */
	struct fw_fragment_copy copies[FW_TARGETS_MAX];
};

struct fw_fragments {
	struct fw_pool datagrams;
	uint32_t *buckets;
	uint32_t bucket_mask;
	uint64_t seeds[2];
	uint32_t oldest;		/* FW_NONE: there is none */
	uint32_t newest;
	uint32_t n_waiting;		/* of all datagrams */
	uint32_t n_waiting_max;
	struct fw_waiting *room;	/* the worker's waiting room */
};

/* False: no memory. To be freed all the same. */
bool fragments_init(struct fw_fragments *, struct fw_waiting *room, const struct fw_limits *);
void fragments_free(struct fw_fragments *);

/* The datagram that a fragment is of, if something is known of it; NULL: nothing is, now. */
struct fw_datagram *fragments_find(struct fw_fragments *, const struct fw_frame *, const struct fw_packet *);
/* The same for a first fragment, as the newest and without a decision. */
struct fw_datagram *fragments_begin(struct fw_fragments *, struct fw_stats *, const struct fw_frame *, const struct fw_packet *,
    uint64_t now);
/* A later fragment waits for its first one; false: it is too long for that, and lost. */
bool fragments_wait(struct fw_fragments *, struct fw_stats *, uint32_t in_port, const struct fw_frame *, const struct fw_packet *,
    uint64_t now);
/* Takes the next one that waits: its number in the waiting room, FW_NONE: none does. It is the caller's to let go. */
uint32_t fragments_take(struct fw_fragments *, struct fw_datagram *);

/* What is too old is not followed any more. */
void fragments_expire(struct fw_fragments *, struct fw_stats *, uint64_t now);
/* The same, where no frame says what time it is. Returns how many fragments are lost. */
uint32_t fragments_expire_idle(struct fw_fragments *, struct fw_stats *);
/* Nothing will come any more: what waits is lost. */
void fragments_give_up(struct fw_fragments *, struct fw_stats *);

#endif
