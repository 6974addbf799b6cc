/*
 * One datagram in N: by chance, so that no rhythm of the exporters decides who is seen (RFC 5475 §5.2.2). A datagram that
 * brings templates is not left out, since without them no collector can read the others.
 */
#ifndef GFWD_SAMPLE_H
#define GFWD_SAMPLE_H

#include <stdbool.h>

#include "bytes.h"

/* xorshift64*: the state is never 0. */
static inline bool
sample_takes(uint64_t *state, uint32_t one_in)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return ((x * 0x2545f4914f6cdd1dU >> 32) * one_in) >> 32 == 0;
}

/*
 * Does a payload hold a template set of NetFlow v9 (RFC 3954 §5: ids 0 and 1) or IPFIX (RFC 7011 §3.3.2: ids 2 and 3)? Every
 * set is four bytes long at least, so the walk ends; where a length cannot be true, it ends there.
 */
static inline bool
sample_has_template(const uint8_t *payload, uint32_t bytes)
{
	uint16_t version = bytes >= 4 ? get16(payload) : 0, first_id = version == 9 ? 0 : 2;
	uint32_t at = version == 9 ? 20 : 16;

	if (version != 9 && version != 10)
		return false;
	if (version == 10 && get16(payload + 2) < bytes)
		bytes = get16(payload + 2);
	while (at + 4 <= bytes) {
		uint16_t id = get16(payload + at), length = get16(payload + at + 2);

		if (length < 4 || length > bytes - at)
			return false;
		if (id == first_id || id == first_id + 1)
			return true;
		at += length;
	}
	return false;
}

#endif
