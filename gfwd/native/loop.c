#include <stdlib.h>

#include "bytes.h"
#include "loop.h"

#define HABITS (1U << 16)
#define HABIT_WAYS 8U		/* places that one habit may have: as long as a cache line */
#define PRINTS (1U << 16)
#define PRINT_WAYS 4U		/* places that one print may have: as long as a cache line */
#define PRINT_LASTS_NS 1000000000U

/* One round of a multiply and fold: quick, and with a secret seed, nobody can foretell what meets what. */
static inline uint64_t
mix(uint64_t hash, uint64_t word)
{
	unsigned __int128 product = (unsigned __int128)(hash ^ word) * 0x9e3779b97f4a7c15U;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* ---- habits ---- */

/* Where the habit of this exporter and port is; or, where it is not known, is to be: in a place that is free, or another one's. */
static struct fw_habit *
habit_of(const struct fw_loops *loops, const struct fw_key *key, uint32_t *tag)
{
	uint64_t hash = mix(mix(mix(loops->seed, key->src_hi), key->src_lo), (uint64_t)key_dport(key) << 8 | key_family(key));
	struct fw_habit *set = &loops->habits[hash % (HABITS / HABIT_WAYS) * HABIT_WAYS];

	*tag = (uint32_t)(hash >> 32) | 1;
	for (struct fw_habit *habit = set; habit < set + HABIT_WAYS; habit++)
		if (habit->tag == *tag || habit->tag == 0)
			return habit;
	return &set[*tag >> 1 & (HABIT_WAYS - 1)];
}

bool
loop_suspects(struct fw_loops *loops, const struct fw_key *key, uint8_t *before)
{
	uint32_t tag;
	struct fw_habit *habit = habit_of(loops, key, &tag);
	uint8_t ttl = key_ttl(key);

	*before = 0;
	if (habit->tag != tag) {
		*habit = (struct fw_habit){ .tag = tag, .ttl = ttl };
	} else if (habit->ttl != ttl) {
		*before = habit->ttl;
		habit->ttl = ttl;
		habit->suspects = LOOP_CALM;
	}
	if (habit->suspects == 0)
		return false;
	habit->suspects--;
	return true;
}

void
loop_give_back(struct fw_loops *loops, const struct fw_key *key)
{
	uint32_t tag;
	struct fw_habit *habit = habit_of(loops, key, &tag);

	if (habit->tag == tag && habit->suspects < LOOP_CALM)
		habit->suspects++;
}

/* ---- fingerprints ---- */

/*
 * What no forwarder changes: source, payload, and in IPv4 the identification. Addresses and ports that are written anew, and
 * the checksums over them, are left out. A first fragment stands for its datagram.
 */
static uint64_t
fingerprint(const struct fw_loops *loops, const struct fw_packet *p, const uint8_t *frame)
{
	const uint8_t *udp = frame + p->udp;
	uint32_t bytes = packet_udp_bytes(p, frame), at = 8;
	uint64_t hash = mix(mix(loops->seed, p->key.src_hi), p->key.src_lo);

	hash = mix(hash, (uint64_t)bytes << 32 | get16(udp));
	if (key_family(&p->key) == 4)
		hash = mix(hash, get16(frame + p->ip + 4));
	for (; at + 8 <= bytes; at += 8)
		hash = mix(hash, get64(udp + at));
	for (; at < bytes; at++)
		hash = mix(hash, udp[at]);
	return hash;
}

/*
 * A new print takes the place of the oldest that it may have: whatever is under way meanwhile, one that was made a moment ago
 * is there still. One from before the clock was set back is the oldest of all.
 */
bool
loop_comes_back(struct fw_loops *loops, const struct fw_packet *p, const uint8_t *frame, uint64_t now)
{
	uint64_t hash = fingerprint(loops, p, frame), oldest_age = 0;
	struct fw_print *set = &loops->prints[hash % (PRINTS / PRINT_WAYS) * PRINT_WAYS], *place = set;
	uint8_t ttl = key_ttl(&p->key), times = 1;

	for (struct fw_print *print = set; print < set + PRINT_WAYS; print++) {
		uint64_t age = now - (print->time & ~(uint64_t)(LOOP_STEP_NS - 1));

		if (print->hash == hash) {
			if (age < PRINT_LASTS_NS) {
				times = (uint8_t)((print->time >> 8) + 1);
				if ((uint8_t)print->time != ttl || times >= LOOP_TIMES)
					return true;
			}
			place = print;
			break;
		}
		if (age > oldest_age) {
			oldest_age = age;
			place = print;
		}
	}
	*place = (struct fw_print){ hash, (now & ~(uint64_t)(LOOP_STEP_NS - 1)) | (uint64_t)times << 8 | ttl };
	return false;
}

/* ---- life ---- */

bool
loop_init(struct fw_loops *loops, const struct fw_limits *limits)
{
	loops->seed = mix(limits->seeds[0], limits->seeds[1]);
	loops->habits = calloc(HABITS, sizeof *loops->habits);
	loops->prints = calloc(PRINTS, sizeof *loops->prints);
	return loops->habits != NULL && loops->prints != NULL;
}

void
loop_free(struct fw_loops *loops)
{
	free(loops->habits);
	free(loops->prints);
}
