#include "nmring.h"

/* A slot's buffer and length are only taken over when both lie inside the region. */
static inline bool
slot_is_sound(const struct fw_nmring *r, const struct netmap_slot *slot)
{
	return slot->buf_idx < r->n_buffers && slot->len <= r->queue.buffer_bytes && !(slot->flags & NS_MOREFRAG);
}

/* How many slots are ours, up to max; the card is asked only when fewer than `enough` are. */
static unsigned
ring_space(struct fw_nmring *r, unsigned enough, unsigned max)
{
	unsigned n = nm_ring_space(r->ring);

	if (n < enough) {
		r->sync(r);
		n = nm_ring_space(r->ring);
	}
	return n < max ? n : max;
}

static unsigned
nmring_rx(struct fw_queue *q, struct fw_frame *frames, unsigned max)
{
	struct fw_nmring *r = (struct fw_nmring *)q;
	struct netmap_ring *ring = r->ring;
	unsigned n = ring_space(r, 1, max);
	uint32_t s = ring->head;

	for (unsigned i = 0; i < n; i++) {
		const struct netmap_slot *slot = &ring->slot[s];
		struct fw_frame *f = &frames[i];

		f->buf = slot->buf_idx;
		f->data = (uint8_t *)NETMAP_BUF(ring, f->buf);
		f->len = slot->len;
		f->time = r->times != NULL ? r->times[s] : 0;
		if (unlikely(!slot_is_sound(r, slot)))
			f->len = FW_FRAME_TOO_BIG;
		else
			__builtin_prefetch(f->data);
		s = nm_ring_next(ring, s);
	}
	return n;
}

/* Puts an exchanged buffer into a slot. */
static inline void
set_buffer(struct netmap_slot *slot, uint32_t buf)
{
	if (slot->buf_idx != buf) {
		slot->buf_idx = buf;
		slot->flags = NS_BUF_CHANGED;
	}
}

static void
nmring_rx_done(struct fw_queue *q, const struct fw_frame *frames, unsigned n)
{
	struct netmap_ring *ring = ((struct fw_nmring *)q)->ring;
	uint32_t s = ring->head;

	for (unsigned i = 0; i < n; i++) {
		set_buffer(&ring->slot[s], frames[i].buf);
		s = nm_ring_next(ring, s);
	}
	ring->head = ring->cur = s;
}

static unsigned
nmring_tx(struct fw_queue *q, struct fw_frame *places, unsigned max)
{
	struct fw_nmring *r = (struct fw_nmring *)q;
	struct netmap_ring *ring = r->ring;
	unsigned n = ring_space(r, max, max);
	uint32_t s = ring->head;

	for (unsigned i = 0; i < n; i++) {
		places[i].buf = ring->slot[s].buf_idx;
		places[i].data = (uint8_t *)NETMAP_BUF(ring, places[i].buf);
		s = nm_ring_next(ring, s);
	}
	return n;
}

static void
nmring_tx_done(struct fw_queue *q, const struct fw_frame *places, unsigned n)
{
	struct fw_nmring *r = (struct fw_nmring *)q;
	struct netmap_ring *ring = r->ring;
	uint32_t s = ring->head;

	for (unsigned i = 0; i < n; i++) {
		struct netmap_slot *slot = &ring->slot[s];

		slot->flags = 0;
		set_buffer(slot, places[i].buf);
		slot->len = (uint16_t)places[i].len;
		if (r->times != NULL)
			r->times[s] = places[i].time;
		s = nm_ring_next(ring, s);
	}
	ring->head = ring->cur = s;
}

static void
nmring_flush(struct fw_queue *q)
{
	struct fw_nmring *r = (struct fw_nmring *)q;

	r->sync(r);
}

const struct fw_queue_ops nmring_ops = {
	.rx = nmring_rx,
	.rx_done = nmring_rx_done,
	.tx = nmring_tx,
	.tx_done = nmring_tx_done,
	.flush = nmring_flush,
};

void
nmring_init(struct fw_nmring *r, struct netmap_ring *ring, const void *region, uint32_t n_buffers, uint32_t port,
    void (*sync)(struct fw_nmring *))
{
	*r = (struct fw_nmring){
		.queue = {
			.ops = &nmring_ops,
			.region = region,
			.buffer_bytes = ring->nr_buf_size,
			.slots = ring->num_slots,
			.port = port,
			.fd = -1,
		},
		.ring = ring,
		.n_buffers = n_buffers,
		.sync = sync,
	};
}
