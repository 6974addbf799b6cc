/*
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * Sums are kept in 64 bits and folded once. Words are taken as they lie in memory: a ones' complement sum comes out in the
 * same byte order that its words went in.
 */
#ifndef GFWD_CHECKSUM_H
#define GFWD_CHECKSUM_H

#include "bytes.h"

/* Folds a sum into 16 bits by adding the carries back (RFC 1071 §4.1). */
static inline uint16_t
csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Sum over a whole number of 32-bit words. */
static inline uint64_t
csum_words(const uint8_t *p, unsigned bytes)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < bytes; i += 4)
		sum += load32(p + i);
	return sum;
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
