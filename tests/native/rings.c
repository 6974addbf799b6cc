/*
 * ring.c: full, empty, and between two threads.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "check.h"
#include "ring.h"

enum { RECORDS = 1000000, SLOTS = 61, LONGEST = 96 };

/* Record i has a length and bytes that follow from i. */
static uint32_t
length_of(uint32_t i)
{
	return i * 31 % (LONGEST + 1);
}

static bool
put(struct fw_ring *r, uint32_t i)
{
	uint8_t frame[LONGEST];
	struct fw_record head = { .time = i, .bytes = length_of(i), .port = ~i, .rule = i ^ 0x5555, .generation = i + 1 };

	memset(frame, (int)(i * 7), sizeof frame);
	return ring_put(r, &head, frame);
}

static void
check_record(const struct fw_record *head, const uint8_t *frame, uint32_t i)
{
	CHECK(head->time == i && head->bytes == length_of(i) && head->port == ~i && head->rule == (i ^ 0x5555) &&
	    head->generation == i + 1, "record %llu in the place of %u", (unsigned long long)head->time, i);
	for (uint32_t j = 0; j < head->bytes; j++)
		CHECK(frame[j] == (uint8_t)(i * 7), "record %u, byte %u", i, j);
}

static bool
take(struct fw_ring *r, uint32_t i)
{
	const uint8_t *frame;
	const struct fw_record *head = ring_peek(r, &frame);

	if (head == NULL)
		return false;
	check_record(head, frame, i);
	CHECK(ring_peek(r, &frame) == head, "a look takes nothing away");
	ring_pop(r);
	return true;
}

static void
check_bounds(uint32_t slots)
{
	uint8_t frame[LONGEST + 1] = { 0 };
	struct fw_ring r = { 0 };
	uint32_t in = 0, out = 0;

	CHECK(ring_init(&r, slots, LONGEST), "no memory");
	CHECK(!take(&r, 0), "a fresh ring is empty");
	for (unsigned round = 0; round < 3 * (slots + 1); round++) {
		while (in - out < slots)
			CHECK(put(&r, in++), "room for %u, and refused with %u in it", slots, in - out - 1);
		CHECK(!put(&r, in), "%u records in a ring for %u", slots + 1, slots);
		CHECK(take(&r, out++), "a full ring has a record");
	}
	while (out < in)
		CHECK(take(&r, out++), "%u records lost", in - out + 1);
	CHECK(!take(&r, in), "emptied");
	CHECK(!ring_put(&r, &(struct fw_record){ .bytes = LONGEST + 1 }, frame), "longer than a slot");
	CHECK(!take(&r, in), "what was refused is not there");
	ring_free(&r);
}

static void *
write_all(void *arg)
{
	for (uint32_t i = 0; i < RECORDS; i++)
		while (!put(arg, i))
			sched_yield();
	return NULL;
}

static void
check_two_threads(void)
{
	struct fw_ring r = { 0 };
	pthread_t writer;
	unsigned empty = 0;

	CHECK(ring_init(&r, SLOTS, LONGEST), "no memory");
	CHECK(pthread_create(&writer, NULL, write_all, &r) == 0, "no thread");
	for (uint32_t i = 0; i < RECORDS;) {
		if (take(&r, i)) {
			i++;
		} else {
			empty++;
			sched_yield();
		}
	}
	pthread_join(writer, NULL);
	CHECK(!take(&r, 0), "more came out than went in");
	printf("found empty %u times\n", empty);
	ring_free(&r);
}

int
main(void)
{
	for (uint32_t slots = 1; slots < 6; slots++)
		check_bounds(slots);
	check_bounds(SLOTS);
	check_two_threads();
	return 0;
}
