/*
 * A sequence lock: one thread writes a record, others copy it, and never hold the writer up (H.-J. Boehm, "Can seqlocks get
 * along with programming language memory models?", MSPC 2012). The record's version is odd while it is written. Its words are
 * stored behind a release fence and loaded with acquire: a reader that has met a word of a later writing sees that writing's
 * version too, on any CPU, and takes nothing of what it read.
 */
#ifndef GFWD_SEQLOCK_H
#define GFWD_SEQLOCK_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

/* A writer may be put to sleep by the kernel in the middle of it; a reader does not wait for that. */
#define SEQLOCK_TRIES 100

/* ---- who writes: one thread, which may read the record as any other memory ---- */

static inline void
seqlock_begin(uint64_t *version)
{
	__atomic_store_n(version, *version + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void
seqlock_put(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void
seqlock_end(uint64_t *version)
{
	__atomic_store_n(version, *version + 1, __ATOMIC_RELEASE);
}

/* ---- who reads ---- */

static inline uint64_t
seqlock_get(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* `copy` takes the words of the record to `to`, by seqlock_get(). False: it was being written at every look. */
static inline bool
seqlock_read(const uint64_t *version, void (*copy)(const void *record, void *to), const void *record, void *to)
{
	for (unsigned i = 0; i < SEQLOCK_TRIES; i++) {
		uint64_t before = seqlock_get(version);

		if (before % 2 == 0) {
			copy(record, to);
			if (__atomic_load_n(version, __ATOMIC_RELAXED) == before)
				return true;
		}
		sched_yield();
	}
	return false;
}

#endif
