/*
 * What the parts of the emulated kernel share: netmap_memory.c has the buffers, netmap_devices.c the devices and their rings,
 * netmap_register.c the registrations, netmap_sync.c the syncs, netmap_kernel.c the system calls and what tests see.
 */
#ifndef GFWD_TEST_NETMAP_INSIDE_H
#define GFWD_TEST_NETMAP_INSIDE_H

#include <errno.h>
#include <string.h>

#include "check.h"
#include "netmap_kernel.h"

enum {
	REGIONS = 8,
	DEVICES = 16,
	OPENED = 32,
	VIEWS = 4,
	RINGS = 4,			/* of a device, with the host's */
	IFS = 32,			/* places for interfaces in a region, and for rings */
	IF_BYTES = 512,
	RING_BYTES = 4096,
	BUFFERS = 2600
};

enum owner { FREE, KERNEL, PROGRAM };

struct view {
	uint8_t *memory;		/* NULL: none */
	struct opened *by;
};

/* A memory region: interfaces, rings, buffers. Programs map it elsewhere than the kernel does. */
struct region {
	uint16_t id;			/* 0: not made yet */
	uint32_t buf_size;
	uint32_t n_buffers;
	size_t bytes;
	int file;
	uint8_t *memory;
	struct view views[VIEWS];
	bool has_if[IFS];
	bool has_ring[IFS];
	uint8_t owner[BUFFERS];
};

struct wire_frame {
	struct wire_frame *next;
	uint32_t bytes;
	struct oddity as;
	uint8_t data[KERNEL_FRAME_MAX];
};

/* netmap's kring: the kernel's own idea of a ring. */
struct kring {
	struct device *device;
	struct netmap_ring *ring;	/* NULL: not there now */
	size_t offset;			/* in the region */
	bool is_tx;
	uint32_t n;
	uint32_t hwcur, hwtail, rhead, rtail;
	uint32_t pipe_tail;		/* how far the other end has come */
	struct kring *pipe;
	unsigned users;
	bool is_exclusive;
	struct opened *by;
	unsigned sends, frees;
	uint32_t lie;
	uint32_t known[64];		/* the buffers as the card has them */
	uint32_t hidden[64];		/* the buffer of a slot that names another; 0: it does not */
	struct wire_frame *first, **last;
	unsigned n_frames;
};

enum kind { NONE, CARD, PIPE, VALE };

struct device {
	enum kind kind;
	char name[64];
	struct region *region;
	unsigned n_tx, n_rx, n_host;
	struct kring tx[RINGS], rx[RINGS];
	bool is_gone;
};

/* netmap's priv: what belongs to one descriptor. */
struct opened {
	bool is_used;
	int fd;				/* the program's; -1: closed */
	int end;			/* the kernel's end of it */
	struct device *device;		/* NULL: nothing is registered */
	struct netmap_if *nifp;
	unsigned tx[2], rx[2];		/* first ring, and the one after the last */
	bool is_exclusive;
	bool is_mapped;
	bool is_readable, is_writable;
};

struct kernel {
	struct region regions[REGIONS];
	struct device devices[DEVICES];
	struct opened opened[OPENED];
	struct kernel_counts counts;
	unsigned after[KERNEL_CALLS];
	int error[KERNEL_CALLS];
	uint16_t oldest_api;
	unsigned extra_left;
	uint16_t last_region;
};

extern struct kernel kernel;

/* Something that a kernel would not let happen; the first one is kept. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Counts a call, and says whether it is to fail. */
bool must_fail(enum kernel_call call);

struct region *region_of(uint16_t id, uint32_t buf_size, uint32_t n_buffers);
void show(const struct region *r, uint32_t buf);
bool hand_over(struct region *r, uint32_t buf, enum owner from, enum owner to, const char *where);
uint32_t allocate(struct region *r, enum owner owner);
void release_buffer(struct region *r, uint32_t buf, const char *where);

void refresh(struct opened *o);

struct device *new_device(enum kind kind, const char *name, struct region *r, unsigned tx, unsigned rx,
    unsigned host, uint32_t slots);
struct device *find_device(const char *name);
struct device *find_or_make_device(const char *name);

void drop_frames(struct kring *k);
bool create_rings(struct kring *rings, unsigned first, unsigned end);
void delete_rings(struct kring *rings, unsigned first, unsigned end);

int control(struct opened *o, struct nmreq_header *header);
void let_go(struct opened *o);

bool take_slot(struct kring *k, uint32_t i);
void give_slot(struct kring *k, uint32_t i);
void add_frame(struct kring *k, const void *data, uint32_t bytes, struct oddity as);
int take_frame(struct kring *k, void *data, struct oddity *as);
bool has_slot(const struct kring *k);
int sync_rings(struct opened *o, bool is_tx);

static inline int
refuse(int error)
{
	errno = error;
	return -1;
}

/* The kernel's fields are const for programs. */
static inline void
set(const void *field, uint64_t value, size_t bytes)
{
	memcpy((void *)(uintptr_t)field, &value, bytes);
}

static inline uint32_t
next(const struct kring *k, uint32_t slot)
{
	return slot + 1 == k->n ? 0 : slot + 1;
}

static inline uint32_t
previous(const struct kring *k, uint32_t slot)
{
	return slot == 0 ? k->n - 1 : slot - 1;
}

/* Steps from one slot to another. */
static inline uint32_t
distance(const struct kring *k, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + k->n - from;
}

static inline size_t
buffer_offset(const struct region *r, uint32_t buf)
{
	return IFS * IF_BYTES + IFS * RING_BYTES + (size_t)buf * r->buf_size;
}

static inline uint8_t *
buffer(const struct region *r, uint32_t buf)
{
	return r->memory + buffer_offset(r, buf);
}

static inline bool
is_buffer(const struct region *r, uint32_t buf)
{
	return buf >= 2 && buf < r->n_buffers;
}

#endif
