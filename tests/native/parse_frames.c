/*
 * The parser on frames that are cut at every length, and on frames with bytes changed at random.
 *
 *     parse_frames PLAN FRAMES ROUNDS
 *
 * FRAMES holds, for each: length, how many bytes its IP packet needs (0: it goes no further), fate, each a 32-bit integer
 * in host order, then the bytes. Every frame that is looked at lies in a block of exactly its length.
 */
#include <string.h>

#include "check.h"
#include "parse.h"

struct sample {
	const uint8_t *bytes;
	uint32_t len;
	uint32_t needed;
	uint32_t fate;
};

static const struct plan_bounds BOUNDS = { .ports = 1, .rules = 64, .collectors = 64, .neighbours = 8 };

static uint32_t
parse(const struct fw_plan *plan, uint8_t *data, uint32_t len, struct fw_packet *packet)
{
	struct fw_frame frame = { .data = data, .len = len };

	memset(packet, 0, sizeof *packet);
	fw_parse(plan, 0, &frame, packet, 1);
	CHECK((packet->fate & ~FIRST_FRAGMENT) <= FW_FORWARD || packet->fate == FW_FRAGMENT, "fate %u", packet->fate);
	return packet->fate;
}

/* Is it forwarded, or is it a fragment, which may be? */
static bool
goes_on(uint32_t fate)
{
	return fate == FW_FORWARD || fate >= FW_FRAGMENT;
}

/* What goes on to be rewritten must lie inside the frame. */
static void
check_places(const struct fw_packet *p, uint32_t len)
{
	uint32_t least = key_family(&p->key) == 4 ? 20 : 40;

	CHECK(p->ip >= ETHER_BYTES && p->ip <= ETHER_BYTES + 2 * VLAN_TAG_BYTES, "IP at %u", p->ip);
	CHECK(p->fate == FW_FRAGMENT ? p->udp == 0 : p->udp >= p->ip + least, "IP at %u, UDP at %u", p->ip, p->udp);
	CHECK(p->fate == FW_FRAGMENT || p->udp + 8U <= p->ip + p->ip_bytes, "UDP at %u, a packet of %u bytes at %u", p->udp, p->ip_bytes, p->ip);
	CHECK(p->ip + p->ip_bytes <= len, "a packet of %u bytes at %u of %u", p->ip_bytes, p->ip, len);
}

static void
cut_everywhere(const struct fw_plan *plan, const struct sample *s, uint32_t number)
{
	for (uint32_t len = 0; len <= s->len; len++) {
		uint8_t *data = exact(len);
		struct fw_packet packet;
		uint32_t fate;

		memcpy(data, s->bytes, len);
		fate = parse(plan, data, len, &packet);
		if (len == s->len)
			CHECK(fate == s->fate, "frame %u ends as %u, not as %u", number, fate, s->fate);
		if (s->needed != 0 && len >= s->needed)
			CHECK(goes_on(fate), "frame %u, whole at %u bytes, is %u at %u", number, s->needed, fate, len);
		else
			CHECK(!goes_on(fate), "frame %u is forwarded at %u bytes", number, len);
		if (goes_on(fate))
			check_places(&packet, len);
		CHECK(memcmp(data, s->bytes, len) == 0, "frame %u was written to", number);
		free(data);
	}
}

/* Lengths, offsets and types stand in the first 74 bytes; what lies behind decides little. */
static void
change_some(uint64_t *random, uint8_t *data, uint32_t len)
{
	uint32_t changes = 1 + draw_below(random, 4), front = len < 74 ? len : 74;

	for (; changes > 0 && len > 0; changes--) {
		uint8_t *at = data + draw_below(random, draw_below(random, 8) == 0 ? len : front);

		switch (draw_below(random, 4)) {
		case 0:
			*at = 0;
			break;
		case 1:
			*at = 0xff;
			break;
		case 2:
			*at ^= (uint8_t)(1U << draw_below(random, 8));
			break;
		default:
			*at = (uint8_t)draw(random);
		}
	}
}

static void
fuzz(const struct fw_plan *plan, const struct sample *samples, uint32_t n, uint32_t rounds)
{
	uint64_t random = 0x9e3779b97f4a7c15;
	unsigned ended[FW_FRAGMENT + 1] = { 0 };

	for (uint32_t i = 0; i < rounds; i++) {
		const struct sample *s = &samples[draw_below(&random, n)];
		uint32_t len = draw_below(&random, 3) == 0 ? draw_below(&random, s->len + 1) : s->len;
		uint8_t *data = exact(len);
		struct fw_packet packet;

		memcpy(data, s->bytes, len);
		change_some(&random, data, len);
		if (goes_on(parse(plan, data, len, &packet)))
			check_places(&packet, len);
		ended[packet.fate & ~FIRST_FRAGMENT]++;
		free(data);
	}
	/* Were they all refused at the door, nothing would have been tried. */
	CHECK(ended[FW_FORWARD] > rounds / 20 && ended[FW_DROP_SHORT] > rounds / 20, "%u forwarded, %u short",
	    ended[FW_FORWARD], ended[FW_DROP_SHORT]);
}

static uint32_t
read_samples(const uint8_t *file, size_t bytes, struct sample *samples, uint32_t max)
{
	uint32_t n = 0;

	for (size_t at = 0; at < bytes; n++) {
		uint32_t head[3];

		CHECK(n < max && bytes - at >= sizeof head, "frames: %u, then %zu bytes", n, bytes - at);
		memcpy(head, file + at, sizeof head);
		at += sizeof head;
		CHECK(head[0] <= bytes - at, "frame %u is cut in the file", n);
		samples[n] = (struct sample){ file + at, head[0], head[1], head[2] };
		at += head[0];
	}
	return n;
}

int
main(int argc, char **argv)
{
	static struct sample samples[4096];
	size_t plan_bytes, file_bytes;
	uint8_t *memory, *file;
	const struct fw_plan *plan;
	char error[FW_ERROR_BYTES];
	uint32_t n;

	CHECK(argc == 4, "three arguments, not %d", argc - 1);
	memory = read_file(argv[1], &plan_bytes);
	plan = (const struct fw_plan *)(const void *)memory;
	CHECK(plan_check(plan, plan_bytes, &BOUNDS, error), "%s", error);
	file = read_file(argv[2], &file_bytes);
	n = read_samples(file, file_bytes, samples, sizeof samples / sizeof samples[0]);
	for (uint32_t i = 0; i < n; i++)
		cut_everywhere(plan, &samples[i], i);
	fuzz(plan, samples, n, (uint32_t)strtoul(argv[3], NULL, 10));
	printf("%u frames\n", n);
	free(memory);
	free(file);
	return 0;
}
