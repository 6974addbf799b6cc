#include "rewrite.h"
#include "transmit.h"

/* ---- places to send from ---- */

static void
hand_over(struct fw_egress *e)
{
	if (e->n_filled > 0)
		e->queue->ops->tx_done(e->queue, e->places, e->n_filled);
	e->n_places = e->n_filled = 0;
}

/* How many places are free; the port is asked for more when they are fewer than wanted. */
static inline unsigned
room(struct fw_egress *e, unsigned wanted)
{
	if (unlikely(e->n_places - e->n_filled < wanted)) {
		hand_over(e);
		e->n_places = e->queue->ops->tx(e->queue, e->places, wanted > FW_BURST ? wanted : FW_BURST);
	}
	return e->n_places - e->n_filled;
}

/* ---- one copy ---- */

/* The received buffer itself leaves, and the place's own takes its turn at receiving. */
static inline void
swap_buffers(struct fw_frame *frame, struct fw_frame *place)
{
	struct fw_frame empty = *place;

	place->data = frame->data;
	place->buf = frame->buf;
	frame->data = empty.data;
	frame->buf = empty.buf;
}

/* Fills the next place of `e`. FW_FORWARD, or why not. */
static inline enum fw_fate
fill_place(struct fw_egress *e, const struct fw_plan *plan, uint32_t in_port, struct fw_frame *frame,
    const struct fw_packet *p, const struct fw_plan_target *t, uint64_t neighbour, bool may_swap, struct fw_work *work)
{
	const struct fw_plan_port *out = &plan_ports(plan)[t->egress];
	bool keeps_tags = in_port == t->egress || out->keep_tags;
	uint32_t len = frame->len - (p->ip - ETHER_BYTES) + rewrite_tags_bytes(p, out, keeps_tags);
	struct fw_frame *place;

	if (unlikely(len > e->queue->buffer_bytes || frame->len > e->queue->buffer_bytes))
		return FW_DROP_TOO_BIG;
	if (unlikely(room(e, 1) == 0))
		return FW_DROP_TX_FULL;
	place = &e->places[e->n_filled++];
	if (likely(may_swap)) {
		swap_buffers(frame, place);
		work->swapped++;
	} else {
		memcpy(place->data, frame->data, frame->len);
		work->copied++;
	}
	place->len = fw_rewrite(place->data, frame->len, p, t, out, keeps_tags, neighbour);
	place->time = frame->time;
	return FW_FORWARD;
}

/* A frame on its way to the rule's collectors. */
struct journey {
	struct fw_transmitter *tx;
	const struct fw_plan *plan;
	struct fw_stats *stats;
	const struct fw_queue *in;
	struct fw_frame *frame;
	const struct fw_packet *packet;
	uint32_t kept;			/* its number in the waiting room; FW_NONE: it is not there */
};

static enum fw_fate
wait_for_neighbour(struct journey *j, const struct fw_plan_target *t)
{
	struct fw_waiting *w = &j->tx->waiting;

	if (j->kept == FW_NONE)
		j->kept = waiting_keep(w, j->in->port, j->frame, j->packet);
	if (j->kept == FW_NONE || !waiting_add(w, j->kept, t))
		return FW_DROP_NEIGHBOUR_PENDING_FULL;
	return FW_WAIT;
}

static inline enum fw_fate
send_copy(struct journey *j, const struct fw_plan_target *t, bool is_last)
{
	struct fw_transmitter *tx = j->tx;
	struct fw_egress *e = tx->egress[t->egress];
	uint32_t mtu = plan_ports(j->plan)[t->egress].mtu;
	uint64_t neighbour;

	if (unlikely(t->family != j->packet->family))
		return t->family == 0 ? FW_DROP_NO_COLLECTOR : FW_DROP_FAMILY_MISMATCH;
	if (unlikely(mtu != 0 && j->packet->ip_bytes > mtu))
		return FW_DROP_TOO_BIG;
	neighbour = __atomic_load_n(&tx->neighbours[t->neighbour], __ATOMIC_RELAXED);
	if (unlikely(neigh_state(neighbour) == FW_NEIGH_FAILED))
		return FW_DROP_NEIGHBOUR_FAILED;
	/* Who comes while others wait, waits behind them: order survives. */
	if (unlikely(neigh_state(neighbour) != FW_NEIGH_READY ||
	    (tx->waiting.n_busy > 0 && waiting_first(&tx->waiting, t->neighbour) != NULL)))
		return wait_for_neighbour(j, t);
	return fill_place(e, j->plan, j->in->port, j->frame, j->packet, t, neighbour,
	    is_last && e->queue->region == j->in->region && j->in->region != NULL, &j->stats->work);
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
forward(struct journey *j, const struct fw_plan_rule *rule)
{
	const struct fw_plan_target *t = plan_targets(j->plan) + rule->first_target;
	uint32_t len = j->frame->len;
	enum fw_fate fate = FW_DROP_CAUSES;

	for (uint32_t i = 0; i < rule->n_targets; i++) {
		enum fw_fate copy = send_copy(j, &t[i], i + 1 == rule->n_targets);

		count_copy(&j->stats->collectors[t[i].collector], copy, len);
		fate = i == 0 ? copy : merge(fate, copy);
	}
	if (unlikely(j->kept != FW_NONE)) {
		waiting_frame(&j->tx->waiting, j->kept)->is_sent = fate == FW_FORWARD;
		waiting_let_go(&j->tx->waiting, j->kept);
	}
	stats_count(&j->stats->rules[rule->counter], len);
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
tap(struct fw_transmitter *tx, const struct fw_plan *plan, struct fw_work *work, const struct fw_queue *in,
    const struct fw_frame *frame, const struct fw_packet *p)
{
	struct fw_record head = {
		.time = frame->time,
		.bytes = frame->len,
		.port = in->port,
		.rule = p->rule,
		.generation = plan->generation,
	};

	if (++tx->tap_turn < plan->tap_every)
		return;
	tx->tap_turn = 0;
	if (ring_put(&tx->tap, &head, frame->data))
		work->tapped++;
	else
		work->tap_lost++;
}

/* Everything leaves by one port: is there room for all copies of this rule? */
static inline bool
must_stop(struct fw_transmitter *tx, const struct fw_plan *plan, const struct fw_plan_rule *rule)
{
	struct fw_egress *e;
	unsigned wanted;

	if (unlikely(plan->only_egress == FW_NONE))
		return false;
	e = tx->egress[plan->only_egress];
	wanted = rule->n_targets < e->queue->slots ? rule->n_targets : e->queue->slots - 1;
	return room(e, wanted) < wanted;
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

unsigned
fw_transmit(struct fw_transmitter *tx, const struct fw_plan *plan, struct fw_stats *stats, const struct fw_queue *in,
    struct fw_frame *frames, struct fw_packet *packets, unsigned n)
{
	unsigned ended[FW_FORWARD + 1] = { 0 };
	unsigned i;

	for (i = 0; i < n; i++) {
		struct fw_packet *p = &packets[i];
		enum fw_fate fate = p->fate;

		if (likely(fate == FW_FORWARD)) {
			const struct fw_plan_rule *rule = &plan_rules(plan)[p->rule];
			struct journey j = { tx, plan, stats, in, &frames[i], p, FW_NONE };

			if (unlikely(must_stop(tx, plan, rule)))
				break;
			stats_count(&tx->exporters[p->exporter], frames[i].len);
			if (unlikely(plan->tap_every != 0))
				tap(tx, plan, &stats->work, in, &frames[i], p);
			fate = forward(&j, rule);
		} else if (fate == FW_DROP_NO_RULE) {
			stats_count(&tx->exporters[p->exporter], frames[i].len);
			if (plan->tap_every != 0)
				tap(tx, plan, &stats->work, in, &frames[i], p);
		} else if (fate == FW_PUNT) {
			fate = punt(tx, in, &frames[i]);
		}
		ended[fate]++;
	}
	count_frames(&stats->frames, ended, i);
	return i;
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
send_waiting(struct fw_transmitter *tx, const struct fw_plan *plan, struct fw_stats *stats, uint32_t slot)
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
			fate = fill_place(e, plan, f->in_port, &f->frame, &f->packet, &copy->target, neighbour, false,
			    &stats->work);
		}
		settle(tx, stats, slot, fate);
		n++;
	}
	return n;
}

unsigned
fw_transmit_waiting(struct fw_transmitter *tx, const struct fw_plan *plan, struct fw_stats *stats)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < tx->waiting.n_busy; i++)
		n += send_waiting(tx, plan, stats, tx->waiting.busy[i]);
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
		struct fw_frame *place;

		if (room(e, 1) == 0)
			break;
		place = &e->places[e->n_filled++];
		memcpy(place->data, frame, head->bytes);
		place->len = head->bytes;
		place->time = head->time;
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
