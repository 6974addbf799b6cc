/*
 * The contract of a port: a place where frames come in or go out in bursts, without being copied.
 *
 * A queue is one direction of one ring. The worker borrows frames from an RX queue, works on them where they lie, and
 * sends them by handing over their buffers; for every buffer that a TX queue takes it gives one back:
 *
 *     n = rx(in, frames, …)           frames that arrived, still the port's
 *     room(out, …)                    how many can be sent now
 *     send(out, frames, j)            takes j buffers and leaves j others in their place, of frames sent long ago
 *     rx_done(in, frames, n)          the slots go back to the card, with the buffers that are in frames[] now
 *     flush(out)                      what was sent must be on its way now
 *
 * So netmap exchanges buf_idx between two slots, AF_XDP moves a frame's address, a capture file reads and writes, and none
 * of them is called once per frame. A copy for a further collector is written into a spare buffer of the TX queue's region
 * and sent like any other frame; the buffer that comes back for it is the next spare.
 */
#ifndef GFWD_PORT_H
#define GFWD_PORT_H

#include <stdbool.h>

#include "fw.h"

/* Spare buffers of a TX queue: so many copies can be made before the frames so far must be handed over. */
#define FW_SPARES 64U

/* frame.len of a frame that the port could not hand out whole: there is nothing at .data. */
#define FW_FRAME_TOO_BIG UINT32_MAX

struct fw_frame {
	uint8_t *data;			/* the Ethernet header; aligned to 8 bytes or better */
	uint64_t time;			/* ns since 1970; 0 where the port does not stamp */
	uint32_t buf;			/* the buffer's number in its region */
	uint32_t len;			/* bytes, without CRC */
};

struct fw_queue;

struct fw_queue_ops {
	/* Up to max frames. None: nothing is there now, or `ended` or `failed` is set. */
	unsigned (*rx)(struct fw_queue *, struct fw_frame *frames, unsigned max);
	/* The first n frames of the last rx() are dealt with. A changed .buf is the slot's new buffer. */
	void (*rx_done)(struct fw_queue *, const struct fw_frame *frames, unsigned n);
	/* How many frames can be sent now. Fewer than wanted: the ring is full, also after a flush. */
	unsigned (*room)(struct fw_queue *, unsigned wanted);
	/* Sends n frames, no more than there is room for, in order. Only .buf changes: it is the buffer given back. */
	void (*send)(struct fw_queue *, struct fw_frame *frames, unsigned n);
	void (*flush)(struct fw_queue *);
};

struct fw_queue {
	const struct fw_queue_ops *ops;
	uint8_t *buffers;		/* buffer b lies at buffers + b × buffer_bytes; equal pointers: one region */
	uint32_t buffer_bytes;
	uint32_t frame_max;		/* longest frame that a slot can carry */
	uint32_t slots;			/* no more than slots - 1 frames can ever be sent at once */
	uint32_t port;			/* number of the port that it belongs to */
	int fd;				/* poll() wakes when something is to be done; -1: has none */
	bool ended;			/* nothing will come any more (end of a capture) */
	bool failed;			/* the port is broken; its error says why. Also set from another thread */
	uint32_t left;			/* RX: of the frames that come next, so many came before, and were not dealt with */
	bool owes;			/* TX: not all is on its way, flush() wants to be called again soon */
	bool taken;			/* a worker has it */
	uint32_t n_spares;		/* TX: buffers that are in no ring, for copies; whoever sends takes them and puts back … */
	uint32_t spares[FW_SPARES];	/* … as many, though not the same */
};

static inline uint8_t *
queue_buffer(const struct fw_queue *q, uint32_t buf)
{
	return q->buffers + (size_t)buf * q->buffer_bytes;
}

/* One port, whatever its kind. The kinds embed it as their first member. */
struct fw_port {
	const struct fw_port_ops *ops;
	uint32_t number;
	char error[FW_ERROR_BYTES];	/* the first thing that went wrong; "": nothing */
};

struct fw_port_ops {
	struct fw_queue *(*rx_queue)(struct fw_port *, unsigned ring);	/* NULL: no such ring */
	struct fw_queue *(*tx_queue)(struct fw_port *, unsigned ring);
	int (*close)(struct fw_port *);	/* -1: port.error says why; what could not be written is lost */
	void (*free)(struct fw_port *);
};

#endif
