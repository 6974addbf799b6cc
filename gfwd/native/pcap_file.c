#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "pcap_file.h"

#define LINKTYPE_ETHERNET 1
#define NS_PER_S 1000000000ULL

/* Nobody captures longer frames than this (libpcap's own bound); a longer one is a length that lies. */
#define FRAME_MAX 262144
/* Blocks hold one frame and options; skipping has its own bound so that a lie is found where it stands. */
#define BLOCK_MAX (16U << 20)

/* ---- reading bytes, with the offset kept for error messages ---- */

static bool __attribute__((format(printf, 2, 3)))
broken(struct pcap_reader *r, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(r->error, sizeof r->error, format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof r->error)
		snprintf(r->error + n, sizeof r->error - (size_t)n, " (at byte %llu)", (unsigned long long)r->block);
	return false;
}

static uint16_t
in16(const struct pcap_reader *r, const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof v);
	return r->is_swapped ? __builtin_bswap16(v) : v;
}

static uint32_t
in32(const struct pcap_reader *r, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return r->is_swapped ? __builtin_bswap32(v) : v;
}

static uint64_t
in64(const struct pcap_reader *r, const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return r->is_swapped ? __builtin_bswap64(v) : v;
}

/* Reads all of `bytes`, or says that the file ends inside `what`. */
static bool
take(struct pcap_reader *r, void *to, size_t bytes, const char *what)
{
	size_t n = fread(to, 1, bytes, r->file);

	r->offset += n;
	if (n == bytes)
		return true;
	if (ferror(r->file))
		return broken(r, "cannot be read: %s", strerror(errno));
	return broken(r, "the file ends inside a %s", what);
}

static bool
skip(struct pcap_reader *r, uint32_t bytes, const char *what)
{
	uint8_t scratch[4096];

	while (bytes > 0) {
		uint32_t n = bytes < sizeof scratch ? bytes : (uint32_t)sizeof scratch;

		if (!take(r, scratch, n, what))
			return false;
		bytes -= n;
	}
	return true;
}

/* True at the file's end: the next record or block has not a single byte. */
static bool
at_end(struct pcap_reader *r)
{
	int c = getc(r->file);

	if (c == EOF)
		return !ferror(r->file);
	ungetc(c, r->file);
	return false;
}

/* Takes a frame of `bytes`; one that does not fit in `room` is skipped. */
static bool
take_frame(struct pcap_reader *r, uint8_t *frame, uint32_t room, uint32_t bytes, const char *what)
{
	return bytes <= room ? take(r, frame, bytes, what) : skip(r, bytes, what);
}

/* ---- time ---- */

static uint64_t
clock_ns(const struct pcap_clock *c, uint64_t units)
{
	uint64_t seconds = units / c->units_per_second;
	uint64_t rest = units % c->units_per_second;
	unsigned __int128 ns = (unsigned __int128)rest * NS_PER_S / c->units_per_second;

	return ((uint64_t)c->offset_seconds + seconds) * NS_PER_S + (uint64_t)ns;
}

static bool
add_interface(struct pcap_reader *r, struct pcap_clock clock)
{
	struct pcap_clock *more;

	if (r->n_interfaces == PCAP_INTERFACES_MAX)
		return broken(r, "more than %d interfaces", PCAP_INTERFACES_MAX);
	more = realloc(r->clocks, (r->n_interfaces + 1) * sizeof *more);
	if (more == NULL)
		return broken(r, "no memory left");
	r->clocks = more;
	r->clocks[r->n_interfaces++] = clock;
	return true;
}

static bool
check_linktype(struct pcap_reader *r, uint32_t linktype)
{
	if (linktype == LINKTYPE_ETHERNET)
		return true;
	return broken(r, "link type %u: only Ethernet (1) can be forwarded", linktype);
}

/* ---- pcap ---- */

static bool
open_pcap(struct pcap_reader *r, const uint8_t *magic)
{
	struct pcap_clock clock = { 1000000, 0 };
	uint8_t h[20];
	uint32_t m;

	memcpy(&m, magic, sizeof m);
	r->is_swapped = m == 0xd4c3b2a1 || m == 0x4d3cb2a1;
	if (m == 0xa1b23c4d || m == 0x4d3cb2a1)
		clock.units_per_second = NS_PER_S;
	if (!take(r, h, sizeof h, "file header"))
		return false;
	if (in16(r, h) != 2)
		return broken(r, "pcap version %u.%u: only 2.x is known", in16(r, h), in16(r, h + 2));
	/* The upper bits say whether frames end in their CRC; the lower 16 are the link type. */
	return check_linktype(r, in32(r, h + 16) & 0xffff) && add_interface(r, clock);
}

static enum pcap_read
next_pcap(struct pcap_reader *r, uint8_t *frame, uint32_t room, uint32_t *bytes, uint64_t *time)
{
	uint8_t h[16];

	r->block = r->offset;
	if (at_end(r))
		return PCAP_END;
	if (!take(r, h, sizeof h, "record header"))
		return PCAP_BROKEN;
	*bytes = in32(r, h + 8);
	if (*bytes > FRAME_MAX) {
		broken(r, "a record of %u bytes: no frame is longer than %d", *bytes, FRAME_MAX);
		return PCAP_BROKEN;
	}
	*time = in32(r, h) * NS_PER_S + clock_ns(&r->clocks[0], in32(r, h + 4));
	return take_frame(r, frame, room, *bytes, "record") ? PCAP_FRAME : PCAP_BROKEN;
}

/* ---- pcapng ---- */

enum {
	NG_SECTION = 0x0a0d0d0a,
	NG_INTERFACE = 1,
	NG_PACKET = 2,			/* obsolete, and still met */
	NG_SIMPLE_PACKET = 3,
	NG_ENHANCED_PACKET = 6,

	NG_OPT_END = 0,
	NG_OPT_TSRESOL = 9,
	NG_OPT_TSOFFSET = 14
};

/* The rest of a section header, of which type and length are read (the length is in the section's own byte order). */
static bool
ng_section(struct pcap_reader *r, const uint8_t *raw_length)
{
	uint8_t h[16];
	uint32_t magic, length;

	if (!take(r, h, sizeof h, "section header"))
		return false;
	memcpy(&magic, h, sizeof magic);
	if (magic != 0x1a2b3c4d && magic != 0x4d3c2b1a)
		return broken(r, "a section header without its byte-order magic");
	r->is_swapped = magic == 0x4d3c2b1a;
	length = in32(r, raw_length);
	if (length < 28 || length % 4 != 0 || length > BLOCK_MAX)
		return broken(r, "a section header of %u bytes", length);
	if (in16(r, h + 4) != 1)
		return broken(r, "pcapng version %u.%u: only 1.x is known", in16(r, h + 4), in16(r, h + 6));
	/* Interfaces belong to their section; numbering starts again. */
	r->n_interfaces = 0;
	return skip(r, length - 28, "section header") && take(r, h, 4, "section header") &&
	    (in32(r, h) == length || broken(r, "a block whose two lengths differ: %u and %u", length, in32(r, h)));
}

/* if_tsresol: a power of ten, or of two where the top bit is set. */
static bool
ng_resolution(struct pcap_reader *r, uint8_t code, struct pcap_clock *clock)
{
	unsigned power = code & 0x7f;

	if ((code & 0x80) != 0 ? power > 63 : power > 19)
		return broken(r, "a time resolution (if_tsresol) of 0x%02x", code);
	clock->units_per_second = 1;
	if ((code & 0x80) != 0)
		clock->units_per_second <<= power;
	else
		while (power-- > 0)
			clock->units_per_second *= 10;
	return true;
}

static bool
ng_interface(struct pcap_reader *r, const uint8_t *body, uint32_t bytes)
{
	struct pcap_clock clock = { 1000000, 0 };
	uint32_t at = 8;

	if (bytes < 8)
		return broken(r, "an interface description of %u bytes", bytes);
	if (r->n_interfaces == 0)
		r->first_snaplen = in32(r, body + 4);
	while (bytes - at >= 4) {
		uint16_t code = in16(r, body + at), length = in16(r, body + at + 2);
		uint32_t padded = (length + 3U) & ~3U;

		at += 4;
		if (code == NG_OPT_END)
			break;
		if (padded > bytes - at)
			return broken(r, "an option that is longer than its block");
		/* A time that is not understood would put false stamps on everything: better none of it. */
		if (code == NG_OPT_TSRESOL && length != 1)
			return broken(r, "an option (if_tsresol) of %u bytes", length);
		if (code == NG_OPT_TSOFFSET && length != 8)
			return broken(r, "an option (if_tsoffset) of %u bytes", length);
		if (code == NG_OPT_TSRESOL && !ng_resolution(r, body[at], &clock))
			return false;
		if (code == NG_OPT_TSOFFSET)
			clock.offset_seconds = (int64_t)in64(r, body + at);
		at += padded;
	}
	return check_linktype(r, in16(r, body)) && add_interface(r, clock);
}

/*
 * Takes the frame of a packet block whose body has `left` bytes and starts with `head` bytes before the frame.
 * Options after the frame are skipped.
 */
static bool
ng_packet(struct pcap_reader *r, uint32_t type, uint32_t left, uint8_t *frame, uint32_t room, uint32_t *bytes,
    uint64_t *time)
{
	uint8_t h[20];
	uint32_t head = type == NG_SIMPLE_PACKET ? 4 : 20, interface = 0;
	uint64_t units = 0;

	if (left < head)
		return broken(r, "a packet block of %u bytes", left + 12);
	if (!take(r, h, head, "packet block"))
		return false;
	left -= head;
	if (type == NG_SIMPLE_PACKET) {
		/* The captured length is the original one, cut to the interface's bound, padded to the block. */
		*bytes = in32(r, h);
		if (r->first_snaplen != 0 && *bytes > r->first_snaplen)
			*bytes = r->first_snaplen;
	} else {
		interface = type == NG_PACKET ? in16(r, h) : in32(r, h);
		units = (uint64_t)in32(r, h + 4) << 32 | in32(r, h + 8);
		*bytes = in32(r, h + 12);
	}
	if (interface >= r->n_interfaces)
		return broken(r, "a packet of interface %u, which is not described", interface);
	if (*bytes > left)
		return broken(r, "a packet of %u bytes in a block with room for %u", *bytes, left);
	if (*bytes > FRAME_MAX)
		return broken(r, "a packet of %u bytes: no frame is longer than %d", *bytes, FRAME_MAX);
	*time = type == NG_SIMPLE_PACKET ? 0 : clock_ns(&r->clocks[interface], units);
	return take_frame(r, frame, room, *bytes, "packet block") && skip(r, left - *bytes, "packet block");
}

static bool
ng_interface_block(struct pcap_reader *r, uint32_t left)
{
	uint8_t *body = malloc(left + 1);
	bool ok;

	if (body == NULL)
		return broken(r, "no memory left");
	ok = take(r, body, left, "interface description") && ng_interface(r, body, left);
	free(body);
	return ok;
}

/* One block after a section header. Sets *is_frame when it held one. */
static bool
ng_block(struct pcap_reader *r, const uint8_t *h, bool *is_frame, uint8_t *frame, uint32_t room, uint32_t *bytes,
    uint64_t *time)
{
	uint32_t type = in32(r, h), length = in32(r, h + 4);
	uint8_t again[4];
	bool ok;

	if (length < 12 || length % 4 != 0 || length > BLOCK_MAX)
		return broken(r, "a block of %u bytes", length);
	*is_frame = type == NG_SIMPLE_PACKET || type == NG_ENHANCED_PACKET || type == NG_PACKET;
	if (*is_frame)
		ok = ng_packet(r, type, length - 12, frame, room, bytes, time);
	else if (type == NG_INTERFACE)
		ok = ng_interface_block(r, length - 12);
	else
		ok = skip(r, length - 12, "block");
	if (!ok || !take(r, again, sizeof again, "block"))
		return false;
	if (in32(r, again) != length)
		return broken(r, "a block whose two lengths differ: %u and %u", length, in32(r, again));
	return true;
}

static enum pcap_read
next_ng(struct pcap_reader *r, uint8_t *frame, uint32_t room, uint32_t *bytes, uint64_t *time)
{
	bool is_frame = false;
	uint8_t h[8];

	while (!is_frame) {
		uint32_t type;
		bool ok;

		r->block = r->offset;
		if (at_end(r))
			return PCAP_END;
		if (!take(r, h, sizeof h, "block header"))
			return PCAP_BROKEN;
		memcpy(&type, h, sizeof type);	/* a palindrome: the same in both byte orders */
		if (type == NG_SECTION)
			ok = ng_section(r, h + 4);
		else
			ok = ng_block(r, h, &is_frame, frame, room, bytes, time);
		if (!ok)
			return PCAP_BROKEN;
	}
	return PCAP_FRAME;
}

/* ---- life ---- */

static bool
open_file(struct pcap_reader *r, const char *path)
{
	uint8_t magic[8];
	uint32_t m;

	r->file = fopen(path, "rb");
	if (r->file == NULL) {
		snprintf(r->error, sizeof r->error, "cannot be opened: %s", strerror(errno));
		return false;
	}
	if (fread(magic, 1, 4, r->file) < 4) {
		if (ferror(r->file))
			return broken(r, "cannot be read: %s", strerror(errno));
		return broken(r, "neither pcap nor pcapng: fewer than 4 bytes");
	}
	r->offset = 4;
	memcpy(&m, magic, sizeof m);
	if (m == 0xa1b2c3d4 || m == 0xd4c3b2a1 || m == 0xa1b23c4d || m == 0x4d3cb2a1)
		return open_pcap(r, magic);
	if (m == NG_SECTION) {
		r->is_ng = true;
		return take(r, magic + 4, 4, "section header") && ng_section(r, magic + 4);
	}
	return broken(r, "neither pcap nor pcapng: starts with %02x %02x %02x %02x", magic[0], magic[1], magic[2],
	    magic[3]);
}

bool
pcap_reader_open(struct pcap_reader *r, const char *path)
{
	*r = (struct pcap_reader){ 0 };
	if (open_file(r, path))
		return true;
	pcap_reader_close(r);
	return false;
}

enum pcap_read
pcap_reader_next(struct pcap_reader *r, uint8_t *frame, uint32_t room, uint32_t *bytes, uint64_t *time)
{
	return r->is_ng ? next_ng(r, frame, room, bytes, time) : next_pcap(r, frame, room, bytes, time);
}

void
pcap_reader_close(struct pcap_reader *r)
{
	if (r->file != NULL)
		fclose(r->file);
	free(r->clocks);
	r->file = NULL;
	r->clocks = NULL;
}

FILE *
pcap_writer_open(const char *path)
{
	static const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, snaplen, linktype;
	} header = { 0xa1b23c4d, 2, 4, 0, 0, FRAME_MAX, LINKTYPE_ETHERNET };
	FILE *f = fopen(path, "wb");

	if (f != NULL && fwrite(&header, sizeof header, 1, f) != 1) {
		int saved = errno;

		fclose(f);
		errno = saved;
		return NULL;
	}
	return f;
}

bool
pcap_writer_put(FILE *f, const uint8_t *frame, uint32_t bytes, uint64_t time)
{
	uint32_t header[4] = { (uint32_t)(time / NS_PER_S), (uint32_t)(time % NS_PER_S), bytes, bytes };

	return fwrite(header, sizeof header, 1, f) == 1 && fwrite(frame, 1, bytes, f) == bytes;
}
