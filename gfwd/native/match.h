/*
 * Packet → rule. A worker's cache answers for exporters that it knows, whatever the number of rules; the full lookup
 * answers once for each (source address, destination port) and plan.
 */
#ifndef GFWD_MATCH_H
#define GFWD_MATCH_H

#include "loop.h"
#include "parse.h"

/* One remembered answer. Its key holds the plan's generation: publishing a plan empties the cache. */
struct fw_flow {
	struct fw_key key;		/* all 0: never used */
	uint32_t rule;
	uint32_t exporter;
};

/* How much an exporter may send; see pace.h. */
struct fw_exporter_pace {
	uint64_t due;
	uint32_t ns;			/* 0: any amount */
};

struct fw_matcher {
	/* The cache: sets of FLOW_WAYS entries. */
	struct fw_flow *flows;
	uint32_t set_mask;		/* number of sets - 1, times the bytes of a set */
	uint32_t turn;			/* which kept place the next promotion takes */
	uint64_t seeds[2];		/* one for each factor of the hash */
	/* Exporters, in the order of their first datagram; number 0 is all that found no room. */
	struct fw_key *exporters;	/* .rest is the family alone */
	struct fw_count *exporter_counts;
	struct fw_exporter_pace *exporter_paces;	/* the plan's, as of the last lookup */
	uint32_t n_exporters;
	uint32_t max_exporters;
	uint32_t *exporter_index;	/* hash → number; 0: free */
	uint32_t index_mask;
	struct fw_loops loops;
};

/* False: no memory. */
bool match_init(struct fw_matcher *, const struct fw_limits *);
void match_free(struct fw_matcher *);

/* A new plan is in force. */
void match_take_up(struct fw_matcher *, const struct fw_plan *);

/*
 * Sets .rule (and .exporter) of all packets that go on; those without a rule end as no_rule, and those that came from
 * gfwd itself as loop; those that may have been here before are suspects. Counts into *work.
 */
void fw_match(struct fw_matcher *, const struct fw_plan *, struct fw_work *work, struct fw_packet *restrict packets,
    unsigned n);

/* The frames of these packets stayed where they came in, and will be matched again. */
void match_give_back(struct fw_matcher *, const struct fw_packet *packets, unsigned n);

/* Copies at most n exporters with their counts, number 0 first; returns how many there are. */
uint32_t match_read_exporters(const struct fw_matcher *, struct fw_exporter *list, uint32_t n);

/* The full lookup: the smallest number among the rules that match; FW_NONE: none does. */
uint32_t match_lookup(const struct fw_plan *, unsigned family, uint64_t src_hi, uint64_t src_lo, uint16_t dport);

#endif
