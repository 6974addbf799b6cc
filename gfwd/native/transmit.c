#include <unistd.h>

#include "choose.h"
#include "pace.h"
#include "sample.h"
#include "transmit.h"

/* ---- one copy of a frame, to one target ---- */

/* What is the same for all frames of a burst. */
struct burst {
	struct fw_transmitter *tx;
	const struct fw_plan *plan;
	struct fw_stats *stats;
	const struct fw_queue *in;
	struct fw_frame *frames;
	const struct fw_packet *packets;
	struct fw_egress *only;		/* everything leaves here; NULL: by several ports */
	/* Theirs, one step nearer. */
	const struct fw_plan_rule *rules;
	const struct fw_plan_target *targets;
	const struct fw_plan_option *options;	/* by target; NULL: there are none */
	const uint64_t *neighbours;
	struct fw_count *exporter_counts;
	struct fw_count *rule_counts;
	struct fw_copy_ledger *collectors;
};

/* *kept: the frame's number in the waiting room; FW_NONE: it is not there yet. */
static enum fw_fate
wait_for_neighbour(const struct burst *b, unsigned i, const struct fw_plan_target *t, const struct fw_plan_option *option,
    uint32_t *kept)
{
	struct fw_waiting *w = &b->tx->waiting;

	if (*kept == FW_NONE)
		*kept = waiting_keep(w, b->in->port, &b->frames[i], &b->packets[i]);
	if (*kept == FW_NONE || !waiting_add(w, *kept, t, option))
		return FW_DROP_NEIGHBOUR_PENDING_FULL;
	return FW_WAIT;
}

/* Is this copy among those that its collector is to get? */
static enum fw_fate
admit_copy(const struct burst *b, unsigned i, const struct fw_plan_option *option, uint32_t collector)
{
	const uint8_t *udp = b->frames[i].data + b->packets[i].udp;

	if (option->sample > 1 && !sample_takes(&b->tx->chance, option->sample) &&
	    !sample_has_template(udp + UDP_BYTES, get16(udp + 4) - UDP_BYTES))
		return FW_DROP_SAMPLED_OUT;
	if (option->limit_ns != 0 && !pace_allows(&b->tx->collector_paces[collector], option->limit_ns,
	    clock_of(&b->tx->clock, &b->frames[i])))
		return FW_DROP_COLLECTOR_LIMIT;
	return FW_FORWARD;
}

static __attribute__((noinline)) enum fw_fate
send_copy(const struct burst *b, unsigned i, uint32_t target, bool is_last, uint32_t *kept)
{
	const struct fw_packet *p = &b->packets[i];
	const struct fw_plan_target *t = &b->targets[target];
	const struct fw_plan_option *option = b->options == NULL ? NULL : &b->options[target];
	struct fw_egress *e = b->tx->egress[t->egress];
	uint64_t neighbour = __atomic_load_n(&b->neighbours[t->neighbour], __ATOMIC_RELAXED);

	if (t->family != key_family(&p->key))
		return t->family == 0 ? FW_DROP_NO_COLLECTOR : FW_DROP_FAMILY_MISMATCH;
	if (p->ip_bytes > e->mtu)
		return FW_DROP_TOO_BIG;
	if (neigh_state(neighbour) == FW_NEIGH_FAILED)
		return FW_DROP_NEIGHBOUR_FAILED;
	if (option != NULL) {
		enum fw_fate fate = admit_copy(b, i, option, t->collector);

		if (fate != FW_FORWARD)
			return fate;
	}
	/* Who comes while others wait, waits behind them: order survives. */
	if (neigh_state(neighbour) != FW_NEIGH_READY ||
	    (b->tx->waiting.n_busy > 0 && waiting_first(&b->tx->waiting, t->neighbour) != NULL))
		return wait_for_neighbour(b, i, t, option, kept);
	return egress_send(e, b->in->port, &b->frames[i], p, t, option, neighbour,
	    is_last && e->queue->buffers == b->in->buffers, &b->stats->work);
}

static inline void
count_copy(struct fw_copy_ledger *ledger, enum fw_fate fate, uint32_t bytes)
{
	ledger->wanted++;
	if (fate == FW_FORWARD) {
		ledger->sent++;
		ledger->sent_bytes += bytes;
	} else if (fate == FW_WAIT) {
		ledger->pending++;
	} else {
		ledger->drops[fate]++;
	}
}

/* ---- one frame, to all targets of its rule ---- */

/* Sent beats waiting, waiting beats dropped; of two causes the first one stays. */
static enum fw_fate
merge(enum fw_fate frame, enum fw_fate copy)
{
	return copy > frame && copy >= FW_WAIT ? copy : frame;
}

/* What becomes of a rule's datagrams where that is not just its targets; else NULL. */
static inline const struct fw_plan_special *
special_of(const struct burst *b, const struct fw_plan_rule *rule)
{
	return likely(rule->n_targets > 0) ? NULL : plan_specials(b->plan) + rule->special;
}

/* Who gets copies, each once: what a rule names and what groups choose may be the same. How many they are. */
static uint32_t
choose_targets(const struct burst *b, unsigned i, const struct fw_plan_special *special, uint32_t *targets)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < special->n_choices; k++) {
		uint32_t target = choose_target(b->plan, special->first_choice + k, &b->packets[i], b->frames[i].data,
		    b->tx->turns);
		uint32_t place = 0;

		while (place < n && targets[place] != target)
			place++;
		targets[place] = target;
		n += place == n;
	}
	return n;
}

/* One after the other; the last one may have the received buffer itself. */
static inline enum fw_fate
forward_to_each(const struct burst *b, unsigned i, const struct fw_plan_rule *rule, const struct fw_plan_special *special)
{
	uint32_t chosen[FW_TARGETS_MAX];
	uint32_t n = special == NULL ? rule->n_targets : choose_targets(b, i, special, chosen);
	uint32_t len = b->frames[i].len, kept = FW_NONE;
	enum fw_fate fate = FW_DROP_SHORT;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t target = special == NULL ? rule->first_target + k : chosen[k];
		enum fw_fate copy_fate = send_copy(b, i, target, k + 1 == n, &kept);

		count_copy(&b->collectors[b->targets[target].collector], copy_fate, len);
		fate = k == 0 ? copy_fate : merge(fate, copy_fate);
	}
	if (kept != FW_NONE) {
		waiting_frame(&b->tx->waiting, kept)->is_sent = fate == FW_FORWARD;
		waiting_let_go(&b->tx->waiting, kept);
	}
	return fate;
}

static enum fw_fate
punt(struct fw_transmitter *tx, const struct fw_queue *in, const struct fw_frame *frame)
{
	struct fw_record head = { .time = frame->time, .bytes = frame->len, .port = in->port, .rule = FW_NONE };

	bool was_empty = ring_is_empty(&tx->punt);

	if (!ring_put(&tx->punt, &head, frame->data))
		return FW_DROP_PUNT_FULL;
	if (was_empty) {
		ssize_t n = write(tx->punt_bell, "", 1);	/* never blocks; a full pipe rings already */

		(void)n;
	}
	return FW_PUNT;
}

/* Card and host stack get from each other what is not ours, as it came. Forwarding never waits for either. */
static enum fw_fate
pass(const struct burst *b, unsigned i)
{
	uint32_t to = plan_ports(b->plan)[b->in->port].passes_to;
	struct fw_frame *frame = &b->frames[i];
	struct fw_egress *e;

	if (to == FW_NONE)
		return FW_PASS;
	e = b->tx->egress[to];
	if (frame->len > e->queue->frame_max)
		return FW_DROP_TOO_BIG;
	if (egress_room(e, 1) == 0)
		return e->queue->failed ? FW_DROP_PORT_FAILED : FW_DROP_HOST_FULL;
	if (e->queue->buffers == b->in->buffers)
		egress_add(e, frame);
	else
		egress_add_copy(e, frame->data, frame->len, frame->time);
	return FW_PASS;
}

/* A copy of what came in, for whoever looks. Lossy: the path waits for nobody. */
static void
tap(const struct burst *b, unsigned i)
{
	const struct fw_frame *frame = &b->frames[i];
	struct fw_record head = {
		.time = frame->time,
		.bytes = frame->len,
		.port = b->in->port,
		.rule = b->packets[i].rule,
		.generation = b->plan->generation,
	};

	if (++b->tx->tap_turn < b->plan->tap_every)
		return;
	b->tx->tap_turn = 0;
	if (ring_put(&b->tx->tap, &head, frame->data))
		b->stats->work.tapped++;
	else
		b->stats->work.tap_lost++;
}

/* Everything leaves by one port: is there room for all copies of this rule? */
static inline bool
must_stop(const struct burst *b, const struct fw_plan_rule *rule)
{
	const struct fw_plan_special *special = special_of(b, rule);
	unsigned wanted = special == NULL ? rule->n_targets : special->n_choices;

	if (b->only == NULL || likely(b->only->room - b->only->n_out >= wanted))
		return false;
	if (wanted >= b->only->queue->slots)
		wanted = b->only->queue->slots - 1;	/* more than there can ever be: the rest is tx_full */
	return egress_room(b->only, wanted) < wanted && !b->only->queue->failed;
}

/* ---- the common case ---- */

/* A datagram of ours is its exporter's, or, where no rule wants it, that of all others together. */
static inline void
count_exporter(const struct burst *b, unsigned i, uint32_t len)
{
	stats_count(&b->exporter_counts[b->packets[i].exporter], len);
}

static inline void
count_datagram(const struct burst *b, unsigned i, const struct fw_plan_rule *rule, uint32_t len)
{
	count_exporter(b, i, len);
	stats_count(&b->rule_counts[rule->counter], len);
}

static void
count_special(const struct burst *b, const struct fw_plan_special *special, uint32_t len)
{
	for (uint32_t k = 0; k < special->n_counters; k++)
		stats_count(&b->rule_counts[plan_counters(b->plan)[special->first_counter + k]], len);
}

/* IPv4 without tags to a collector of IPv4 that is there: most of what send_copy() asks, in one go. */
static inline bool
is_common(const struct fw_packet *p, const struct fw_plan_target *t, const struct fw_egress *e, uint64_t neighbour)
{
	return is_plain(p) && t->family == 4 && p->ip_bytes <= e->mtu && neigh_state(neighbour) == FW_NEIGH_READY;
}

/* Frames that follow each other to one port, and leave from where they lie: frames[first] and on. */
struct run {
	struct fw_egress *egress;	/* NULL: there is none */
	unsigned first;
	unsigned limit;			/* for so many frames, counted as `first` is, the port has room */
};

/* The run ends before frame i: it is sent, and its frames have their new buffers. */
static void
end_run(const struct burst *b, struct run *run, unsigned i)
{
	struct fw_egress *e = run->egress;

	if (e != NULL && i > run->first) {
		e->queue->ops->send(e->queue, &b->frames[run->first], i - run->first);
		e->room -= i - run->first;
	}
	run->egress = NULL;
}

/* A buffer can only leave inside its region, and where tags are added, not as it lies. */
static inline bool
may_leave(const struct burst *b, const struct fw_egress *e)
{
	return e->queue->buffers == b->in->buffers && e->port->tags_bytes == 0;
}

/* False: not to this port. */
static bool
start_run(const struct burst *b, struct run *run, unsigned i, struct fw_egress *e)
{
	if (!may_leave(b, e))
		return false;
	end_run(b, run, i);
	egress_hand_over(e);	/* those before them first */
	run->egress = e;
	run->first = i;
	run->limit = i + egress_room(e, FW_BURST);
	return true;
}

static inline void
count_sent(struct fw_copy_ledger *ledger, uint32_t bytes)
{
	ledger->wanted++;
	ledger->sent++;
	ledger->sent_bytes += bytes;
}

/* Several targets behind one port: copies in spare buffers, and the last one takes the frame itself. False: as below. */
static __attribute__((noinline)) bool
forward_plain_copies(const struct burst *b, struct run *run, unsigned i, const struct fw_plan_rule *rule)
{
	const struct fw_plan_target *t = &b->targets[rule->first_target];
	struct fw_egress *e;
	struct fw_frame *frame = &b->frames[i];
	uint64_t neighbours[FW_TARGETS_MAX];
	uint32_t last = rule->n_targets - 1, len = frame->len;

	if (rule->n_targets == 0)
		return false;
	e = b->tx->egress[t->egress];
	for (uint32_t k = 0; k <= last; k++) {
		neighbours[k] = __atomic_load_n(&b->neighbours[t[k].neighbour], __ATOMIC_RELAXED);
		if (t[k].egress != t->egress || !is_common(&b->packets[i], &t[k], e, neighbours[k]))
			return false;
	}
	end_run(b, run, i);
	if (!may_leave(b, e) || egress_room(e, last + 1) <= last)
		return false;
	count_datagram(b, i, rule, len);
	for (uint32_t k = 0; k < last; k++) {
		struct fw_frame *out = egress_add_copy(e, frame->data, len, frame->time);

		fw_rewrite_plain(out->data, &t[k], e->port, neighbours[k]);
		count_sent(&b->collectors[t[k].collector], len);
	}
	egress_add(e, frame);
	fw_rewrite_plain(frame->data, &t[last], e->port, neighbours[last]);
	count_sent(&b->collectors[t[last].collector], len);
	b->stats->work.copied += last;
	return true;
}

/*
 * IPv4, no tags, and the buffer may move: all that forward_to_each() and send_copy() look at, asked in one go. False:
 * something is otherwise; nothing was done, and they find out what.
 */
static inline bool
forward_plain(const struct burst *b, struct run *run, unsigned i)
{
	const struct fw_packet *p = &b->packets[i];
	const struct fw_plan_rule *rule = &b->rules[p->rule];
	const struct fw_plan_target *t = &b->targets[rule->first_target];
	struct fw_egress *e;
	uint64_t neighbour;
	uint32_t len = b->frames[i].len;

	/* A special rule has no targets: the plan may be without any. */
	if (unlikely(rule->n_targets != 1))
		return forward_plain_copies(b, run, i, rule);
	e = b->tx->egress[t->egress];
	neighbour = __atomic_load_n(&b->neighbours[t->neighbour], __ATOMIC_RELAXED);
	if (!is_common(p, t, e, neighbour))
		return false;
	if (unlikely(run->egress != e) && !start_run(b, run, i, e))
		return false;
	if (i >= run->limit)
		return false;
	count_datagram(b, i, rule, len);
	count_sent(&b->collectors[t->collector], len);
	fw_rewrite_plain(b->frames[i].data, t, e->port, neighbour);
	return true;
}

/* ---- a burst ---- */

/* Does its exporter send more than it may? */
static inline bool
is_too_fast(const struct burst *b, unsigned i)
{
	struct fw_exporter_pace *pace = &b->tx->matcher->exporter_paces[b->packets[i].exporter];

	return plan_has_paces(b->plan) && pace->ns != 0 &&
	    !pace_allows(&pace->due, pace->ns, clock_of(&b->tx->clock, &b->frames[i]));
}

/* A datagram of ours, of which its rule wants copies. */
static enum fw_fate
forward_one(const struct burst *b, unsigned i, const struct fw_plan_rule *rule)
{
	const struct fw_plan_special *special = special_of(b, rule);
	const struct fw_packet *p = &b->packets[i];
	const struct fw_frame *frame = &b->frames[i];

	count_exporter(b, i, frame->len);
	if (unlikely(b->plan->tap_every != 0))
		tap(b, i);
	if (special != NULL && special->fate != FW_FORWARD)
		return special->fate;
	if (is_too_fast(b, i))
		return FW_DROP_RATE_LIMITED;
	/* Who writes the TTL may hide a loop from all who look at it, himself too: so he looks at each. */
	if ((p->fate == FW_SUSPECT || (special != NULL && special->writes_ttl != 0)) &&
	    loop_comes_back(&b->tx->matcher->loops, p, frame->data, clock_of(&b->tx->clock, frame)))
		return FW_DROP_LOOP;
	if (special != NULL)
		count_special(b, special, frame->len);
	else
		stats_count(&b->rule_counts[rule->counter], frame->len);
	return forward_to_each(b, i, rule, special);
}

/* One frame out of the common case. False: there is no room for it now. */
static __attribute__((noinline)) bool
transmit_one(const struct burst *b, unsigned i, unsigned *ended)
{
	const struct fw_packet *p = &b->packets[i];
	enum fw_fate fate = p->fate;

	if (fate == FW_FORWARD || fate == FW_SUSPECT) {
		const struct fw_plan_rule *rule = &b->rules[p->rule];

		if (must_stop(b, rule))
			return false;
		fate = forward_one(b, i, rule);
	} else if (fate == FW_DROP_NO_RULE || fate == FW_DROP_LOOP) {
		count_exporter(b, i, b->frames[i].len);
		if (fate == FW_DROP_NO_RULE)
			unknown_count(b->tx->unknown, &b->frames[i], p, clock_of(&b->tx->clock, &b->frames[i]));
		if (unlikely(b->plan->tap_every != 0))
			tap(b, i);
	} else if (fate == FW_PUNT) {
		fate = punt(b->tx, b->in, &b->frames[i]);
	} else if (fate == FW_PASS) {
		fate = pass(b, i);
	}
	ended[fate]++;
	return true;
}

/* ended[fate]: how many frames ended there. */
static void
count_frames(struct fw_frame_ledger *ledger, const unsigned *ended, unsigned n)
{
	ledger->received += n;
	for (unsigned cause = 0; cause < FW_DROP_CAUSES; cause++)
		ledger->drops[cause] += ended[cause];
	ledger->passed += ended[FW_PASS];
	ledger->punted += ended[FW_PUNT];
	ledger->pending += ended[FW_WAIT];
	ledger->forwarded += ended[FW_FORWARD];
}

unsigned
fw_transmit(struct fw_transmitter *tx, const struct fw_plan *plan, struct fw_stats *stats, const struct fw_queue *in,
    struct fw_frame *frames, struct fw_packet *packets, unsigned n)
{
	const struct burst b = {
		.tx = tx,
		.plan = plan,
		.stats = stats,
		.in = in,
		.frames = frames,
		.packets = packets,
		.only = plan->only_egress == FW_NONE ? NULL : tx->egress[plan->only_egress],
		.rules = plan_rules(plan),
		.targets = plan_targets(plan),
		.options = plan->n_options == 0 ? NULL : plan_options(plan),
		.neighbours = tx->neighbours,
		.exporter_counts = tx->matcher->exporter_counts,
		.rule_counts = stats->rules,
		.collectors = stats->collectors,
	};
	unsigned ended[FW_FORWARD + 1] = { 0 };
	unsigned i, plain = 0;
	struct run run = { NULL, 0, 0 };
	bool may_be_plain = plan->tap_every == 0 && tx->waiting.n_busy == 0 && !plan_has_paces(plan);

	tx->clock.now = 0;

	for (unsigned port = 0; port < tx->n_ports; port++)
		if (tx->egress[port] != NULL)
			egress_new_burst(tx->egress[port]);
	for (i = 0; i < n; i++) {
		if (likely(packets[i].fate == FW_FORWARD && may_be_plain && forward_plain(&b, &run, i))) {
			plain++;
			continue;
		}
		if (run.egress != NULL)
			end_run(&b, &run, i);
		if (!transmit_one(&b, i, ended))
			break;
		may_be_plain &= tx->waiting.n_busy == 0;
	}
	end_run(&b, &run, i);
	for (unsigned port = 0; port < tx->n_ports; port++)
		if (tx->egress[port] != NULL)
			egress_hand_over(tx->egress[port]);
	ended[FW_FORWARD] += plain;
	stats->work.swapped += plain;
	count_frames(&stats->frames, ended, i);
	return i;
}

void
fw_transmit_take_up(struct fw_transmitter *tx, const struct fw_plan *plan)
{
	for (unsigned i = 0; i < tx->n_ports; i++) {
		struct fw_egress *e = tx->egress[i];

		if (e == NULL)
			continue;
		e->port = &plan_ports(plan)[i];
		e->mtu = e->port->mtu != 0 ? e->port->mtu : UINT32_MAX;
	}
}
