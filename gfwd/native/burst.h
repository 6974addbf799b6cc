/*
 * What the steps behind match share while a burst is dealt with: transmit.c, copy.c, transmit_fragments.c.
 */
#ifndef GFWD_BURST_H
#define GFWD_BURST_H

#include "transmitter.h"

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
held_let_go(const struct burst *b, const struct held *h, enum fw_fate fate)
{
	if (h->kept == FW_NONE)
		return;
	waiting_frame(&b->tx->waiting, h->kept)->is_sent = fate == FW_FORWARD;
	waiting_let_go(&b->tx->waiting, h->kept);
}

/* ---- one copy of a frame, to one target (copy.c) ---- */

/* Whether it leaves, waits, or why it does neither. is_last: no other copy of the frame is made after it. */
enum fw_fate copy_send(const struct burst *, struct held *, uint32_t target, bool is_last);
/* The same for a later fragment, after what was decided for the first one. */
enum fw_fate copy_follow(const struct burst *, struct held *, const struct fw_fragment_copy *, bool is_last);

static inline void
copy_count(struct fw_copy_ledger *ledger, enum fw_fate fate, uint32_t bytes)
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

/* Of all copies of a frame: sent beats waiting, waiting beats dropped; of two causes the first one stays. */
static inline enum fw_fate
copy_merge(enum fw_fate frame, enum fw_fate copy)
{
	return copy > frame && copy >= FW_WAIT ? copy : frame;
}

/* ---- one frame (transmit.c) ---- */

/* What becomes of a rule's datagrams where that is not just its targets; else NULL. */
static inline const struct fw_plan_special *
special_of(const struct burst *b, const struct fw_plan_rule *rule)
{
	return likely(rule->n_targets > 0) ? NULL : plan_specials(b->plan) + rule->special;
}

/* How many copies there are of a datagram of this rule. */
static inline unsigned
copies_of(const struct burst *b, const struct fw_plan_rule *rule)
{
	const struct fw_plan_special *special = special_of(b, rule);

	return special == NULL ? rule->n_targets : special->n_choices;
}

/* Everything leaves by one port, and that has no room for so many frames now. */
static inline bool
lacks_room(const struct burst *b, unsigned wanted)
{
	if (likely(b->only->room - b->only->n_out >= wanted))
		return false;
	wanted = egress_most(b->only, wanted);		/* the rest is tx_full, unless the card is quick */
	return egress_room(b->only, wanted) < wanted && !b->only->queue->failed;
}

/* Everything leaves by one port: is there no room for so many copies of this packet? */
static inline bool
must_stop(const struct burst *b, const struct fw_packet *p, unsigned copies)
{
	return b->only != NULL && lacks_room(b, copies * egress_frames_at_most(b->only, p));
}

/* Frame i of the burst, in the place where its fate ends. d: it is the first fragment of that one; NULL: it is whole. */
enum fw_fate transmit_deal_with(const struct burst *, unsigned i, enum fw_fate, struct fw_datagram *d);
/* Card and host stack get from each other what is not ours, as it came. Forwarding never waits for either. */
enum fw_fate transmit_pass(const struct burst *, const struct held *);

/* ---- fragments (transmit_fragments.c) ---- */

/* Frame i, and what has waited for it. False: there is no room for that now. */
bool transmit_first_fragment(const struct burst *, unsigned i, enum fw_fate, unsigned *ended);
bool transmit_later_fragment(const struct burst *, unsigned i, unsigned *ended);

#endif
