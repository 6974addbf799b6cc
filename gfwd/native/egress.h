/*
 * A worker's side of a TX queue: frames gather here and are handed over together; copies take the queue's spare buffers.
 */
#ifndef GFWD_EGRESS_H
#define GFWD_EGRESS_H

#include "translate.h"

#define FW_OUT 256U

/* A worker's side of one TX queue: frames that are ready to be sent. */
struct fw_egress {
	struct fw_queue *queue;
	const struct fw_plan_port *port;	/* the plan's */
	uint32_t mtu;			/* the plan's; UINT32_MAX: no limit */
	uint32_t room;			/* so many frames can be in out[], as far as the port was asked */
	uint32_t ident;			/* the next identification of what gfwd sends in fragments, or as IPv4 of its own making */
	bool is_full;			/* the port had no room when it was asked, in this burst */
	uint32_t n_out;
	struct fw_frame out[FW_OUT];
	struct fw_frame *origin[FW_OUT];	/* of out[]: the received frame whose buffer it has; NULL: it has a spare */
};

/* Sends what is ready, and puts every buffer that comes back where the one that left was from. */
void egress_hand_over(struct fw_egress *);
/* egress_room()'s long way: asks the port, once a burst. */
unsigned egress_ask_for_room(struct fw_egress *, unsigned wanted);
/* A burst begins: the port may be asked again. */
void egress_new_burst(struct fw_egress *);
/* Everything that was added leaves now. */
void egress_flush(struct fw_egress *);

/* How many frames can be added; the port is asked when they are fewer than wanted. */
static inline unsigned
egress_room(struct fw_egress *e, unsigned wanted)
{
	return likely(e->room - e->n_out >= wanted) ? e->room - e->n_out : egress_ask_for_room(e, wanted);
}

/* A frame joins it, in the buffer where it lies. There is room. */
static inline struct fw_frame *
egress_add(struct fw_egress *e, struct fw_frame *frame)
{
	struct fw_frame *out = &e->out[e->n_out];

	/* Field by field: one wide load of what was just stored in parts would stall. */
	out->data = frame->data;
	out->time = frame->time;
	out->buf = frame->buf;
	out->len = frame->len;
	e->origin[e->n_out++] = frame;
	return out;
}

/* A frame of this length joins it, in a spare buffer; the next spare is on its way from memory meanwhile. There is room. */
static inline struct fw_frame *
egress_add_spare(struct fw_egress *e, uint32_t len, uint64_t time)
{
	struct fw_queue *q = e->queue;
	struct fw_frame *out;

	if (unlikely(q->n_spares == 0))
		egress_hand_over(e);
	out = &e->out[e->n_out];
	e->origin[e->n_out++] = NULL;
	out->buf = q->spares[--q->n_spares];
	out->data = queue_buffer(q, out->buf);
	out->time = time;
	out->len = len;
	if (likely(q->n_spares > 0)) {
		const uint8_t *next = queue_buffer(q, q->spares[q->n_spares - 1]);

		for (uint32_t at = 0; at < len; at += 64)
			__builtin_prefetch(next + at, 1);
	}
	return out;
}

/* A copy of a frame joins it. There is room. */
static inline struct fw_frame *
egress_add_copy(struct fw_egress *e, const uint8_t *data, uint32_t len, uint64_t time)
{
	struct fw_frame *out = egress_add_spare(e, len, time);

	memcpy(out->data, data, len);
	return out;
}

/* Does a frame leave with the tags that it came with? By its own port it does, unless its collector is to get others. */
static inline bool
egress_keeps_tags(const struct fw_egress *e, uint32_t in_port, const struct fw_plan_option *option)
{
	return e->port->keep_tags || (in_port == e->queue->port && likely(option == NULL || !option->has_tags));
}

/* The tags that it leaves with otherwise. */
static inline struct fw_tags
egress_tags(const struct fw_egress *e, const struct fw_plan_option *option)
{
	if (unlikely(option != NULL && option->has_tags))
		return (struct fw_tags){ option->tags, option->tags_bytes };
	return (struct fw_tags){ e->port->tags, e->port->tags_bytes };
}

/* ---- one copy ---- */

/* The packet cannot leave as it lies, with other addresses in it: it is of the other family, or longer than the MTU. */
static inline bool
egress_is_other(const struct fw_egress *e, const struct fw_packet *p, const struct fw_plan_target *t)
{
	return unlikely(t->family != key_family(&p->key) || p->ip_bytes > e->mtu);
}

/* May one that egress_is_other() leave, translated, or in fragments? */
bool egress_may_leave(const struct fw_egress *, const uint8_t *frame, const struct fw_packet *, const struct fw_plan_target *,
    const struct fw_plan_option *);

/* So many frames, or as many as the port can ever take at once. */
static inline unsigned
egress_most(const struct fw_egress *e, unsigned frames)
{
	unsigned most = e->queue->slots - 1 < FW_OUT ? e->queue->slots - 1 : FW_OUT;

	return frames < most ? frames : most;
}

/* What a header can be longer than the one before: that of IPv6 instead of IPv4's, and one for fragments. */
#define FW_LONGER_BYTES 28U

unsigned egress_frames_of_long(const struct fw_egress *, const struct fw_packet *);

/* How many frames a copy may become, no more than the port can ever take at once. */
static inline unsigned
egress_frames_at_most(const struct fw_egress *e, const struct fw_packet *p)
{
	return likely(p->ip_bytes <= e->mtu - FW_LONGER_BYTES) && e->mtu > FW_LONGER_BYTES ? 1 : egress_frames_of_long(e, p);
}

/* egress_send() for one that egress_is_other(): always in spare buffers, and in all of its frames or in none. */
enum fw_fate egress_send_other(struct fw_egress *, uint32_t in_port, const struct fw_frame *, const struct fw_packet *,
    const struct fw_plan_target *, const struct fw_plan_option *, uint64_t neighbour, struct fw_work *);

/* Adds a frame, in its own buffer where that may leave, else a copy; or says why it cannot be sent. option: NULL: none. */
static inline enum fw_fate
egress_send(struct fw_egress *e, uint32_t in_port, struct fw_frame *frame, const struct fw_packet *p,
    const struct fw_plan_target *t, const struct fw_plan_option *option, uint64_t neighbour, bool may_move,
    struct fw_work *work)
{
	struct fw_tags tags = egress_tags(e, option);
	bool exchanges = (p->ip != ETHER_BYTES || tags.n != 0) && !egress_keeps_tags(e, in_port, option);
	uint32_t len_after = exchanges ? frame->len - (p->ip - ETHER_BYTES) + tags.n : frame->len;
	struct fw_frame *out;

	if (egress_is_other(e, p, t))
		return egress_send_other(e, in_port, frame, p, t, option, neighbour, work);
	if (unlikely(frame->len > e->queue->frame_max || len_after > e->queue->frame_max))
		return FW_DROP_TOO_BIG;
	if (unlikely(egress_room(e, 1) == 0))
		return e->queue->failed ? FW_DROP_PORT_FAILED : FW_DROP_TX_FULL;
	if (may_move) {
		out = egress_add(e, frame);
		work->swapped++;
	} else {
		out = egress_add_copy(e, frame->data, frame->len, frame->time);
		work->copied++;
	}
	fw_rewrite(out->data, p, t, e->port, neighbour);
	if (unlikely(option != NULL))
		fw_rewrite_option(out->data, p, option, t->family);
	if (unlikely(exchanges))
		out->len = rewrite_tags(out->data, frame->len, p->ip, tags);
	return FW_FORWARD;
}

#endif
