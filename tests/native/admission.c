/*
 * pace.h and sample.h: how many come through in any interval, whoever asks, and what is a template.
 */
#include <pthread.h>

#include "check.h"
#include "pace.h"
#include "sample.h"

enum { SECOND = 1000000000, THREADS = 4, ASKED = 200000 };

/* ---- limits ---- */

/*
 * The algorithm lets through, in any t ns, no more than (t + PACE_EARLY_NS) / ns + 1: the times of those that were let through
 * are held against the first of every interval.
 */
static void
check_intervals(uint32_t ns, uint64_t gap, uint64_t seed)
{
	enum { KEPT = 4000 };
	static uint64_t times[KEPT];
	uint64_t due = 0, now = 1700000000ULL * SECOND;
	unsigned n = 0;

	for (unsigned asked = 0; asked < 100000 && n < KEPT; asked++) {
		now += draw_below(&seed, 4) == 0 ? 0 : draw(&seed) % (gap + 1);
		if (pace_allows(&due, ns, now))
			times[n++] = now;
	}
	CHECK(n > 10, "only %u of a pace of %u", n, ns);
	for (unsigned first = 0; first < n; first += 1 + n / 200)
		for (unsigned last = first; last < n; last++)
			CHECK(last - first <= (times[last] - times[first] + PACE_EARLY_NS) / ns + 1, "%u in %llu ns, one in %u",
			    last - first + 1, (unsigned long long)(times[last] - times[first]), ns);
}

/* A flood: as many at once as may come too early, then exactly one each time that one is due. */
static void
check_flood(uint32_t a_second)
{
	const uint64_t start = 1700000000ULL * SECOND, length = 10ULL * SECOND;
	uint64_t due = 0;
	uint32_t ns = SECOND / a_second;
	unsigned taken = 0;

	for (uint64_t now = 0; now <= length; now += 20000)
		taken += pace_allows(&due, ns, start + now);
	CHECK(taken == (length + PACE_EARLY_NS) / ns + 1, "%u of %u a second", taken, a_second);
}

/* The numbers of docs/packets.md, to the nanosecond: 100 ms too early, and 2 * (100 ms + T) too far away. */
static void
check_edges(void)
{
	const uint64_t now = 1700000000ULL * SECOND;
	uint64_t due = now + 100000000;

	CHECK(pace_allows(&due, 7, now) && due == now + 100000007, "just early enough");
	CHECK(!pace_allows(&due, 7, now + 6) && due == now + 100000007, "1 ns too early");
	CHECK(pace_allows(&due, 7, now + 7) && due == now + 100000014, "7 ns later");
	CHECK(pace_allows(&due, 7, now + SECOND) && due == now + SECOND + 7, "late: from then");
	due = now + 2 * (100000000 + 7);
	CHECK(!pace_allows(&due, 7, now), "far away");
	due++;
	CHECK(pace_allows(&due, 7, now) && due == now + 7, "too far away");
}

/* Hours back: it goes on at once, with no more than it may. */
static void
check_clock_set_back(void)
{
	uint64_t due = 0, now = 1700000000ULL * SECOND;
	unsigned taken = 0;

	CHECK(pace_allows(&due, SECOND, now) && !pace_allows(&due, SECOND, now), "one a second");
	CHECK(!pace_allows(&due, SECOND, now - SECOND), "a second back is no other time");
	CHECK(pace_allows(&due, SECOND, now - 3600ULL * SECOND), "an hour back is");
	CHECK(!pace_allows(&due, SECOND, now - 3600ULL * SECOND), "but only once");
	for (unsigned i = 0; i < 100; i++)
		taken += pace_allows(&due, UINT32_MAX, now);
	CHECK(taken <= 1, "%u at the slowest pace", taken);
}

struct sharer {
	pthread_t thread;
	uint64_t *due, *clock;
	unsigned taken;
};

enum { TICK = 50000000 / (THREADS * ASKED), SHARED_NS = 50000 };

static void *
ask(void *arg)
{
	struct sharer *s = arg;

	for (unsigned i = 0; i < ASKED; i++)
		s->taken += pace_allows(s->due, SHARED_NS, __atomic_fetch_add(s->clock, TICK, __ATOMIC_RELAXED));
	return NULL;
}

/*
 * Several workers share a collector's limit: together they get what one would. All of it takes less than it takes a clock to
 * be one that was set back, so who is late finds what is due where it was.
 */
static void
check_sharing(void)
{
	struct sharer sharers[THREADS] = { 0 };
	uint64_t due = 0, clock = 1700000000ULL * SECOND, most = (THREADS * ASKED * TICK + PACE_EARLY_NS) / SHARED_NS + 1;
	unsigned taken = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		sharers[i].due = &due;
		sharers[i].clock = &clock;
		CHECK(pthread_create(&sharers[i].thread, NULL, ask, &sharers[i]) == 0, "thread %u", i);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(sharers[i].thread, NULL);
		taken += sharers[i].taken;
	}
	CHECK(taken <= most && taken >= most - 4, "%u of %llu", taken, (unsigned long long)most);
}

/* ---- templates ---- */

/* At random, in a block that ends where the payload ends. */
static void
check_templates_stay_inside(void)
{
	uint64_t random = 7011;
	unsigned found = 0;

	for (unsigned i = 0; i < 300000; i++) {
		uint32_t bytes = draw_below(&random, 64), version = 9 + draw_below(&random, 2);
		uint8_t *payload = exact(bytes);

		for (uint32_t at = 0; at < bytes; at++)
			payload[at] = draw_below(&random, 3) == 0 ? (uint8_t)draw_below(&random, 64) : 0;
		if (bytes >= 2) {
			payload[0] = 0;
			payload[1] = (uint8_t)version;
		}
		found += sample_has_template(payload, bytes);
		free(payload);
	}
	CHECK(found > 1000, "%u", found);
}

static void
check_chance(void)
{
	static const uint32_t every[] = { 2, 3, 10, 1000 };
	uint64_t state = 3954 | 1;

	for (unsigned i = 0; i < sizeof every / sizeof every[0]; i++) {
		unsigned taken = 0, asked = 4000 * every[i];

		for (unsigned n = 0; n < asked; n++)
			taken += sample_takes(&state, every[i]);
		/* Six standard deviations of some 63. */
		CHECK(taken > 4000 - 380 && taken < 4000 + 380, "one in %u: %u of %u", every[i], taken, asked);
	}
	CHECK(sample_takes(&state, 1), "one in one");
}

int
main(void)
{
	static const uint32_t a_second[] = { 1, 3, 7, 10, 11, 100, 1000 };

	for (unsigned i = 0; i < sizeof a_second / sizeof a_second[0]; i++) {
		check_flood(a_second[i]);
		check_intervals(SECOND / a_second[i], SECOND / a_second[i], 1 + i);
		check_intervals(SECOND / a_second[i], 10000000, 100 + i);
	}
	check_edges();
	check_clock_set_back();
	check_sharing();
	check_templates_stay_inside();
	check_chance();
	return 0;
}
