#include "rewrite.h"
#include "transmit.h"

/* ---- sending ---- */

/* Sends what is ready. Every buffer that comes back goes where the one that left came from. */
static void
hand_over(struct fw_egress *e)
{
	unsigned n = e->n_out;

	if (n == 0)
		return;
	e->n_out = 0;
	e->queue->ops->send(e->queue, e->out, n);
	for (unsigned i = 0; i < n; i++) {
		if (likely(e->origin[i] != NULL))
			e->origin[i]->buf = e->out[i].buf;
		else
			e->spares[e->n_spares++] = e->out[i].buf;
	}
}

static unsigned
ask_for_room(struct fw_egress *e, unsigned wanted)
{
	hand_over(e);
	e->room = e->queue->ops->room(e->queue, wanted);
	if (e->room > FW_OUT)
		e->room = FW_OUT;
	return e->room;
}

/* How many frames can be added; the port is asked when they are fewer than wanted. */
static inline unsigned
room(struct fw_egress *e, unsigned wanted)
{
	return likely(e->room >= wanted) ? e->room : ask_for_room(e, wanted);
}

/* There is room for one. */
static inline struct fw_frame *
add(struct fw_egress *e, struct fw_frame *origin)
{
	e->room--;
	e->origin[e->n_out] = origin;
	return &e->out[e->n_out++];
}

/* A copy of a frame in a spare buffer, ready to be sent. There is room for one. */
static struct fw_frame *
add_copy(struct fw_egress *e, const uint8_t *data, uint32_t len, uint64_t time)
{
	struct fw_frame *copy;

	if (unlikely(e->n_spares == 0))
		hand_over(e);
	copy = add(e, NULL);
	copy->buf = e->spares[--e->n_spares];
	copy->data = queue_buffer(e->queue, copy->buf);
	copy->len = len;
	copy->time = time;
	memcpy(copy->data, data, len);
	return copy;
}

/* ---- one copy ---- */

/* Does a copy leave with other VLAN tags than it came in with? */
static inline bool
exchanges_tags(const struct fw_egress *e, uint32_t in_port, const struct fw_packet *p)
{
	return unlikely(p->ip != ETHER_BYTES || e->port->tags_bytes != 0) && in_port != e->queue->port &&
	    !e->port->keep_tags;
}

/* Gets a copy ready to be sent, or says why it cannot. `may_move`: the received buffer itself may leave. */
static inline enum fw_fate
send_frame(struct fw_egress *e, uint32_t in_port, struct fw_frame *frame, const struct fw_packet *p,
    const struct fw_plan_target *t, uint64_t neighbour, bool may_move, struct fw_work *work)
{
	bool exchanges = exchanges_tags(e, in_port, p);
	struct fw_frame *out;

	/* A frame that moves takes its buffer along, and fits; unless tags are added. */
	if (unlikely((exchanges || !may_move) && frame->len + e->port->tags_bytes > e->queue->buffer_bytes))
		return FW_DROP_TOO_BIG;
	if (unlikely(room(e, 1) == 0))
		return FW_DROP_TX_FULL;
	if (likely(may_move)) {
		out = add(e, frame);
		*out = *frame;
		work->swapped++;
	} else {
		out = add_copy(e, frame->data, frame->len, frame->time);
		work->copied++;
	}
	out->len = fw_rewrite(out->data, frame->len, p, t, e->port, exchanges, neighbour);
	return FW_FORWARD;
}

/* What is the same for all frames of a burst. */
struct burst {
	struct fw_transmitter *tx;
	const struct fw_plan *plan;
	struct fw_stats *stats;
	const struct fw_queue *in;
	struct fw_frame *frames;
	const struct fw_packet *packets;
};

/* *kept: the frame's number in the waiting room; FW_NONE: it is not there yet. */
static enum fw_fate
wait_for_neighbour(const struct burst *b, unsigned i, const struct fw_plan_target *t, uint32_t *kept)
{
	struct fw_waiting *w = &b->tx->waiting;

	if (*kept == FW_NONE)
		*kept = waiting_keep(w, b->in->port, &b->frames[i], &b->packets[i]);
	if (*kept == FW_NONE || !waiting_add(w, *kept, t))
		return FW_DROP_NEIGHBOUR_PENDING_FULL;
	return FW_WAIT;
}

static inline enum fw_fate
send_copy(const struct burst *b, unsigned i, const struct fw_plan_target *t, bool is_last, uint32_t *kept)
{
	const struct fw_packet *p = &b->packets[i];
	struct fw_egress *e = b->tx->egress[t->egress];
	uint64_t neighbour = __atomic_load_n(&b->tx->neighbours[t->neighbour], __ATOMIC_RELAXED);

	if (unlikely(t->family != key_family(&p->key)))
		return t->family == 0 ? FW_DROP_NO_COLLECTOR : FW_DROP_FAMILY_MISMATCH;
	if (unlikely(e->port->mtu != 0 && p->ip_bytes > e->port->mtu))
		return FW_DROP_TOO_BIG;
	if (unlikely(neigh_state(neighbour) == FW_NEIGH_FAILED))
		return FW_DROP_NEIGHBOUR_FAILED;
	/* Who comes while others wait, waits behind them: order survives. */
	if (unlikely(neigh_state(neighbour) != FW_NEIGH_READY || b->tx->waiting.n_busy > 0) &&
	    (neigh_state(neighbour) != FW_NEIGH_READY || waiting_first(&b->tx->waiting, t->neighbour) != NULL))
		return wait_for_neighbour(b, i, t, kept);
	return send_frame(e, b->in->port, &b->frames[i], p, t, neighbour,
	    is_last && e->queue->buffers == b->in->buffers, &b->stats->work);
}

static inline void
count_copy(struct fw_copy_ledger *ledger, enum fw_fate fate, uint32_t bytes)
{
	ledger->wanted++;
	if (likely(fate == FW_FORWARD)) {
		ledger->sent++;
		ledger->sent_bytes += bytes;
	} else if (fate == FW_WAIT) {
		ledger->pending++;
	} else {
		ledger->drops[fate]++;
	}
}

/* ---- one frame ---- */

/* Sent beats waiting, waiting beats dropped; of two causes the first one stays. */
static inline enum fw_fate
merge(enum fw_fate frame, enum fw_fate copy)
{
	return copy > frame && copy >= FW_WAIT ? copy : frame;
}

/* To all collectors of the rule; the last one may have the buffer itself. */
static inline enum fw_fate
forward(const struct burst *b, unsigned i, const struct fw_plan_rule *rule)
{
	const struct fw_plan_target *t = plan_targets(b->plan) + rule->first_target;
	const struct fw_plan_target *last = t + rule->n_targets - 1;
	uint32_t len = b->frames[i].len, kept = FW_NONE;
	enum fw_fate fate = FW_DROP_SHORT, copy;
	bool is_first = true;

	for (; unlikely(t != last); t++, is_first = false) {
		copy = send_copy(b, i, t, false, &kept);
		count_copy(&b->stats->collectors[t->collector], copy, len);
		fate = is_first ? copy : merge(fate, copy);
	}
	copy = send_copy(b, i, last, true, &kept);
	count_copy(&b->stats->collectors[last->collector], copy, len);
	fate = is_first ? copy : merge(fate, copy);
	if (unlikely(kept != FW_NONE)) {
		waiting_frame(&b->tx->waiting, kept)->is_sent = fate == FW_FORWARD;
		waiting_let_go(&b->tx->waiting, kept);
	}
	return fate;
}

static enum fw_fate
punt(struct fw_transmitter *tx, const struct fw_queue *in, const struct fw_frame *frame)
{
	struct fw_record head = { .time = frame->time, .bytes = frame->len, .port = in->port, .rule = FW_NONE };

	return ring_put(&tx->punt, &head, frame->data) ? FW_PUNT : FW_DROP_PUNT_FULL;
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

/* All leaves by one port: is there room for all copies of this rule? */
static inline bool
must_stop(struct fw_egress *only, const struct fw_plan_rule *rule)
{
	unsigned wanted = rule->n_targets;

	if (likely(only == NULL || only->room >= wanted))
		return false;
	if (wanted >= only->queue->slots)
		wanted = only->queue->slots - 1;	/* more than there can ever be: the rest is tx_full */
	return room(only, wanted) < wanted;
}

/* ---- a burst ---- */

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

/* A datagram of ours, whether a rule wants it or not, is its exporter's, and may be looked at. */
static inline void
account(const struct burst *b, unsigned i)
{
	stats_count(&b->tx->exporters[b->packets[i].exporter], b->frames[i].len);
	if (unlikely(b->plan->tap_every != 0))
		tap(b, i);
}

unsigned
fw_transmit(struct fw_transmitter *tx, const struct fw_plan *plan, struct fw_stats *stats, const struct fw_queue *in,
    struct fw_frame *frames, struct fw_packet *packets, unsigned n)
{
	const struct burst b = { tx, plan, stats, in, frames, packets };
	struct fw_egress *only = plan->only_egress == FW_NONE ? NULL : tx->egress[plan->only_egress];
	unsigned ended[FW_FORWARD + 1] = { 0 };
	unsigned i;

	for (i = 0; i < n; i++) {
		enum fw_fate fate = packets[i].fate;

		if (likely(fate == FW_FORWARD)) {
			const struct fw_plan_rule *rule = &plan_rules(plan)[packets[i].rule];

			if (unlikely(must_stop(only, rule)))
				break;
			account(&b, i);
			stats_count(&stats->rules[rule->counter], frames[i].len);
			fate = forward(&b, i, rule);
		} else if (fate == FW_DROP_NO_RULE) {
			account(&b, i);
		} else if (fate == FW_PUNT) {
			fate = punt(tx, in, &frames[i]);
		}
		ended[fate]++;
	}
	for (unsigned port = 0; port < tx->n_ports; port++)
		if (tx->egress[port] != NULL)
			hand_over(tx->egress[port]);
	count_frames(&stats->frames, ended, i);
	return i;
}

void
fw_transmit_take_up(struct fw_transmitter *tx, const struct fw_plan *plan)
{
	for (unsigned i = 0; i < tx->n_ports; i++)
		if (tx->egress[i] != NULL)
			tx->egress[i]->port = &plan_ports(plan)[i];
}

/* ---- those that waited ---- */

/* A waiting copy has got its answer: `fate` is FW_FORWARD or the cause. */
static void
settle(struct fw_transmitter *tx, struct fw_stats *stats, uint32_t slot, enum fw_fate fate)
{
	const struct fw_waiting_copy *copy = waiting_first(&tx->waiting, slot);
	struct fw_waiting_frame *f = waiting_frame(&tx->waiting, copy->frame);
	struct fw_copy_ledger *ledger = &stats->collectors[copy->target.collector];
	uint32_t number = copy->frame;

	ledger->pending--;
	if (fate == FW_FORWARD) {
		ledger->sent++;
		ledger->sent_bytes += f->frame.len;
	} else {
		ledger->drops[fate]++;
	}
	waiting_pop(&tx->waiting, slot);
	if (!f->is_sent && fate == FW_FORWARD) {
		f->is_sent = true;
		stats->frames.pending--;
		stats->frames.forwarded++;
	} else if (!f->is_sent && f->copies == 0) {
		stats->frames.pending--;
		stats->frames.drops[fate]++;
	}
	waiting_let_go(&tx->waiting, number);
}

/* The queue of one neighbour, up to its end or the end of the room. */
static unsigned
send_waiting(struct fw_transmitter *tx, struct fw_stats *stats, uint32_t slot)
{
	uint64_t neighbour = __atomic_load_n(&tx->neighbours[slot], __ATOMIC_RELAXED);
	enum fw_neigh_state state = neigh_state(neighbour);
	struct fw_waiting_copy *copy;
	unsigned n = 0;

	if (state != FW_NEIGH_READY && state != FW_NEIGH_FAILED)
		return 0;
	while ((copy = waiting_first(&tx->waiting, slot)) != NULL) {
		struct fw_waiting_frame *f = waiting_frame(&tx->waiting, copy->frame);
		struct fw_egress *e = tx->egress[copy->target.egress];
		enum fw_fate fate = FW_DROP_NEIGHBOUR_FAILED;

		if (state == FW_NEIGH_READY) {
			if (room(e, 1) == 0)
				break;
			fate = send_frame(e, f->in_port, &f->frame, &f->packet, &copy->target, neighbour, false,
			    &stats->work);
		}
		settle(tx, stats, slot, fate);
		n++;
	}
	return n;
}

unsigned
fw_transmit_waiting(struct fw_transmitter *tx, struct fw_stats *stats)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < tx->waiting.n_busy; i++)
		n += send_waiting(tx, stats, tx->waiting.busy[i]);
	if (n > 0)
		waiting_tidy(&tx->waiting);
	return n;
}

/* ---- what Python made ---- */

unsigned
fw_transmit_injected(struct fw_transmitter *tx, struct fw_ring *inject, struct fw_stats *stats)
{
	const struct fw_record *head;
	const uint8_t *frame;
	unsigned n = 0;

	while ((head = ring_peek(inject, &frame)) != NULL) {
		struct fw_egress *e = tx->egress[head->port];

		if (room(e, 1) == 0)
			break;
		add_copy(e, frame, head->bytes, head->time);
		stats->work.injected++;
		ring_pop(inject);
		n++;
	}
	return n;
}

void
fw_transmit_flush(struct fw_transmitter *tx)
{
	for (unsigned i = 0; i < tx->n_ports; i++) {
		struct fw_egress *e = tx->egress[i];

		if (e == NULL)
			continue;
		hand_over(e);
		e->queue->ops->flush(e->queue);
	}
}
