/*
 * What does not leave in the burst that it came in: copies that waited for their neighbour, and frames that Python made.
 */
#include "transmit.h"

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
			unsigned wanted = egress_frames_at_most(e, &f->packet);

			if (egress_room(e, wanted) < wanted && !e->queue->failed)
				break;
			fate = egress_send(e, f->in_port, &f->frame, &f->packet, &copy->target, &copy->option, neighbour, false,
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

		/* A full port must not hold up what is for another one; who asked for a neighbour asks again. */
		if (egress_room(e, 1) > 0) {
			egress_add_copy(e, frame, head->bytes, head->time);
			stats->work.injected++;
		} else {
			stats->work.inject_lost++;
		}
		ring_pop(inject);
		n++;
	}
	return n;
}

void
fw_transmit_flush(struct fw_transmitter *tx)
{
	for (unsigned i = 0; i < tx->n_ports; i++)
		if (tx->egress[i] != NULL)
			egress_flush(tx->egress[i]);
}
