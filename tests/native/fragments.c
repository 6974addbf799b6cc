/*
 * fragment.c: what waits is in one place only, whatever comes, and its bounds hold; the waiting room is empty in the end.
 */
#include <string.h>

#include "check.h"
#include "fragment.h"

enum { MOST = 7, FRAME_BYTES = 64, DATAGRAMS = 24, ROUNDS = 200000 };

static const struct fw_limits LIMITS = { .neighbours = 1, .frame_bytes = FRAME_BYTES, .fragments = MOST, .seeds = { 3, 5 } };
static const uint64_t NOON = 1700000000ULL * 1000000000U;

struct world {
	struct fw_waiting room;
	struct fw_fragments fragments;
	struct fw_stats stats;
	uint64_t waited;
	uint64_t taken;
};

static void
start(struct world *w)
{
	*w = (struct world){ 0 };
	CHECK(waiting_init(&w->room, &LIMITS) && fragments_init(&w->fragments, &w->room, &LIMITS), "no memory");
}

static void
end(struct world *w)
{
	fragments_give_up(&w->fragments, &w->stats);
	CHECK(w->stats.frames.pending == 0 && w->fragments.n_waiting == 0, "%u wait", w->fragments.n_waiting);
	CHECK(w->waited == w->taken + w->stats.frames.drops[FW_DROP_FRAGMENT_LOST], "some are in no place");
	CHECK(w->room.frames.n_free == w->room.frames.n_touched, "the waiting room keeps some");
	fragments_free(&w->fragments);
	waiting_free(&w->room);
}

/* An Ethernet frame with the addresses of datagram `number`, in a block that ends where it ends. */
static struct fw_frame
frame_of(uint32_t number, uint64_t time, struct fw_packet *p)
{
	bool is_v6 = number % 3 == 0;
	uint32_t len = is_v6 ? ETHER_BYTES + 40 : ETHER_BYTES + 20;
	uint8_t *data = exact(len);

	memset(data, (int)(number % 5), len);
	*p = (struct fw_packet){ .key = { is_v6 ? number % 4 : 0, number % 7, key_rest(1, 0, 64, is_v6 ? 6 : 4) },
		.ip = ETHER_BYTES, .ip_bytes = len - ETHER_BYTES, .ident = number % 2, .fate = FW_FRAGMENT };
	return (struct fw_frame){ .data = data, .len = len, .time = time };
}

static void
take_all(struct world *w, struct fw_datagram *d)
{
	uint32_t number, before = d->n_waiting, n = 0;
	uint64_t last = 0;

	for (; (number = fragments_take(&w->fragments, d)) != FW_NONE; n++) {
		const struct fw_waiting_frame *f = waiting_frame(&w->room, number);

		CHECK(f->frame.time >= last, "they changed places");
		last = f->frame.time;
		w->stats.frames.pending--;
		w->taken++;
		waiting_let_go(&w->room, number);
	}
	CHECK(n == before, "%u of %u", n, before);
}

static void
do_something(struct world *w, uint64_t *random, uint64_t now)
{
	struct fw_packet p;
	struct fw_frame frame = frame_of(draw_below(random, DATAGRAMS), now, &p);
	struct fw_datagram *d;

	fragments_expire(&w->fragments, &w->stats, now);
	d = fragments_find(&w->fragments, &frame, &p);
	if (draw_below(random, 3) == 0) {
		struct fw_datagram *begun = fragments_begin(&w->fragments, &w->stats, &frame, &p, now);

		CHECK(d == NULL || d == begun, "one datagram is two");
		CHECK(!begun->is_decided && fragments_find(&w->fragments, &frame, &p) == begun, "not found");
		begun->is_decided = true;
		take_all(w, begun);
	} else if (d == NULL || !d->is_decided) {
		CHECK(fragments_wait(&w->fragments, &w->stats, 0, &frame, &p, now), "it is short enough");
		w->waited++;
		d = fragments_find(&w->fragments, &frame, &p);
		CHECK(d != NULL && d->n_waiting > 0, "it does not wait");
	}
	CHECK(w->fragments.n_waiting <= MOST && w->stats.frames.pending == w->fragments.n_waiting, "%u wait, %llu pending",
	    w->fragments.n_waiting, (unsigned long long)w->stats.frames.pending);
	free(frame.data);
}

static void
whatever_comes(uint64_t random)
{
	struct world w;
	uint64_t now = NOON;

	start(&w);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		now += draw_below(&random, 300) * 1000000ULL;
		do_something(&w, &random, now);
	}
	CHECK(w.taken > ROUNDS / 20 && w.stats.frames.drops[FW_DROP_FRAGMENT_LOST] > ROUNDS / 20, "nothing was tried");
	end(&w);
}

/* Of what is not stamped, time runs out by the clock; of what is, only when another frame says so. */
static void
idle(bool is_stamped)
{
	struct world w;
	struct fw_packet p;
	struct fw_frame frame = frame_of(1, is_stamped ? NOON : 0, &p);

	start(&w);
	CHECK(fragments_wait(&w.fragments, &w.stats, 0, &frame, &p, NOON), "it is short enough");
	w.waited++;
	CHECK(fragments_expire_idle(&w.fragments, &w.stats) == !is_stamped, "that was %s", is_stamped ? "stamped" : "long ago");
	fragments_expire(&w.fragments, &w.stats, NOON + FRAGMENT_NS);
	CHECK(w.fragments.n_waiting == is_stamped, "just not too old");
	fragments_expire(&w.fragments, &w.stats, NOON + FRAGMENT_NS + 1);
	CHECK(w.fragments.n_waiting == 0, "too old");
	free(frame.data);
	end(&w);
}

static void
too_long(void)
{
	struct world w;
	struct fw_packet p;
	struct fw_frame frame = frame_of(1, NOON, &p), longer = { .data = exact(FRAME_BYTES + 1), .len = FRAME_BYTES + 1 };

	start(&w);
	memset(longer.data, 0, longer.len);
	memcpy(longer.data, frame.data, frame.len);
	for (w.waited = 0; w.waited < MOST; w.waited++)
		CHECK(fragments_wait(&w.fragments, &w.stats, 0, &frame, &p, NOON), "it is short enough");
	CHECK(!fragments_wait(&w.fragments, &w.stats, 0, &longer, &p, NOON), "there is no room for it");
	CHECK(w.fragments.n_waiting == MOST, "others gave way to it");
	free(frame.data);
	free(longer.data);
	end(&w);
}

int
main(void)
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		whatever_comes(seed * 0x9e3779b97f4a7c15);
	idle(true);
	idle(false);
	too_long();
	return 0;
}
