/*
 * The way of a packet, from the card to the card:
 *
 *     port.rx → parse → match → rewrite → transmit (swap; copy only for the extra collectors) → port.tx
 *
 * One burst, one call chain, no queue between. See port.h, parse.c, match.c, rewrite.h, transmit.c, port.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <time.h>
#include <unistd.h>

#include "worker.h"

/* ---- which plan ---- */

/*
 * Announces the plan before reading it, and looks again: a publisher that has swapped the pointer in between is seen, and
 * one that swaps later sees the announcement (both sides are sequentially consistent).
 */
static const struct fw_plan *
take_up_plan(struct fw_worker *w)
{
	struct fw_plan *plan;

	do {
		plan = __atomic_load_n(w->published, __ATOMIC_SEQ_CST);
		__atomic_store_n(&w->reading, plan, __ATOMIC_SEQ_CST);
	} while (plan != __atomic_load_n(w->published, __ATOMIC_SEQ_CST));
	if (plan != NULL && plan->generation != w->generation) {
		fw_transmit_take_up(&w->tx, plan);
		streams_take_up(&w->streams, plan);
		w->generation = plan->generation;
		w->stats.work.plans++;
	}
	return plan;
}

static void
lay_down_plan(struct fw_worker *w)
{
	__atomic_store_n(&w->reading, NULL, __ATOMIC_SEQ_CST);
}

bool
worker_reads(const struct fw_worker *w, const struct fw_plan *plan)
{
	return __atomic_load_n(&w->reading, __ATOMIC_SEQ_CST) == plan;
}

/* ---- the path ---- */

/* How many frames were dealt with. */
static unsigned
forward_burst(struct fw_worker *w, const struct fw_plan *plan, struct fw_queue *in)
{
	struct fw_frame frames[FW_BURST];
	struct fw_packet packets[FW_BURST];
	unsigned n, done;

	/* Those that wait go first, as soon as their neighbour is there. */
	if (unlikely(w->tx.waiting.n_busy > 0))
		fw_transmit_waiting(&w->tx, &w->stats);
	n = in->ops->rx(in, frames, FW_BURST);
	if (n == 0)
		return 0;
	fw_parse(plan, in->port, frames, packets, n);
	fw_match(&w->matcher, plan, &w->stats.work, packets, n);
	if (unlikely(plan->n_follow != 0))
		streams_follow(&w->streams, plan, &w->stats.work, in, frames, packets, in->left, n);
	done = fw_transmit(&w->tx, plan, &w->stats, in, frames, packets, n);
	in->ops->rx_done(in, frames, done);
	in->left = n - done;
	if (done < n) {
		match_give_back(&w->matcher, packets + done, n - done);
		w->blocked_by = w->tx.egress[plan->only_egress]->queue;	/* only a port that takes all can stop the reading */
	}
	return done;
}

/* A ring is emptied, but never more than once around, so that the others get their turn. */
static unsigned
forward_ring(struct fw_worker *w, const struct fw_plan *plan, struct fw_queue *in)
{
	unsigned total = 0, n;

	do {
		n = forward_burst(w, plan, in);
		total += n;
	} while (n == FW_BURST && total < in->slots);
	return total;
}

unsigned
fw_worker_step(struct fw_worker *w)
{
	const struct fw_plan *plan = take_up_plan(w);
	unsigned n = 0;

	__atomic_store_n(&w->rounds, w->rounds + 1, __ATOMIC_RELAXED);
	if (plan == NULL)
		return 0;
	w->blocked_by = NULL;
	n += fw_transmit_injected(&w->tx, &w->inject, &w->stats);
	if (unlikely(w->tx.waiting.n_busy > 0))
		n += fw_transmit_waiting(&w->tx, &w->stats);
	if (unlikely(w->tx.fragments.n_waiting > 0))
		n += fragments_expire_idle(&w->tx.fragments, &w->stats);
	for (unsigned i = 0; i < w->n_rx; i++)
		n += forward_ring(w, plan, w->rx[i]);
	fw_transmit_flush(&w->tx);
	return n;
}

/* ---- running and waiting ---- */

/*
 * A worker that finds nothing naps before it waits to be woken. Being woken costs more than a datagram (some ten
 * microseconds against one, on the machine where it was measured), and a burst has gathered when the nap is over. To spin
 * instead brings no datagram more, and costs the core that the kernel may need for its part.
 */
#define NAP_NS 50000
/* Nobody wakes a worker for a port without a descriptor, or for what a card still has to take; it looks again after this. */
#define SLEEP_MS 1
/* What wakes it otherwise: a neighbour that answered, a plan, what was injected, and stop. */
#define LONG_SLEEP_MS 1000

/* Adds what is to be waited for; true: some of it wakes nobody. */
static bool
wait_for_frames(const struct fw_worker *w, struct pollfd *fds, unsigned *n)
{
	bool is_blind = false;

	for (unsigned i = 0; i < w->n_rx; i++) {
		/* One that has failed may be ready for ever. */
		if (__atomic_load_n(&w->rx[i]->failed, __ATOMIC_RELAXED))
			continue;
		if (w->rx[i]->fd >= 0)
			fds[(*n)++] = (struct pollfd){ .fd = w->rx[i]->fd, .events = POLLIN };
		else
			is_blind = true;
	}
	return is_blind;
}

static bool
wait_for_room(const struct fw_queue *full, struct pollfd *fds, unsigned *n)
{
	if (full->fd >= 0)
		fds[(*n)++] = (struct pollfd){ .fd = full->fd, .events = POLLOUT };
	return true;
}

static bool
owes(const struct fw_worker *w)
{
	for (unsigned i = 0; i < w->tx.n_ports; i++)
		if (w->tx.egress[i] != NULL && w->tx.egress[i]->queue->owes)
			return true;
	return false;
}

static void
sleep_until_something_happens(struct fw_worker *w)
{
	struct pollfd fds[FW_PORTS_MAX + 1];
	char drained[64];
	unsigned n = 0;
	bool is_short;

	fds[n++] = (struct pollfd){ .fd = w->wake[0], .events = POLLIN };
	/* Frames that cannot leave stay where they came in, and would end every sleep at once. */
	is_short = w->blocked_by != NULL ? wait_for_room(w->blocked_by, fds, &n) : wait_for_frames(w, fds, &n);
	is_short |= w->tx.waiting.n_busy > 0 || w->tx.fragments.n_waiting > 0 || owes(w);
	lay_down_plan(w);
	if (poll(fds, n, is_short ? SLEEP_MS : LONG_SLEEP_MS) > 0 && fds[0].revents != 0)
		while (read(w->wake[0], drained, sizeof drained) > 0)
			;
}

static void
nap(void)
{
	const struct timespec t = { .tv_nsec = NAP_NS };

	nanosleep(&t, NULL);
}

/*
 * How much longer Linux may make this thread's naps, in ns, to wake several threads together: twice as long, where nobody says
 * so. Returns what it was; whoever calls the worker, and every process that it starts, goes on with that.
 */
static unsigned long
exchange_timer_slack(unsigned long ns)
{
#ifdef __linux__
	int before = prctl(PR_GET_TIMERSLACK);

	prctl(PR_SET_TIMERSLACK, ns);
	return before > 0 ? (unsigned long)before : 0;	/* 0: as it is by default */
#else
	return ns;
#endif
}

/* Nothing can come any more, or nothing can leave. A port that failed beside others that work is no reason to stop. */
static bool
has_failed(const struct fw_worker *w)
{
	unsigned rx = 0, tx = 0, n_tx = 0;

	for (unsigned i = 0; i < w->n_rx; i++)
		rx += __atomic_load_n(&w->rx[i]->failed, __ATOMIC_ACQUIRE);
	for (unsigned i = 0; i < w->tx.n_ports; i++) {
		if (w->tx.egress[i] != NULL) {
			n_tx++;
			tx += __atomic_load_n(&w->tx.egress[i]->queue->failed, __ATOMIC_ACQUIRE);
		}
	}
	return (w->n_rx > 0 && rx == w->n_rx) || (n_tx > 0 && tx == n_tx);
}

static bool
has_ended(const struct fw_worker *w)
{
	bool ended = w->n_rx > 0;

	for (unsigned i = 0; i < w->n_rx; i++)
		ended &= w->rx[i]->ended;
	return ended;
}

int
fw_worker_run(struct fw_worker *w)
{
	enum fw_run why = FW_RUN_STOPPED;
	bool has_napped = false;
	unsigned long timer_slack = exchange_timer_slack(1);

	while (!__atomic_load_n(&w->stopping, __ATOMIC_ACQUIRE)) {
		unsigned n = fw_worker_step(w);

		if (has_failed(w)) {
			why = FW_RUN_FAILED;
			break;
		}
		if (n > 0) {
			has_napped = false;
		} else if (has_ended(w)) {
			why = FW_RUN_ENDED;
			break;
		} else if (!has_napped) {
			nap();
			has_napped = true;
		} else {
			sleep_until_something_happens(w);
		}
	}
	lay_down_plan(w);
	fragments_give_up(&w->tx.fragments, &w->stats);
	exchange_timer_slack(timer_slack);
	__atomic_store_n(&w->stopping, false, __ATOMIC_RELEASE);
	return (int)why;
}

void
fw_worker_wake(struct fw_worker *w)
{
	/* A full pipe is as good as one more byte. */
	ssize_t n = write(w->wake[1], "", 1);

	(void)n;
}

uint64_t
fw_worker_rounds(const struct fw_worker *w)
{
	return __atomic_load_n(&w->rounds, __ATOMIC_RELAXED);
}

void
fw_worker_stop(struct fw_worker *w)
{
	__atomic_store_n(&w->stopping, true, __ATOMIC_RELEASE);
	fw_worker_wake(w);
}

/* ---- life ---- */

bool
worker_add_rx(struct fw_worker *w, struct fw_queue *q)
{
	if (w->n_rx == FW_PORTS_MAX)
		return false;
	q->taken = true;
	w->rx[w->n_rx++] = q;
	return true;
}

bool
worker_add_tx(struct fw_worker *w, struct fw_queue *q)
{
	struct fw_egress *e = w->tx.egress[q->port] == NULL ? calloc(1, sizeof *e) : NULL;

	if (e == NULL)
		return false;
	q->taken = true;
	e->queue = q;
	e->ident = w->tx.first_ident;
	w->tx.egress[q->port] = e;
	if (w->tx.n_ports <= q->port)
		w->tx.n_ports = q->port + 1;
	return true;
}

static bool
open_pipe(int ends[2])
{
	if (pipe(ends) != 0) {
		ends[0] = ends[1] = -1;
		return false;
	}
	for (unsigned i = 0; i < 2; i++)
		if (fcntl(ends[i], F_SETFL, O_NONBLOCK) != 0 || fcntl(ends[i], F_SETFD, FD_CLOEXEC) != 0)
			return false;
	return true;
}

static void
close_pipe(const int ends[2])
{
	for (unsigned i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
}

struct fw_worker *
worker_new(struct fw_core *core, struct fw_plan *const *published, const uint64_t *neighbours, uint64_t *collector_paces,
    const struct fw_limits *limits)
{
	struct fw_worker *w = aligned_alloc(FW_CACHE_LINE, sizeof *w);

	if (w == NULL)
		return NULL;
	memset(w, 0, sizeof *w);
	w->core = core;
	w->published = published;
	w->tx.neighbours = neighbours;
	w->tx.collector_paces = collector_paces;
	w->tx.matcher = &w->matcher;
	w->tx.chance = limits->seeds[0] | 1;
	w->tx.first_ident = (uint32_t)limits->seeds[1];
	w->tx.turns = calloc(limits->collectors, sizeof *w->tx.turns);
	w->wake[0] = w->wake[1] = w->bell[0] = w->bell[1] = -1;
	if (!open_pipe(w->wake) || !open_pipe(w->bell) || !match_init(&w->matcher, limits) || !stats_init(&w->stats, limits) ||
	    !unknown_init(&w->unknown, limits) || !streams_init(&w->streams, limits) ||
	    !waiting_init(&w->tx.waiting, limits) ||
	    !fragments_init(&w->tx.fragments, &w->tx.waiting, limits) || w->tx.turns == NULL ||
	    !ring_init(&w->tx.punt, limits->ring_slots, limits->frame_bytes) ||
	    !ring_init(&w->tx.tap, limits->ring_slots, limits->frame_bytes) ||
	    !ring_init(&w->inject, limits->ring_slots, limits->frame_bytes)) {
		worker_free(w);
		return NULL;
	}
	w->tx.punt_bell = w->bell[1];
	w->tx.unknown = &w->unknown;
	return w;
}

void
worker_free(struct fw_worker *w)
{
	for (unsigned i = 0; i < w->n_rx; i++)
		w->rx[i]->taken = false;
	for (unsigned i = 0; i < w->tx.n_ports; i++) {
		if (w->tx.egress[i] != NULL)
			w->tx.egress[i]->queue->taken = false;
		free(w->tx.egress[i]);
	}
	close_pipe(w->wake);
	close_pipe(w->bell);
	match_free(&w->matcher);
	stats_free(&w->stats);
	unknown_free(&w->unknown);
	streams_free(&w->streams);
	waiting_free(&w->tx.waiting);
	fragments_free(&w->tx.fragments);
	free(w->tx.turns);
	ring_free(&w->tx.punt);
	ring_free(&w->tx.tap);
	ring_free(&w->inject);
	free(w);
}
