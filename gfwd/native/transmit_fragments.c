/*
 * Fragments: the first one of a datagram is dealt with like a whole one, the others get what it got. See fragment.h.
 */
#include "burst.h"

/* A later fragment gets what the first one of its datagram got, and from the same places. */
static enum fw_fate
follow(const struct burst *b, const struct fw_datagram *d, struct held *h)
{
	uint32_t len = h->frame->len;
	enum fw_fate fate = d->end;

	if (d->exporter != FW_NONE)
		stats_count(&b->exporter_counts[d->exporter], len);
	else if (fate == FW_PASS)
		fate = transmit_pass(b, h);
	for (uint32_t k = 0; k < d->n_counters; k++)
		stats_count(&b->rule_counts[d->counters[k]], len);
	for (uint32_t k = 0; k < d->n_copies; k++) {
		const struct fw_fragment_copy *copy = &d->copies[k];
		enum fw_fate copy_fate = copy_follow(b, h, copy, k + 1 == d->n_copies);

		copy_count(&b->collectors[copy->target.collector], copy_fate, len);
		fate = k == 0 ? copy_fate : copy_merge(fate, copy_fate);
	}
	held_let_go(b, h, fate);
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

/* Is there no room for so many copies of this one, and of each that waits for it? Any of them may be the longest. */
static bool
must_stop_for_all(const struct burst *b, const struct fw_packet *p, const struct fw_datagram *d, unsigned copies)
{
	unsigned frames;
	uint32_t number;

	if (b->only == NULL)
		return false;
	frames = egress_frames_at_most(b->only, p);
	if (d != NULL) {
		number = d->first_waiting;
		for (uint32_t n = d->n_waiting; n > 0; n--) {
			const struct fw_waiting_frame *f = waiting_frame(&b->tx->waiting, number);

			frames += egress_frames_at_most(b->only, &f->packet);
			number = f->next;
		}
	}
	return lacks_room(b, copies * frames);
}

bool
transmit_first_fragment(const struct burst *b, unsigned i, enum fw_fate fate, unsigned *ended)
{
	struct fw_fragments *fragments = &b->tx->fragments;
	uint64_t now = clock_of(&b->tx->clock, &b->frames[i]);
	const struct fw_packet *p = &b->packets[i];
	struct fw_datagram *d;

	fragments_expire(fragments, b->stats, now);
	d = fragments_find(fragments, &b->frames[i], p);
	if ((fate == FW_FORWARD || fate == FW_SUSPECT) && must_stop_for_all(b, p, d, copies_of(b, &b->rules[p->rule])))
		return false;
	d = fragments_begin(fragments, b->stats, &b->frames[i], p, now);
	d->exporter = fate == FW_PASS ? FW_NONE : p->exporter;
	d->end = transmit_deal_with(b, i, fate, d);
	d->is_decided = true;
	ended[d->end]++;
	forward_those_before(b, d);
	return true;
}

bool
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
	if (must_stop(b, h.packet, d->n_copies))
		return false;
	ended[follow(b, d, &h)]++;
	return true;
}
