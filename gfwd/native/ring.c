#include <stdlib.h>
#include <string.h>

#include "ring.h"

/* One slot stays empty, so that head == tail means empty and nothing else. */

bool
ring_init(struct fw_ring *r, uint32_t n_slots, uint32_t frame_bytes)
{
	r->n_slots = n_slots + 1;
	r->slot_bytes = (uint32_t)(sizeof(struct fw_record) + frame_bytes + 7) & ~7U;
	r->slots = calloc(r->n_slots, r->slot_bytes);
	return r->slots != NULL;
}

void
ring_free(struct fw_ring *r)
{
	free(r->slots);
}

static uint32_t
next(const struct fw_ring *r, uint32_t i)
{
	return i + 1 == r->n_slots ? 0 : i + 1;
}

struct fw_record *
ring_prepare(struct fw_ring *r, const struct fw_record *head, const uint8_t *frame)
{
	uint8_t *slot = r->slots + (size_t)r->head * r->slot_bytes;

	if (next(r, r->head) == __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) ||
	    head->bytes > r->slot_bytes - sizeof *head)
		return NULL;
	memcpy(slot, head, sizeof *head);
	memcpy(slot + sizeof *head, frame, head->bytes);
	return (struct fw_record *)(void *)slot;
}

void
ring_hand_over(struct fw_ring *r)
{
	__atomic_store_n(&r->head, next(r, r->head), __ATOMIC_RELEASE);
}

bool
ring_put(struct fw_ring *r, const struct fw_record *head, const uint8_t *frame)
{
	if (ring_prepare(r, head, frame) == NULL)
		return false;
	ring_hand_over(r);
	return true;
}

const struct fw_record *
ring_peek(const struct fw_ring *r, const uint8_t **frame)
{
	const uint8_t *slot = r->slots + (size_t)r->tail * r->slot_bytes;

	if (r->tail == __atomic_load_n(&r->head, __ATOMIC_ACQUIRE))
		return NULL;
	*frame = slot + sizeof(struct fw_record);
	return (const struct fw_record *)(const void *)slot;
}

bool
ring_is_empty(const struct fw_ring *r)
{
	return r->head == __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
}

void
ring_pop(struct fw_ring *r)
{
	__atomic_store_n(&r->tail, next(r, r->tail), __ATOMIC_RELEASE);
}
