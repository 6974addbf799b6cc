/*
 * Neighbours as the workers see them, and the copies that wait for one.
 *
 * A neighbour slot is one 64-bit word: MAC in its first six bytes, state in the seventh. Python stores it whole, workers
 * load it whole; so a MAC and its state are never seen apart, and a reload of the rules does not touch it.
 */
#ifndef GFWD_NEIGH_H
#define GFWD_NEIGH_H

#include <stdbool.h>
#include <string.h>

#include "parse.h"
#include "pool.h"

static inline uint64_t
neigh_word(const uint8_t *mac, enum fw_neigh_state state)
{
	uint8_t bytes[8] = { 0 };
	uint64_t word;

	if (mac != NULL)
		memcpy(bytes, mac, 6);
	bytes[6] = (uint8_t)state;
	memcpy(&word, bytes, sizeof word);
	return word;
}

static inline enum fw_neigh_state
neigh_state(uint64_t word)
{
	uint8_t bytes[8];

	memcpy(bytes, &word, sizeof bytes);
	return (enum fw_neigh_state)bytes[6];
}

/* ---- waiting: a worker's own, bounded, in order ---- */

/* A frame of which copies wait, or a fragment that waits for the first of its datagram. It is kept once, as it came in. */
struct fw_waiting_frame {
	uint32_t copies;		/* that still wait */
	uint32_t next;			/* of the fragments that wait with it */
	bool is_sent;			/* a copy of it has left: the frame counts as forwarded */
	uint32_t in_port;
	struct fw_frame frame;		/* .data lies behind this structure */
	struct fw_packet packet;
};

/* A copy that waits: everything needed to send it, whatever plan is in force by then. */
struct fw_waiting_copy {
	struct fw_plan_target target;
	struct fw_plan_option option;
	uint32_t frame;
	uint32_t next;			/* in the neighbour's queue, or in the free list */
};

struct fw_waiting_queue {
	uint32_t first;
	uint32_t last;
	uint32_t n;
};

struct fw_waiting {
	struct fw_waiting_queue *queues;	/* by neighbour slot */
	uint32_t *busy;			/* slots whose queue is not empty */
	uint32_t n_busy;
	uint32_t frame_bytes;
	struct fw_pool frames;
	struct fw_pool copies;
};

/* False: no memory. */
bool waiting_init(struct fw_waiting *, const struct fw_limits *);
void waiting_free(struct fw_waiting *);

/* Keeps a datagram for copies to come; FW_NONE: no room, or longer than the limit. */
uint32_t waiting_keep(struct fw_waiting *, uint32_t in_port, const struct fw_frame *, const struct fw_packet *);
/* A kept datagram, by its number. */
struct fw_waiting_frame *waiting_frame(const struct fw_waiting *, uint32_t number);
/* Frees a kept datagram when no copy of it waits. */
void waiting_let_go(struct fw_waiting *, uint32_t number);

/* Puts a copy at the end of its neighbour's queue; false: the queue is full. option: NULL: none. */
bool waiting_add(struct fw_waiting *, uint32_t frame, const struct fw_plan_target *, const struct fw_plan_option *option);
/* The copy at the head of a neighbour's queue; NULL: none waits. */
struct fw_waiting_copy *waiting_first(const struct fw_waiting *, uint32_t slot);
/* Takes the head off the queue, and off its datagram's number of copies. */
void waiting_pop(struct fw_waiting *, uint32_t slot);
/* Takes the queues that became empty off the busy list. */
void waiting_tidy(struct fw_waiting *);

#endif
