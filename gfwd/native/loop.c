#include <stdlib.h>

#include "bytes.h"
#include "loop.h"

#define HABITS (1U << 16)
#define PRINTS (1U << 16)
#define PRINT_LASTS_NS 1000000000U

/* One round of a multiply and fold: quick, and with a secret seed, nobody can foretell what meets what. */
static inline uint64_t
mix(uint64_t hash, uint64_t word)
{
	unsigned __int128 product = (unsigned __int128)(hash ^ word) * 0x9e3779b97f4a7c15U;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* ---- habits ---- */

bool
loop_suspects(struct fw_loops *loops, const struct fw_key *key, uint8_t *before)
{
	uint64_t hash = mix(mix(mix(loops->seed, key->src_hi), key->src_lo), (uint64_t)key_dport(key) << 8 | key_family(key));
	struct fw_habit *habit = &loops->habits[hash % HABITS];
	uint32_t tag = (uint32_t)(hash >> 32) | 1;
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

/* ---- fingerprints ---- */

/*
 * What no forwarder changes: source, payload, and in IPv4 the identification. Addresses and ports that are written anew, and
 * the checksums over them, are left out.
 */
static uint64_t
fingerprint(const struct fw_loops *loops, const struct fw_packet *p, const uint8_t *frame)
{
	const uint8_t *udp = frame + p->udp;
	uint32_t bytes = get16(udp + 4), at = 8;
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

bool
loop_comes_back(struct fw_loops *loops, const struct fw_packet *p, const uint8_t *frame, uint64_t now)
{
	uint64_t hash = fingerprint(loops, p, frame), then;
	struct fw_print *print = &loops->prints[hash % PRINTS];
	uint8_t ttl = key_ttl(&p->key), times = 1;

	then = print->time & ~(uint64_t)(LOOP_STEP_NS - 1);
	if (print->hash == hash && now - then < PRINT_LASTS_NS) {
		times = (uint8_t)((print->time >> 8) + 1);
		if ((uint8_t)print->time != ttl || times >= LOOP_TIMES)
			return true;
	}
	*print = (struct fw_print){ hash, (now & ~(uint64_t)(LOOP_STEP_NS - 1)) | (uint64_t)times << 8 | ttl };
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
