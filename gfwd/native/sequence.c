#include <string.h>

#include "sequence.h"

/* So far back, in ms, uptime does not go when datagrams are only re-ordered. */
#define REBOOT_MS 5000U
#define HALF (UINT32_C(1) << 31)

/* ---- what is missing ---- */

static void
remove_gap(struct fw_sequence *s, uint32_t at)
{
	s->n_gaps--;
	memmove(&s->gaps[at], &s->gaps[at + 1], (s->n_gaps - at) * sizeof s->gaps[0]);
}

/* Of too many, the oldest is forgotten: what was missing there stays lost. */
static void
insert_gap(struct fw_sequence *s, uint32_t at, uint32_t start, uint32_t missing)
{
	if (missing == 0)
		return;
	if (s->n_gaps == SEQUENCE_GAPS) {
		remove_gap(s, 0);
		at = at == 0 ? 0 : at - 1;
	}
	memmove(&s->gaps[at + 1], &s->gaps[at], (s->n_gaps - at) * sizeof s->gaps[0]);
	s->gaps[at] = (struct sequence_gap){ start, missing };
	s->n_gaps++;
}

/* Whether it was missing; then it is so no longer, and what is left of the gap are its two ends. */
static bool
fills_gap(struct fw_sequence *s, const struct fw_place *p)
{
	for (uint32_t i = 0; i < s->n_gaps; i++) {
		const struct sequence_gap gap = s->gaps[i];
		uint32_t before = p->number - gap.start, filled;

		if (before >= gap.missing)
			continue;
		filled = gap.missing - before < p->step ? gap.missing - before : p->step;
		s->findings.lost -= filled;
		remove_gap(s, i);
		insert_gap(s, i, p->number + filled, gap.missing - before - filled);
		insert_gap(s, i, gap.start, before);
		return true;
	}
	return false;
}

/* ---- a datagram ---- */

static void
begin(struct fw_sequence *s, const struct fw_place *p)
{
	s->has_begun = true;
	s->next = p->number;
	s->known = s->n_gaps = 0;
	sequence_go_on(s, p);
}

static uint64_t
times_step(const struct fw_place *p, uint32_t datagrams)
{
	return (uint64_t)datagrams * (p->step > 0 ? p->step : 1);
}

/* So late that only the datagrams of a short while lie between. */
static bool
is_late(const struct fw_sequence *s, const struct fw_place *p)
{
	uint32_t behind = s->next - p->number;

	return behind <= s->known && behind <= times_step(p, SEQUENCE_WINDOW);
}

/* Not from high numbers over their end to low ones: who begins anew at 0 does that, and a gap so long rarely. */
static bool
is_ahead(const struct fw_sequence *s, const struct fw_place *p)
{
	uint32_t ahead = p->number - s->next;

	return ahead < HALF && (p->number > s->next || ahead <= times_step(p, SEQUENCE_WINDOW));
}

static bool
is_little_ahead(const struct fw_sequence *s, const struct fw_place *p)
{
	return is_ahead(s, p) && p->number - s->next <= times_step(p, SEQUENCE_DROPOUT);
}

static bool
has_rebooted(const struct fw_sequence *s, const struct fw_place *p)
{
	return (uint64_t)p->uptime + REBOOT_MS < s->uptime;
}

static void
go_on_ahead(struct fw_sequence *s, const struct fw_place *p)
{
	uint32_t ahead = p->number - s->next;

	s->findings.lost += ahead;
	insert_gap(s, s->n_gaps, s->next, ahead);
	sequence_go_on(s, p);
}

/* ---- what one datagram alone says ---- */

static bool
goes_on_from_stray(const struct fw_sequence *s, const struct fw_place *p)
{
	return s->has_stray && p->number - (s->stray.number + s->stray.step) <= times_step(p, SEQUENCE_WINDOW);
}

static void
believe_stray(struct fw_sequence *s)
{
	const struct fw_place stray = s->stray;

	s->findings.strays--;
	s->findings.counted -= stray.step;
	if (is_ahead(s, &stray) && !has_rebooted(s, &stray)) {
		go_on_ahead(s, &stray);
	} else {
		s->findings.restarts++;
		begin(s, &stray);
	}
}

static void
take_stray(struct fw_sequence *s, const struct fw_place *p)
{
	if (goes_on_from_stray(s, p)) {
		believe_stray(s);
		s->findings.in_order += p->number == s->next;
		go_on_ahead(s, p);
	} else {
		s->findings.strays++;
		s->findings.counted += p->step;
		s->stray = *p;
		s->has_stray = true;
	}
}

void
sequence_take_out_of_order(struct fw_sequence *s, const struct fw_place *p)
{
	if (!s->has_begun) {
		begin(s, p);
	} else if (has_rebooted(s, p)) {
		take_stray(s, p);
	} else if (is_little_ahead(s, p)) {
		go_on_ahead(s, p);
	} else if (!is_late(s, p)) {
		take_stray(s, p);
	} else if (fills_gap(s, p)) {
		s->findings.reordered++;
		s->findings.counted += p->step;
	} else {
		s->findings.doubled++;
	}
}
