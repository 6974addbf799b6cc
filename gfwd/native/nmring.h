/*
 * The port contract on a netmap ring. Memory, capture-file and netmap ports differ only in what `sync` does:
 * exchange the ring's state with whoever plays the card.
 */
#ifndef GFWD_NMRING_H
#define GFWD_NMRING_H

#include <net/netmap_user.h>

#include "port.h"

struct fw_nmring {
	struct fw_queue queue;
	struct netmap_ring *ring;
	uint32_t n_buffers;		/* a slot that names a higher number is not believed */
	uint64_t *times;		/* per slot, ns since 1970; NULL: this port does not stamp */
	bool is_broken;			/* what the ring says is not believed any more: no frames, no room */
	bool is_continued;		/* RX: the slot before the next one was not the last of its frame */
	/* Gives the slots before ring->head to the card, and takes what it has ready: moves ring->tail. */
	void (*sync)(struct fw_nmring *);
};

/* Slots, buffers and their size are the ring's. A TX queue is to get its spares besides. */
void nmring_init(struct fw_nmring *, struct netmap_ring *, uint32_t n_buffers, uint32_t port,
    void (*sync)(struct fw_nmring *));

#endif
