/*
 * An IP header that is written anew: that of the other family (RFC 7915), or of one fragment of several (RFC 791 §3.2,
 * RFC 8200 §4.5). What a packet carries is divided where it must be; the header before each part is made from the one that
 * the packet came with, from its target, and from the target's option.
 *
 * All of it works on the frame as it came in, be that a whole datagram or itself a fragment, and changes nothing there.
 */
#ifndef GFWD_TRANSLATE_H
#define GFWD_TRANSLATE_H

#include "rewrite.h"

#define FW_FRAGMENTS_MAX 64U	/* of one packet: as many as the longest has on a link of IPv6's least MTU, and some more */

/* A packet that is to leave with another header. Lengths and places in bytes; places count from its IP header. */
struct fw_leaving {
	const uint8_t *ip;		/* as it came in */
	const struct fw_plan_target *target;
	const struct fw_plan_option *option;	/* NULL: none */
	uint8_t family_before;
	uint8_t family;
	bool may_be_cut;
	bool is_fragment;		/* it came as one … */
	bool more;			/* … and not as the last; `offset`: of the payload in its datagram */
	bool needs_ident;		/* where it is cut, or has one anyway, it is to be a new one */
	bool dont_fragment;		/* IPv4, translated */
	uint32_t offset;
	uint32_t ident;			/* of its fragments: that it came with, or a new one */
	uint32_t kept;			/* same family: how much of its header stands before each fragment, or before the first */
	uint32_t next;			/* IPv6: where in that stands what follows … */
	uint8_t protocol;		/* … and what that is */
	uint32_t payload;		/* place of what can be divided … */
	uint32_t payload_bytes;		/* … and how much it is */
	uint32_t udp;			/* place of the UDP header; 0: it has none, it is a later fragment */
};

/* How it is divided: n parts; the last has what the others leave. */
struct fw_division {
	uint32_t n;
	uint32_t first;			/* bytes of payload in the first … */
	uint32_t later;			/* … and in each other but the last */
	uint32_t longest;		/* of the IP packets that it gives, bytes */
};

/* What there is to know before anything is written. */
void translate_begin(struct fw_leaving *, const uint8_t *frame, const struct fw_packet *, const struct fw_plan_target *,
    const struct fw_plan_option *);

/*
 * May it leave by a link with this MTU, be it in fragments? Of the same family only that is asked which as a whole is too
 * long.
 */
bool translate_may_leave(const struct fw_leaving *, uint32_t mtu);

/* False: it cannot. */
bool translate_divide(const struct fw_leaving *, uint32_t mtu, struct fw_division *);

/* The UDP header as it leaves. False: there can be none (RFC 7915 §4.5: a fragment, and the exporter made no checksum). */
bool translate_udp(const struct fw_leaving *, uint8_t udp[UDP_BYTES]);

/* Length of the header before a part of the payload that begins `at` bytes into it. is_divided: it is one of several. */
uint32_t translate_header_bytes(const struct fw_leaving *, uint32_t at, bool is_divided);

/* Writes it; `bytes`: of payload that follow; `is_last`: of the parts. Returns its length. */
uint32_t translate_header(const struct fw_leaving *, uint8_t *out, uint32_t at, uint32_t bytes, bool is_divided, bool is_last);

#endif
