/*
 * A packet and one of its targets → the bytes that leave. Everything is inline: it runs once for each copy.
 */
#ifndef GFWD_REWRITE_H
#define GFWD_REWRITE_H

#include "checksum.h"
#include "parse.h"

/* ---- Ethernet ---- */

/* How many VLAN tag bytes a copy of this packet has when it leaves. */
static inline uint32_t
rewrite_tags_bytes(const struct fw_packet *p, const struct fw_plan_port *out, bool keeps_tags)
{
	return keeps_tags ? p->ip - ETHER_BYTES : out->tags_bytes;
}

/*
 * Exchanges the VLAN tags for the egress port's: what follows them moves, the EtherType stays before the IP header.
 * The buffer has room for `*len` plus the difference.
 */
static inline void
rewrite_tags(uint8_t *frame, uint32_t *len, uint16_t *ip, const struct fw_plan_port *out)
{
	uint32_t type_before = *ip - 2U, type_after = ETHER_BYTES - 2U + out->tags_bytes;

	memmove(frame + type_after, frame + type_before, *len - type_before);
	memcpy(frame + ETHER_BYTES - 2, out->tags, out->tags_bytes);
	*len += type_after - type_before;
	*ip = (uint16_t)(type_after + 2);
}

/* The neighbour's word holds its MAC in its first six bytes. */
static inline void
rewrite_macs(uint8_t *frame, uint64_t neighbour, const struct fw_plan_port *out)
{
	memcpy(frame, &neighbour, 6);
	memcpy(frame + 6, out->mac, 6);
}

/* ---- UDP ---- */

/* `change`: what the addresses change in the pseudo-header (RFC 768, RFC 8200 §8.1). */
static inline void
rewrite_udp(uint8_t *udp, const struct fw_plan_target *t, unsigned family, uint64_t change)
{
	uint16_t port = load16(t->port_bytes), checksum = load16(udp + 6);

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

static inline void
rewrite_ipv4(uint8_t *ip, uint8_t *udp, const struct fw_plan_target *t)
{
	uint32_t address = load32(t->address);
	uint64_t change = csum_change32(load32(ip + 16), address);
	uint16_t ttl_before = load16(ip + 8);	/* TTL and protocol share a word of the checksum */

	memcpy(ip + 16, &address, sizeof address);
	ip[8]--;
	store16(ip + 10, csum_update(load16(ip + 10), change + csum_change16(ttl_before, load16(ip + 8))));
	rewrite_udp(udp, t, 4, change);
}

static inline void
rewrite_ipv6(uint8_t *ip, uint8_t *udp, const struct fw_plan_target *t)
{
	uint64_t change = 0;

	for (unsigned i = 0; i < 16; i += 4)
		change += csum_change32(load32(ip + 24 + i), load32(t->address + i));
	memcpy(ip + 24, t->address, 16);
	ip[7]--;
	rewrite_udp(udp, t, 6, change);
}

/* All of it. Returns the new length of the frame. */
static inline uint32_t
fw_rewrite(uint8_t *frame, uint32_t len, const struct fw_packet *p, const struct fw_plan_target *t,
    const struct fw_plan_port *out, bool keeps_tags, uint64_t neighbour)
{
	uint16_t ip = p->ip;
	uint32_t udp_offset = (uint32_t)(p->udp - p->ip);

	if (unlikely(rewrite_tags_bytes(p, out, keeps_tags) != ip - ETHER_BYTES))
		rewrite_tags(frame, &len, &ip, out);
	else if (unlikely(!keeps_tags && out->tags_bytes != 0))
		memcpy(frame + ETHER_BYTES - 2, out->tags, out->tags_bytes);
	rewrite_macs(frame, neighbour, out);
	if (likely(p->family == 4))
		rewrite_ipv4(frame + ip, frame + ip + udp_offset, t);
	else
		rewrite_ipv6(frame + ip, frame + ip + udp_offset, t);
	return len;
}

#endif
