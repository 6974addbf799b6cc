/*
 * The contract of a port: a place where frames come in or go out in bursts, without being copied.
 *
 * A queue is one direction of one ring. The worker borrows frames from an RX queue and places from a TX queue, works on
 * them in two plain arrays, and gives both back:
 *
 *     n = rx(in, frames, …)           frames that arrived, still the port's
 *     m = tx(out, places, …)          free buffers to send from, still the port's
 *     places[j] ⇄ frames[i]           swap .data and .buf: the frame leaves in the buffer that it came in,
 *                                     and the place's own buffer takes its turn at receiving (same region only);
 *                                     or write a copy into places[j].data
 *     tx_done(out, places, j)         send the first j, in order
 *     rx_done(in, frames, i)          the first i are dealt with; their slots go back to the card
 *     flush(out)                      what was sent must be on its way now
 *
 * So netmap exchanges buf_idx between two slots, AF_XDP moves a frame's address, a capture file reads and writes, and none
 * of them is called once per frame.
 */
#ifndef GFWD_PORT_H
#define GFWD_PORT_H

#include <stdbool.h>

#include "fw.h"

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
	/* Up to max places. Asking again before tx_done() gives the same ones. Fewer: the ring is full, also after a flush. */
	unsigned (*tx)(struct fw_queue *, struct fw_frame *places, unsigned max);
	void (*tx_done)(struct fw_queue *, const struct fw_frame *places, unsigned n);
	void (*flush)(struct fw_queue *);
};

struct fw_queue {
	const struct fw_queue_ops *ops;
	const void *region;		/* buffers move between queues of one region; NULL: they never do */
	uint32_t buffer_bytes;
	uint32_t slots;			/* no more than slots - 1 places can ever be free at once */
	uint32_t port;			/* number of the port that it belongs to */
	int fd;				/* poll() wakes when something is to be done; -1: has none */
	bool ended;			/* nothing will come any more (end of a capture) */
	bool failed;			/* the port is broken; its error says why */
	bool taken;			/* a worker has it */
};

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
