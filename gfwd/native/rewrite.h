/*
 * A packet and one of its targets → the bytes that leave. Everything is inline: it runs once for each copy.
 */
#ifndef GFWD_REWRITE_H
#define GFWD_REWRITE_H

#include "checksum.h"
#include "parse.h"

/* ---- Ethernet ---- */

/* VLAN tags as they stand in a frame, type first: 0, 4 or 8 bytes. */
struct fw_tags {
	const uint8_t *bytes;
	uint32_t n;
};

/*
 * Exchanges a frame's VLAN tags: what follows them moves, and the EtherType stays before the IP header at `ip`. The buffer
 * has room for the difference. Returns the frame's new length.
 */
static inline uint32_t
rewrite_tags(uint8_t *frame, uint32_t len, uint16_t ip, struct fw_tags tags)
{
	uint32_t type_before = ip - 2U, type_after = ETHER_BYTES - 2U + tags.n;

	memmove(frame + type_after, frame + type_before, len - type_before);
	memcpy(frame + ETHER_BYTES - 2, tags.bytes, tags.n);
	return len + type_after - type_before;
}

/* The neighbour's word holds its MAC in its first six bytes; the first two of ours take the place of the others. */
static inline void
rewrite_macs(uint8_t *frame, uint64_t neighbour, const struct fw_plan_port *out)
{
	memcpy(frame, &neighbour, sizeof neighbour);
	memcpy(frame + 6, out->mac, 6);
}

/* ---- UDP ---- */

/* NULL: a later fragment has none. The checksum in a first one is that of the whole datagram. */
static inline uint8_t *
udp_of(uint8_t *frame, const struct fw_packet *p)
{
	return likely(p->udp != 0) ? frame + p->udp : NULL;
}

/* `change`: what the addresses change in the pseudo-header (RFC 768, RFC 8200 §8.1). */
static inline void
rewrite_udp(uint8_t *udp, const struct fw_plan_target *t, unsigned family, uint32_t change)
{
	uint16_t port = load16(t->port_bytes), checksum;

	if (udp == NULL)
		return;
	checksum = load16(udp + 6);
	if (port != 0) {
		change += csum_change16(load16(udp + 2), port);
		store16(udp + 2, port);
	}
	if (family == 4 && checksum == 0)
		return;		/* the exporter made none */
	checksum = csum_update(checksum, change);
	store16(udp + 6, checksum != 0 ? checksum : 0xffff);
}

/* ---- IP ---- */

/* TTL and protocol share a word of the header checksum: one less in the TTL's byte is this, ~m + m', whatever they are. */
#define TTL_CHANGE ((uint16_t)~load16((const uint8_t[2]){ 1, 0 }))

static inline void
rewrite_ipv4(uint8_t *ip, uint8_t *udp, const struct fw_plan_target *t)
{
	uint32_t address = load32(t->address);
	uint32_t change = csum_change32(load32(ip + 16), address);

	memcpy(ip + 16, &address, sizeof address);
	ip[8]--;
	store16(ip + 10, csum_update(load16(ip + 10), change + TTL_CHANGE));
	rewrite_udp(udp, t, 4, change);
}

static inline void
rewrite_ipv6(uint8_t *ip, uint8_t *udp, const struct fw_plan_target *t)
{
	uint32_t change = 0;

	for (unsigned i = 0; i < 16; i += 4)
		change += csum_change32(load32(ip + 24 + i), load32(t->address + i));
	memcpy(ip + 24, t->address, 16);
	ip[7]--;
	rewrite_udp(udp, t, 6, change);
}

/* ---- what an option changes besides; all that is rewritten anyway has been ---- */

static inline uint32_t
rewrite_source(uint8_t *source, const struct fw_plan_option *o, unsigned bytes)
{
	uint32_t change = 0;

	for (unsigned i = 0; i < bytes; i += 4)
		change += csum_change32(load32(source + i), load32(o->source + i));
	memcpy(source, o->source, bytes);
	return change;
}

static inline void
rewrite_udp_source(uint8_t *udp, const struct fw_plan_option *o, unsigned family, uint32_t change)
{
	uint16_t port = load16(o->source_port_bytes), checksum;

	if (udp == NULL)
		return;
	checksum = load16(udp + 6);
	if (port != 0) {
		change += csum_change16(load16(udp), port);
		store16(udp, port);
	}
	if (family == 4 && checksum == 0)
		return;
	checksum = csum_update(checksum, change);
	store16(udp + 6, checksum != 0 ? checksum : 0xffff);
}

static inline void
fw_rewrite_option(uint8_t *frame, const struct fw_packet *p, const struct fw_plan_option *o, unsigned family)
{
	uint8_t *ip = frame + p->ip;
	uint32_t change = 0, ttl_change = 0;

	if (family == 4) {
		if (o->has_source)
			change = rewrite_source(ip + 12, o, 4);
		if (o->ttl != 0) {
			ttl_change = csum_change16(load16(ip + 8), load16((const uint8_t[2]){ o->ttl, ip[9] }));
			ip[8] = o->ttl;
		}
		store16(ip + 10, csum_update(load16(ip + 10), change + ttl_change));
	} else {
		if (o->has_source)
			change = rewrite_source(ip + 8, o, 16);
		if (o->ttl != 0)
			ip[7] = o->ttl;
	}
	rewrite_udp_source(udp_of(frame, p), o, family, change);
}

/* All of it but the VLAN tags. */
static inline void
fw_rewrite(uint8_t *frame, const struct fw_packet *p, const struct fw_plan_target *t, const struct fw_plan_port *out,
    uint64_t neighbour)
{
	if (likely(t->family == 4))
		rewrite_ipv4(frame + p->ip, udp_of(frame, p), t);
	else
		rewrite_ipv6(frame + p->ip, udp_of(frame, p), t);
	rewrite_macs(frame, neighbour, out);
}

/* The same for a packet that is_plain(), and a target of IPv4: the offsets are known beforehand. */
static inline void
fw_rewrite_plain(uint8_t *frame, const struct fw_plan_target *t, const struct fw_plan_port *out, uint64_t neighbour)
{
	rewrite_ipv4(frame + ETHER_BYTES, frame + ETHER_BYTES + IPV4_BYTES, t);
	rewrite_macs(frame, neighbour, out);
}

#endif
