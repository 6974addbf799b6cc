/*
 * What the sequence numbers of one exporter say: lost on the way here, re-ordered, doubled, or the exporter restarted.
 *
 * NetFlow v9 and sFlow count datagrams, v5 and v7 flows; a number says how many came before it, modulo 2^32 (RFC 3954
 * §5.1). What is late, but not by much, was missing, or else it is here for the second time.
 *
 * A datagram that jumps far ahead or back, or whose exporter's uptime fell, is a stray, and believed when the next one goes
 * on from there, as RTP does it (RFC 3550 §A.1): then all between is lost, or the exporter began anew. So one that is
 * forged or broken, or two exporters behind one key, do not make billions of lost ones.
 *
 * gfwd/netflow/loss.py is the same machine, for captures, and the tests hold one against the other.
 */
#ifndef GFWD_SEQUENCE_H
#define GFWD_SEQUENCE_H

#include <stdbool.h>

#include "fw.h"

/* Later than so many datagrams of its size, nothing is told from a new beginning. */
#define SEQUENCE_WINDOW 64U
/* So many datagrams of its size, and no more, are believed to be lost on the word of one (MAX_DROPOUT of RFC 3550 §A.1). */
#define SEQUENCE_DROPOUT 3000U
#define SEQUENCE_GAPS 14U		/* so a stream takes 512 bytes */
/* Far more than a window is long. */
#define SEQUENCE_KNOWN_MAX (UINT32_C(1) << 30)

/* Where a datagram stands, as its header says. */
struct fw_place {
	uint32_t number;
	uint32_t step;			/* by how much it moves the number on */
	uint32_t uptime;		/* the exporter's, ms */
};

struct sequence_gap {
	uint32_t start;
	uint32_t missing;
};

/* What is in order touches the first 64 bytes only. */
struct fw_sequence {
	uint32_t next;			/* the number that should come */
	uint32_t known;			/* so many before it, back to the beginning, have come or are missing */
	uint32_t uptime;
	uint32_t n_gaps;
	struct fw_place stray;		/* the last, where nothing has gone on from somewhere else since */
	bool has_stray;
	bool has_begun;
	struct fw_findings findings;
	struct sequence_gap gaps[SEQUENCE_GAPS];	/* oldest first */
};

/* The next datagram moves the number on. */
static inline void
sequence_go_on(struct fw_sequence *s, const struct fw_place *p)
{
	uint32_t next = p->number + p->step, known = s->known + (next - s->next);

	s->findings.counted += p->step;
	s->known = known < SEQUENCE_KNOWN_MAX ? known : SEQUENCE_KNOWN_MAX;
	s->next = next;
	s->uptime = p->uptime;
	s->has_stray = false;
}

/* Lost ones before it, or it is late, doubled, from a new beginning; or the first. */
void sequence_take_out_of_order(struct fw_sequence *, const struct fw_place *);

/* Some may have come that nobody has seen: what is missing before the next one was not lost for certain. */
static inline void
sequence_interrupt(struct fw_sequence *s)
{
	s->findings.unproven += s->has_begun;
	s->has_begun = false;
}

/* The next datagram. */
static inline void
sequence_take(struct fw_sequence *s, const struct fw_place *p)
{
	s->findings.datagrams++;
	if (unlikely(p->number != s->next || !s->has_begun)) {
		sequence_take_out_of_order(s, p);
		return;
	}
	s->findings.in_order++;
	sequence_go_on(s, p);
}

#endif
