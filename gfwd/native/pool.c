#include <stdlib.h>
#include <sys/mman.h>

#include "pool.h"

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

bool
pool_init(struct fw_pool *p, uint32_t n, size_t entry_bytes)
{
	void *memory;

	p->n = n;
	p->entry_bytes = entry_bytes;
	p->bytes = n * entry_bytes;
	/* Nothing is set aside for it. */
	memory = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	p->entries = memory != MAP_FAILED ? memory : NULL;
	p->free = calloc(n, sizeof *p->free);
	return p->entries != NULL && p->free != NULL;
}

void
pool_free(struct fw_pool *p)
{
	if (p->entries != NULL)
		munmap(p->entries, p->bytes);
	free(p->free);
}
