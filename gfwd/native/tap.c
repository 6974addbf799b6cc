/*
 * Who looks at which datagrams, and what he gets of them. See tap.h.
 */
#include "sample.h"
#include "tap.h"

/* ---- who looks ---- */

static bool
has_bit(const struct fw_plan *plan, uint32_t from, uint32_t bit)
{
	return from == FW_NONE || (plan_tap_bits(plan)[from + bit / 32] >> bit % 32 & 1) != 0;
}

static bool
has_source(const struct fw_plan *plan, const struct fw_plan_tap *tap, const struct fw_key *key)
{
	const struct fw_plan_tap_source *s = plan_tap_sources(plan) + tap->first_source;

	for (uint32_t k = 0; k < tap->n_sources; k++)
		if (s[k].family == key_family(key) && (key->src_hi & s[k].mask_hi) == s[k].value_hi &&
		    (key->src_lo & s[k].mask_lo) == s[k].value_lo)
			return true;
	return tap->n_sources == 0;
}

uint32_t
tap_wanted(const struct fw_plan *plan, const struct fw_packet *p, bool is_whole)
{
	const struct fw_plan_tap *tap = plan_taps(plan);
	uint32_t wanted = 0;

	for (uint32_t i = 0; i < plan->n_taps; i++, tap++)
		if (has_bit(plan, tap->ports, key_dport(&p->key)) && (is_whole || tap->whole == 0) &&
		    (tap->rules == FW_NONE || (p->rule != FW_NONE && has_bit(plan, tap->rules, p->rule))) &&
		    has_source(plan, tap, &p->key))
			wanted |= 1U << tap->number;
	return wanted;
}

void
tap_mark(const struct fw_plan *plan, struct fw_packet *packets, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (packets[i].fate == FW_FORWARD && tap_wanted(plan, &packets[i], true) != 0)
			packets[i].fate = FW_TAPPED;
}

/* ---- what he gets ---- */

static bool
brings_templates(const struct burst *b, unsigned i)
{
	const struct fw_packet *p = &b->packets[i];
	const uint8_t *udp = b->frames[i].data + p->udp;

	return sample_has_template(udp + UDP_BYTES, packet_udp_bytes(p, b->frames[i].data) - UDP_BYTES);
}

/* Whose turn it is, of those who want it; of the others, who gets it for its templates. */
static void
deal_out(const struct burst *b, unsigned i, uint32_t wanted, struct fw_record *head)
{
	const struct fw_plan_tap *tap = plan_taps(b->plan);
	uint32_t skipped = 0;

	for (uint32_t k = 0; k < b->plan->n_taps; k++, tap++) {
		uint32_t bit = 1U << tap->number;

		if ((wanted & bit) == 0)
			continue;
		b->tx->taps[tap->number].matched++;
		if (++b->tx->tap_turns[tap->number] >= tap->every) {
			b->tx->tap_turns[tap->number] = 0;
			head->taps |= bit;
		} else {
			skipped |= bit;
		}
	}
	/* Asked once, however many look: a datagram may be made of sets without anything in them. */
	if (skipped != 0 && brings_templates(b, i))
		head->templates |= skipped;
}

struct fw_record *
tap_begin(const struct burst *b, unsigned i, bool is_whole)
{
	const struct fw_frame *frame = &b->frames[i];
	uint32_t whose, wanted = tap_wanted(b->plan, &b->packets[i], is_whole);
	struct fw_record *record, head = {
		.bytes = frame->len,
		.port = b->in->port,
		.rule = b->packets[i].rule,
		.generation = b->plan->generation,
	};

	if (wanted == 0)
		return NULL;
	deal_out(b, i, wanted, &head);
	whose = head.taps | head.templates;
	if (whose == 0)
		return NULL;
	head.time = clock_of(&b->tx->clock, frame);
	head.gaps = b->tx->tap_gaps & whose;
	record = ring_prepare(&b->tx->tap, &head, frame->data);
	if (record != NULL) {
		b->tx->tap_gaps &= ~whose;
		b->stats->work.tapped++;
	} else {
		b->tx->tap_gaps |= whose;
		b->stats->work.tap_lost++;
	}
	for (uint32_t number = 0; number < FW_TAPS_MAX; number++)
		if ((whose >> number & 1) != 0)
			*(record != NULL ? &b->tx->taps[number].taken : &b->tx->taps[number].lost) += 1;
	return record;
}

void
tap_end(const struct burst *b, struct fw_record *record, enum fw_fate fate)
{
	record->fate = fate;
	ring_hand_over(&b->tx->tap);
}
