/*
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * Sums are kept in 64 bits and folded once. Words are taken as they lie in memory: a ones' complement sum comes out in the
 * same byte order that its words went in.
 */
#ifndef GFWD_CHECKSUM_H
#define GFWD_CHECKSUM_H

#include <stdbool.h>

#include "bytes.h"

/* Folds a sum below 2^36 into 16 bits by adding the carries back (RFC 1071 §4.1). */
static inline uint16_t
csum_fold(uint64_t sum)
{
	uint32_t s = (uint32_t)(sum & 0xffff) + (uint32_t)(sum >> 16 & 0xffff) + (uint32_t)(sum >> 32);

	s = (s & 0xffff) + (s >> 16);
	return (uint16_t)(s + (s >> 16));
}

/* Whether a sum folds to 0xffff, as that over a header and its checksum must: it is a multiple of 0xffff, and not 0. */
static inline bool
csum_holds(uint64_t sum)
{
	return sum % 0xffff == 0 && sum != 0;
}

/* What one changed field adds to a checksum's sum: ~m + m' of RFC 1624, equation 3. */
static inline uint64_t
csum_change16(uint16_t before, uint16_t after)
{
	return (uint64_t)(uint16_t)~before + after;
}

static inline uint64_t
csum_change32(uint32_t before, uint32_t after)
{
	return (uint64_t)(uint32_t)~before + after;
}

/* HC' = ~(~HC + ~m + m') */
static inline uint16_t
csum_update(uint16_t checksum, uint64_t change)
{
	return (uint16_t)~csum_fold((uint16_t)~checksum + change);
}

#endif
