/*
 * An emulated netmap, for tests of the netmap port: what is behind the seam of netmap_system.h.
 *
 * It keeps the kernel's side of each ring apart from what programs see, as netmap does (netmap.c, netmap_pipe.c, netmap_bdg.c
 * of 2021 and later), and knows of each buffer whose it is: a buffer that is given to it twice, that was never given out, that
 * was exchanged without NS_BUF_CHANGED, or that does not come back is a complaint; one that is touched by a program while it is
 * the kernel's is an error of ASan's.
 *
 *     ix0     2 rings of 32 slots, and the host's     region 1, buffers of 2048 bytes
 *     ix1     1 ring of 24 slots                      region 1
 *     ix2     1 TX ring, 3 RX rings of 16 slots       region 1
 *     ix3     3 TX rings, 1 RX ring of 16 slots       region 1
 *     em0     1 ring of 40 slots                      region 2, buffers of 1024 bytes
 *     x{1     pipes, of 16 slots; both ends in one new region
 *     vale0:a VALE ports, of 16 slots; each in a new region
 */
#ifndef GFWD_TEST_NETMAP_KERNEL_H
#define GFWD_TEST_NETMAP_KERNEL_H

#include <net/netmap_user.h>
#include <stdbool.h>

#define KERNEL_FRAME_MAX 2048

enum kernel_call { ON_OPEN, ON_INFO, ON_REGISTER, ON_MAP, ON_TXSYNC, ON_RXSYNC, KERNEL_CALLS };

/* What it counts. */
struct kernel_counts {
	unsigned calls[KERNEL_CALLS];
	unsigned open;			/* descriptors */
	unsigned maps;			/* of regions, now */
	unsigned held;			/* registrations that are in force: neither closed nor, after closing, unmapped */
	unsigned extra_given;
	unsigned extra_back;
	unsigned reinits;
	unsigned vale_lost;
	unsigned complaints;
	char complaint[160];		/* the first one */
};

/* It takes the real kernel's place. */
void kernel_start(void);
/* Everything was given back, and it has nothing to complain of; or that many things. */
void kernel_end(unsigned complaints);
struct kernel_counts kernel_counts(void);

/* The calls after so many more fail. */
void kernel_fail(enum kernel_call, unsigned after, int error);
/* The API that it speaks; extra buffers that it still has. */
void kernel_api(uint16_t oldest);
void kernel_extra(unsigned left);
/* The interface is gone; is wakes whoever waits for it. */
void kernel_remove(const char *device);
/* Its rings start anew, as when a card is set down and up: what was to be sent counts as sent. */
void kernel_reset(const char *device);

/* A ring as the kernel sees it, to be tampered with. Host rings come after the card's. */
struct netmap_ring *kernel_ring(const char *device, bool is_tx, unsigned ring);
/* At each sync a TX ring sends so many frames, and frees so many slots of those. */
void kernel_pace(const char *device, unsigned ring, unsigned sends, unsigned frees);
/* From now on this is what a sync puts into .tail. */
void kernel_lie(const char *device, bool is_tx, unsigned ring, uint32_t tail);

/* What a slot says otherwise than it should. */
struct oddity {
	uint16_t len;			/* 0: the frame's */
	uint16_t flags;
	uint32_t buf;			/* 0: the right one */
};

/* The wire, and the host stack. False: no slot is free for it. */
bool wire_arrive(const char *device, unsigned ring, const void *frame, uint32_t bytes);
bool wire_arrive_as(const char *device, unsigned ring, const void *frame, uint32_t bytes, struct oddity);
/* The next frame that has left: its length; -1: none. Room for KERNEL_FRAME_MAX bytes. */
int wire_leave(const char *device, unsigned ring, void *frame);

#endif
