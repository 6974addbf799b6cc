/*
 * An AF_XDP socket and its four rings (linux/if_xdp.h, Documentation/networking/af_xdp.rst), and the memory that sockets share.
 *
 * Frames lie in buffers of one size, called chunks there. Each ring is in memory that we share with the kernel: one of the
 * two produces, the other consumes. Received frames come in `rx`, those to send go into `tx`; the kernel gets empty buffers
 * for what is to come from `fill`, and gives back those that were sent in `completion`.
 */
#ifndef GFWD_XSK_H
#define GFWD_XSK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Entries of each ring; a power of two. What a core forwards in the 3 ms that a scheduler may give it to others. */
#define XSK_SLOTS 4096U

/* Memory for the frames of all sockets of a core, so that a frame can leave by another one than it came in by. */
struct fw_umem {
	struct fw_umem *next;		/* the core's list */
	uint8_t *memory;
	size_t bytes;
	uint32_t buffer_bytes;
	uint32_t n_buffers;
	uint32_t n_given;		/* buffers below this number belong to a queue */
	int fd;				/* the socket that it is registered with; -1: none yet */
	bool copies;			/* no driver may take frames where they lie: some interface cannot */
	bool zero_copy;			/* the first driver does */
};

struct xsk_ring {
	uint32_t *producer;
	uint32_t *consumer;
	uint32_t *flags;
	void *entries;
	uint32_t ours;			/* our own index: what we have produced, or consumed, so far */
	uint32_t theirs;		/* the kernel's, as we saw it last */
	void *memory;
	size_t bytes;
};

struct xsk {
	int fd;
	struct xsk_ring rx;
	struct xsk_ring tx;
	struct xsk_ring fill;
	struct xsk_ring completion;
};

/* NULL with errno set. */
struct fw_umem *umem_new(uint32_t n_buffers, uint32_t buffer_bytes, bool copies);
void umem_free(struct fw_umem *);

/* Opens a socket on a queue of an interface. -1 with errno set; what was opened is closed again. */
int xsk_open(struct xsk *, struct fw_umem *, unsigned interface, unsigned queue, bool has_rx, bool has_tx, bool generic);
void xsk_close(struct xsk *, struct fw_umem *);

/* Frames for us that the kernel had to drop, for want of a buffer or of room in the ring, or as too long. */
uint64_t xsk_lost(const struct xsk *);

/* ---- rings ---- */

/* Entries that wait for us in a ring that the kernel fills. */
static inline uint32_t
xsk_waiting(struct xsk_ring *r)
{
	r->theirs = __atomic_load_n(r->producer, __ATOMIC_ACQUIRE);
	return r->theirs - r->ours;
}

/* Free places in a ring that we fill. */
static inline uint32_t
xsk_free(struct xsk_ring *r)
{
	r->theirs = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);
	return XSK_SLOTS - (r->ours - r->theirs);
}

/* n more entries were filled. */
static inline void
xsk_produced(struct xsk_ring *r, uint32_t n)
{
	r->ours += n;
	__atomic_store_n(r->producer, r->ours, __ATOMIC_RELEASE);
}

/* n more entries were read. */
static inline void
xsk_consumed(struct xsk_ring *r, uint32_t n)
{
	r->ours += n;
	__atomic_store_n(r->consumer, r->ours, __ATOMIC_RELEASE);
}

#endif
