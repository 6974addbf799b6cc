/*
 * Frame → packet: who sent it, to which port, where its headers lie, or why it ends here.
 * docs/packets.md has the steps in their order.
 */
#ifndef GFWD_PARSE_H
#define GFWD_PARSE_H

#include "bytes.h"
#include "plan.h"
#include "port.h"

#define ETHER_BYTES 14U
#define VLAN_TAG_BYTES 4U
#define IPV4_BYTES 20U
#define IPV6_BYTES 40U
#define UDP_BYTES 8U

/* Added to the fate of a first fragment, for which all is asked that is asked for a whole datagram. */
#define FIRST_FRAGMENT 0x100U

/* What an exact match compares: source address, and everything else in one word. */
struct fw_key {
	uint64_t src_hi;		/* source address, host order; IPv4: 0 … */
	uint64_t src_lo;		/* … and the address */
	uint64_t rest;			/* see key_rest() */
};

/*
 * An answer holds for one plan: its generation is part of what is compared. So is the TTL, for another reason: an
 * exporter's datagrams all come with the same one, and whoever sends others may be sending them once more (loop.h).
 */
static inline uint64_t
key_rest(uint32_t generation, uint16_t dport, uint8_t ttl, uint8_t family)
{
	return (uint64_t)generation << 32 | (uint32_t)dport << 16 | (uint32_t)ttl << 8 | family;
}

static inline uint8_t
key_ttl(const struct fw_key *key)
{
	return (uint8_t)(key->rest >> 8);
}

static inline uint16_t
key_dport(const struct fw_key *key)
{
	return (uint16_t)(key->rest >> 16);
}

static inline uint8_t
key_family(const struct fw_key *key)
{
	return (uint8_t)key->rest;
}

struct fw_flow;

struct fw_packet {
	struct fw_key key;
	uint16_t ip;			/* offset of the IP header */
	uint16_t udp;			/* offset of the UDP header; 0: a later fragment, which has none */
	uint32_t ip_bytes;		/* length of the IP packet, for the MTU */
	uint32_t fate;			/* enum fw_fate; FW_FORWARD: goes on to match. And FIRST_FRAGMENT */
	uint32_t rule;			/* set by match: number in the plan */
	uint32_t exporter;		/* set by match: place in the worker's table */
	uint32_t ident;			/* of a fragment: its datagram's identification */
	struct fw_flow *set;		/* match's own */
};

/* IPv4 without VLAN tags and without options: no IPv6 header is as short. */
static inline bool
is_plain(const struct fw_packet *p)
{
	return p->ip == ETHER_BYTES && p->udp == ETHER_BYTES + IPV4_BYTES;
}

/* How many bytes there are of the UDP header and the payload: of a first fragment, not as many as UDP says. */
static inline uint32_t
packet_udp_bytes(const struct fw_packet *p, const uint8_t *frame)
{
	uint32_t says = get16(frame + p->udp + 4), there = p->ip + p->ip_bytes - p->udp;

	return says < there ? says : there;
}

/* Sets .fate of n packets, and all before it in those that go on. */
void fw_parse(const struct fw_plan *, uint32_t in_port, const struct fw_frame *restrict, struct fw_packet *restrict,
    unsigned n);

#endif
