/*
 * One copy of a frame, to one target: can it go there, is it to, and does it leave now or wait for its neighbour?
 */
#include "burst.h"
#include "pace.h"
#include "punt.h"
#include "sample.h"

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

/*
 * The exporter may want to know how long its packets may be (RFC 1191, RFC 8201). Translated, an IPv6 packet becomes shorter
 * by the difference of the headers (RFC 7915 §5.2). Of later fragments nobody is told (RFC 1122 §3.2.2).
 */
static __attribute__((noinline)) enum fw_fate
too_big(const struct burst *b, const struct held *h, const struct fw_plan_target *t, uint32_t mtu)
{
	if (key_family(&h->packet->key) == 6 && t->family == 4)
		mtu += IPV6_BYTES - IPV4_BYTES;
	if ((plan_ports(b->plan)[h->in_port].punts & FW_PUNTS_TOO_BIG) != 0 && h->packet->udp != 0)
		punt_beginning(b->tx, h->in_port, h->frame, mtu);
	return FW_DROP_TOO_BIG;
}

/* Can this frame go there at all? */
static inline enum fw_fate
reach(const struct burst *b, const struct held *h, const struct fw_plan_target *t, const struct fw_plan_option *option,
    uint64_t neighbour)
{
	const struct fw_egress *e = b->tx->egress[t->egress];

	if (egress_is_other(e, h->packet, t) && !egress_may_leave(e, h->frame->data, h->packet, t, option))
		return too_big(b, h, t, e->mtu);
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
admit(const struct burst *b, const struct held *h, const struct fw_plan_option *option, uint32_t collector)
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

enum fw_fate
copy_send(const struct burst *b, struct held *h, uint32_t target, bool is_last)
{
	const struct fw_plan_target *t = &b->targets[target];
	const struct fw_plan_option *option = b->options == NULL ? NULL : &b->options[target];
	uint64_t neighbour = __atomic_load_n(&b->neighbours[t->neighbour], __ATOMIC_RELAXED);
	enum fw_fate fate;

	if (t->family == 0)
		return FW_DROP_NO_COLLECTOR;
	if (t->family != key_family(&h->packet->key) && (option == NULL || !option->has_source))
		return FW_DROP_FAMILY_MISMATCH;	/* an address is kept that its family cannot have */
	fate = reach(b, h, t, option, neighbour);
	if (fate == FW_FORWARD && option != NULL)
		fate = admit(b, h, option, t->collector);
	return fate == FW_FORWARD ? send_or_wait(b, h, t, option, neighbour, is_last) : fate;
}

enum fw_fate
copy_follow(const struct burst *b, struct held *h, const struct fw_fragment_copy *copy, bool is_last)
{
	const struct fw_plan_target *t = &copy->target;
	uint64_t neighbour;
	enum fw_fate fate;

	if (copy->fate != FW_FORWARD && copy->fate != FW_WAIT)
		return copy->fate;
	neighbour = __atomic_load_n(&b->neighbours[t->neighbour], __ATOMIC_RELAXED);
	fate = reach(b, h, t, &copy->option, neighbour);
	return fate == FW_FORWARD ? send_or_wait(b, h, t, &copy->option, neighbour, is_last) : fate;
}
