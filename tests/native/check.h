/*
 * What the harnesses share: a check that says where it failed, numbers at random that are the same in every run, and files.
 */
#ifndef GFWD_TEST_CHECK_H
#define GFWD_TEST_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition, ...)                                                                                              \
	do {                                                                                                               \
		if (!(condition)) {                                                                                        \
			fprintf(stderr, "%s:%d: not so: %s: ", __FILE__, __LINE__, #condition);                            \
			fprintf(stderr, __VA_ARGS__);                                                                      \
			fputc('\n', stderr);                                                                               \
			exit(1);                                                                                           \
		}                                                                                                          \
	} while (0)

/* xorshift64* (Marsaglia; Vigna 2016) */
static inline uint64_t
draw(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1d;
}

/* Below n. */
static inline uint32_t
draw_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)((draw(state) >> 32) * n >> 32);
}

/* A block that ends where the bytes end, so that ASan sees every step beyond. */
static inline void *
exact(size_t bytes)
{
	void *p = malloc(bytes);

	CHECK(p != NULL, "no memory for %zu bytes", bytes);
	return p;
}

static inline uint8_t *
read_file(const char *path, size_t *bytes)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	long end;

	CHECK(f != NULL && fseek(f, 0, SEEK_END) == 0 && (end = ftell(f)) >= 0, "%s cannot be read", path);
	*bytes = (size_t)end;
	data = exact(*bytes);
	rewind(f);
	CHECK(fread(data, 1, *bytes, f) == *bytes, "%s cannot be read", path);
	fclose(f);
	return data;
}

#endif
