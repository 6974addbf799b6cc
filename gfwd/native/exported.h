/*
 * What the header of a datagram says whose sender counts what it exports: whose it is, and where it stands. NetFlow v5, v7 and
 * v9, and sFlow v5; no record is looked at.
 */
#ifndef GFWD_EXPORTED_H
#define GFWD_EXPORTED_H

#include "parse.h"
#include "sequence.h"

/* The ways in which datagrams of one kind are known to count: there are CGNs whose NetFlow v9 counts records, as v5 does. */
#define STREAM_WAYS 2U

enum stream_kind { STREAM_V5 = 1, STREAM_V7, STREAM_V9, STREAM_SFLOW4, STREAM_SFLOW6 };

/* Whose sequence numbers go on from each other. */
struct stream_key {
	uint64_t src_hi;
	uint64_t src_lo;
	uint64_t agent_hi;		/* of sFlow, whose exporter may send for several; else 0 */
	uint64_t agent_lo;
	uint64_t rest;			/* domain << 32 | source port << 16 | kind << 8 | family */
};

/* Cisco, NetFlow Export Datagram Format; RFC 3954 §5.1; RFC 7011 §3.1. */
enum { V5_BYTES = 24, V9_BYTES = 20, IPFIX_BYTES = 16 };
enum { AT_COUNT = 2, AT_UPTIME = 4, AT_V5_SEQUENCE = 16, AT_V5_ENGINE = 20, AT_V9_SEQUENCE = 12, AT_V9_SOURCE = 16 };
/* sflow_version_5.txt §5; from the agent's address on, offsets are those behind it. */
enum { SFLOW_BYTES = 24, AT_ADDRESS_TYPE = 4, AT_AGENT = 8, AT_SUB_AGENT = 0, AT_SFLOW_SEQUENCE = 4, AT_SFLOW_UPTIME = 8 };

/* A datagram's stream, and its place in it by each way to count. */
struct exported {
	struct stream_key key;
	struct fw_place place;		/* by the first way */
	uint32_t n_records;		/* by the second, where there is one, it moves the number on by so many */
	uint32_t n_ways;
};

static inline void
exported_set_kind(struct exported *h, enum stream_kind kind, uint32_t domain)
{
	h->key.rest |= (uint64_t)domain << 32 | (uint64_t)kind << 8;
}

static inline void
exported_v9(struct exported *h, const uint8_t *data)
{
	exported_set_kind(h, STREAM_V9, get32(data + AT_V9_SOURCE));
	h->place = (struct fw_place){ get32(data + AT_V9_SEQUENCE), 1, get32(data + AT_UPTIME) };
	h->n_records = get16(data + AT_COUNT);
	h->n_ways = 2;
}

static inline void
exported_v5(struct exported *h, const uint8_t *data, unsigned version)
{
	exported_set_kind(h, version == 5 ? STREAM_V5 : STREAM_V7, version == 5 ? get16(data + AT_V5_ENGINE) : 0);
	h->place = (struct fw_place){ get32(data + AT_V5_SEQUENCE), get16(data + AT_COUNT), get32(data + AT_UPTIME) };
	h->n_ways = 1;
}

static inline bool
exported_sflow(struct exported *h, const uint8_t *data, uint32_t bytes)
{
	uint32_t type = get32(data + AT_ADDRESS_TYPE), address = type == 1 ? 4 : 16;
	const uint8_t *behind = data + AT_AGENT + address;

	if ((type != 1 && type != 2) || bytes < SFLOW_BYTES + address)
		return false;
	h->key.agent_hi = type == 1 ? 0 : get64(data + AT_AGENT);
	h->key.agent_lo = type == 1 ? get32(data + AT_AGENT) : get64(data + AT_AGENT + 8);
	exported_set_kind(h, type == 1 ? STREAM_SFLOW4 : STREAM_SFLOW6, get32(behind + AT_SUB_AGENT));
	h->place = (struct fw_place){ get32(behind + AT_SFLOW_SEQUENCE), 1, get32(behind + AT_SFLOW_UPTIME) };
	h->n_ways = 1;
	return true;
}

enum exported_as { EXPORTED_PLACE, EXPORTED_IPFIX, EXPORTED_NONE };

static inline enum exported_as
exported_read(struct exported *h, const struct fw_packet *p, const uint8_t *frame)
{
	const uint8_t *udp = frame + p->udp, *data = udp + UDP_BYTES;
	uint32_t bytes = packet_udp_bytes(p, frame) - UDP_BYTES;
	unsigned version;

	if (unlikely(bytes < IPFIX_BYTES))
		return EXPORTED_NONE;
	h->key = (struct stream_key){ p->key.src_hi, p->key.src_lo, 0, 0,
		(uint64_t)get16(udp) << 16 | key_family(&p->key) };
	version = get16(data);
	if (version == 9 && bytes >= V9_BYTES)
		exported_v9(h, data);
	else if ((version == 5 || version == 7) && bytes >= V5_BYTES)
		exported_v5(h, data, version);
	else if (version == 10)
		return EXPORTED_IPFIX;
	else
		return get32(data) == 5 && exported_sflow(h, data, bytes) ? EXPORTED_PLACE : EXPORTED_NONE;
	return EXPORTED_PLACE;
}

#endif
