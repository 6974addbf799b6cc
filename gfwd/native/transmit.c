#include "burst.h"
#include "choose.h"
#include "pace.h"
#include "punt.h"
#include "tap.h"
#include "transmit.h"

/* ---- one frame, to all targets of its rule ---- */

/*
 * A collector has a target for each of several next hops, and for each of several addresses that are to get copies: what is one
 * place is known by its counter slot and its address.
 */
static bool
is_same_place(const struct fw_plan_target *a, const struct fw_plan_target *b)
{
	return a->collector == b->collector && memcmp(a->address, b->address, sizeof a->address) == 0;
}

/*
 * Who gets copies, each once, by the next hop that it was chosen with first: what a rule names and what groups choose may be the
 * same. How many they are.
 */
static uint32_t
choose_targets(const struct burst *b, unsigned i, const struct fw_plan_special *special, uint32_t *targets)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < special->n_choices; k++) {
		uint32_t target = choose_target(b->plan, special->first_choice + k, &b->packets[i], b->frames[i].data,
		    b->tx->turns);
		uint32_t place = 0;

		while (place < n && !is_same_place(&b->targets[targets[place]], &b->targets[target]))
			place++;
		if (place == n)
			targets[n++] = target;
	}
	return n;
}

/* A collector that has addresses of both families gets a datagram at that of the datagram's own. */
static inline uint32_t
of_its_family(const struct burst *b, unsigned i, uint32_t target)
{
	uint32_t other;

	if (likely(b->plan->n_others == 0 || b->targets[target].family == key_family(&b->packets[i].key)))
		return target;
	other = plan_others(b->plan)[target];
	return other != FW_NONE ? other : target;
}

/* What is decided for a first fragment is kept for the others. */
static void
remember_copy(const struct burst *b, struct fw_datagram *d, uint32_t target, enum fw_fate fate)
{
	struct fw_fragment_copy *copy = &d->copies[d->n_copies++];

	copy->target = b->targets[target];
	copy->option = b->options == NULL ? (struct fw_plan_option){ 0 } : b->options[target];
	copy->fate = fate;
}

/* One after the other; the last one may have the received buffer itself. d: as forward_one() says. */
static inline enum fw_fate
forward_to_each(const struct burst *b, unsigned i, const struct fw_plan_rule *rule, const struct fw_plan_special *special,
    struct fw_datagram *d)
{
	uint32_t chosen[FW_TARGETS_MAX];
	uint32_t n = special == NULL ? rule->n_targets : choose_targets(b, i, special, chosen);
	uint32_t len = b->frames[i].len;
	struct held h = held_of(b, i);
	enum fw_fate fate = FW_DROP_SHORT;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t target = of_its_family(b, i, special == NULL ? rule->first_target + k : chosen[k]);
		enum fw_fate copy_fate = copy_send(b, &h, target, k + 1 == n);

		copy_count(&b->collectors[b->targets[target].collector], copy_fate, len);
		fate = k == 0 ? copy_fate : copy_merge(fate, copy_fate);
		if (unlikely(d != NULL))
			remember_copy(b, d, target, copy_fate);
	}
	held_let_go(b, &h, fate);
	return fate;
}

enum fw_fate
transmit_pass(const struct burst *b, const struct held *h)
{
	uint32_t to = plan_ports(b->plan)[h->in_port].passes_to;
	struct fw_frame *frame = h->frame;
	struct fw_egress *e;

	if (to == FW_NONE)
		return FW_PASS;
	e = b->tx->egress[to];
	if (frame->len > e->queue->frame_max)
		return FW_DROP_TOO_BIG;
	if (egress_room(e, 1) == 0)
		return e->queue->failed ? FW_DROP_PORT_FAILED : FW_DROP_HOST_FULL;
	if (e->queue->buffers == h->buffers)
		egress_add(e, frame);
	else
		egress_add_copy(e, frame->data, frame->len, frame->time);
	return FW_PASS;
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

/* IPv4 without tags to a collector of IPv4 that is there: most of what copy_send() asks, in one go. */
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
 * IPv4, no tags, and the buffer may move: all that forward_to_each() and copy_send() look at, asked in one go. False:
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

/* Fragments of a datagram count for the rules that its first one met. */
static void
remember_counters(const struct burst *b, struct fw_datagram *d, const struct fw_plan_rule *rule,
    const struct fw_plan_special *special)
{
	if (special == NULL) {
		d->counters[d->n_counters++] = rule->counter;
		return;
	}
	for (; d->n_counters < special->n_counters && d->n_counters < FW_TARGETS_MAX; d->n_counters++)
		d->counters[d->n_counters] = plan_counters(b->plan)[special->first_counter + d->n_counters];
}

/* A datagram of ours, of which its rule wants copies. d: it is the first fragment of that one; NULL: it is whole. */
static enum fw_fate
forward_one(const struct burst *b, unsigned i, const struct fw_plan_rule *rule, struct fw_datagram *d)
{
	const struct fw_plan_special *special = special_of(b, rule);
	const struct fw_packet *p = &b->packets[i];
	const struct fw_frame *frame = &b->frames[i];

	count_exporter(b, i, frame->len);
	if (special != NULL && special->fate != FW_FORWARD)
		return special->fate;
	if (is_too_fast(b, i))
		return FW_DROP_RATE_LIMITED;
	/* Who writes the TTL may hide a loop from all who look at it, himself too: so he looks at each. */
	if (((p->fate & ~FIRST_FRAGMENT) == FW_SUSPECT || (special != NULL && special->writes_ttl != 0)) &&
	    loop_comes_back(&b->tx->matcher->loops, p, frame->data, clock_of(&b->tx->clock, frame)))
		return FW_DROP_LOOP;
	if (special != NULL)
		count_special(b, special, frame->len);
	else
		stats_count(&b->rule_counts[rule->counter], frame->len);
	if (unlikely(d != NULL))
		remember_counters(b, d, rule, special);
	return forward_to_each(b, i, rule, special, d);
}

static enum fw_fate
deal_with(const struct burst *b, unsigned i, enum fw_fate fate, struct fw_datagram *d)
{
	const struct fw_packet *p = &b->packets[i];

	if (fate == FW_FORWARD || fate == FW_SUSPECT)
		return forward_one(b, i, &b->rules[p->rule], d);
	if (fate == FW_DROP_NO_RULE || fate == FW_DROP_LOOP) {
		count_exporter(b, i, b->frames[i].len);
		if (fate == FW_DROP_NO_RULE)
			unknown_count(b->tx->unknown, &b->frames[i], p, clock_of(&b->tx->clock, &b->frames[i]));
	} else if (fate == FW_PUNT) {
		return punt_frame(b->tx, b->in->port, &b->frames[i]);
	} else if (fate == FW_PASS) {
		const struct held h = held_of(b, i);

		return transmit_pass(b, &h);
	}
	return fate;
}

/* There is room for its copies. Who looks sees a datagram as it came in, and what became of it. */
enum fw_fate
transmit_deal_with(const struct burst *b, unsigned i, enum fw_fate fate, struct fw_datagram *d)
{
	bool is_ours = fate == FW_FORWARD || fate == FW_SUSPECT || fate == FW_DROP_NO_RULE || fate == FW_DROP_LOOP;
	struct fw_record *record = NULL;

	if (unlikely(b->plan->n_taps != 0) && is_ours)
		record = tap_begin(b, i, d == NULL);
	fate = deal_with(b, i, fate, d);
	if (record != NULL)
		tap_end(b, record, fate);
	return fate;
}

/* One frame out of the common case. False: there is no room for it now. */
static __attribute__((noinline)) bool
transmit_one(const struct burst *b, unsigned i, unsigned *ended)
{
	const struct fw_packet *p = &b->packets[i];
	enum fw_fate fate = p->fate == FW_TAPPED ? FW_FORWARD : p->fate;

	if (unlikely(fate >= FW_FRAGMENT)) {
		if (fate == FW_FRAGMENT)
			return transmit_later_fragment(b, i, ended);
		return transmit_first_fragment(b, i, fate & ~FIRST_FRAGMENT, ended);
	}
	if ((fate == FW_FORWARD || fate == FW_SUSPECT) && must_stop(b, p, copies_of(b, &b->rules[p->rule])))
		return false;
	ended[transmit_deal_with(b, i, fate, NULL)]++;
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
	bool may_be_plain = tx->waiting.n_busy == 0 && !plan_has_paces(plan);

	tx->clock.now = 0;
	if (unlikely(plan->n_taps != 0))
		tap_mark(plan, packets, n);

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
