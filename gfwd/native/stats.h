/*
 * What a worker counts. One worker writes, anybody reads: a counter is one aligned 64-bit store, never torn, and a reader
 * is at most a burst behind. Both ledgers balance whenever the worker is between two bursts.
 */
#ifndef GFWD_STATS_H
#define GFWD_STATS_H

#include <stdbool.h>

#include "fw.h"

struct fw_stats {
	struct fw_frame_ledger frames;
	struct fw_work work;
	struct fw_copy_ledger *collectors;	/* by counter slot */
	struct fw_count *rules;			/* by counter slot */
	uint32_t n_collectors;
	uint32_t n_rules;
};

/* False: no memory. */
bool stats_init(struct fw_stats *, const struct fw_limits *);
void stats_free(struct fw_stats *);

static inline void
stats_count(struct fw_count *c, uint32_t bytes)
{
	c->packets++;
	c->bytes += bytes;
}

/* sum += stats, field by field */
void stats_add_frames(struct fw_frame_ledger *sum, const struct fw_stats *);
void stats_add_work(struct fw_work *sum, const struct fw_stats *);
void stats_add_collectors(struct fw_copy_ledger *sum, uint32_t n, const struct fw_stats *);
void stats_add_rules(struct fw_count *sum, uint32_t n, const struct fw_stats *);

#endif
