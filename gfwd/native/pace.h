/*
 * So many a second, and no more: of an exporter, or to a collector.
 *
 * The generic cell rate algorithm (ITU-T I.371, annex A): one number says when the next one would come if they came evenly,
 * and who comes too long before that is turned away. So a limit is one word, whoever shares it.
 */
#ifndef GFWD_PACE_H
#define GFWD_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* They may come so much too early, one after the other: a tenth of a second's worth at once. */
#define PACE_EARLY_NS 100000000U

/* `due`: when the next one is, 0 at the start. Several workers may ask at a time. */
static inline bool
pace_allows(uint64_t *due, uint32_t ns, uint64_t now)
{
	uint64_t before = __atomic_load_n(due, __ATOMIC_RELAXED), from;

	do {
		from = before;
		/* Late, or so early as it can only be after the clock was set back. */
		if (from < now || from - now > 2 * ((uint64_t)PACE_EARLY_NS + ns))
			from = now;
		if (from - now > PACE_EARLY_NS)
			return false;
	} while (!__atomic_compare_exchange_n(due, &before, from + ns, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

#endif
