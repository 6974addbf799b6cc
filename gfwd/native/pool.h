/*
 * Entries of one size in memory that is touched only when needed: room for the worst there can be, of which next to nothing
 * is ever used.
 */
#ifndef GFWD_POOL_H
#define GFWD_POOL_H

#include <stdbool.h>

#include "fw.h"

struct fw_pool {
	uint8_t *entries;
	size_t bytes;			/* mapped */
	size_t entry_bytes;
	uint32_t n;
	uint32_t n_touched;		/* entries from here on were never used */
	uint32_t *free;			/* numbers of those that came back … */
	uint32_t n_free;		/* … and how many */
};

/* False: no memory. To be freed all the same. */
bool pool_init(struct fw_pool *, uint32_t n, size_t entry_bytes);
void pool_free(struct fw_pool *);

static inline void *
pool_entry(const struct fw_pool *p, uint32_t i)
{
	return p->entries + (size_t)i * p->entry_bytes;
}

/* The number of an entry, as whoever had it left it; FW_NONE: all are taken. */
static inline uint32_t
pool_take(struct fw_pool *p)
{
	if (p->n_free > 0)
		return p->free[--p->n_free];
	return p->n_touched < p->n ? p->n_touched++ : FW_NONE;
}

static inline void
pool_give(struct fw_pool *p, uint32_t i)
{
	p->free[p->n_free++] = i;
}

#endif
