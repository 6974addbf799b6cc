/*
 * Frame → packet: who sent it, to which port, where its headers lie, or why it ends here.
 * docs/packets.md has the steps in their order.
 */
#ifndef GFWD_PARSE_H
#define GFWD_PARSE_H

#include "plan.h"
#include "port.h"

#define ETHER_BYTES 14U
#define VLAN_TAG_BYTES 4U

struct fw_packet {
	uint64_t src_hi;		/* source address, host order; IPv4: 0 … */
	uint64_t src_lo;		/* … and the address */
	uint16_t dport;			/* UDP destination port */
	uint8_t family;			/* 4 or 6 */
	uint8_t fate;			/* enum fw_fate; FW_FORWARD: goes on to match */
	uint16_t ip;			/* offset of the IP header */
	uint16_t udp;			/* offset of the UDP header */
	uint32_t ip_bytes;		/* length of the IP packet, for the MTU */
	uint32_t rule;			/* set by match: number in the plan */
	uint32_t exporter;		/* set by match: place in the worker's table */
	uint32_t slot;			/* match's own */
};

void fw_parse(const struct fw_plan *, uint32_t in_port, const struct fw_frame *, struct fw_packet *, unsigned n);

#endif
