#include "nmring.h"

/* A slot's buffer and length are only taken over when both lie inside the region. */
static inline bool
is_sound(const struct fw_nmring *r, const struct netmap_slot *slot)
{
	return slot->buf_idx < r->n_buffers && slot->len <= r->queue.buffer_bytes && (slot->flags & NS_MOREFRAG) == 0;
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

static void
stamp(struct fw_frame *frames, const struct fw_nmring *r, unsigned n)
{
	uint32_t s = r->ring->head;

	for (unsigned i = 0; i < n; i++) {
		frames[i].time = r->times[s];
		s = nm_ring_next(r->ring, s);
	}
}

static unsigned
nmring_rx(struct fw_queue *q, struct fw_frame *restrict frames, unsigned max)
{
	struct fw_nmring *r = (struct fw_nmring *)q;
	struct netmap_ring *ring = r->ring;
	unsigned n = ring_space(r, 1, max);
	uint32_t s = ring->head;

	for (unsigned i = 0; i < n; i++) {
		const struct netmap_slot *slot = &ring->slot[s];
		uint8_t *data = queue_buffer(q, slot->buf_idx);

		frames[i] = (struct fw_frame){ .data = data, .buf = slot->buf_idx, .len = slot->len };
		if (unlikely(!is_sound(r, slot)))
			frames[i].len = FW_FRAME_TOO_BIG;
		else
			__builtin_prefetch(data);
		s = nm_ring_next(ring, s);
	}
	if (r->times != NULL)
		stamp(frames, r, n);
	return n;
}

static void
nmring_rx_done(struct fw_queue *q, const struct fw_frame *restrict frames, unsigned n)
{
	struct netmap_ring *ring = ((struct fw_nmring *)q)->ring;
	uint32_t s = ring->head;

	for (unsigned i = 0; i < n; i++) {
		struct netmap_slot *slot = &ring->slot[s];

		if (slot->buf_idx != frames[i].buf) {
			slot->buf_idx = frames[i].buf;
			slot->flags = NS_BUF_CHANGED;
		}
		s = nm_ring_next(ring, s);
	}
	ring->head = ring->cur = s;
}

static unsigned
nmring_room(struct fw_queue *q, unsigned wanted)
{
	return ring_space((struct fw_nmring *)q, wanted, UINT32_MAX);
}

static void
nmring_send(struct fw_queue *q, struct fw_frame *restrict frames, unsigned n)
{
	struct fw_nmring *r = (struct fw_nmring *)q;
	struct netmap_ring *ring = r->ring;
	uint32_t s = ring->head;

	for (unsigned i = 0; i < n; i++) {
		struct netmap_slot *slot = &ring->slot[s];
		uint32_t given_back = slot->buf_idx;

		slot->buf_idx = frames[i].buf;
		slot->len = (uint16_t)frames[i].len;
		slot->flags = NS_BUF_CHANGED;
		frames[i].buf = given_back;
		if (r->times != NULL)
			r->times[s] = frames[i].time;
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

static const struct fw_queue_ops nmring_ops = {
	.rx = nmring_rx,
	.rx_done = nmring_rx_done,
	.room = nmring_room,
	.send = nmring_send,
	.flush = nmring_flush,
};

void
nmring_init(struct fw_nmring *r, struct netmap_ring *ring, uint32_t n_buffers, uint32_t first_spare, uint32_t port,
    void (*sync)(struct fw_nmring *))
{
	*r = (struct fw_nmring){
		.queue = {
			.ops = &nmring_ops,
			.buffers = (uint8_t *)NETMAP_BUF(ring, 0),
			.buffer_bytes = ring->nr_buf_size,
			.slots = ring->num_slots,
			.port = port,
			.first_spare = first_spare,
			.fd = -1,
		},
		.ring = ring,
		.n_buffers = n_buffers,
		.sync = sync,
	};
}
