/*
 * Copies that leave in other packets than they came in: translated, in fragments, or both.
 */
#include "egress.h"

enum {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_IPV6 = 0x86dd,

	LONGEST_IPV4_HEADER = 60,
	IPV6_FRAGMENT_BYTES = 8
};

bool
egress_may_leave(const struct fw_egress *e, const uint8_t *frame, const struct fw_packet *p, const struct fw_plan_target *t,
    const struct fw_plan_option *option)
{
	struct fw_leaving l;

	translate_begin(&l, frame, p, t, option);
	return translate_may_leave(&l, e->mtu);
}

/*
 * Whichever header they have: of IPv6, extension headers up to UDP's may stand in each. How long they are in a later fragment,
 * nobody knows before it leaves.
 */
unsigned
egress_frames_of_long(const struct fw_egress *e, const struct fw_packet *p)
{
	uint32_t header = LONGEST_IPV4_HEADER, before_udp = (uint32_t)p->udp - p->ip, in_each, n;

	if (key_family(&p->key) == 6 && p->udp == 0)
		return egress_most(e, FW_FRAGMENTS_MAX);
	if (key_family(&p->key) == 6 && before_udp + IPV6_FRAGMENT_BYTES > header)
		header = before_udp + IPV6_FRAGMENT_BYTES;
	in_each = e->mtu > header + 8 ? (e->mtu - header) & ~7U : 8;
	n = p->ip_bytes / in_each + 1;
	return egress_most(e, n < FW_FRAGMENTS_MAX ? n : FW_FRAGMENTS_MAX);
}

/* The Ethernet header, and the tags. Returns its length. */
static uint32_t
write_ethernet(uint8_t *out, const struct fw_plan_port *port, struct fw_tags tags, unsigned family, uint64_t neighbour)
{
	uint16_t type = family == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;

	rewrite_macs(out, neighbour, port);
	memcpy(out + ETHER_BYTES - 2, tags.bytes, tags.n);
	out[ETHER_BYTES - 2 + tags.n] = (uint8_t)(type >> 8);
	out[ETHER_BYTES - 1 + tags.n] = (uint8_t)type;
	return ETHER_BYTES + tags.n;
}

enum fw_fate
egress_send_other(struct fw_egress *e, uint32_t in_port, const struct fw_frame *frame, const struct fw_packet *p,
    const struct fw_plan_target *t, const struct fw_plan_option *option, uint64_t neighbour, struct fw_work *work)
{
	struct fw_tags came_with = { frame->data + ETHER_BYTES - 2, p->ip - ETHER_BYTES };
	struct fw_tags tags = egress_keeps_tags(e, in_port, option) ? came_with : egress_tags(e, option);
	struct fw_leaving l;
	struct fw_division d;
	uint8_t udp[UDP_BYTES];
	uint32_t at = 0;

	translate_begin(&l, frame->data, p, t, option);
	if (!translate_divide(&l, e->mtu, &d) || ETHER_BYTES + tags.n + d.longest > e->queue->frame_max)
		return FW_DROP_TOO_BIG;
	if (l.udp != 0 && !translate_udp(&l, udp))
		return FW_DROP_BAD_CHECKSUM;
	if (egress_room(e, d.n) < d.n)
		return e->queue->failed ? FW_DROP_PORT_FAILED : FW_DROP_TX_FULL;
	if (l.needs_ident && (d.n > 1 || t->family == 4))
		l.ident = e->ident++;

	for (uint32_t k = 0; k < d.n; k++) {
		bool is_last = k + 1 == d.n;
		uint32_t bytes = is_last ? l.payload_bytes - at : k == 0 ? d.first : d.later;
		uint32_t header = translate_header_bytes(&l, at, d.n > 1);
		struct fw_frame *out = egress_add_spare(e, ETHER_BYTES + tags.n + header + bytes, frame->time);
		uint8_t *ip = out->data + write_ethernet(out->data, e->port, tags, t->family, neighbour);

		translate_header(&l, ip, at, bytes, d.n > 1, is_last);
		memcpy(ip + header, l.ip + l.payload + at, bytes);
		if (k == 0 && l.udp != 0)
			memcpy(ip + header + l.udp - l.payload, udp, UDP_BYTES);
		at += bytes;
	}
	work->copied++;
	if (d.n > 1)
		work->fragments_made += d.n;
	return FW_FORWARD;
}
