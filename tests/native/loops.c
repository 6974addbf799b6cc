/*
 * loop.c: who is a suspect and for how long, and what has come back.
 */
#include <string.h>

#include "check.h"
#include "loop.h"

enum { UDP_AT = 34, PAYLOAD = 21, SECOND = 1000000000 };

static const struct fw_limits LIMITS = { .seeds = { 7, 8 } };
static const uint64_t NOON = 1700000000ULL * SECOND;

static void
start(struct fw_loops *loops)
{
	*loops = (struct fw_loops){ 0 };
	CHECK(loop_init(loops, &LIMITS), "no memory");
}

static struct fw_key
key(uint32_t source, uint16_t port, uint8_t ttl)
{
	return (struct fw_key){ 0, source, key_rest(1, port, ttl, 4) };
}

static bool
suspects(struct fw_loops *loops, uint32_t source, uint16_t port, uint8_t ttl)
{
	struct fw_key its = key(source, port, ttl);
	uint8_t before;

	return loop_suspects(loops, &its, &before);
}

/* ---- habits ---- */

static void
check_suspects(void)
{
	struct fw_loops loops;
	struct fw_key its = key(1, 514, 63);
	uint8_t before;

	start(&loops);
	for (unsigned i = 0; i < 10; i++)
		CHECK(!suspects(&loops, 1, 514, 64), "always the same TTL");
	CHECK(!suspects(&loops, 1, 515, 63) && !suspects(&loops, 2, 514, 62), "of another port, or another exporter");
	CHECK(loop_suspects(&loops, &its, &before) && before == 64, "another TTL; before, it was %u", before);
	for (unsigned i = 1; i < LOOP_CALM; i++)
		CHECK(loop_suspects(&loops, &its, &before) && before == 0, "suspect %u", i);
	CHECK(!suspects(&loops, 1, 514, 63), "calm after %u", LOOP_CALM);
	CHECK(suspects(&loops, 1, 514, 64), "and back");
	for (unsigned i = 1; i < LOOP_CALM / 2; i++)
		CHECK(suspects(&loops, 1, 514, 64), "suspect %u", i);
	CHECK(suspects(&loops, 1, 514, 63), "it begins anew");
	for (unsigned i = 1; i < LOOP_CALM; i++)
		CHECK(suspects(&loops, 1, 514, 63), "suspect %u", i);
	CHECK(!suspects(&loops, 1, 514, 63) && !suspects(&loops, 1, 515, 63), "calm");
	loop_free(&loops);
}

/* More exporters than there are places: nobody is a suspect for what another one did. */
static void
check_many_exporters(void)
{
	struct fw_loops loops;

	start(&loops);
	for (uint32_t source = 0; source < 300000; source++)
		CHECK(!suspects(&loops, source, 514, (uint8_t)(2 + source % 250)), "exporter %u", source);
	for (uint32_t source = 299990; source < 300000; source++)
		CHECK(suspects(&loops, source, 514, 1), "exporter %u is remembered", source);
	loop_free(&loops);
}

/* ---- fingerprints ---- */

static uint8_t frame[UDP_AT + 8 + PAYLOAD];

static struct fw_packet
packet(uint32_t source, uint8_t ttl)
{
	frame[UDP_AT + 4] = 0;
	frame[UDP_AT + 5] = 8 + PAYLOAD;
	return (struct fw_packet){ .key = key(source, 514, ttl), .ip = 14, .udp = UDP_AT };
}

static bool
returns(struct fw_loops *loops, uint32_t source, uint8_t ttl, uint64_t now)
{
	struct fw_packet p = packet(source, ttl);

	return loop_comes_back(loops, &p, frame, now);
}

static void
check_times(void)
{
	const uint64_t noon = NOON / LOOP_STEP_NS * LOOP_STEP_NS;	/* times are kept in such steps */
	struct fw_loops loops;

	start(&loops);
	CHECK(!returns(&loops, 1, 64, noon), "the first time");
	CHECK(!returns(&loops, 1, 64, noon), "the same TTL");
	CHECK(returns(&loops, 1, 63, noon) && returns(&loops, 1, 255, noon + SECOND - 1), "within a second");
	CHECK(!returns(&loops, 1, 63, noon + SECOND), "a second later");
	CHECK(returns(&loops, 1, 64, noon + SECOND) && !returns(&loops, 1, 63, noon + SECOND + 1), "now that is remembered");
	CHECK(!returns(&loops, 1, 64, noon - SECOND), "the clock was set back");
	CHECK(returns(&loops, 1, 63, noon - LOOP_STEP_NS), "and goes on");
	CHECK(!returns(&loops, 2, 62, noon - 1), "another exporter");
	loop_free(&loops);
}

/* With one TTL, again and again. */
static void
check_repetitions(void)
{
	uint64_t now = NOON / LOOP_STEP_NS * LOOP_STEP_NS;
	struct fw_loops loops;

	start(&loops);
	for (unsigned times = 1; times < LOOP_TIMES; times++, now += SECOND - LOOP_STEP_NS)
		CHECK(!returns(&loops, 1, 64, now), "time %u", times);
	CHECK(returns(&loops, 1, 64, now) && returns(&loops, 1, 64, now), "too often");
	CHECK(!returns(&loops, 1, 64, now + SECOND), "after a second it begins anew");
	CHECK(!returns(&loops, 1, 64, now + SECOND + 1), "the second time");
	loop_free(&loops);
}

/* Every bit under the fingerprint counts; what is written anew on the way does not. */
static void
check_what_is_the_same(void)
{
	struct fw_loops loops;

	start(&loops);
	CHECK(!returns(&loops, 1, 64, NOON) && returns(&loops, 1, 63, NOON), "the same");
	for (unsigned at = 14; at < sizeof frame; at++) {
		bool is_port = at == UDP_AT + 2 || at == UDP_AT + 3, is_checksum = at == UDP_AT + 6 || at == UDP_AT + 7;
		bool is_ident = at == 14 + 4 || at == 14 + 5, is_in_ip = at < UDP_AT && !is_ident;
		bool is_length = at == UDP_AT + 4 || at == UDP_AT + 5;

		if (is_length)
			continue;
		frame[at] ^= 0x10;
		CHECK(returns(&loops, 1, 62, NOON) == (is_in_ip || is_port || is_checksum), "byte %u", at);
		frame[at] ^= 0x10;
		CHECK(returns(&loops, 1, 62, NOON), "byte %u as it was", at);
	}
	loop_free(&loops);
}

/* Nothing beyond the datagram is read; however many there are, none comes back that was not here. */
static void
check_many_datagrams(void)
{
	struct fw_loops loops;

	start(&loops);
	for (uint32_t i = 0; i < 300000; i++) {
		uint32_t bytes = i % 40;
		uint8_t *one = exact(UDP_AT + 8 + bytes);
		struct fw_packet p = { .key = key(i / 1000, 514, (uint8_t)(i % 3 + 60)), .ip = 14, .udp = UDP_AT };

		memset(one, 0, UDP_AT + 8 + bytes);
		memcpy(one + UDP_AT, &(uint16_t){ (uint16_t)i }, 2);
		memcpy(one + 14 + 4, &(uint16_t){ (uint16_t)(i >> 16) }, 2);
		one[UDP_AT + 5] = (uint8_t)(8 + bytes);
		CHECK(!loop_comes_back(&loops, &p, one, NOON + i), "datagram %u", i);
		free(one);
	}
	loop_free(&loops);
}

int
main(void)
{
	check_suspects();
	check_many_exporters();
	check_times();
	check_repetitions();
	check_what_is_the_same();
	check_many_datagrams();
	return 0;
}
