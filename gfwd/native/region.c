#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "region.h"

/* netmap keeps buffers 0 and 1 for itself; numbers here start where they start there. */
#define FIRST_BUFFER 2
#define INTERFACE_BYTES 1024
#define RINGS_PER_INTERFACE ((INTERFACE_BYTES - sizeof(struct netmap_if)) / sizeof(ssize_t))

static size_t
round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

struct fw_region *
region_new(unsigned rings, unsigned slots, unsigned buffer_bytes)
{
	struct fw_region *r;
	size_t rings_start;

	/* Slots carry 16-bit lengths; two slots are the least that a ring can work with. */
	if (rings < 1 || rings > 1024 || slots < 2 || slots > 65536 || buffer_bytes < 64 || buffer_bytes > 65536) {
		errno = EINVAL;
		return NULL;
	}
	r = calloc(1, sizeof *r);
	if (r == NULL)
		return NULL;
	r->rings = rings;
	r->slots = slots;
	r->buffer_bytes = (uint32_t)round_up(buffer_bytes, 64);
	r->n_buffers = FIRST_BUFFER + rings * (slots + FW_SPARES);
	r->ring_bytes = round_up(sizeof(struct netmap_ring) + slots * sizeof(struct netmap_slot), 4096);
	rings_start = round_up((size_t)rings * INTERFACE_BYTES, 4096);
	r->buffers = rings_start + rings * r->ring_bytes;
	r->bytes = r->buffers + (size_t)r->n_buffers * r->buffer_bytes;
	/* Pages come to be when they are touched, so a ring that is never full costs little. */
	r->memory = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->memory == MAP_FAILED) {
		free(r);
		return NULL;
	}
	return r;
}

void
region_free(struct fw_region *r)
{
	munmap(r->memory, r->bytes);
	free(r);
}

/* The kernel's fields are const for programs. Here we are the kernel, and write them once, before anybody reads. */
static void
set16(const uint16_t *field, uint16_t value)
{
	memcpy((void *)(uintptr_t)field, &value, sizeof value);
}

static void
set32(const uint32_t *field, uint32_t value)
{
	memcpy((void *)(uintptr_t)field, &value, sizeof value);
}

static void
set64(const void *field, int64_t value)
{
	memcpy((void *)(uintptr_t)field, &value, sizeof value);
}

static size_t
new_ring(struct fw_region *r, bool is_tx)
{
	size_t offset = r->buffers - (r->rings - r->rings_used) * r->ring_bytes;
	struct netmap_ring *ring = (struct netmap_ring *)(void *)(r->memory + offset);

	set64(&ring->buf_ofs, (int64_t)(r->buffers - offset));
	set32(&ring->num_slots, r->slots);
	set32(&ring->nr_buf_size, r->buffer_bytes);
	set16(&ring->ringid, (uint16_t)r->rings_used);
	set16(&ring->dir, is_tx ? 0 : 1);
	for (uint32_t i = 0; i < r->slots; i++)
		ring->slot[i].buf_idx = FIRST_BUFFER + r->rings_used * r->slots + i;
	/* A fresh TX ring is all free but one slot, a fresh RX ring is empty (netmap(4)). */
	ring->head = ring->cur = 0;
	ring->tail = is_tx ? r->slots - 1 : 0;
	r->rings_used++;
	return offset;
}

struct netmap_if *
region_interface(struct fw_region *r, unsigned tx_rings, unsigned rx_rings)
{
	size_t offset = (size_t)r->interfaces_used * INTERFACE_BYTES;
	struct netmap_if *nifp = (struct netmap_if *)(void *)(r->memory + offset);
	unsigned wanted = tx_rings + rx_rings;

	if (wanted < 1 || wanted > RINGS_PER_INTERFACE || wanted > r->rings - r->rings_used)
		return NULL;
	set32(&nifp->ni_tx_rings, tx_rings);
	set32(&nifp->ni_rx_rings, rx_rings);
	for (unsigned i = 0; i < wanted; i++)
		set64(&nifp->ring_ofs[i], (int64_t)(new_ring(r, i < tx_rings) - offset));
	r->interfaces_used++;
	return nifp;
}

void
region_give_spares(struct fw_region *r, struct fw_queue *q)
{
	r->spares_used += FW_SPARES;
	for (q->n_spares = 0; q->n_spares < FW_SPARES; q->n_spares++)
		q->spares[q->n_spares] = r->n_buffers - r->spares_used + q->n_spares;
}
