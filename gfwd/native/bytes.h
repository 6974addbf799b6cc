/*
 * Reading and writing integers in network order at any alignment. Compilers make one load and one swap of each.
 */
#ifndef GFWD_BYTES_H
#define GFWD_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void
put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void
put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* An address: of IPv4 the last four bytes of lo, of IPv6 hi and lo. */
static inline void
put_address(uint8_t *p, uint64_t hi, uint64_t lo, unsigned family)
{
	if (family == 6) {
		put32(p, (uint32_t)(hi >> 32));
		put32(p + 4, (uint32_t)hi);
		put32(p + 8, (uint32_t)(lo >> 32));
		p += 12;
	}
	put32(p, (uint32_t)lo);
}

static inline uint64_t
get64(const uint8_t *p)
{
	return (uint64_t)get32(p) << 32 | get32(p + 4);
}

/* As they lie in memory, for sums whose byte order does not matter (RFC 1071 §2 B). */
static inline uint16_t
load16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint32_t
load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

/* The word that load32() gives where these four bytes lie. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define AS_LOADED32(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#else
#define AS_LOADED32(a, b, c, d) ((uint32_t)(d) | (uint32_t)(c) << 8 | (uint32_t)(b) << 16 | (uint32_t)(a) << 24)
#endif

static inline void
store16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof v);
}

#endif
