#include "translate.h"

enum {
	IPV4_OFFSET = 0x1fff,
	IPV4_MORE_FRAGMENTS = 0x2000,
	IPV4_DONT_FRAGMENT = 0x4000,
	IPV4_OPTION_END = 0,
	IPV4_OPTION_NOP = 1,
	IPV4_OPTION_COPIED = 0x80,	/* into every fragment */

	IPV6_NEXT_HEADER = 6,
	IPV6_OFFSET = 0xfff8,
	IPV6_MORE_FRAGMENTS = 1,
	IPV6_FRAGMENT_BYTES = 8,

	OFFSET_MAX = 0xfff8,		/* in bytes, in both families */

	PROTO_HOP_BY_HOP = 0,
	PROTO_UDP = 17,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_DESTINATION_OPTIONS = 60,

	NEVER_TOO_BIG_BYTES = 1260	/* an IPv4 packet no longer than IPv6's least MTU allows may be fragmented (RFC 7915 §5.1) */
};

/* ---- what came in ---- */

static void
begin_ipv4(struct fw_leaving *l)
{
	uint16_t fragment = get16(l->ip + 6);

	l->kept = l->payload = (l->ip[0] & 15U) * 4;
	l->offset = (fragment & IPV4_OFFSET) * 8U;
	l->more = (fragment & IPV4_MORE_FRAGMENTS) != 0;
	l->is_fragment = l->offset != 0 || l->more;
	l->may_be_cut = (fragment & IPV4_DONT_FRAGMENT) == 0;
	l->ident = get16(l->ip + 4);
}

static bool
is_extension(uint8_t protocol)
{
	return protocol == PROTO_HOP_BY_HOP || protocol == PROTO_ROUTING || protocol == PROTO_FRAGMENT ||
	    protocol == PROTO_DESTINATION_OPTIONS;
}

/*
 * Before each fragment stand the headers that are read on the way: up to the last routing header, or else the hop-by-hop
 * options; where there is a fragment header, all before it, and it gives way to the new ones (RFC 8200 §4.5). That of an
 * atomic fragment is one, too, unless it stands before that of a part of a datagram: then it is read on the way.
 */
static void
begin_ipv6(struct fw_leaving *l, uint32_t ip_bytes)
{
	uint32_t at = IPV6_BYTES, named_at = IPV6_NEXT_HEADER;
	bool has_header = false;

	l->kept = l->payload = IPV6_BYTES;
	l->next = IPV6_NEXT_HEADER;
	while (!l->is_fragment && is_extension(l->ip[named_at]) && at + 8 <= ip_bytes) {
		uint8_t protocol = l->ip[named_at];
		bool is_header = protocol == PROTO_FRAGMENT;
		uint16_t field = is_header ? get16(l->ip + at + 2) : 0;
		uint32_t end = at + (is_header ? IPV6_FRAGMENT_BYTES : 8U + l->ip[at + 1] * 8U);

		l->is_fragment = (field & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS)) != 0;
		if (is_header && (l->is_fragment || !has_header)) {
			l->kept = at;
			l->next = named_at;
			l->payload = end;
			l->offset = field & IPV6_OFFSET;
			l->more = (field & IPV6_MORE_FRAGMENTS) != 0;
			l->ident = get32(l->ip + at + 4);
			has_header = true;
		} else if (!has_header && protocol != PROTO_DESTINATION_OPTIONS) {
			l->kept = l->payload = end;
			l->next = at;
		}
		named_at = at;
		at = end;
	}
	l->protocol = l->ip[has_header ? l->kept : l->next];
}

void
translate_begin(struct fw_leaving *l, const uint8_t *frame, const struct fw_packet *p, const struct fw_plan_target *t,
    const struct fw_plan_option *option)
{
	bool is_own = option != NULL && option->has_source != 0;

	*l = (struct fw_leaving){
		.ip = frame + p->ip,
		.target = t,
		.option = option,
		.family_before = key_family(&p->key),
		.family = t->family,
	};
	if (l->family_before == 4)
		begin_ipv4(l);
	else
		begin_ipv6(l, p->ip_bytes);
	if (p->udp != 0)
		l->udp = p->udp - p->ip;
	/* Neither options nor extension headers are translated (RFC 7915 §4.1, §5.1). */
	if (l->family != l->family_before && l->udp != 0)
		l->payload = l->udp;
	l->payload_bytes = p->ip_bytes - l->payload;
	if (l->family == 4 && l->family_before == 6) {
		l->dont_fragment = !l->is_fragment && IPV4_BYTES + l->payload_bytes > NEVER_TOO_BIG_BYTES;
		l->may_be_cut = !l->dont_fragment;
	} else if (l->family == 6) {
		l->may_be_cut = is_own;		/* who sends a packet may cut it, and nobody on its way */
	}
	/* Idents of several exporters would meet where they have one address. The fragments of one datagram keep one. */
	l->needs_ident = is_own && !l->is_fragment;
}

/* ---- parts ---- */

/* IPv4 options that stand in every fragment, written to `out`, and filled up to whole words. Returns their length. */
static uint32_t
copied_options(const struct fw_leaving *l, uint8_t *out)
{
	uint32_t n = 0, at = IPV4_BYTES, length;

	for (; at < l->kept && l->ip[at] != IPV4_OPTION_END; at += length) {
		if (l->ip[at] == IPV4_OPTION_NOP) {
			length = 1;
			continue;
		}
		if (at + 2 > l->kept || l->ip[at + 1] < 2 || l->ip[at + 1] > l->kept - at)
			break;		/* nobody could tell where the next one begins */
		length = l->ip[at + 1];
		if ((l->ip[at] & IPV4_OPTION_COPIED) == 0)
			continue;
		memcpy(out + n, l->ip + at, length);
		n += length;
	}
	while (n % 4 != 0)
		out[n++] = IPV4_OPTION_END;
	return n;
}

uint32_t
translate_header_bytes(const struct fw_leaving *l, uint32_t at, bool is_divided)
{
	uint8_t options[60 - IPV4_BYTES];

	if (l->family == 4) {
		if (l->family_before == 6)
			return IPV4_BYTES;
		return at == 0 ? l->kept : IPV4_BYTES + copied_options(l, options);
	}
	return (l->family_before == 6 ? l->kept : IPV6_BYTES) +
	    (is_divided || l->is_fragment ? (uint32_t)IPV6_FRAGMENT_BYTES : 0);
}

/* Offsets count 8 bytes (RFC 791 §3.1, RFC 8200 §4.5): so much of the payload fits into a part that is not the last. */
static uint32_t
room_in_part(uint32_t mtu, uint32_t header)
{
	return mtu > header ? (mtu - header) & ~7U : 0;
}

bool
translate_may_leave(const struct fw_leaving *l, uint32_t mtu)
{
	return l->may_be_cut ||
	    (l->family != l->family_before && translate_header_bytes(l, 0, false) + l->payload_bytes <= mtu);
}

bool
translate_divide(const struct fw_leaving *l, uint32_t mtu, struct fw_division *d)
{
	uint32_t whole = translate_header_bytes(l, 0, false) + l->payload_bytes;
	uint32_t first_header, later_header, rest;

	*d = (struct fw_division){ .n = 1, .first = l->payload_bytes, .longest = whole };
	if (!translate_may_leave(l, mtu))
		return false;
	if (whole <= mtu)
		return true;
	first_header = translate_header_bytes(l, 0, true);
	later_header = translate_header_bytes(l, 1, true);
	d->first = room_in_part(mtu, first_header);
	d->later = room_in_part(mtu, later_header);
	/* The first one has all headers up to UDP's (RFC 7112). */
	if (d->later == 0 || d->first == 0 || (l->udp != 0 && l->udp + UDP_BYTES - l->payload > d->first))
		return false;
	for (rest = l->payload_bytes - d->first; rest > mtu - later_header && d->n < FW_FRAGMENTS_MAX; rest -= d->later)
		d->n++;
	d->n++;
	d->longest = first_header + d->first;
	if (d->n > 2 && later_header + d->later > d->longest)
		d->longest = later_header + d->later;
	if (later_header + rest > d->longest)
		d->longest = later_header + rest;
	/* Beyond the longest datagram, an offset would be that of another part, near the beginning. */
	return d->n <= FW_FRAGMENTS_MAX && l->offset + l->payload_bytes - rest <= OFFSET_MAX;
}

/* ---- UDP ---- */

static const uint8_t *
source_after(const struct fw_leaving *l)
{
	if (l->option != NULL && l->option->has_source)
		return l->option->source;
	return l->ip + (l->family_before == 4 ? 12 : 8);
}

static uint32_t
address_bytes(unsigned family)
{
	return family == 4 ? 4 : 16;
}

/* The addresses' part of the pseudo-header; length and protocol are the same in both families. */
static uint16_t
sum_before(const struct fw_leaving *l)
{
	return csum_of(l->ip + (l->family_before == 4 ? 12 : 8), 2 * address_bytes(l->family_before), 0);
}

static uint16_t
sum_after(const struct fw_leaving *l)
{
	uint32_t n = address_bytes(l->family);

	return csum_of(l->target->address, n, csum_of(source_after(l), n, 0));
}

bool
translate_udp(const struct fw_leaving *l, uint8_t udp[UDP_BYTES])
{
	const uint8_t *before = l->ip + l->udp;
	uint16_t checksum, length = load16(before + 4);

	memcpy(udp, before, UDP_BYTES);
	if (load16(l->target->port_bytes) != 0)
		memcpy(udp + 2, l->target->port_bytes, 2);
	if (l->option != NULL && load16(l->option->source_port_bytes) != 0)
		memcpy(udp, l->option->source_port_bytes, 2);
	if (load16(before + 6) != 0) {
		checksum = csum_update(load16(before + 6), csum_change16(sum_before(l), sum_after(l)) +
		    csum_change16(csum_of(before, 4, 0), csum_of(udp, 4, 0)));
	} else if (l->family == 4) {
		return true;
	} else if (l->is_fragment) {
		return false;
	} else {
		uint16_t sum = csum_of((const uint8_t[2]){ 0, PROTO_UDP }, 2, csum_of((const uint8_t *)&length, 2, sum_after(l)));

		sum = csum_of(before + UDP_BYTES, get16(before + 4) - UDP_BYTES, csum_of(udp, 6, sum));
		checksum = (uint16_t)~sum;
	}
	store16(udp + 6, checksum != 0 ? checksum : 0xffff);
	return true;
}

/* ---- headers ---- */

static uint8_t
ttl_after(const struct fw_leaving *l)
{
	if (l->option != NULL && l->option->ttl != 0)
		return l->option->ttl;
	return l->ip[l->family_before == 4 ? 8 : 7] - 1;
}

static void
write_ipv4(const struct fw_leaving *l, uint8_t *out, uint32_t header, uint32_t at, uint32_t bytes, bool is_last)
{
	uint32_t flags = l->more || !is_last ? IPV4_MORE_FRAGMENTS : 0;

	if (l->family_before == 4) {
		memcpy(out, l->ip, at == 0 ? l->kept : IPV4_BYTES);
		if (at != 0)
			copied_options(l, out + IPV4_BYTES);
		flags |= get16(l->ip + 6) & ~(IPV4_OFFSET | IPV4_MORE_FRAGMENTS);
	} else {
		out[1] = (uint8_t)(get16(l->ip) >> 4);	/* traffic class */
		out[9] = PROTO_UDP;
		flags |= l->dont_fragment ? IPV4_DONT_FRAGMENT : 0;
	}
	out[0] = (uint8_t)(4 << 4 | header / 4);
	put16(out + 2, header + bytes);
	put16(out + 4, l->ident);
	put16(out + 6, flags | (l->offset + at) / 8);
	out[8] = ttl_after(l);
	memcpy(out + 12, source_after(l), 4);
	memcpy(out + 16, l->target->address, 4);
	store16(out + 10, 0);
	store16(out + 10, (uint16_t)~csum_of(out, header, 0));
}

static void
write_ipv6(const struct fw_leaving *l, uint8_t *out, uint32_t header, uint32_t at, uint32_t bytes, bool is_last)
{
	uint32_t kept = IPV6_BYTES, next = IPV6_NEXT_HEADER;
	uint8_t protocol = PROTO_UDP;

	if (l->family_before == 6) {
		kept = l->kept;
		next = l->next;
		protocol = l->protocol;
		memcpy(out, l->ip, kept);
	} else {
		put32(out, 6U << 28 | (uint32_t)l->ip[1] << 20);	/* the type of service is the traffic class; no flow label */
	}
	put16(out + 4, header - IPV6_BYTES + bytes);
	out[7] = ttl_after(l);
	memcpy(out + 8, source_after(l), 16);
	memcpy(out + 24, l->target->address, 16);
	out[next] = protocol;
	if (header > kept) {
		uint8_t *fragment = out + kept;

		out[next] = PROTO_FRAGMENT;
		fragment[0] = protocol;
		fragment[1] = 0;
		put16(fragment + 2, (l->offset + at) | (l->more || !is_last ? IPV6_MORE_FRAGMENTS : 0));
		put32(fragment + 4, l->ident);
	}
}

uint32_t
translate_header(const struct fw_leaving *l, uint8_t *out, uint32_t at, uint32_t bytes, bool is_divided, bool is_last)
{
	uint32_t header = translate_header_bytes(l, at, is_divided);

	if (l->family == 4)
		write_ipv4(l, out, header, at, bytes, is_last);
	else
		write_ipv6(l, out, header, at, bytes, is_last);
	return header;
}
