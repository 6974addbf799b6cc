/*
 * Which of a group's collectors gets a datagram.
 */
#ifndef GFWD_CHOOSE_H
#define GFWD_CHOOSE_H

#include "bytes.h"
#include "parse.h"

/* The last steps of SplitMix64: every bit of what goes in changes half of what comes out. gfwd/plan/shares.py has it too. */
static inline uint64_t
choose_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
	x = (x ^ x >> 27) * 0x94d049bb133111ebU;
	return x ^ x >> 31;
}

/*
 * The share that an exporter is in, or, with its ports, a flow. No secret is in it: whichever gfwd is asked, today or
 * after a restart, an exporter is in the same one.
 */
static inline uint32_t
choose_share(const struct fw_key *key, uint64_t ports)
{
	uint64_t hash = choose_mix(choose_mix(key->src_hi ^ choose_mix(key->src_lo ^ key_family(key))) ^ ports);

	_Static_assert(FW_SHARES == 1 << 12, "the upper 12 bits");
	return (uint32_t)(hash >> 52);
}

/* The number of the target. turns: of the worker, by number. */
static inline uint32_t
choose_target(const struct fw_plan *plan, uint32_t choice, const struct fw_packet *p, const uint8_t *frame, uint32_t *turns)
{
	const struct fw_plan_choice *c = &plan_choices(plan)[choice];
	uint32_t place = 0;

	if (c->n_members > 1) {
		if (c->balance == FW_BALANCE_ROUND_ROBIN)
			place = turns[c->turn]++ % c->n_members;
		else if (c->balance == FW_BALANCE_FLOW)
			place = choose_share(&p->key, 1ULL << 32 | get32(frame + p->udp));
		else
			place = choose_share(&p->key, 0);
	}
	return plan_members(plan)[c->first_member + place];
}

#endif
