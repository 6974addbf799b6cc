#include "nmring.h"

/* netmap keeps buffers 0 and 1 for itself; a slot that it found in disorder names 0. */
#define FIRST_BUFFER 2

static inline bool
is_buffer(const struct fw_nmring *r, uint32_t buf)
{
	return buf - FIRST_BUFFER < r->n_buffers - FIRST_BUFFER;
}

/* A slot's buffer and length are only taken over when both lie inside the region, and the whole frame lies in them. */
static inline bool
is_sound(const struct fw_nmring *r, const struct netmap_slot *slot)
{
	return is_buffer(r, slot->buf_idx) && slot->len <= r->queue.buffer_bytes &&
	    (slot->flags & (NS_MOREFRAG | NS_INDIRECT)) == 0;
}

/* How many slots are ours, up to max; the card is asked only when fewer than `enough` are. */
static unsigned
ring_space(struct fw_nmring *r, unsigned enough, unsigned max)
{
	unsigned n = nm_ring_space(r->ring);

	/* A tail outside of the ring is not one: sync() finds out what is wrong. */
	if (n < enough || unlikely(r->ring->tail >= r->queue.slots)) {
		r->sync(r);
		n = nm_ring_space(r->ring);
	}
	if (unlikely(r->is_broken))
		return 0;
	return n < max ? n : max;
}

/* The slots from `s` on that can be walked through before the ring wraps: of n slots, this many. */
static inline unsigned
run(const struct netmap_ring *ring, uint32_t s, unsigned n)
{
	return n < ring->num_slots - s ? n : ring->num_slots - s;
}

static inline uint32_t
advance(const struct netmap_ring *ring, uint32_t s, unsigned n)
{
	return s + n < ring->num_slots ? s + n : s + n - ring->num_slots;
}

/* ---- receiving ---- */

/* The last slot of a frame in several looks like a frame of its own, and is none. Whether the slot after these would be one. */
static bool
take(const struct fw_nmring *r, const struct netmap_slot *restrict slots, struct fw_frame *restrict frames, unsigned n,
    bool is_continued)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t *data = queue_buffer(&r->queue, slots[i].buf_idx);

		frames[i] = (struct fw_frame){ .data = data, .buf = slots[i].buf_idx, .len = slots[i].len };
		if (unlikely(is_continued || !is_sound(r, &slots[i]))) {
			frames[i].len = FW_FRAME_TOO_BIG;
			is_continued = (slots[i].flags & NS_MOREFRAG) != 0;
		} else {
			__builtin_prefetch(data);
		}
	}
	return is_continued;
}

static unsigned
nmring_rx(struct fw_queue *q, struct fw_frame *frames, unsigned max)
{
	struct fw_nmring *r = (struct fw_nmring *)q;
	struct netmap_ring *ring = r->ring;
	unsigned n = ring_space(r, 1, max), first = run(ring, ring->head, n);

	take(r, ring->slot, frames + first, n - first, take(r, &ring->slot[ring->head], frames, first, r->is_continued));
	if (r->times != NULL)
		for (unsigned i = 0; i < n; i++)
			frames[i].time = r->times[advance(ring, ring->head, i)];
	return n;
}

static void
give_back(struct netmap_slot *restrict slots, const struct fw_frame *restrict frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (slots[i].buf_idx != frames[i].buf) {
			slots[i].buf_idx = frames[i].buf;
			slots[i].flags = NS_BUF_CHANGED;
		}
	}
}

static void
nmring_rx_done(struct fw_queue *q, const struct fw_frame *frames, unsigned n)
{
	struct fw_nmring *r = (struct fw_nmring *)q;
	struct netmap_ring *ring = r->ring;
	unsigned first = run(ring, ring->head, n);

	if (n == 0)
		return;
	r->is_continued = (ring->slot[advance(ring, ring->head, n - 1)].flags & NS_MOREFRAG) != 0;
	give_back(&ring->slot[ring->head], frames, first);
	give_back(ring->slot, frames + first, n - first);
	ring->head = ring->cur = advance(ring, ring->head, n);
}

/* ---- sending ---- */

static unsigned
nmring_room(struct fw_queue *q, unsigned wanted)
{
	return ring_space((struct fw_nmring *)q, wanted, UINT32_MAX);
}

static void
exchange(struct fw_nmring *r, struct netmap_slot *restrict slots, struct fw_frame *restrict frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t given_back = slots[i].buf_idx;

		/* Nobody could write into that. The frame keeps its buffer, and is lost, as is the ring. */
		if (unlikely(!is_buffer(r, given_back))) {
			r->is_broken = true;
			continue;
		}
		slots[i].buf_idx = frames[i].buf;
		slots[i].len = (uint16_t)frames[i].len;
		slots[i].flags = NS_BUF_CHANGED;
		frames[i].buf = given_back;
	}
}

static void
nmring_send(struct fw_queue *q, struct fw_frame *frames, unsigned n)
{
	struct fw_nmring *r = (struct fw_nmring *)q;
	struct netmap_ring *ring = r->ring;
	unsigned first = run(ring, ring->head, n);

	exchange(r, &ring->slot[ring->head], frames, first);
	exchange(r, ring->slot, frames + first, n - first);
	if (r->times != NULL)
		for (unsigned i = 0; i < n; i++)
			r->times[advance(ring, ring->head, i)] = frames[i].time;
	ring->head = ring->cur = advance(ring, ring->head, n);
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
nmring_init(struct fw_nmring *r, struct netmap_ring *ring, uint32_t n_buffers, uint32_t port,
    void (*sync)(struct fw_nmring *))
{
	*r = (struct fw_nmring){
		.queue = {
			.ops = &nmring_ops,
			.buffers = (uint8_t *)NETMAP_BUF(ring, 0),
			.buffer_bytes = ring->nr_buf_size,
			.frame_max = ring->nr_buf_size < UINT16_MAX ? ring->nr_buf_size : UINT16_MAX,
			.slots = ring->num_slots,
			.port = port,
			.fd = -1,
		},
		.ring = ring,
		.n_buffers = n_buffers,
		.sync = sync,
	};
}
