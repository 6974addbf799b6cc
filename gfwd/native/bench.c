/*
 * The forwarder's cost on memory rings, with the card's part told apart, and beside it the least that a forwarder can do.
 */
#include <time.h>

#include "core.h"

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* What the card does: writes whole frames until the ring is full. Returns how many. */
static unsigned
fill(struct fw_port *in, const uint8_t *frames, uint32_t n, uint32_t frame_bytes, uint32_t *cursor)
{
	unsigned filled = 0;

	while (port_mem_arrive(in, 0, frames + (size_t)*cursor * frame_bytes, frame_bytes)) {
		*cursor = *cursor + 1 == n ? 0 : *cursor + 1;
		filled++;
	}
	return filled;
}

typedef unsigned (*forwarder)(void *);

/* Rounds of: fill the RX ring, let the forwarder empty it, empty the TX ring. */
static void
measure(struct fw_port *in, struct fw_port *out, const uint8_t *frames, uint32_t n, uint32_t frame_bytes, uint32_t *cursor,
    uint32_t rounds, forwarder forward, void *state, struct fw_bench *result)
{
	*result = (struct fw_bench){ 0 };
	for (uint32_t i = 0; i < rounds; i++) {
		uint64_t t0 = now_ns(), t1, t2;
		unsigned filled = fill(in, frames, n, frame_bytes, cursor), done = 0;

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
fw_bench_core(struct fw_worker *worker, unsigned in, unsigned out, const uint8_t *frames, uint32_t n,
    uint32_t frame_bytes, uint32_t *cursor, uint32_t rounds, struct fw_bench *result)
{
	struct fw_port *from = core_port(worker->core, in), *to = core_port(worker->core, out);

	if (from == NULL || to == NULL || n == 0)
		return -1;
	measure(from, to, frames, n, frame_bytes, cursor, rounds, step_worker, worker, result);
	return 0;
}

/* ---- the measure beside it ---- */

struct swapper {
	struct fw_queue *in;
	struct fw_queue *out;
};

/* Ring to ring in bursts, through the same port contract: two MAC addresses, one exchange of buffers, no look inside. */
static unsigned
step_swapper(void *state)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };
	struct swapper *s = state;
	struct fw_frame frames[FW_BURST];
	unsigned total = 0, n, room;

	do {
		n = s->in->ops->rx(s->in, frames, FW_BURST);
		room = n > 0 ? s->out->ops->room(s->out, n) : 0;
		if (room < n)
			n = room;
		for (unsigned i = 0; i < n; i++)
			memcpy(frames[i].data, macs, sizeof macs);
		s->out->ops->send(s->out, frames, n);
		s->in->ops->rx_done(s->in, frames, n);
		total += n;
	} while (n == FW_BURST && total < s->in->slots);
	s->out->ops->flush(s->out);
	return total;
}

int
fw_bench_swap(struct fw_core *core, unsigned in, unsigned out, const uint8_t *frames, uint32_t n, uint32_t frame_bytes,
    uint32_t *cursor, uint32_t rounds, struct fw_bench *result)
{
	struct fw_port *from = core_port(core, in), *to = core_port(core, out);
	struct swapper s;

	if (from == NULL || to == NULL || n == 0)
		return -1;
	s.in = from->ops->rx_queue(from, 0);
	s.out = to->ops->tx_queue(to, 0);
	if (s.in == NULL || s.out == NULL)
		return -1;
	measure(from, to, frames, n, frame_bytes, cursor, rounds, step_swapper, &s, result);
	return 0;
}
