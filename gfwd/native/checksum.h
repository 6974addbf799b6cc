/*
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * Words are taken as they lie in memory: a ones' complement sum comes out in the same byte order that its words went in.
 * Whichever way a sum is added up and folded, it comes out the same, 0 only where every word was 0.
 */
#ifndef GFWD_CHECKSUM_H
#define GFWD_CHECKSUM_H

#include <stdbool.h>

#include "bytes.h"

/*
 * Folds a sum into 16 bits by adding the carries back (RFC 1071 §4.1): added to itself turned by half, its upper half
 * becomes the sum of both halves, and of the carry out of that.
 */
static inline uint16_t
csum_fold(uint32_t sum)
{
	return (uint16_t)((sum + (sum << 16 | sum >> 16)) >> 16);
}

/* Whether a sum folds to 0xffff, as that over a header and its checksum must: it is a multiple of 0xffff, and not 0. */
static inline bool
csum_holds(uint64_t sum)
{
	return sum % 0xffff == 0 && sum != 0;
}

/* What one changed field adds to a checksum's sum: ~m + m' of RFC 1624, equation 3. */
static inline uint32_t
csum_change16(uint16_t before, uint16_t after)
{
	return (uint32_t)(uint16_t)~before + after;
}

static inline uint32_t
csum_change32(uint32_t before, uint32_t after)
{
	uint64_t sum = (uint64_t)(uint32_t)~before + after;

	/* Two words and no more: their carry is added back without another. */
	return csum_fold((uint32_t)sum + (uint32_t)(sum >> 32));
}

/* HC' = ~(~HC + ~m + m') */
static inline uint16_t
csum_update(uint16_t checksum, uint32_t change)
{
	return (uint16_t)~csum_fold((uint16_t)~checksum + change);
}

/* The sum of bytes, on top of another, folded; where they are odd, as if a zero followed (RFC 1071 §4.1). */
static inline uint16_t
csum_of(const uint8_t *bytes, uint32_t n, uint16_t before)
{
	uint64_t sum = before;
	uint32_t at, last = 0;

	for (at = 0; at + 4 <= n; at += 4)
		sum += load32(bytes + at);
	memcpy(&last, bytes + at, n - at);
	sum += last;
	sum = (sum & UINT32_MAX) + (sum >> 32);
	return csum_fold(csum_fold((uint32_t)sum) + (uint32_t)(sum >> 32));
}

#endif
