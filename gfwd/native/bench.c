/*
 * The forwarder's cost on memory rings, with the card's part told apart, and beside it the least that a forwarder can do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bytes.h"
#include "core.h"

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* What arrives, in turn. number_at: where each frame has a number that goes up by one each time; 0: nowhere. */
struct source {
	uint8_t *frames;
	uint32_t n;
	uint32_t frame_bytes;
	uint32_t *cursor;
	uint32_t number_at;
};

static void
count_up(const struct source *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		uint8_t *number = s->frames + (size_t)i * s->frame_bytes + s->number_at;
		put32(number, get32(number) + 1);
	}
}

/* What the card does: writes whole frames until the ring is full. Returns how many. */
static unsigned
fill(struct fw_port *in, const struct source *s)
{
	unsigned filled = 0;

	while (port_mem_arrive(in, 0, s->frames + (size_t)*s->cursor * s->frame_bytes, s->frame_bytes, 0)) {
		filled++;
		if (++*s->cursor == s->n) {
			*s->cursor = 0;
			if (s->number_at != 0)
				count_up(s);
		}
	}
	return filled;
}

typedef unsigned (*forwarder)(void *);

/* Rounds of: fill the RX ring, let the forwarder empty it, empty the TX ring. */
static void
measure(struct fw_port *in, struct fw_port *out, const struct source *s, uint32_t rounds, forwarder forward, void *state,
    struct fw_bench *result)
{
	*result = (struct fw_bench){ 0 };
	if (s->n == 0)
		return;
	for (uint32_t i = 0; i < rounds; i++) {
		uint64_t t0 = now_ns(), t1, t2;
		unsigned filled = fill(in, s), done = 0;

		t1 = now_ns();
		result->fill_ns += t1 - t0;
		while (done < filled) {
			unsigned step = forward(state);

			t2 = now_ns();
			result->forward_ns += t2 - t1;
			port_mem_discard(out, 0);
			t1 = now_ns();
			result->drain_ns += t1 - t2;
			if (step == 0)
				break;
			done += step;
		}
		/* The card sees the emptied slots. */
		forward(state);
		result->packets += done;
	}
}

static unsigned
step_worker(void *state)
{
	return fw_worker_step(state);
}

int
fw_bench_core(struct fw_worker *worker, unsigned in, unsigned out, uint8_t *frames, uint32_t n, uint32_t frame_bytes,
    uint32_t number_at, uint32_t *cursor, uint32_t rounds, struct fw_bench *result)
{
	struct fw_port *from = core_port(worker->core, in), *to = core_port(worker->core, out);
	const struct source s = { frames, n, frame_bytes, cursor, number_at };

	if (number_at != 0 && (frame_bytes < 4 || number_at > frame_bytes - 4))
		return -1;
	if (from == NULL || to == NULL || !port_mem_has_ring(from, 0) || !port_mem_has_ring(to, 0))
		return -1;
	measure(from, to, &s, rounds, step_worker, worker, result);
	return 0;
}

/* ---- the measure beside it ---- */

struct fw_exchanger {
	struct fw_port *from;
	struct fw_port *to;
	struct fw_queue *in;
	struct fw_queue *out;
	bool copies;
};

_Static_assert(FW_SPARES >= FW_BURST, "a spare buffer for each frame of a burst");

static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };

static void
swap_burst(struct fw_exchanger *x, struct fw_frame *frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		memcpy(frames[i].data, macs, sizeof macs);
	x->out->ops->send(x->out, frames, n);
}

/* The same, but what leaves is a copy of each frame, in spare buffers that take turns with the ring's. */
static void
copy_burst(struct fw_exchanger *x, struct fw_frame *frames, unsigned n)
{
	struct fw_frame copies[FW_BURST];

	for (unsigned i = 0; i < n; i++) {
		copies[i].buf = x->out->spares[i];
		copies[i].len = frames[i].len;
		copies[i].data = queue_buffer(x->out, x->out->spares[i]);
		memcpy(copies[i].data, frames[i].data, frames[i].len);
		memcpy(copies[i].data, macs, sizeof macs);
	}
	x->out->ops->send(x->out, copies, n);
	for (unsigned i = 0; i < n; i++)
		x->out->spares[i] = copies[i].buf;
}

/* Ring to ring in bursts, through the same port contract: two MAC addresses, and no look inside. */
static unsigned
step_exchanger(void *state)
{
	struct fw_exchanger *x = state;
	struct fw_frame frames[FW_BURST];
	unsigned total = 0, n, room;

	do {
		n = x->in->ops->rx(x->in, frames, FW_BURST);
		room = n > 0 ? x->out->ops->room(x->out, n) : 0;
		if (room < n)
			n = room;
		if (x->copies)
			copy_burst(x, frames, n);
		else
			swap_burst(x, frames, n);
		x->in->ops->rx_done(x->in, frames, n);
		total += n;
	} while (n == FW_BURST && total < x->in->slots);
	x->out->ops->flush(x->out);
	return total;
}

struct fw_exchanger *
fw_exchanger_new(struct fw_core *core, unsigned in, unsigned out, unsigned copies, char *error)
{
	struct fw_port *from = core_port(core, in), *to = core_port(core, out);
	struct fw_exchanger *x = calloc(1, sizeof *x);

	if (x != NULL && from != NULL && to != NULL && port_mem_has_ring(from, 0) && port_mem_has_ring(to, 0)) {
		x->from = from;
		x->to = to;
		x->in = from->ops->rx_queue(from, 0);
		x->out = to->ops->tx_queue(to, 0);
		x->copies = copies != 0;
	}
	if (x == NULL || x->in == NULL || x->out == NULL) {
		snprintf(error, FW_ERROR_BYTES, "ports %u and %u: no memory left, or no such rings", in, out);
		free(x);
		return NULL;
	}
	return x;
}

void
fw_exchanger_free(struct fw_exchanger *x)
{
	free(x);
}

void
fw_bench_exchange(struct fw_exchanger *x, uint8_t *frames, uint32_t n, uint32_t frame_bytes, uint32_t *cursor,
    uint32_t rounds, struct fw_bench *result)
{
	const struct source s = { frames, n, frame_bytes, cursor, 0 };

	measure(x->from, x->to, &s, rounds, step_exchanger, x, result);
}
