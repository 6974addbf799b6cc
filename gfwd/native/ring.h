/*
 * A bounded ring of whole frames between one writer and one reader in two threads, without a lock: the punt and tap rings
 * (worker → Python) and the inject ring (Python → worker). A full ring refuses, and who writes counts that.
 */
#ifndef GFWD_RING_H
#define GFWD_RING_H

#include <stdbool.h>

#include "fw.h"

struct fw_ring {
	uint8_t *slots;
	uint32_t n_slots;
	uint32_t slot_bytes;		/* head and frame */
	_Alignas(FW_CACHE_LINE) uint32_t head;	/* the writer's: next slot to fill */
	_Alignas(FW_CACHE_LINE) uint32_t tail;	/* the reader's: next slot to take */
};

bool ring_init(struct fw_ring *, uint32_t n_slots, uint32_t frame_bytes);
void ring_free(struct fw_ring *);

/* False: full, or the frame is longer than a slot. */
bool ring_put(struct fw_ring *, const struct fw_record *head, const uint8_t *frame);
/* The same in two steps: nobody sees the record before it is handed over, and its head can still change. NULL: as above. */
struct fw_record *ring_prepare(struct fw_ring *, const struct fw_record *head, const uint8_t *frame);
void ring_hand_over(struct fw_ring *);
/* The oldest record and its frame, valid until ring_pop(); NULL: empty. */
const struct fw_record *ring_peek(const struct fw_ring *, const uint8_t **frame);
void ring_pop(struct fw_ring *);
/* For the writer: has the reader taken all? */
bool ring_is_empty(const struct fw_ring *);

#endif
