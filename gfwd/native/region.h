/*
 * A memory region in ordinary memory, laid out as netmap lays out its own: interfaces (netmap_if), which name rings
 * (netmap_ring), whose slots name buffers by number. Ports that live in one region exchange buffers; the numbers mean
 * nothing in another one.
 */
#ifndef GFWD_REGION_H
#define GFWD_REGION_H

#include <net/netmap_user.h>

#include "port.h"

struct fw_region {
	struct fw_region *next;		/* the core's list */
	uint8_t *memory;		/* interfaces, then rings, then buffers */
	size_t bytes;
	size_t ring_bytes;		/* distance between two rings */
	size_t buffers;			/* offset of buffer 0 */
	uint32_t interfaces_used;
	uint32_t rings;
	uint32_t rings_used;
	uint32_t slots;			/* of each ring */
	uint32_t buffer_bytes;
	uint32_t n_buffers;		/* their numbers are below this */
	uint32_t spares_used;		/* buffers given away that are in no ring, from the end of the numbers down */
};

/* Returns NULL with errno set. */
struct fw_region *region_new(unsigned rings, unsigned slots, unsigned buffer_bytes);
void region_free(struct fw_region *);

/* A new interface with rings and buffers of its own; NULL: no rings are left for it. */
struct netmap_if *region_interface(struct fw_region *, unsigned tx_rings, unsigned rx_rings);

/* FW_SPARES buffers that are in no ring. There are as many times that as there are rings. */
void region_give_spares(struct fw_region *, struct fw_queue *);

#endif
