/*
 * checksum.h against sums made word by word.
 */
#include "check.h"
#include "checksum.h"

static const uint16_t WORDS[] = { 0, 1, 2, 0x00ff, 0x0100, 0x1234, 0x7fff, 0x8000, 0xfeff, 0xff00, 0xfffd, 0xfffe, 0xffff };

enum { N_WORDS = sizeof WORDS / sizeof WORDS[0] };

/* RFC 1071 §4.1: words are added, and carries brought round until there are none. */
static uint16_t
naive_fold(uint64_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* RFC 1624, equation 3, as it stands there. */
static uint16_t
equation3(uint16_t checksum, uint16_t before, uint16_t after)
{
	return (uint16_t)~naive_fold((uint64_t)(uint16_t)~checksum + (uint16_t)~before + after);
}

/*
 * A header that holds the changed word and has this checksum: a further word makes up the rest. It always exists, but for
 * a header of zeros, whose checksum cannot be 0.
 */
static void
check_recomputed(uint16_t checksum, uint16_t before, uint16_t after, uint16_t updated)
{
	uint32_t rest = (0x1fffeU - checksum - before) % 0xffff;	/* checksum + before + rest ≡ 0 */
	uint16_t recomputed = (uint16_t)~naive_fold((uint64_t)after + rest);

	/* 0 and 0xffff are two spellings of one number. */
	CHECK(updated % 0xffff == recomputed % 0xffff, "%04x, %04x to %04x: %04x, and recomputed %04x", checksum, before,
	    after, updated, recomputed);
}

static void
check_one_word(uint16_t checksum)
{
	for (unsigned i = 0; i < N_WORDS; i++) {
		for (unsigned j = 0; j < N_WORDS; j++) {
			uint16_t before = WORDS[i], after = WORDS[j];
			uint16_t updated = csum_update(checksum, csum_change16(before, after));

			CHECK(updated == equation3(checksum, before, after), "%04x, %04x to %04x: %04x", checksum, before,
			    after, updated);
			check_recomputed(checksum, before, after, updated);
		}
	}
}

static uint32_t
word32(uint16_t high, uint16_t low)
{
	return (uint32_t)high << 16 | low;
}

/*
 * Addresses change in 32-bit words, four of them and a port in IPv6: the result is that of the 16-bit words in turn, down to
 * the spelling of 0, since a sum only folds to 0 where all that went in was 0.
 */
static void
check_many_words(uint16_t checksum, uint64_t *random)
{
	uint16_t one_by_one = checksum, updated;
	uint32_t change = 0;

	for (unsigned i = 0; i < 4; i++) {
		uint16_t w[4];

		for (unsigned j = 0; j < 4; j++)
			w[j] = draw_below(random, 2) == 0 ? WORDS[draw_below(random, N_WORDS)] : (uint16_t)draw(random);
		change += csum_change32(word32(w[0], w[1]), word32(w[2], w[3]));
		one_by_one = equation3(equation3(one_by_one, w[0], w[2]), w[1], w[3]);
	}
	change += csum_change16(0xffff, 0);
	one_by_one = equation3(one_by_one, 0xffff, 0);
	updated = csum_update(checksum, change);
	CHECK(updated == one_by_one, "%04x: %04x, and word by word %04x", checksum, updated, one_by_one);
}

static void
check_sum(uint64_t sum)
{
	if (sum <= UINT32_MAX)
		CHECK(csum_fold((uint32_t)sum) == naive_fold(sum), "%llx", (unsigned long long)sum);
	CHECK(csum_holds(sum) == (naive_fold(sum) == 0xffff), "%llx", (unsigned long long)sum);
}

/* Up to 2^36: fifteen 32-bit words of the longest IPv4 header. */
static void
check_sums(uint64_t *random)
{
	for (uint64_t sum = 0; sum < 1U << 20; sum++)
		check_sum(sum);
	for (unsigned bit = 16; bit <= 36; bit++)
		for (uint64_t near = 0; near < 1000; near++)
			check_sum((1ULL << bit) - 1 - near);
	for (unsigned i = 0; i < 1000000; i++) {
		check_sum(draw(random) >> (28 + draw_below(random, 20)));
		check_sum((draw(random) >> (44 + draw_below(random, 8))) * 0xffff);	/* these hold */
	}
}

int
main(void)
{
	uint64_t random = 1624;

	for (uint32_t checksum = 0; checksum <= 0xffff; checksum++) {
		check_one_word((uint16_t)checksum);
		for (unsigned i = 0; i < 8; i++)
			check_many_words((uint16_t)checksum, &random);
	}
	check_sums(&random);
	return 0;
}
