#include <stdlib.h>

#include "port_mem.h"
#include "nmring.h"

/*
 * `released` is where the worker's head stood at the last sync, `card` the slot that the card will use next. Each is
 * written by one side; the release and acquire pairs hand over the slots in between, and their buffers.
 */
struct mem_ring {
	struct fw_nmring nm;		/* first: a struct fw_nmring * is also a struct mem_ring * */
	uint64_t *times;		/* an RX ring's, by slot; the worker looks at them once one frame had a time */
	_Alignas(FW_CACHE_LINE) uint32_t released;
	_Alignas(FW_CACHE_LINE) uint32_t card;
};

struct mem_port {
	struct fw_port port;
	unsigned n_rings;
	struct mem_ring *rx;
	struct mem_ring *tx;
};

/* ---- the card's side of a sync, in the worker's thread ---- */

static void
sync_rx(struct fw_nmring *nm)
{
	struct mem_ring *r = (struct mem_ring *)nm;

	__atomic_store_n(&r->released, nm->ring->head, __ATOMIC_RELEASE);
	nm->ring->tail = __atomic_load_n(&r->card, __ATOMIC_ACQUIRE);
}

static void
sync_tx(struct fw_nmring *nm)
{
	struct mem_ring *r = (struct mem_ring *)nm;
	uint32_t card;

	__atomic_store_n(&r->released, nm->ring->head, __ATOMIC_RELEASE);
	card = __atomic_load_n(&r->card, __ATOMIC_ACQUIRE);
	nm->ring->tail = card == 0 ? nm->ring->num_slots - 1 : card - 1;
}

/* ---- the wire ---- */

bool
port_mem_arrive(struct fw_port *port, unsigned ring, const uint8_t *frame, uint32_t bytes, uint64_t time)
{
	struct mem_ring *r = &((struct mem_port *)port)->rx[ring];
	struct netmap_ring *nmr = r->nm.ring;
	uint32_t next = nm_ring_next(nmr, r->card);
	struct netmap_slot *slot = &nmr->slot[r->card];

	if (next == __atomic_load_n(&r->released, __ATOMIC_ACQUIRE) ||
	    bytes > r->nm.queue.frame_max)
		return false;
	memcpy(NETMAP_BUF(nmr, slot->buf_idx), frame, bytes);
	slot->len = (uint16_t)bytes;
	slot->flags = 0;
	r->times[r->card] = time;
	if (time != 0)
		__atomic_store_n(&r->nm.times, r->times, __ATOMIC_RELEASE);
	__atomic_store_n(&r->card, next, __ATOMIC_RELEASE);
	return true;
}

int
port_mem_leave(struct fw_port *port, unsigned ring, uint8_t *frame, uint32_t room)
{
	struct mem_ring *r = &((struct mem_port *)port)->tx[ring];
	struct netmap_ring *nmr = r->nm.ring;
	const struct netmap_slot *slot = &nmr->slot[r->card];
	uint32_t bytes;

	if (r->card == __atomic_load_n(&r->released, __ATOMIC_ACQUIRE))
		return -1;
	bytes = slot->len;
	memcpy(frame, NETMAP_BUF(nmr, slot->buf_idx), bytes < room ? bytes : room);
	__atomic_store_n(&r->card, nm_ring_next(nmr, r->card), __ATOMIC_RELEASE);
	return (int)bytes;
}

unsigned
port_mem_discard(struct fw_port *port, unsigned ring)
{
	struct mem_ring *r = &((struct mem_port *)port)->tx[ring];
	uint32_t released = __atomic_load_n(&r->released, __ATOMIC_ACQUIRE);
	uint32_t slots = r->nm.ring->num_slots;
	uint32_t n = (released + slots - r->card) % slots;

	__atomic_store_n(&r->card, released, __ATOMIC_RELEASE);
	return n;
}

/* ---- life ---- */

static struct fw_queue *
mem_rx_queue(struct fw_port *port, unsigned ring)
{
	struct mem_port *p = (struct mem_port *)port;

	return ring < p->n_rings ? &p->rx[ring].nm.queue : NULL;
}

static struct fw_queue *
mem_tx_queue(struct fw_port *port, unsigned ring)
{
	struct mem_port *p = (struct mem_port *)port;

	return ring < p->n_rings ? &p->tx[ring].nm.queue : NULL;
}

static int
mem_close(struct fw_port *port)
{
	(void)port;
	return 0;
}

static void
mem_free(struct fw_port *port)
{
	struct mem_port *p = (struct mem_port *)port;

	for (unsigned i = 0; i < p->n_rings; i++)
		free(p->rx[i].times);
	free(p->rx);
	free(p->tx);
	free(p);
}

static const struct fw_port_ops mem_ops = {
	.rx_queue = mem_rx_queue,
	.tx_queue = mem_tx_queue,
	.close = mem_close,
	.free = mem_free,
};

static struct mem_ring *
rings_new(unsigned n)
{
	size_t bytes = n * sizeof(struct mem_ring);
	struct mem_ring *rings = aligned_alloc(FW_CACHE_LINE, bytes);

	if (rings != NULL)
		memset(rings, 0, bytes);
	return rings;
}

static bool
times_new(struct mem_port *p, unsigned n, unsigned slots)
{
	for (; p->n_rings < n; p->n_rings++) {
		p->rx[p->n_rings].times = calloc(slots, sizeof *p->rx->times);
		if (p->rx[p->n_rings].times == NULL)
			return false;
	}
	return true;
}

bool
port_mem_has_ring(const struct fw_port *port, unsigned ring)
{
	return port->ops == &mem_ops && ring < ((const struct mem_port *)port)->n_rings;
}

struct fw_port *
port_mem_new(struct fw_region *region, uint32_t number, unsigned ring_pairs)
{
	struct mem_port *p = calloc(1, sizeof *p);
	struct netmap_if *nifp;

	if (p == NULL)
		return NULL;
	p->port.ops = &mem_ops;
	p->port.number = number;
	nifp = region_interface(region, ring_pairs, ring_pairs);
	if (nifp != NULL) {
		p->rx = rings_new(ring_pairs);
		p->tx = rings_new(ring_pairs);
	}
	if (nifp == NULL || p->rx == NULL || p->tx == NULL || !times_new(p, ring_pairs, region->slots)) {
		mem_free(&p->port);
		return NULL;
	}
	for (unsigned i = 0; i < ring_pairs; i++) {
		nmring_init(&p->rx[i].nm, NETMAP_RXRING(nifp, i), region->n_buffers, number, sync_rx);
		nmring_init(&p->tx[i].nm, NETMAP_TXRING(nifp, i), region->n_buffers, number, sync_tx);
		region_give_spares(region, &p->tx[i].nm.queue);
	}
	return &p->port;
}
