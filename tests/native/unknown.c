/*
 * unknown.c: what it tells apart, whom it keeps when it is full, and what somebody sees who reads meanwhile.
 */
#include <pthread.h>
#include <string.h>

#include "bytes.h"
#include "check.h"
#include "unknown.h"

enum { HEADER = 8, LONGEST = 40, REPEATERS = 200, FLOOD = 1000000, RACES = 400000, CHURN = 64 };

static const uint64_t SECOND = 1000000000;

static void
start(struct fw_unknowns *u, uint32_t places)
{
	const struct fw_limits limits = { .unknown = places, .seeds = { 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9 } };

	*u = (struct fw_unknowns){ 0 };
	CHECK(unknown_init(u, &limits), "no memory");
}

static struct fw_key
key_of(uint8_t family, uint64_t source, uint16_t port)
{
	return (struct fw_key){ family == 6 ? 0x20010db800000000 : 0, source, key_rest(7, port, 64, family) };
}

/* A datagram of so many bytes of payload, all of them `mark`, in a block that ends where it ends. */
static void
arrive(struct fw_unknowns *u, struct fw_key key, uint16_t source_port, uint32_t length, uint8_t mark, uint64_t time)
{
	uint8_t *udp = exact(HEADER + length);
	struct fw_frame frame = { .data = udp, .len = 100 + length };
	struct fw_packet packet = { .key = key, .udp = 0, .ip_bytes = HEADER + length };

	memset(udp, 0, HEADER);
	udp[0] = (uint8_t)(source_port >> 8);
	udp[1] = (uint8_t)source_port;
	udp[5] = (uint8_t)(HEADER + length);
	memset(udp + HEADER, mark, length);
	unknown_count(u, &frame, &packet, time);
	free(udp);
}

static struct fw_unknown *
look(const struct fw_unknowns *u, uint32_t *n)
{
	uint32_t room = unknown_room(u);
	struct fw_unknown *list = exact(room * sizeof *list);

	*n = unknown_read(u, list, room);
	CHECK(*n >= 1 && list[0].family == 0, "what is not told apart comes first");
	return list;
}

static const struct fw_unknown *
find(const struct fw_unknown *list, uint32_t n, uint32_t source, uint16_t port)
{
	for (uint32_t i = 1; i < n; i++)
		if (list[i].family == 4 && get32(list[i].address) == source && list[i].port == port)
			return &list[i];
	return NULL;
}

static uint64_t
all_packets(const struct fw_unknown *list, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += list[i].packets;
	return sum;
}

static void
check_entry(void)
{
	static const uint8_t v6[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4 };
	struct fw_unknown *list;
	struct fw_unknowns u;
	uint32_t n;

	start(&u, 1);
	list = look(&u, &n);
	CHECK(n == 1 && list[0].packets == 0, "a fresh table is empty");
	free(list);
	arrive(&u, key_of(4, 0x0a090909, 2055), 40000, LONGEST, 0xaa, 5 * SECOND);
	arrive(&u, key_of(4, 0x0a090909, 2055), 40001, 3, 0xbb, 7 * SECOND);
	arrive(&u, key_of(6, 0x01020304, 514), 514, 0, 0, 9 * SECOND);
	arrive(&u, key_of(4, 0x0a090909, 514), 1, FW_UNKNOWN_PAYLOAD, 0xcc, 11 * SECOND);
	list = look(&u, &n);
	CHECK(n == 4 && all_packets(list, n) == 4 && list[0].packets == 0, "%u entries", n);
	for (uint32_t i = 1; i < n; i++) {
		const struct fw_unknown *e = &list[i];

		if (e->family == 6) {
			CHECK(memcmp(e->address, v6, 16) == 0 && e->port == 514 && e->length == 0, "IPv6");
		} else if (e->port == 2055) {
			CHECK(get32(e->address) == 0x0a090909 && e->packets == 2 && e->bytes == 200 + LONGEST + 3, "counts");
			CHECK(e->first == 5 * SECOND && e->last == 7 * SECOND && e->source_port == 40001, "first and last");
			CHECK(e->length == 3 && memcmp(e->payload, "\xbb\xbb\xbb\0\0", 5) == 0, "the last payload, and no other");
		} else {
			CHECK(e->port == 514 && e->payload[FW_UNKNOWN_PAYLOAD - 1] == 0xcc, "a whole beginning");
		}
	}
	CHECK(unknown_read(&u, list, 2) == 2 && unknown_read(&u, list, 0) == 0, "no more than there is room for");
	free(list);
	unknown_free(&u);
}

/* Those that repeat, one in a while, stay with all that was counted; the flood comes and goes. */
static void
check_flood(uint32_t places, uint32_t per_round)
{
	struct fw_unknown *list;
	struct fw_unknowns u;
	uint32_t n, flood = 0, more = 0;

	start(&u, places);
	/* Twice each before it all begins. */
	for (unsigned twice = 0; twice < 2; twice++)
		for (uint32_t i = 0; i < REPEATERS; i++)
			arrive(&u, key_of(4, 0x0a000000 + i * 7, 2055), 1, 4, 1, SECOND);
	while (flood < FLOOD) {
		for (uint32_t i = 0; i < per_round; i++, flood++)
			arrive(&u, key_of(4, 0xc0000000 + flood, (uint16_t)flood), 1, 4, 2, SECOND);
		arrive(&u, key_of(4, 0x0a000000 + more++ % REPEATERS * 7, 2055), 1, 4, 1, SECOND);
	}
	list = look(&u, &n);
	CHECK(n == unknown_room(&u), "%u of %u places are used", n, unknown_room(&u));
	CHECK(all_packets(list, n) == flood + 2 * REPEATERS + more, "%llu counted", (unsigned long long)all_packets(list, n));
	for (uint32_t i = 0; i < REPEATERS; i++) {
		const struct fw_unknown *e = find(list, n, 0x0a000000 + i * 7, 2055);
		uint32_t packets = 2 + more / REPEATERS + (i < more % REPEATERS);

		CHECK(e != NULL, "repeater %u is gone", i);
		CHECK(e->packets == packets, "repeater %u: %llu, not %u", i, (unsigned long long)e->packets, packets);
	}
	free(list);
	unknown_free(&u);
}

/* All places of a set are kept: whoever is new has none, until one of them has not come for long. */
static void
check_stale(void)
{
	struct fw_unknown *list;
	struct fw_unknowns u;
	uint32_t n;

	start(&u, 1);
	for (unsigned round = 0; round < 2; round++)
		for (uint32_t i = 0; i < UNKNOWN_WAYS; i++)
			arrive(&u, key_of(4, i, 1), 1, 0, 0, SECOND);
	for (uint32_t i = 0; i < 100; i++)
		arrive(&u, key_of(4, 1000 + i, 1), 1, 0, 0, SECOND + UNKNOWN_STALE_NS);
	list = look(&u, &n);
	CHECK(list[0].packets == 100 && list[0].bytes == 100 * 100, "%llu others", (unsigned long long)list[0].packets);
	for (uint32_t i = 0; i < UNKNOWN_WAYS; i++)
		CHECK(find(list, n, i, 1)->packets == 2, "source %u", i);
	free(list);
	/* 3 comes again, and is not stale; some other one is. */
	arrive(&u, key_of(4, 3, 1), 1, 0, 0, SECOND + UNKNOWN_STALE_NS);
	for (uint32_t i = 0; i < UNKNOWN_WAYS; i++)
		arrive(&u, key_of(4, 2000, 1), 1, 0, 0, SECOND + UNKNOWN_STALE_NS + 1);
	list = look(&u, &n);
	CHECK(find(list, n, 2000, 1) != NULL && find(list, n, 3, 1)->packets == 3, "the place of one that is stale");
	CHECK(all_packets(list, n) == 2 * UNKNOWN_WAYS + 100 + 1 + UNKNOWN_WAYS, "none is lost");
	free(list);
	/* A clock that was set back makes nobody stale. */
	arrive(&u, key_of(4, 3000, 1), 1, 0, 0, 1);
	unknown_free(&u);
}

/* ---- somebody reads meanwhile ---- */

static bool is_over;

/* Datagram i: everything about it follows from i, and from which of CHURN sources it is. */
static void *
write_all(void *arg)
{
	uint64_t random = 4711;

	for (uint32_t i = 1; i <= RACES; i++) {
		uint32_t source = draw_below(&random, CHURN);

		arrive(arg, key_of(source % 2 == 0 ? 4 : 6, source, (uint16_t)source), (uint16_t)i, source % LONGEST, (uint8_t)i,
		    i);
	}
	__atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
	return NULL;
}

static void
check_whole(const struct fw_unknown *e)
{
	uint32_t source = get32(e->address + (e->family == 6 ? 12 : 0)), shown = source % LONGEST;

	CHECK(source < CHURN && e->family == (source % 2 == 0 ? 4 : 6) && e->port == source, "key of %u", source);
	CHECK(e->packets > 0 && e->bytes == e->packets * (100 + source % LONGEST), "counts of %u", source);
	CHECK(e->first <= e->last && (e->packets == 1) == (e->first == e->last), "times of %u", source);
	CHECK(e->length == source % LONGEST && e->source_port == (uint16_t)e->last, "the last datagram of %u", source);
	for (uint32_t i = 0; i < FW_UNKNOWN_PAYLOAD; i++)
		CHECK(e->payload[i] == (i < shown ? (uint8_t)e->last : 0), "byte %u of %u", i, source);
}

static void
check_reading(void)
{
	struct fw_unknown *list;
	struct fw_unknowns u;
	pthread_t writer;
	uint32_t n, looks = 0;
	uint64_t seen = 0;

	start(&u, 32);
	CHECK(pthread_create(&writer, NULL, write_all, &u) == 0, "no thread");
	while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE)) {
		list = look(&u, &n);
		for (uint32_t i = 1; i < n; i++)
			check_whole(&list[i]);
		seen += n - 1;
		looks++;
		free(list);
	}
	pthread_join(writer, NULL);
	list = look(&u, &n);
	CHECK(all_packets(list, n) == RACES, "%llu of %u", (unsigned long long)all_packets(list, n), RACES);
	printf("%u looks, %llu entries\n", looks, (unsigned long long)seen);
	free(list);
	unknown_free(&u);
}

int
main(void)
{
	check_entry();
	check_flood(1024, 1);
	check_flood(1024, 5000);
	check_stale();
	check_reading();
	return 0;
}
