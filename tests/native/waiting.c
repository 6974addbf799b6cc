/*
 * neigh.c: a neighbour's word, and the queues of copies that wait for one.
 */
#include "check.h"
#include "neigh.h"

enum { SLOTS = 3, FRAME_BYTES = 128 };

static const struct fw_limits LIMITS = { .neighbours = SLOTS, .frame_bytes = FRAME_BYTES };

static void
start(struct fw_waiting *w)
{
	*w = (struct fw_waiting){ 0 };
	CHECK(waiting_init(w, &LIMITS), "no memory");
}

/* A datagram whose every byte is `mark`. */
static uint32_t
keep(struct fw_waiting *w, uint8_t mark, uint32_t len)
{
	uint8_t *data = exact(len);
	struct fw_frame frame = { .data = data, .len = len, .time = 1000U + mark };
	struct fw_packet packet = { .ip = mark };
	uint32_t number;

	memset(data, mark, len);
	number = waiting_keep(w, mark, &frame, &packet);
	free(data);
	return number;
}

/* Every other copy has an option. */
static bool
add(struct fw_waiting *w, uint32_t frame, uint32_t slot, uint32_t mark)
{
	const struct fw_plan_option option = { .limit_ns = mark };

	return waiting_add(w, frame, &(struct fw_plan_target){ .neighbour = slot, .collector = mark },
	    mark % 2 == 0 ? NULL : &option);
}

static void
settle(struct fw_waiting *w, uint32_t slot)
{
	uint32_t frame = waiting_first(w, slot)->frame;

	waiting_pop(w, slot);
	waiting_let_go(w, frame);
}

static void
check_words(void)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0xff, 0, 0x80 };
	static const enum fw_neigh_state states[] = { FW_NEIGH_EMPTY, FW_NEIGH_PENDING, FW_NEIGH_READY, FW_NEIGH_FAILED };

	CHECK(neigh_state(0) == FW_NEIGH_EMPTY, "a slot that was never set");
	for (unsigned i = 0; i < 4; i++) {
		uint64_t word = neigh_word(mac, states[i]);

		CHECK(neigh_state(word) == states[i] && memcmp(&word, mac, 6) == 0, "state %u", i);
		CHECK(neigh_state(neigh_word(NULL, states[i])) == states[i], "state %u without a MAC", i);
	}
}

static void
check_kept(void)
{
	struct fw_waiting w;
	uint32_t a, b;

	start(&w);
	CHECK(keep(&w, 1, FRAME_BYTES + 1) == FW_NONE, "longer than the limit");
	a = keep(&w, 7, FRAME_BYTES);
	b = keep(&w, 8, 0);
	CHECK(a != FW_NONE && b != FW_NONE && a != b, "two datagrams: %u, %u", a, b);
	CHECK(waiting_frame(&w, a)->in_port == 7 && waiting_frame(&w, a)->packet.ip == 7 &&
	    waiting_frame(&w, a)->frame.time == 1007 && waiting_frame(&w, a)->frame.len == FRAME_BYTES &&
	    !waiting_frame(&w, a)->is_sent, "kept as it came");
	for (unsigned i = 0; i < FRAME_BYTES; i++)
		CHECK(waiting_frame(&w, a)->frame.data[i] == 7, "byte %u", i);
	CHECK(add(&w, a, 0, 1) && add(&w, a, 1, 2), "two copies of one");
	waiting_let_go(&w, b);
	CHECK(keep(&w, 9, 1) == b, "a place that was let go is taken again");
	settle(&w, 0);
	CHECK(keep(&w, 10, 1) != a, "a copy still waits");
	settle(&w, 1);
	CHECK(keep(&w, 11, 1) == a, "none waits any more");
	waiting_free(&w);
}

/* Every queue takes FW_WAITING_MAX copies, and gives them back in order. */
static void
check_bounds(void)
{
	struct fw_waiting w;

	start(&w);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		CHECK(waiting_first(&w, slot) == NULL, "slot %u is empty", slot);
	for (uint32_t i = 0; i < FW_WAITING_MAX; i++) {
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			uint32_t frame = keep(&w, (uint8_t)i, 1 + i % FRAME_BYTES);

			CHECK(frame != FW_NONE && add(&w, frame, slot, i), "copy %u for slot %u", i, slot);
		}
	}
	CHECK(w.n_busy == SLOTS, "%u queues are busy", w.n_busy);
	CHECK(keep(&w, 0, 1) == FW_NONE, "as many datagrams as copies");
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		CHECK(!add(&w, waiting_first(&w, slot)->frame, slot, 0), "slot %u: one more", slot);
		CHECK(waiting_frame(&w, waiting_first(&w, slot)->frame)->copies == 1, "what was refused does not count");
		for (uint32_t i = 0; i < FW_WAITING_MAX; i++) {
			const struct fw_waiting_copy *copy = waiting_first(&w, slot);

			CHECK(copy->target.collector == i && copy->option.limit_ns == (i % 2 == 0 ? 0 : i) && waiting_frame(&w, copy->frame)->frame.len == 1 + i % FRAME_BYTES,
			    "slot %u: %u comes in the place of %u", slot, copy->target.collector, i);
			settle(&w, slot);
		}
		CHECK(waiting_first(&w, slot) == NULL, "slot %u is empty again", slot);
	}
	waiting_tidy(&w);
	CHECK(w.n_busy == 0 && w.copies.n_free == w.copies.n_touched && w.frames.n_free == w.frames.n_touched,
	    "all came back");
	waiting_free(&w);
}

/* Long use: queues grow and shrink at random, and what comes out is what went in, slot by slot in order. */
static void
check_reuse(void)
{
	struct fw_waiting w;
	uint64_t random = 4861;
	uint32_t in[SLOTS] = { 0 }, out[SLOTS] = { 0 };

	start(&w);
	for (unsigned round = 0; round < 200000; round++) {
		uint32_t slot = draw_below(&random, SLOTS);
		bool is_filling = draw_below(&random, 1000) < 500 + 400 * (round / 10000 % 2);

		if (is_filling) {
			uint32_t frame = keep(&w, (uint8_t)in[slot], 1);
			bool is_full = in[slot] - out[slot] == FW_WAITING_MAX;

			CHECK(frame != FW_NONE || is_full, "no room with %u of %u in use", w.frames.n_free, w.frames.n);
			if (frame == FW_NONE)
				continue;
			CHECK(add(&w, frame, slot, in[slot]) == !is_full, "slot %u with %u", slot, in[slot] - out[slot]);
			in[slot] += !is_full;
			waiting_let_go(&w, frame);
		} else if (in[slot] != out[slot]) {
			CHECK(waiting_first(&w, slot)->target.collector == out[slot], "slot %u", slot);
			out[slot]++;
			settle(&w, slot);
			if (draw_below(&random, 8) == 0 || in[slot] == out[slot])
				waiting_tidy(&w);
		}
		CHECK(w.n_busy <= SLOTS, "%u queues are busy", w.n_busy);
	}
	waiting_free(&w);
}

int
main(void)
{
	check_words();
	check_kept();
	check_bounds();
	check_reuse();
	return 0;
}
