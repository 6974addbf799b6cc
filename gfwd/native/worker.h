/*
 * A worker: one thread, its RX and TX rings, and everything that it alone writes.
 */
#ifndef GFWD_WORKER_H
#define GFWD_WORKER_H

#include "streams.h"
#include "transmit.h"

struct fw_worker {
	struct fw_worker *next;		/* the core's list */
	struct fw_core *core;
	/* The core's, read at every round. */
	struct fw_plan *const *published;
	/* The plan that this worker reads now; NULL: none, it sleeps. Whoever frees a plan looks here first. */
	_Alignas(FW_CACHE_LINE) struct fw_plan *reading;
	uint64_t rounds;		/* begun; others read it */
	uint32_t generation;		/* of the plan read last */
	bool stopping;
	struct fw_queue *blocked_by;	/* in the last round, frames stayed where they came in: no room here; NULL: none did */
	int wake[2];			/* a pipe: a byte in it ends a sleep */
	int bell[2];			/* a pipe: a byte in it tells Python of punted frames */

	_Alignas(FW_CACHE_LINE) struct fw_matcher matcher;
	struct fw_transmitter tx;
	struct fw_stats stats;
	struct fw_unknowns unknown;
	struct fw_streams streams;
	struct fw_ring inject;
	struct fw_queue *rx[FW_PORTS_MAX];
	unsigned n_rx;
};

/* NULL: no memory. */
struct fw_worker *worker_new(struct fw_core *, struct fw_plan *const *published, const uint64_t *neighbours, uint64_t *collector_paces,
    const struct fw_limits *);
void worker_free(struct fw_worker *);

bool worker_add_rx(struct fw_worker *, struct fw_queue *);
bool worker_add_tx(struct fw_worker *, struct fw_queue *);

/* Is this plan still in a worker's hands? */
bool worker_reads(const struct fw_worker *, const struct fw_plan *);

#endif
