#include "checksum.h"
#include "parse.h"

enum {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_ARP = 0x0806,
	ETHERTYPE_RARP = 0x8035,
	ETHERTYPE_VLAN = 0x8100,	/* IEEE 802.1Q */
	ETHERTYPE_QINQ = 0x88a8,	/* IEEE 802.1ad */
	ETHERTYPE_QINQ_OLD = 0x9100,	/* before 802.1ad */
	ETHERTYPE_IPV6 = 0x86dd,

	IPV4_OFFSET = 0x1fff,
	IPV4_MORE_FRAGMENTS = 0x2000,

	IPV6_OFFSET = 0xfff8,
	IPV6_MORE_FRAGMENTS = 1,

	PROTO_HOP_BY_HOP = 0,
	PROTO_ICMP = 1,
	PROTO_UDP = 17,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_ICMPV6 = 58,
	PROTO_DESTINATION_OPTIONS = 60
};

static bool
is_vlan(uint16_t type)
{
	return type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ || type == ETHERTYPE_QINQ_OLD;
}

/* ---- ours or not ---- */

/* One or two addresses are the rule; more cost a comparison each. A plan has one at least, if only one that nothing matches. */
static inline bool
is_own4(const struct fw_plan_own4 *own, uint32_t n, uint32_t address)
{
	do {
		if (likely((address & load32(own->mask)) == load32(own->value)))
			return true;
		own++;
	} while (--n > 0);
	return false;
}

static inline bool
is_own6(const struct fw_plan *plan, const uint8_t *address)
{
	const struct fw_plan_own6 *own = plan_own6(plan);
	uint64_t hi = get64(address), lo = get64(address + 8);

	for (uint32_t i = 0; i < plan->n_own6; i++)
		if ((hi & own[i].mask_hi) == own[i].value_hi && (lo & own[i].mask_lo) == own[i].value_lo)
			return true;
	return false;
}

/* A frame that is not ours goes to the host, and where there is none, what keeps a neighbourhood alive goes to Python. */
static enum fw_fate
not_ours(const struct fw_plan *plan, uint32_t in_port, bool is_for_punt)
{
	return is_for_punt && (plan_ports(plan)[in_port].punts & FW_PUNTS_NEIGHBOURHOOD) != 0 ? FW_PUNT : FW_PASS;
}

/* UDP for us, to a port that nobody listens on: Python may have an answer to that, too. */
static enum fw_fate
not_listened_on(const struct fw_plan *plan, uint32_t in_port)
{
	return (plan_ports(plan)[in_port].punts & FW_PUNTS_CLOSED) != 0 ? FW_PUNT : FW_PASS;
}

/* ---- UDP, in both families ---- */

static inline bool
udp_length_fits(const uint8_t *udp, uint32_t bytes)
{
	uint16_t length = get16(udp + 4);

	return length >= UDP_BYTES && length <= bytes;
}

/* ---- fragments, in both families; .key is set, but for the port ---- */

/* It has no port. Whether its datagram is for one that we listen on, its first fragment knows. */
static enum fw_fate
parse_later_fragment(struct fw_packet *p, bool header_holds)
{
	if (!header_holds)
		return FW_DROP_BAD_CHECKSUM;
	if (key_ttl(&p->key) <= 1)
		return FW_DROP_TTL_EXPIRED;
	p->udp = 0;
	return FW_FRAGMENT;
}

/*
 * The same steps as for a whole datagram, but that UDP's length says how long the whole is. What is not for us is marked,
 * too, since the others go where it goes; only where its header is wrong, nothing is known of them.
 */
static uint32_t
parse_first_fragment(const struct fw_plan *plan, const uint8_t *udp, bool header_holds, bool needs_checksum, struct fw_packet *p)
{
	uint16_t dport = get16(udp + 2);

	if (!plan_listens(plan, dport))
		return header_holds ? FW_PASS | FIRST_FRAGMENT : FW_PASS;
	if (!header_holds)
		return FW_DROP_BAD_CHECKSUM;
	if (!udp_length_fits(udp, UINT16_MAX))
		return FW_DROP_SHORT;
	if (needs_checksum && load16(udp + 6) == 0)
		return FW_DROP_BAD_CHECKSUM;
	if (key_ttl(&p->key) <= 1)
		return FW_DROP_TTL_EXPIRED;
	p->key.rest |= (uint32_t)dport << 16;
	return FW_FORWARD | FIRST_FRAGMENT;
}

/* ---- IPv4 (RFC 791) ---- */

static bool
ipv4_checksum_holds(const uint8_t *ip, uint32_t header_bytes)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < header_bytes; i += 4)
		sum += load32(ip + i);
	return csum_holds(sum);
}

static uint32_t
parse_ipv4(const struct fw_plan *plan, uint32_t in_port, const uint8_t *ip, uint32_t left, struct fw_packet *p)
{
	uint32_t header, total, fragment;
	const uint8_t *udp;

	if (unlikely(left < IPV4_BYTES))
		return FW_DROP_SHORT;
	if (unlikely(ip[0] >> 4 != 4))
		return FW_PASS;
	if (unlikely(ip[9] != PROTO_UDP))
		return not_ours(plan, in_port, ip[9] == PROTO_ICMP && is_own4(plan_own4(plan), plan->n_own4, load32(ip + 16)));
	if (!is_own4(plan_own4(plan), plan->n_own4, load32(ip + 16)))
		return FW_PASS;

	header = (ip[0] & 15U) * 4;
	total = get16(ip + 2);
	if (unlikely(header < IPV4_BYTES || total < header || total > left))
		return FW_DROP_SHORT;
	fragment = get16(ip + 6) & (IPV4_OFFSET | IPV4_MORE_FRAGMENTS);
	p->ip_bytes = total;
	if (unlikely(fragment != 0)) {
		p->key = (struct fw_key){ 0, get32(ip + 12), key_rest(plan->generation, 0, ip[8], 4) };
		p->ident = get16(ip + 4);
		if ((fragment & IPV4_OFFSET) != 0)
			return parse_later_fragment(p, ipv4_checksum_holds(ip, header));
	}
	if (unlikely(total - header < UDP_BYTES))
		return FW_DROP_SHORT;
	udp = ip + header;
	p->udp = (uint16_t)(p->ip + header);
	if (unlikely(fragment != 0))
		return parse_first_fragment(plan, udp, ipv4_checksum_holds(ip, header), false, p);
	if (!plan_listens(plan, get16(udp + 2)))
		return not_listened_on(plan, in_port);
	if (unlikely(!ipv4_checksum_holds(ip, header)))
		return FW_DROP_BAD_CHECKSUM;
	if (unlikely(!udp_length_fits(udp, total - header)))
		return FW_DROP_SHORT;
	if (unlikely(ip[8] <= 1))
		return FW_DROP_TTL_EXPIRED;

	p->key = (struct fw_key){ 0, get32(ip + 12), key_rest(plan->generation, get16(udp + 2), ip[8], 4) };
	return FW_FORWARD;
}

/* ---- IPv6 (RFC 8200) ---- */

/* Where the extension headers end. */
struct chain {
	uint32_t bytes;			/* from the first extension header to what comes after the last */
	uint8_t protocol;		/* what that is */
	bool is_fragment;
	bool is_first_fragment;
	uint32_t ident;			/* of a fragment */
	bool is_on_its_way;		/* a routing header names further hops: the destination is not the last one */
};

/* False: a header ends beyond the payload. Every round steps over 8 bytes at least. */
static bool
walk_extension_headers(const uint8_t *payload, uint32_t bytes, struct chain *c)
{
	while (c->protocol == PROTO_HOP_BY_HOP || c->protocol == PROTO_ROUTING || c->protocol == PROTO_FRAGMENT ||
	    c->protocol == PROTO_DESTINATION_OPTIONS) {
		const uint8_t *h = payload + c->bytes;
		uint32_t length;

		if (bytes - c->bytes < 8)
			return false;
		length = c->protocol == PROTO_FRAGMENT ? 8 : 8U + h[1] * 8U;
		if (length > bytes - c->bytes)
			return false;
		if (c->protocol == PROTO_ROUTING && h[3] != 0) {
			c->is_on_its_way = true;
			return true;
		}
		if (c->protocol == PROTO_FRAGMENT) {
			uint16_t field = get16(h + 2);

			/* Offset 0 and nothing more to come is an atomic fragment: a whole datagram (RFC 6946). */
			c->is_fragment = (field & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS)) != 0;
			c->is_first_fragment = (field & IPV6_OFFSET) == 0;
			c->ident = get32(h + 4);
		}
		c->protocol = h[0];
		c->bytes += length;
		if (c->is_fragment)
			return true;
	}
	return true;
}

static uint32_t
parse_ipv6(const struct fw_plan *plan, uint32_t in_port, const uint8_t *ip, uint32_t left, struct fw_packet *p)
{
	struct chain chain = { 0 };
	const uint8_t *udp;
	uint32_t payload;

	if (unlikely(left < IPV6_BYTES))
		return FW_DROP_SHORT;
	if (unlikely(ip[0] >> 4 != 6))
		return FW_PASS;
	/* Neighbours ask at multicast addresses: ICMPv6 is punted whomever it is for, and Python looks closer. */
	if (!is_own6(plan, ip + 24))
		return not_ours(plan, in_port, ip[6] == PROTO_ICMPV6 && ip[24] == 0xff);

	payload = get16(ip + 4);
	chain.protocol = ip[6];
	if (unlikely(payload > left - IPV6_BYTES || !walk_extension_headers(ip + IPV6_BYTES, payload, &chain)))
		return FW_DROP_SHORT;
	if (unlikely(chain.is_on_its_way))
		return FW_PASS;
	if (unlikely(chain.protocol != PROTO_UDP))
		return not_ours(plan, in_port, chain.protocol == PROTO_ICMPV6);
	udp = ip + IPV6_BYTES + chain.bytes;
	p->ip_bytes = IPV6_BYTES + payload;
	payload -= chain.bytes;
	p->key = (struct fw_key){ get64(ip + 8), get64(ip + 16), key_rest(plan->generation, 0, ip[7], 6) };
	p->ident = chain.ident;
	if (unlikely(chain.is_fragment && !chain.is_first_fragment))
		return parse_later_fragment(p, true);
	if (unlikely(payload < UDP_BYTES))
		return FW_DROP_SHORT;
	p->udp = (uint16_t)(p->ip + IPV6_BYTES + chain.bytes);
	if (unlikely(chain.is_fragment))
		return parse_first_fragment(plan, udp, true, true, p);
	if (!plan_listens(plan, get16(udp + 2)))
		return not_listened_on(plan, in_port);
	if (unlikely(!udp_length_fits(udp, payload)))
		return FW_DROP_SHORT;
	if (unlikely(load16(udp + 6) == 0))
		return FW_DROP_BAD_CHECKSUM;	/* IPv6 has no header checksum, so UDP's is not optional (RFC 8200 §8.1) */
	if (unlikely(ip[7] <= 1))
		return FW_DROP_TTL_EXPIRED;

	p->key.rest |= (uint32_t)get16(udp + 2) << 16;
	return FW_FORWARD;
}

/* ---- Ethernet ---- */

/* A fate, and FIRST_FRAGMENT. */
static __attribute__((noinline)) uint32_t
parse_frame(const struct fw_plan *plan, uint32_t in_port, const struct fw_frame *f, struct fw_packet *p)
{
	uint32_t ip = ETHER_BYTES;
	uint16_t type;

	if (f->len < ETHER_BYTES)
		return FW_DROP_SHORT;
	if (f->len == FW_FRAME_TOO_BIG)
		return FW_DROP_TOO_BIG;
	type = get16(f->data + 12);
	for (unsigned tags = 0; is_vlan(type); tags++) {
		if (tags == 2)
			return FW_PASS;
		if (f->len < ip + VLAN_TAG_BYTES)
			return FW_DROP_SHORT;
		type = get16(f->data + ip + 2);
		ip += VLAN_TAG_BYTES;
	}
	p->ip = (uint16_t)ip;
	if (type == ETHERTYPE_IPV4)
		return parse_ipv4(plan, in_port, f->data + ip, f->len - ip, p);
	if (type == ETHERTYPE_IPV6)
		return parse_ipv6(plan, in_port, f->data + ip, f->len - ip, p);
	return not_ours(plan, in_port, type == ETHERTYPE_ARP || type == ETHERTYPE_RARP);
}

/* Of a frame that cannot be ours, it only matters whether Python wants it. */
static enum fw_fate
fate_of_others(const struct fw_plan *plan, uint32_t in_port, const struct fw_frame *f, struct fw_packet *p)
{
	if (f->len == FW_FRAME_TOO_BIG)
		return FW_DROP_TOO_BIG;
	return plan_ports(plan)[in_port].punts && parse_frame(plan, in_port, f, p) == FW_PUNT ? FW_PUNT : FW_PASS;
}

/* ---- the common case ---- */

/* What is the same for every frame of a burst. */
struct plain_questions {
	const struct fw_plan_own4 *own;
	uint32_t n_own;
	const uint32_t *listen;
	uint64_t rest;			/* of the key, without port and TTL */
};

/*
 * An untagged IPv4 datagram for us, without options, whole and sound in all that parse_frame() asks: the same questions,
 * put to whole words. It only ever says yes; whatever it does not like takes the long way, which alone judges.
 */
static inline bool
parse_plain(const struct plain_questions *ask, const struct fw_frame *f, struct fw_packet *restrict p)
{
	const uint8_t *ip = f->data + ETHER_BYTES, *udp = ip + IPV4_BYTES;
	uint32_t word1, word2, total;
	uint16_t dport;
	uint64_t sum;

	if (f->len < ETHER_BYTES + IPV4_BYTES + UDP_BYTES || f->len == FW_FRAME_TOO_BIG)
		return false;
	word1 = load32(ip + 4);		/* identification, fragment */
	word2 = load32(ip + 8);		/* TTL, protocol, checksum */
	if ((load32(ip - 2) & AS_LOADED32(0xff, 0xff, 0xff, 0)) != AS_LOADED32(0x08, 0x00, 0x45, 0) ||
	    (word1 & AS_LOADED32(0, 0, 0x3f, 0xff)) != 0 ||
	    (word2 & AS_LOADED32(0, 0xff, 0, 0)) != AS_LOADED32(0, PROTO_UDP, 0, 0) || ip[8] <= 1)
		return false;
	sum = (uint64_t)word1 + word2 + load32(ip) + load32(ip + 12) + load32(ip + 16);
	if (!csum_holds(sum) || !is_own4(ask->own, ask->n_own, load32(ip + 16)))
		return false;
	total = get16(ip + 2);
	dport = get16(udp + 2);
	if (total > f->len - ETHER_BYTES || total < IPV4_BYTES + UDP_BYTES || get16(udp + 4) + IPV4_BYTES != total ||
	    (ask->listen[dport / 32] >> dport % 32 & 1) == 0)
		return false;
	p->key.src_hi = 0;
	p->key.src_lo = get32(ip + 12);
	p->key.rest = ask->rest | (uint32_t)dport << 16 | (uint32_t)ip[8] << 8;
	p->ip = ETHER_BYTES;
	p->udp = ETHER_BYTES + IPV4_BYTES;
	p->ip_bytes = total;
	p->fate = FW_FORWARD;
	return true;
}

void
fw_parse(const struct fw_plan *plan, uint32_t in_port, const struct fw_frame *restrict frames,
    struct fw_packet *restrict packets, unsigned n)
{
	const struct plain_questions ask = {
		.own = plan_own4(plan),
		.n_own = plan->n_own4,
		.listen = plan_listen(plan),
		.rest = key_rest(plan->generation, 0, 0, 4),
	};

	if (unlikely(plan_ports(plan)[in_port].out_only)) {
		for (unsigned i = 0; i < n; i++)
			packets[i].fate = fate_of_others(plan, in_port, &frames[i], &packets[i]);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		if (unlikely(!parse_plain(&ask, &frames[i], &packets[i])))
			packets[i].fate = parse_frame(plan, in_port, &frames[i], &packets[i]);
}
