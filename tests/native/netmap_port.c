/*
 * The netmap port on an emulated kernel: opening, rings, errors.
 *
 *     netmap_port SCENARIO
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "check.h"
#include "netmap_kernel.h"
#include "netmap_name.h"
#include "port_netmap.h"

static struct nm_region *regions;
static char error[FW_ERROR_BYTES];

static struct fw_port *
open_port(struct nm_region **its, const char *name)
{
	struct fw_port *p = port_netmap_new(its, 3, name, error);

	CHECK(p != NULL, "%s: %s", name, error);
	return p;
}

static void
close_all(struct fw_port *a, struct fw_port *b)
{
	CHECK(a->ops->close(a) == 0, "%s", a->error);
	a->ops->free(a);
	if (b != NULL)
		b->ops->free(b);
	nm_regions_free(regions);
	regions = NULL;
}

static unsigned
rings(struct fw_port *p, bool is_tx)
{
	unsigned n = 0;

	while ((is_tx ? p->ops->tx_queue(p, n) : p->ops->rx_queue(p, n)) != NULL)
		n++;
	return n;
}

/* ---- what both sides of the seam rely on (netmap.h, API 14) ---- */

_Static_assert(NETMAP_API == 14 && NETMAP_MIN_API == 14, "the API that this was written for");
_Static_assert(sizeof(struct netmap_slot) == 16, "netmap_slot");
_Static_assert(offsetof(struct netmap_slot, len) == 4 && offsetof(struct netmap_slot, flags) == 6, "netmap_slot");
_Static_assert(sizeof(struct netmap_ring) == 256 && offsetof(struct netmap_ring, slot) == 256, "netmap_ring");
_Static_assert(offsetof(struct netmap_ring, num_slots) == 8 && offsetof(struct netmap_ring, nr_buf_size) == 12, "netmap_ring");
_Static_assert(offsetof(struct netmap_ring, head) == 20 && offsetof(struct netmap_ring, cur) == 24 &&
    offsetof(struct netmap_ring, tail) == 28, "netmap_ring");
_Static_assert(sizeof(struct netmap_if) == 56 && offsetof(struct netmap_if, ring_ofs) == 56, "netmap_if");
_Static_assert(offsetof(struct netmap_if, ni_tx_rings) == 24 && offsetof(struct netmap_if, ni_bufs_head) == 32, "netmap_if");
_Static_assert(sizeof(struct nmreq_header) == 88 && offsetof(struct nmreq_header, nr_body) == 80, "nmreq_header");
_Static_assert(sizeof(struct nmreq_register) == 56 && offsetof(struct nmreq_register, nr_mem_id) == 32, "nmreq_register");
_Static_assert(offsetof(struct nmreq_register, nr_mode) == 36 && offsetof(struct nmreq_register, nr_extra_bufs) == 40 &&
    offsetof(struct nmreq_register, nr_flags) == 48, "nmreq_register");
_Static_assert(sizeof(struct nmreq_port_info_get) == 32, "nmreq_port_info_get");
_Static_assert(NETMAP_REQ_REGISTER == 1 && NETMAP_REQ_PORT_INFO_GET == 2, "requests");
_Static_assert(NR_REG_ALL_NIC == 1 && NR_REG_SW == 2 && NR_REG_ONE_NIC == 4, "modes");
_Static_assert(NR_EXCLUSIVE == 0x800 && NR_RX_RINGS_ONLY == 0x2000 && NR_TX_RINGS_ONLY == 0x4000, "flags");
_Static_assert(NS_BUF_CHANGED == 1 && NS_MOREFRAG == 0x20, "flags of a slot");

static void
structures(void)
{
	unsigned long direction = sizeof(long) == 8 && NIOCTXSYNC > 0xffff ? 0x20000000 : 0;	/* FreeBSD's _IO is not 0 */

	CHECK(NIOCCTRL == 0xc0586997, "NIOCCTRL is %lx", (unsigned long)NIOCCTRL);
	CHECK((unsigned long)NIOCTXSYNC == (direction | 0x6994), "NIOCTXSYNC is %lx", (unsigned long)NIOCTXSYNC);
	CHECK((unsigned long)NIOCRXSYNC == (direction | 0x6995), "NIOCRXSYNC is %lx", (unsigned long)NIOCRXSYNC);
}

/* ---- names ---- */

static void
names(void)
{
	static const struct {
		const char *text, *name;
		enum nm_kind kind;
		uint32_t first, last;
	} good[] = {
		{ "netmap:ix0", "ix0", NM_CARD, 0, UINT32_MAX },
		{ "netmap:ix0-0", "ix0", NM_CARD, 0, 0 },
		{ "netmap:ix0-2", "ix0", NM_CARD, 2, 2 },
		{ "netmap:ix0-2-5", "ix0", NM_CARD, 2, 5 },
		{ "netmap:ix0-3-3", "ix0", NM_CARD, 3, 3 },
		{ "netmap:ix0-1023", "ix0", NM_CARD, 1023, 1023 },
		{ "netmap:ix0.100", "ix0.100", NM_CARD, 0, UINT32_MAX },
		{ "netmap:ix0^", "ix0", NM_HOST, 0, UINT32_MAX },
		{ "netmap:x{1", "x{1", NM_PIPE, 0, UINT32_MAX },
		{ "netmap:x}1023", "x}1023", NM_PIPE, 0, UINT32_MAX },
		{ "netmap:a-b{0", "a-b{0", NM_PIPE, 0, UINT32_MAX },
		{ "vale0:a", "vale0:a", NM_VALE, 0, UINT32_MAX },
		{ "vale-x:b-1", "vale-x:b-1", NM_VALE, 0, UINT32_MAX },
		{ "vale0:567890123456789012345678901234567890123456789012345678901", NULL, NM_VALE, 0, UINT32_MAX },
		{ "netmap:78901234567890123456789012345678901234567890123456789012", NULL, NM_CARD, 0, UINT32_MAX },
	};
	static const char *const bad[] = {
		"", "ix0", "netmap", "netmap:", "Netmap:ix0", "netmap:-0", "netmap:^", "netmap:ix0-", "netmap:ix0-x",
		"netmap:ix0-1x", "netmap:ix0--1", "netmap:ix0-1-", "netmap:ix0-1--2", "netmap:ix0-2-1",
		"netmap:ix0-1-2-3", "netmap:ix0-1024", "netmap:ix0-99999999999999999999", "netmap:ix0-0-4294967296",
		"netmap:ix0^1", "netmap:ix0^-1", "netmap:ix0^^", "netmap:ix0-1^", "netmap:ix0- 1", "netmap:{1",
		"netmap:x{", "netmap:x{a", "netmap:x{1}2", "netmap:x{1-0", "netmap:x{1^", "netmap:x{1024", "vale0",
		"vale0:", "vale:", "valise", "xvale0:a", "mem:a", "netmap:ix0\xff-",
		"vale0:5678901234567890123456789012345678901234567890123456789012",
		"netmap:789012345678901234567890123456789012345678901234567890123",
	};
	struct nm_name n;

	for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
		const char *name = good[i].name;

		if (name == NULL)
			name = good[i].kind == NM_VALE ? good[i].text : good[i].text + 7;
		CHECK(nm_name_parse(&n, good[i].text, error), "%s", error);
		CHECK(n.kind == good[i].kind && strcmp(n.name, name) == 0 && n.first_ring == good[i].first &&
		    n.last_ring == good[i].last, "%s: kind %d, name %s, rings %u to %u", good[i].text, (int)n.kind, n.name,
		    n.first_ring, n.last_ring);
	}
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		size_t shown = strlen(bad[i]);

		error[0] = '\0';
		CHECK(!nm_name_parse(&n, bad[i], error), "%s is taken as %s", bad[i], n.name);
		CHECK(strncmp(error, bad[i], shown) == 0 && strncmp(error + shown, " is no netmap port; right", 25) == 0 &&
		    strchr(error, '\n') == NULL, "%s", error);
	}
}

/* ---- opening ---- */

/* One line, and the kernel has everything back at once: who asks again finds nothing in his own way. */
static void
cannot_open(const char *name, const char *why)
{
	struct kernel_counts c;

	error[0] = '\0';
	CHECK(port_netmap_new(&regions, 0, name, error) == NULL, "%s could be opened", name);
	CHECK(strncmp(error, why, strlen(why)) == 0 && strchr(error, '\n') == NULL, "%s: %s", name, error);
	c = kernel_counts();
	CHECK(c.open == 0 && c.maps == 0 && c.held == 0, "%s: %u open, %u maps, %u in force", name, c.open, c.maps, c.held);
	CHECK(c.extra_given == c.extra_back, "%s: %u spare buffers, %u came back", name, c.extra_given, c.extra_back);
	CHECK(regions == NULL, "%s: a region is left", name);
	kernel_end(0);
	kernel_start();
}

#define NO_DEVICE "there is no /dev/netmap: load netmap"
#define NO_PERMISSION "no permission for /dev/netmap: run gfwd as root"
#define NO_INTERFACE "there is no such interface, or netmap cannot open it"
#define BUSY "another program has its rings"
#define REFUSED "netmap refuses it: no such ring, or a kernel with another API than 14"

static void
open_errors(void)
{
	static const struct {
		enum kernel_call call;
		int number;
		const char *name, *why;
	} errors[] = {
		{ ON_OPEN, ENOENT, "netmap:ix0", NO_DEVICE },
		{ ON_OPEN, ENXIO, "netmap:ix0", NO_DEVICE },
		{ ON_OPEN, EACCES, "netmap:ix0", NO_PERMISSION },
		{ ON_OPEN, EPERM, "vale0:a", NO_PERMISSION },
		{ ON_OPEN, EMFILE, "netmap:ix0", "/dev/netmap: Too many open files" },
		{ ON_REGISTER, ENXIO, "netmap:ix0", NO_INTERFACE },
		{ ON_REGISTER, EBUSY, "netmap:ix0^", BUSY },
		{ ON_REGISTER, ENOMEM, "netmap:x{1", "netmap has no memory left for it" },
		{ ON_REGISTER, EINVAL, "netmap:em0", REFUSED },
		{ ON_REGISTER, ENETDOWN, "netmap:em0", "netmap cannot open it while it is down; bring it up: ifconfig em0 up" },
		{ ON_REGISTER, EPROTO, "netmap:em0", "netmap refuses it: Protocol error" },
		{ ON_MAP, ENOMEM, "netmap:ix0", "netmap's memory (" },
		{ ON_MAP, EPERM, "vale0:a", "netmap's memory (" },
	};

	for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++) {
		kernel_fail(errors[i].call, 0, errors[i].number);
		cannot_open(errors[i].name, errors[i].why);
	}
	/* The second ring of a card. */
	kernel_fail(ON_OPEN, 1, EMFILE);
	cannot_open("netmap:ix0", "/dev/netmap: Too many open files");
	kernel_fail(ON_REGISTER, 1, EBUSY);
	cannot_open("netmap:ix0", BUSY);
	kernel_extra(FW_SPARES + 10);
	cannot_open("netmap:ix0", "netmap gave 10 of 64 spare buffers: raise dev.netmap.buf_num");
	kernel_extra(0);
	cannot_open("netmap:ix0^", "netmap gave 0 of 64 spare buffers");
	/* Kernels and names. */
	kernel_api(NETMAP_API + 1);
	cannot_open("netmap:ix0", REFUSED);
	kernel_api(NETMAP_API - 2);
	cannot_open("netmap:ix0", REFUSED);
	cannot_open("netmap:ix9", NO_INTERFACE);
	cannot_open("netmap:ix1^", REFUSED);
	cannot_open("netmap:ix0-2", REFUSED);
	cannot_open("netmap:ix0-1-2", REFUSED);
	cannot_open("netmap:ix0-0-64", "65 rings, and a port has up to 64: give the card fewer queues");
	cannot_open("ix0", "ix0 is no netmap port; right would be");
}

/* Rings that somebody has are not shared; those beside them can be had. */
static void
busy(void)
{
	struct fw_port *a = open_port(&regions, "netmap:ix0-1"), *b;
	struct nm_region *others = NULL;

	for (unsigned i = 0; i < 2; i++) {
		CHECK(port_netmap_new(&others, 0, i == 0 ? "netmap:ix0" : "netmap:ix0-1", error) == NULL, "a second time");
		CHECK(strncmp(error, BUSY, strlen(BUSY)) == 0, "%s", error);
		CHECK(others == NULL && kernel_counts().held == 1 && kernel_counts().open == 1, "something is left");
	}
	b = open_port(&others, "netmap:ix0-0");
	b->ops->free(b);
	b = open_port(&others, "netmap:ix0^");
	b->ops->free(b);
	nm_regions_free(others);
	close_all(a, NULL);
}

/* A card need not have as many TX rings as RX rings, and its rings can be had in parts. */
static void
odd_rings(void)
{
	static const struct {
		const char *name;
		unsigned rx, tx;
	} ports[] = {
		{ "netmap:ix0", 2, 2 }, { "netmap:ix0-1", 1, 1 }, { "netmap:ix0-0-1", 2, 2 }, { "netmap:ix0^", 1, 1 },
		{ "netmap:ix1", 1, 1 }, { "netmap:ix2", 3, 1 }, { "netmap:ix2-2", 1, 0 }, { "netmap:ix2-1-2", 2, 0 },
		{ "netmap:ix3", 1, 3 }, { "netmap:ix3-1-2", 0, 2 }, { "netmap:em0", 1, 1 }, { "netmap:x{1", 1, 1 },
		{ "vale0:a", 1, 1 },
	};
	struct fw_port *a, *b;

	for (unsigned i = 0; i < sizeof ports / sizeof ports[0]; i++) {
		a = open_port(&regions, ports[i].name);
		CHECK(rings(a, false) == ports[i].rx && rings(a, true) == ports[i].tx, "%s has %u RX and %u TX rings",
		    ports[i].name, rings(a, false), rings(a, true));
		CHECK(kernel_counts().maps == 1, "%s: %u maps", ports[i].name, kernel_counts().maps);
		close_all(a, NULL);
		CHECK(kernel_counts().held == 0, "%s is still in force", ports[i].name);
	}
	/* Rings that one port does not use are another's. */
	a = open_port(&regions, "netmap:ix2-1-2");
	b = open_port(&regions, "netmap:ix2-0");
	CHECK(kernel_counts().maps == 1, "%u maps of one region", kernel_counts().maps);
	close_all(a, b);
}

/* ---- sending and receiving ---- */

static void
send_one(struct fw_queue *q, uint32_t number, uint32_t len)
{
	struct fw_frame f = { .buf = q->spares[--q->n_spares], .len = len };

	f.data = queue_buffer(q, f.buf);
	memset(f.data, (int)(number & 0xff), len);
	memcpy(f.data, &number, sizeof number);
	q->ops->send(q, &f, 1);
	q->spares[q->n_spares++] = f.buf;
}

/* Receives some, and exchanges the buffer of every third for one of `spares`. How many they were. */
static unsigned
receive(struct fw_queue *q, struct fw_queue *spares, uint32_t first, unsigned max)
{
	struct fw_frame frames[64];
	unsigned n = q->ops->rx(q, frames, max);

	for (unsigned i = 0; i < n; i++) {
		uint32_t number;

		CHECK(frames[i].len >= sizeof number && frames[i].len <= q->buffer_bytes, "%u bytes", frames[i].len);
		memcpy(&number, frames[i].data, sizeof number);
		CHECK(number == first + i, "%u comes in the place of %u", number, first + i);
		for (uint32_t at = sizeof number; at < frames[i].len; at++)
			CHECK(frames[i].data[at] == (number & 0xff), "byte %u of %u", at, number);
		if (number % 3 == 0) {
			uint32_t *other = &spares->spares[draw_below(&(uint64_t){ 77 + number }, spares->n_spares)];
			uint32_t its = frames[i].buf;

			frames[i].buf = *other;
			*other = its;
		}
	}
	q->ops->rx_done(q, frames, n);
	return n;
}

/* Two programs at the two ends of a pipe: in order, nothing lost, and no more than the reader has let go. */
static void
pipe_ends(void)
{
	struct nm_region *others = NULL;
	struct fw_port *a = open_port(&regions, "netmap:x{1"), *b = open_port(&others, "netmap:x}1");
	struct fw_queue *tx = a->ops->tx_queue(a, 0), *rx = b->ops->rx_queue(b, 0), *spares = b->ops->tx_queue(b, 0);
	uint64_t random = 42;
	uint32_t sent = 0, received = 0, full = 0;

	CHECK(tx->slots == 16 && tx->buffers != rx->buffers && rx->fd >= 0, "%u slots", tx->slots);
	while (received < 5000) {
		unsigned wanted = draw_below(&random, 20), room = tx->ops->room(tx, wanted);

		CHECK(room <= 15 - (sent - received), "room for %u, with %u on their way", room, sent - received);
		full += room < wanted;
		for (unsigned i = 0; i < wanted && i < room; i++)
			send_one(tx, sent++, 4 + draw_below(&random, 2000));
		tx->ops->flush(tx);
		received += receive(rx, spares, received, 1 + draw_below(&random, 20));
		CHECK(received <= sent, "%u of %u", received, sent);
	}
	CHECK(full > 100, "%u times full", full);
	/* Nobody reads any more: the ring fills, and stays full. */
	while (tx->ops->room(tx, 1) > 0)
		send_one(tx, sent++, 60);
	b->ops->free(b);
	nm_regions_free(others);
	for (unsigned i = 0; i < 2 * tx->slots; i++)
		tx->ops->flush(tx);
	CHECK(tx->ops->room(tx, 1) == 0 && !tx->failed, "a pipe without a reader");
	close_all(a, NULL);
}

/* A VALE port always takes, and drops what the other has no room for. Its slots come with flags of its own. */
static void
vale_ports(void)
{
	struct fw_port *a = open_port(&regions, "vale0:a"), *b = open_port(&regions, "vale0:b");
	struct fw_queue *tx = a->ops->tx_queue(a, 0), *rx = b->ops->rx_queue(b, 0), *spares = b->ops->tx_queue(b, 0);
	uint32_t received = 0, n;

	CHECK(tx->buffers != rx->buffers && kernel_counts().maps == 2, "two ports are two regions");
	for (unsigned round = 0; round < 100; round++) {
		CHECK(tx->ops->room(tx, 8) >= 8, "always room");
		for (unsigned i = 0; i < 8; i++)
			send_one(tx, 8 * round + i, 100);
		tx->ops->flush(tx);
		CHECK(!tx->owes, "it takes all at once");
		while ((n = receive(rx, spares, received, 64)) > 0)
			received += n;
	}
	CHECK(received == 800 && kernel_counts().vale_lost == 0, "%u received, %u lost", received, kernel_counts().vale_lost);
	for (unsigned i = 0; i < 40; i++) {
		CHECK(tx->ops->room(tx, 1) > 0, "still room");
		send_one(tx, 800 + i, 100);
	}
	tx->ops->flush(tx);
	receive(rx, spares, 800, 64);
	CHECK(kernel_counts().vale_lost == 25, "%u lost", kernel_counts().vale_lost);
	close_all(a, b);
}

/* What is sent leaves, however slow the card; when it does not move at all, it is left alone after a while. */
static void
slow_card(void)
{
	struct fw_port *p = open_port(&regions, "netmap:ix1");
	struct fw_queue *q = p->ops->tx_queue(p, 0);
	uint8_t frame[KERNEL_FRAME_MAX];
	unsigned left = 0, owing = 0;

	for (unsigned i = 0; i < 100; i++)
		q->ops->flush(q);
	CHECK(kernel_counts().calls[ON_TXSYNC] == 0 && !q->owes, "a ring without frames needs no sync");
	kernel_pace("ix1", 0, 2, 1);
	CHECK(q->ops->room(q, 20) >= 20, "a fresh ring");
	for (unsigned i = 0; i < 20; i++)
		send_one(q, i, 60);
	do {
		q->ops->flush(q);
		CHECK(owing++ < 40, "it owes for ever");
	} while (q->owes);
	while (wire_leave("ix1", 0, frame) == 60)
		left++;
	CHECK(left == 20, "%u of 20 have left", left);
	kernel_pace("ix1", 0, 0, 0);
	for (unsigned i = 0; i < 5; i++)
		send_one(q, i, 60);
	for (owing = 0, q->owes = true; q->owes; owing++)
		q->ops->flush(q);
	CHECK(owing >= 20 && owing <= 100, "it owes for %u syncs", owing);
	kernel_pace("ix1", 0, 1, 1);
	q->ops->flush(q);
	CHECK(q->owes, "it moves again");
	/* The port waits for the rest when it is closed. */
	close_all(p, NULL);
	for (left = 0; wire_leave("ix1", 0, frame) == 60; left++)
		;
	CHECK(left == 5, "%u of 5 have left", left);
}

/* poll() tells of frames, of room, and of an interface that is gone. */
static void
waking(void)
{
	struct fw_port *p = open_port(&regions, "netmap:ix1");
	struct fw_queue *tx = p->ops->tx_queue(p, 0), *rx = p->ops->rx_queue(p, 0);
	struct pollfd in = { .fd = rx->fd, .events = POLLIN }, out = { .fd = tx->fd, .events = POLLOUT };
	uint8_t frame[60] = { 0 };

	CHECK(poll(&in, 1, 0) == 0 && poll(&out, 1, 0) == 1, "a fresh pair of rings");
	CHECK(wire_arrive("ix1", 0, frame, sizeof frame) && poll(&in, 1, 0) == 1, "a frame");
	CHECK(receive(rx, tx, 0, 64) == 1 && receive(rx, tx, 1, 64) == 0 && poll(&in, 1, 0) == 0, "it was received");
	kernel_pace("ix1", 0, 0, 0);
	while (tx->ops->room(tx, 1) > 0)
		send_one(tx, 0, 60);
	tx->ops->flush(tx);
	CHECK(poll(&out, 1, 0) == 0, "a full ring");
	kernel_pace("ix1", 0, 4, 4);
	CHECK(poll(&out, 1, 0) == 1 && tx->ops->room(tx, 4) >= 4, "room again");
	kernel_remove("ix1");
	CHECK(poll(&in, 1, 1000) == 1 && rx->ops->rx(rx, &(struct fw_frame){ 0 }, 1) == 0 && rx->failed, "it is gone");
	close_all(p, NULL);
}

/* ---- what goes wrong ---- */

static void
sync_errors(void)
{
	static const struct {
		int number;
		const char *why;
	} errors[] = {
		{ EIO, "netmap has lost the interface" },
		{ ENXIO, "netmap has lost the interface" },
		{ EPERM, "Operation not permitted" },
	};

	for (unsigned i = 0; i < 3; i++) {
		struct fw_port *p = open_port(&regions, "netmap:ix1");
		struct fw_queue *tx = p->ops->tx_queue(p, 0), *rx = p->ops->rx_queue(p, 0);
		uint8_t frame[60] = { 0 };
		unsigned calls;

		wire_arrive("ix1", 0, frame, sizeof frame);
		CHECK(tx->ops->room(tx, 10) >= 10, "a fresh ring");
		for (unsigned k = 0; k < 10; k++)
			send_one(tx, k, 60);
		kernel_fail(ON_TXSYNC, 0, errors[i].number);
		kernel_fail(ON_RXSYNC, 0, errors[i].number);
		tx->ops->flush(tx);
		CHECK(tx->failed && !tx->owes && strcmp(p->error, errors[i].why) == 0, "%s", p->error);
		CHECK(tx->ops->room(tx, 1) == 0, "room in a ring that has failed");
		CHECK(receive(rx, tx, 0, 64) == 0 && rx->failed, "frames from a ring that has failed");
		calls = kernel_counts().calls[ON_TXSYNC] + kernel_counts().calls[ON_RXSYNC];
		tx->ops->flush(tx);
		rx->ops->rx(rx, &(struct fw_frame){ 0 }, 1);
		CHECK(kernel_counts().calls[ON_TXSYNC] + kernel_counts().calls[ON_RXSYNC] == calls, "it is asked again");
		close_all(p, NULL);
		kernel_end(0);
		kernel_start();
	}
}

/* A ring that says what cannot be ends its port; nothing is read or written by what it says. */
static void
broken_rings(void)
{
	static const uint32_t tails[] = { 24, 25, 60, 4000, 0x7fffffff, 0x80000000, UINT32_MAX };

	for (unsigned i = 0; i < 2 * sizeof tails / sizeof tails[0]; i++) {
		struct fw_port *p = open_port(&regions, "netmap:ix1");
		struct fw_queue *tx = p->ops->tx_queue(p, 0), *rx = p->ops->rx_queue(p, 0);
		struct fw_frame frames[64];
		uint8_t frame[60] = { 0 };
		bool by_kernel = i % 2 == 0;

		wire_arrive("ix1", 0, frame, sizeof frame);
		if (by_kernel) {
			kernel_lie("ix1", false, 0, tails[i / 2]);
			kernel_lie("ix1", true, 0, tails[i / 2]);
		} else {
			kernel_ring("ix1", false, 0)->tail = tails[i / 2];
			kernel_ring("ix1", true, 0)->tail = tails[i / 2];
		}
		if (by_kernel) {
			CHECK(rx->ops->rx(rx, frames, 64) == 0 && rx->failed, "tail %u: frames", tails[i / 2]);
			CHECK(tx->ops->room(tx, 1) > 0, "a fresh ring");
			send_one(tx, 1, 60);
			tx->ops->flush(tx);
			CHECK(tx->failed && tx->ops->room(tx, 1) == 0, "tail %u: room", tails[i / 2]);
			CHECK(strcmp(p->error, "its ring in netmap's memory is broken") == 0, "%s", p->error);
		} else {
			/* Another program wrote that, and the next sync puts it right. */
			CHECK(rx->ops->rx(rx, frames, 64) <= 1, "tail %u: frames", tails[i / 2]);
			CHECK(tx->ops->room(tx, 1) < tx->slots, "tail %u: room for %u", tails[i / 2], tx->ops->room(tx, 1));
		}
		close_all(p, NULL);
		kernel_end(0);
		kernel_start();
	}
}

/* netmap starts a ring anew that it finds in disorder: its head is where it was before. */
static void
reinitialised(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct fw_port *p = open_port(&regions, "netmap:ix1");
		struct fw_queue *tx = p->ops->tx_queue(p, 0), *rx = p->ops->rx_queue(p, 0), *q = i == 0 ? tx : rx;
		uint8_t frame[60] = { 0 };

		for (uint32_t n = 0; n < 6; n++) {
			memcpy(frame, &n, sizeof n);
			memset(frame + sizeof n, (int)n, sizeof frame - sizeof n);
			CHECK(wire_arrive("ix1", 0, frame, sizeof frame) && tx->ops->room(tx, 1) > 0, "there is room");
			send_one(tx, n, 60);
		}
		CHECK(receive(rx, tx, 0, 64) == 6, "six frames");
		kernel_ring("ix1", i == 0, 0)->cur = 99;
		if (q == tx)
			tx->ops->flush(tx);
		else
			CHECK(rx->ops->rx(rx, &(struct fw_frame){ 0 }, 1) == 0, "the same frames again");
		CHECK(kernel_counts().reinits == 1, "%u times", kernel_counts().reinits);
		CHECK(q->failed && strcmp(p->error, "netmap found its ring in disorder: another program writes into it") == 0,
		    "%s", p->error);
		close_all(p, NULL);
		kernel_end(0);
		kernel_start();
	}
}

/* A card that is set down and up: what was to be sent is lost, and everything goes on. */
static void
reset(void)
{
	struct fw_port *p = open_port(&regions, "netmap:ix1");
	struct fw_queue *tx = p->ops->tx_queue(p, 0);
	uint8_t frame[KERNEL_FRAME_MAX];
	unsigned left = 0;

	kernel_pace("ix1", 0, 0, 0);
	for (unsigned round = 0; round < 50; round++) {
		CHECK(tx->ops->room(tx, 7) >= 7, "round %u: no room", round);
		for (unsigned i = 0; i < 7; i++)
			send_one(tx, i, 60);
		tx->ops->flush(tx);
		kernel_reset("ix1");
	}
	tx->ops->flush(tx);
	CHECK(!tx->owes && !tx->failed, "nothing is on its way");
	kernel_pace("ix1", 0, 8, 8);
	send_one(tx, 1, 60);
	tx->ops->flush(tx);
	while (wire_leave("ix1", 0, frame) == 60)
		left++;
	CHECK(left == 1, "%u have left", left);
	close_all(p, NULL);
}

/* A TX slot without a buffer of the region: nothing is written where it says, and no frame's buffer is lost. */
static void
bad_tx_slot(void)
{
	static const uint32_t bad[] = { 0, 1, 2600, 0x7fffffff, UINT32_MAX };

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct fw_port *p = open_port(&regions, "netmap:ix1");
		struct fw_queue *tx = p->ops->tx_queue(p, 0);
		uint32_t *slot = &kernel_ring("ix1", true, 0)->slot[3].buf_idx, its = *slot;

		*slot = bad[i];
		CHECK(tx->ops->room(tx, 8) >= 8, "a fresh ring");
		for (unsigned k = 0; k < 8; k++)
			send_one(tx, k, 60);
		for (unsigned k = 0; k < tx->n_spares; k++)
			CHECK(tx->spares[k] >= 2 && tx->spares[k] < 2600, "spare buffer %u", tx->spares[k]);
		tx->ops->flush(tx);
		CHECK(tx->failed && strcmp(p->error, "its ring in netmap's memory is broken") == 0, "buffer %u: %s", bad[i],
		    p->error);
		CHECK(*slot == bad[i], "the slot names %u", *slot);
		*slot = its;
		close_all(p, NULL);
		kernel_end(0);
		kernel_start();
	}
}

static const struct {
	const char *name;
	void (*play)(void);
} scenarios[] = {
	{ "structures", structures },
	{ "names", names },
	{ "open_errors", open_errors },
	{ "busy", busy },
	{ "odd_rings", odd_rings },
	{ "pipe_ends", pipe_ends },
	{ "vale_ports", vale_ports },
	{ "slow_card", slow_card },
	{ "waking", waking },
	{ "sync_errors", sync_errors },
	{ "broken_rings", broken_rings },
	{ "reinitialised", reinitialised },
	{ "reset", reset },
	{ "bad_tx_slot", bad_tx_slot },
};

int
main(int argc, char **argv)
{
	CHECK(argc == 2, "one argument, not %d", argc - 1);
	for (unsigned i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
		if (strcmp(scenarios[i].name, argv[1]) != 0)
			continue;
		kernel_start();
		scenarios[i].play();
		kernel_end(0);
		return 0;
	}
	CHECK(0, "no scenario %s", argv[1]);
}
