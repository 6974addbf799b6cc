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

/* A frame whose copies are made: one of the burst, or one that is in the waiting room already. */
struct held {
	struct fw_frame *frame;
	const struct fw_packet *packet;
	uint32_t in_port;
	const uint8_t *buffers;		/* the region that its buffer can leave in; NULL: it cannot */
	uint32_t kept;			/* its number in the waiting room; FW_NONE: it is not there yet */
};

static inline struct held
held_of(const struct burst *b, unsigned i)
{
	return (struct held){ &b->frames[i], &b->packets[i], b->in->port, b->in->buffers, FW_NONE };
}

/* Its copies are made. If it is in the waiting room, it stays there for those that wait. */
static inline void
let_go(const struct burst *b, const struct held *h, enum fw_fate fate)
{
	if (h->kept == FW_NONE)
		return;
	waiting_frame(&b->tx->waiting, h->kept)->is_sent = fate == FW_FORWARD;
	waiting_let_go(&b->tx->waiting, h->kept);
}

static enum fw_fate
wait_for_neighbour(const struct burst *b, struct held *h, const struct fw_plan_target *t, const struct fw_plan_option *option)
{
	struct fw_waiting *w = &b->tx->waiting;

	if (h->kept == FW_NONE)
		h->kept = waiting_keep(w, h->in_port, h->frame, h->packet);
	if (h->kept == FW_NONE || !waiting_add(w, h->kept, t, option))
		return FW_DROP_NEIGHBOUR_PENDING_FULL;
	return FW_WAIT;
}

/* Can this frame go there at all? */
static inline enum fw_fate
reach(const struct fw_packet *p, const struct fw_egress *e, uint64_t neighbour)
{
	if (p->ip_bytes > e->mtu)
		return FW_DROP_TOO_BIG;
	return neigh_state(neighbour) == FW_NEIGH_FAILED ? FW_DROP_NEIGHBOUR_FAILED : FW_FORWARD;
}

/* It can, and is to. Who comes while others wait, waits behind them: order survives. */
static inline enum fw_fate
send_or_wait(const struct burst *b, struct held *h, const struct fw_plan_target *t, const struct fw_plan_option *option,
    uint64_t neighbour, bool is_last)
{
	struct fw_egress *e = b->tx->egress[t->egress];

	if (neigh_state(neighbour) != FW_NEIGH_READY ||
	    (b->tx->waiting.n_busy > 0 && waiting_first(&b->tx->waiting, t->neighbour) != NULL))
		return wait_for_neighbour(b, h, t, option);
	return egress_send(e, h->in_port, h->frame, h->packet, t, option, neighbour,
	    is_last && e->queue->buffers == h->buffers, &b->stats->work);
}

/* Is this copy among those that its collector is to get? */
static enum fw_fate
admit_copy(const struct burst *b, const struct held *h, const struct fw_plan_option *option, uint32_t collector)
{
	const uint8_t *udp = h->frame->data + h->packet->udp;

	if (option->sample > 1 && !sample_takes(&b->tx->chance, option->sample) &&
	    !sample_has_template(udp + UDP_BYTES, packet_udp_bytes(h->packet, h->frame->data) - UDP_BYTES))
		return FW_DROP_SAMPLED_OUT;
	if (option->limit_ns != 0 && !pace_allows(&b->tx->collector_paces[collector], option->limit_ns,
	    clock_of(&b->tx->clock, h->frame)))
		return FW_DROP_COLLECTOR_LIMIT;
	return FW_FORWARD;
}

static __attribute__((noinline)) enum fw_fate
send_copy(const struct burst *b, struct held *h, uint32_t target, bool is_last)
{
	const struct fw_plan_target *t = &b->targets[target];
	const struct fw_plan_option *option = b->options == NULL ? NULL : &b->options[target];
	uint64_t neighbour = __atomic_load_n(&b->neighbours[t->neighbour], __ATOMIC_RELAXED);
	enum fw_fate fate;

	if (t->family != key_family(&h->packet->key))
		return t->family == 0 ? FW_DROP_NO_COLLECTOR : FW_DROP_FAMILY_MISMATCH;
	fate = reach(h->packet, b->tx->egress[t->egress], neighbour);
	if (fate == FW_FORWARD && option != NULL)
		fate = admit_copy(b, h, option, t->collector);
	return fate == FW_FORWARD ? send_or_wait(b, h, t, option, neighbour, is_last) : fate;
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
		uint32_t target = special == NULL ? rule->first_target + k : chosen[k];
		enum fw_fate copy_fate = send_copy(b, &h, target, k + 1 == n);

		count_copy(&b->collectors[b->targets[target].collector], copy_fate, len);
		fate = k == 0 ? copy_fate : merge(fate, copy_fate);
		if (unlikely(d != NULL))
			remember_copy(b, d, target, copy_fate);
	}
	let_go(b, &h, fate);
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
pass(const struct burst *b, const struct held *h)
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

/* How many copies there are of a datagram of this rule. */
static inline unsigned
copies_of(const struct burst *b, const struct fw_plan_rule *rule)
{
	const struct fw_plan_special *special = special_of(b, rule);

	return special == NULL ? rule->n_targets : special->n_choices;
}

/* Everything leaves by one port: is there room for so many copies? */
static inline bool
must_stop(const struct burst *b, unsigned wanted)
{
	if (b->only == NULL || likely(b->only->room - b->only->n_out >= wanted))
		return false;
	/* More than there can ever be: the rest is tx_full, unless the card is quick. */
	if (wanted >= b->only->queue->slots)
		wanted = b->only->queue->slots - 1;
	if (wanted > FW_OUT)
		wanted = FW_OUT;
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
	if (unlikely(b->plan->tap_every != 0 && d == NULL))
		tap(b, i);
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

/* Where a frame ends. There is room for its copies. d: as above. */
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
		if (unlikely(b->plan->tap_every != 0 && d == NULL))
			tap(b, i);
	} else if (fate == FW_PUNT) {
		return punt(b->tx, b->in, &b->frames[i]);
	} else if (fate == FW_PASS) {
		const struct held h = held_of(b, i);

		return pass(b, &h);
	}
	return fate;
}

/* ---- fragments ---- */

/* A later fragment gets what the first one of its datagram got, and from the same places. */
static enum fw_fate
follow(const struct burst *b, const struct fw_datagram *d, struct held *h)
{
	uint32_t len = h->frame->len;
	enum fw_fate fate = d->end;

	if (d->exporter != FW_NONE)
		stats_count(&b->exporter_counts[d->exporter], len);
	else if (fate == FW_PASS)
		fate = pass(b, h);
	for (uint32_t k = 0; k < d->n_counters; k++)
		stats_count(&b->rule_counts[d->counters[k]], len);
	for (uint32_t k = 0; k < d->n_copies; k++) {
		const struct fw_fragment_copy *copy = &d->copies[k];
		enum fw_fate copy_fate = copy->fate;

		if (copy_fate == FW_FORWARD || copy_fate == FW_WAIT) {
			uint64_t neighbour = __atomic_load_n(&b->neighbours[copy->target.neighbour], __ATOMIC_RELAXED);

			copy_fate = reach(h->packet, b->tx->egress[copy->target.egress], neighbour);
			if (copy_fate == FW_FORWARD)
				copy_fate = send_or_wait(b, h, &copy->target, &copy->option, neighbour, k + 1 == d->n_copies);
		}
		count_copy(&b->collectors[copy->target.collector], copy_fate, len);
		fate = k == 0 ? copy_fate : merge(fate, copy_fate);
	}
	let_go(b, h, fate);
	return fate;
}

static void
count_frame(struct fw_frame_ledger *ledger, enum fw_fate fate)
{
	if (fate < FW_DROP_CAUSES)
		ledger->drops[fate]++;
	else
		*(fate == FW_PASS ? &ledger->passed : fate == FW_WAIT ? &ledger->pending : &ledger->forwarded) += 1;
}

/* What came before its first fragment, and waited for it. */
static void
forward_those_before(const struct burst *b, struct fw_datagram *d)
{
	uint32_t number;

	while ((number = fragments_take(&b->tx->fragments, d)) != FW_NONE) {
		struct fw_waiting_frame *f = waiting_frame(&b->tx->waiting, number);
		struct held h = { &f->frame, &f->packet, f->in_port, NULL, number };

		b->stats->frames.pending--;
		count_frame(&b->stats->frames, follow(b, d, &h));
	}
}

/* False: there is no room for it, and for those that wait for it. */
static bool
transmit_first_fragment(const struct burst *b, unsigned i, enum fw_fate fate, unsigned *ended)
{
	struct fw_fragments *fragments = &b->tx->fragments;
	uint64_t now = clock_of(&b->tx->clock, &b->frames[i]);
	struct fw_datagram *d;

	fragments_expire(fragments, b->stats, now);
	d = fragments_find(fragments, &b->frames[i], &b->packets[i]);
	if ((fate == FW_FORWARD || fate == FW_SUSPECT) &&
	    must_stop(b, copies_of(b, &b->rules[b->packets[i].rule]) * (1 + (d == NULL ? 0 : d->n_waiting))))
		return false;
	d = fragments_begin(fragments, b->stats, &b->frames[i], &b->packets[i], now);
	d->exporter = fate == FW_PASS ? FW_NONE : b->packets[i].exporter;
	d->end = deal_with(b, i, fate, d);
	d->is_decided = true;
	ended[d->end]++;
	forward_those_before(b, d);
	return true;
}

/* False: as above. */
static bool
transmit_later_fragment(const struct burst *b, unsigned i, unsigned *ended)
{
	struct fw_fragments *fragments = &b->tx->fragments;
	uint64_t now = clock_of(&b->tx->clock, &b->frames[i]);
	struct held h = held_of(b, i);
	const struct fw_datagram *d;

	fragments_expire(fragments, b->stats, now);
	d = fragments_find(fragments, h.frame, h.packet);
	if (d == NULL || !d->is_decided) {
		/* One that waits is counted as pending there. */
		ended[FW_DROP_FRAGMENT_LOST] += !fragments_wait(fragments, b->stats, h.in_port, h.frame, h.packet, now);
		return true;
	}
	if (must_stop(b, d->n_copies))
		return false;
	ended[follow(b, d, &h)]++;
	return true;
}

/* One frame out of the common case. False: there is no room for it now. */
static __attribute__((noinline)) bool
transmit_one(const struct burst *b, unsigned i, unsigned *ended)
{
	const struct fw_packet *p = &b->packets[i];

	if (unlikely(p->fate >= FW_FRAGMENT)) {
		if (p->fate == FW_FRAGMENT)
			return transmit_later_fragment(b, i, ended);
		return transmit_first_fragment(b, i, p->fate & ~FIRST_FRAGMENT, ended);
	}
	if ((p->fate == FW_FORWARD || p->fate == FW_SUSPECT) && must_stop(b, copies_of(b, &b->rules[p->rule])))
		return false;
	ended[deal_with(b, i, p->fate, NULL)]++;
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
