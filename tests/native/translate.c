/*
 * translate.h: headers written anew stay inside of what they are written from and to, and a receiver that puts the parts
 * together again has the datagram, with a checksum that is right; of whole packets, and of such as came in as fragments.
 */
#include "check.h"
#include "translate.h"

enum { LONGEST = 1700, HEADER_MAX = 700 };

static uint64_t state = 1;

struct packet {
	uint8_t *frame;			/* ends where the packet ends */
	struct fw_packet p;
	uint32_t payload;		/* place of the UDP header, or of what a later fragment has; from the IP header */
	uint32_t bytes;			/* and its length */
	bool has_checksum;
	bool is_first;
	uint32_t offset;		/* of a fragment, bytes */
	bool more;
};

static void
put_u16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

/* The sum that a right datagram has: word by word, with the carries brought round. */
static uint32_t
naive_sum(const uint8_t *bytes, uint32_t n, uint32_t sum)
{
	for (uint32_t i = 0; i < n; i++)
		sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t
pseudo_sum(const uint8_t *ip, uint32_t udp_bytes)
{
	return ip[0] >> 4 == 4 ? naive_sum(ip + 12, 8, 17 + udp_bytes) : naive_sum(ip + 8, 32, 17 + udp_bytes);
}

/* Options, or extension headers of which the last is a fragment header where `fragment` is not 0xffff. Returns where they end. */
static uint32_t
draw_header(uint8_t *ip, unsigned family, uint32_t fragment)
{
	uint32_t end = 40, named_at = 6;

	if (family == 4) {
		end = 20 + 4 * (draw_below(&state, 3) == 0 ? draw_below(&state, 11) : 0);
		for (uint32_t i = 12; i < end; i++)
			ip[i] = (uint8_t)draw(&state);
		ip[0] = (uint8_t)(0x40 | end / 4);
		put_u16(ip + 6, fragment == 0xffff ? draw_below(&state, 2) << 14 : fragment);
		return end;
	}
	for (uint32_t i = 8; i < 40; i++)
		ip[i] = (uint8_t)draw(&state);
	ip[0] = 0x60 | (uint8_t)draw_below(&state, 16);
	while (draw_below(&state, 3) == 0 && end < 200) {
		static const uint8_t kinds[] = { 0, 43, 60 };

		ip[named_at] = kinds[draw_below(&state, 3)];
		named_at = end;
		ip[end + 1] = (uint8_t)draw_below(&state, 3);
		ip[end + 3] = 0;
		end += 8U + ip[end + 1] * 8U;
	}
	for (uint32_t n = draw_below(&state, 6) / 4; n > 0; n--) {	/* of an atomic fragment, which is a whole datagram */
		ip[named_at] = 44;
		named_at = end;
		end += 8;
	}
	if (fragment != 0xffff) {
		ip[named_at] = 44;
		named_at = end;
		put_u16(ip + end + 2, (fragment & 0x1fff) << 3 | fragment >> 13);
		end += 8;
	}
	ip[named_at] = 17;
	return end;
}

/* is_fragment: as whoever lets fragments follow their first ones hands it over: a later one has no UDP header. */
static struct packet
draw_packet(unsigned family, bool is_fragment)
{
	static uint8_t room[LONGEST + HEADER_MAX];
	uint32_t fragment = 0xffff, most = draw_below(&state, 4) == 0 ? LONGEST : 200;
	struct packet it = { .bytes = 8 + draw_below(&state, most - 8), .is_first = true };
	uint8_t *ip = room;

	memset(room, 0, sizeof room);
	if (is_fragment) {
		fragment = draw_below(&state, 2) == 0 ? 0 : draw_below(&state, 2) == 0 ? 8191 - draw_below(&state, 64) : 1 + draw_below(&state, 3000);
		it.is_first = fragment == 0;
		it.offset = fragment * 8;
		if (it.is_first || draw_below(&state, 2) == 0) {
			fragment |= 0x2000;
			it.more = true;
			it.bytes &= ~7U;
		}
	}
	it.payload = draw_header(ip, family, fragment);
	for (uint32_t i = 0; i < it.bytes; i++)
		ip[it.payload + i] = (uint8_t)draw(&state);
	it.p.ip_bytes = it.payload + it.bytes;
	it.has_checksum = family == 6 || draw_below(&state, 3) != 0;
	if (it.is_first) {
		put_u16(ip + it.payload + 4, is_fragment ? 0xffff : it.bytes);	/* of a first fragment, the whole is longer */
		put_u16(ip + it.payload + 6, 0);
		if (it.has_checksum) {
			uint32_t sum = naive_sum(ip + it.payload, it.bytes, pseudo_sum(ip, it.bytes));

			put_u16(ip + it.payload + 6, sum == 0xffff ? 0xffff : 0xffff - sum);
		}
		it.p.udp = (uint16_t)(14 + it.payload);
	}
	if (family == 4) {
		ip[8] = 64;
		ip[9] = 17;
		put_u16(ip + 2, it.p.ip_bytes);
	} else {
		ip[7] = 64;
		put_u16(ip + 4, it.p.ip_bytes - 40);
	}
	it.p.ip = 14;
	it.p.key.rest = key_rest(1, 514, 64, (uint8_t)family);
	it.frame = exact(14 + it.p.ip_bytes);
	memcpy(it.frame + 14, room, it.p.ip_bytes);
	return it;
}

/* The fields of a part that left: where its payload is, and what it says of its place. */
static uint32_t
read_part(const uint8_t *ip, uint32_t header, uint32_t *offset, bool *more)
{
	uint32_t length;

	if (ip[0] >> 4 == 4) {
		CHECK((ip[0] & 15U) * 4 == header && naive_sum(ip, header, 0) == 0xffff, "an IPv4 header of %u", header);
		*offset = (get16(ip + 6) & 0x1fffU) * 8;
		*more = (ip[6] & 0x20) != 0;
		return get16(ip + 2);
	}
	*offset = 0;
	*more = false;
	for (uint32_t at = 40, kind = ip[6]; at < header; kind = ip[at], at += length) {
		length = kind == 44 ? 8 : 8 + ip[at + 1] * 8U;
		if (kind == 44) {
			*offset = get16(ip + at + 2) & 0xfff8U;
			*more = (ip[at + 3] & 1) != 0;
		}
	}
	return get16(ip + 4) + 40U;
}

/* All parts, put together; the last one's header says which addresses the checksum is for. */
static void
check_parts(const struct packet *it, const struct fw_leaving *l, const struct fw_division *d, uint32_t mtu)
{
	uint8_t *whole = exact(l->payload_bytes), *udp = exact(UDP_BYTES), *out = NULL;
	uint32_t at = 0, longest = 0, offset;
	bool more, has_udp = l->udp != 0;

	if (has_udp && !translate_udp(l, udp)) {
		CHECK(!it->has_checksum && l->is_fragment && l->family == 6, "a UDP header that there could be");
		free(whole);
		free(udp);
		return;
	}
	CHECK(!has_udp || it->has_checksum || l->family == 4 || !l->is_fragment, "a checksum over what is in other packets");
	for (uint32_t k = 0; k < d->n; k++) {
		bool is_last = k + 1 == d->n;
		uint32_t bytes = is_last ? l->payload_bytes - at : k == 0 ? d->first : d->later;
		uint32_t header = translate_header_bytes(l, at, d->n > 1);

		free(out);
		out = exact(header);
		CHECK(translate_header(l, out, at, bytes, d->n > 1, is_last) == header, "part %u", k);
		CHECK(read_part(out, header, &offset, &more) == header + bytes && header + bytes <= mtu, "part %u is too long", k);
		CHECK(offset == l->offset + at && more == (l->more || !is_last), "part %u stands at %u", k, offset);
		CHECK(bytes > 0 && (is_last || bytes % 8 == 0), "part %u has %u bytes", k, bytes);
		CHECK(out[out[0] >> 4 == 4 ? 8 : 7] == 63, "TTL");
		memcpy(whole + at, l->ip + l->payload + at, bytes);
		at += bytes;
		if (header + bytes > longest)
			longest = header + bytes;
	}
	CHECK(at == l->payload_bytes && longest == d->longest, "%u of %u bytes, longest %u", at, l->payload_bytes, longest);
	if (has_udp && !l->is_fragment) {
		uint32_t head = l->udp - l->payload;

		memcpy(whole + head, udp, UDP_BYTES);
		if (l->family == 4 && !it->has_checksum)
			CHECK(get16(udp + 6) == 0, "none became one");
		else
			CHECK(get16(udp + 6) != 0 &&
			    naive_sum(whole + head, it->bytes, pseudo_sum(out, it->bytes)) == 0xffff, "UDP checksum");
	}
	free(whole);
	free(udp);
	free(out);
}

static void
check_one(unsigned *left, unsigned *cut)
{
	bool is_fragment = draw_below(&state, 4) == 0, has_source;
	struct packet it = draw_packet(draw_below(&state, 2) == 0 ? 4 : 6, is_fragment);
	struct fw_plan_target target = { .family = draw_below(&state, 2) == 0 ? 4 : 6 };
	struct fw_plan_option option = { 0 };
	uint32_t mtu = draw_below(&state, 3) == 0 ? draw_below(&state, 1700) : 40 + draw_below(&state, 200);
	struct fw_division d;
	struct fw_leaving l;

	has_source = target.family != key_family(&it.p.key) || draw_below(&state, 2) == 0;
	for (unsigned i = 0; i < 16; i++) {
		target.address[i] = (uint8_t)draw(&state);
		option.source[i] = (uint8_t)draw(&state);
	}
	option.has_source = has_source;
	if (draw_below(&state, 2) == 0)
		put_u16(target.port_bytes, draw_below(&state, 65536));
	if (draw_below(&state, 2) == 0)
		put_u16(option.source_port_bytes, draw_below(&state, 65536));
	translate_begin(&l, it.frame, &it.p, &target, has_source ? &option : NULL);
	CHECK(l.is_fragment == is_fragment && (l.udp != 0) == it.is_first, "how it came in");
	CHECK(l.offset == it.offset && l.more == it.more, "its place in its datagram: %u", l.offset);
	if (translate_divide(&l, mtu, &d)) {
		CHECK(translate_may_leave(&l, mtu) && d.n <= FW_FRAGMENTS_MAX, "%u parts", d.n);
		check_parts(&it, &l, &d, mtu);
		++*left;
		*cut += d.n > 1;
	}
	free(it.frame);
}

int
main(void)
{
	unsigned left = 0, cut = 0;

	for (unsigned i = 0; i < 200000; i++)
		check_one(&left, &cut);
	CHECK(left > 20000 && cut > 10000, "%u left, %u of them cut", left, cut);
	return 0;
}
