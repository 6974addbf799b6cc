#include <stdlib.h>

#include "stats.h"

bool
stats_init(struct fw_stats *s, const struct fw_limits *limits)
{
	s->n_collectors = limits->collectors;
	s->n_rules = limits->rules;
	s->collectors = calloc(s->n_collectors, sizeof *s->collectors);
	s->rules = calloc(s->n_rules, sizeof *s->rules);
	return s->collectors != NULL && s->rules != NULL;
}

void
stats_free(struct fw_stats *s)
{
	free(s->collectors);
	free(s->rules);
}

/* Ledgers are nothing but counters, so they add up as arrays. Relaxed loads: the worker may be running. */
static void
add(void *sum, const void *part, size_t bytes)
{
	uint64_t *to = sum;
	const uint64_t *from = part;

	for (size_t i = 0; i < bytes / sizeof *to; i++)
		to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void
stats_add_frames(struct fw_frame_ledger *sum, const struct fw_stats *s)
{
	add(sum, &s->frames, sizeof *sum);
}

void
stats_add_work(struct fw_work *sum, const struct fw_stats *s)
{
	add(sum, &s->work, sizeof *sum);
}

void
stats_add_collectors(struct fw_copy_ledger *sum, uint32_t n, const struct fw_stats *s)
{
	add(sum, s->collectors, (n < s->n_collectors ? n : s->n_collectors) * sizeof *sum);
}

void
stats_add_rules(struct fw_count *sum, uint32_t n, const struct fw_stats *s)
{
	add(sum, s->rules, (n < s->n_rules ? n : s->n_rules) * sizeof *sum);
}
