/*
 * What a worker has for everything behind match.
 */
#ifndef GFWD_TRANSMITTER_H
#define GFWD_TRANSMITTER_H

#include "clock.h"
#include "egress.h"
#include "fragment.h"
#include "match.h"
#include "neigh.h"
#include "ring.h"
#include "stats.h"
#include "unknown.h"

struct fw_transmitter {
	const uint64_t *neighbours;	/* the core's slots */
	uint64_t *collector_paces;	/* the core's, by counter slot: see pace.h */
	struct fw_matcher *matcher;	/* what is known of exporters */
	struct fw_unknowns *unknown;	/* the worker's */
	struct fw_egress *egress[FW_PORTS_MAX];	/* by port number; NULL: this worker has no TX queue there */
	uint32_t n_ports;
	struct fw_waiting waiting;
	struct fw_fragments fragments;
	struct fw_ring punt;
	int punt_bell;			/* a byte is written here when the punt ring is no longer empty */
	struct fw_ring tap;
	/* Of those who look, by number: whose turn it is, what they get, and who has lost some since the last record. */
	uint32_t tap_turns[FW_TAPS_MAX];
	struct fw_tap_count taps[FW_TAPS_MAX];
	uint32_t tap_gaps;
	uint32_t *turns;		/* of groups that take turns, by number */
	uint64_t chance;		/* state of sample_takes() */
	uint32_t first_ident;		/* see struct fw_egress */
	struct fw_clock clock;
};

#endif
