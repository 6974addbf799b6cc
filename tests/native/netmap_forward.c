/*
 * The core on netmap ports, on an emulated kernel: datagrams go in by ix0 and leave elsewhere.
 *
 *     netmap_forward SCENARIO PLAN SEED
 */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "bytes.h"
#include "check.h"
#include "checksum.h"
#include "netmap_kernel.h"
#include "port.h"

enum { HEADERS = 42, PORTS = 4 };

static struct fw_core *core;
static struct fw_worker *worker;
static char error[FW_ERROR_BYTES];
static uint64_t seed;

static const uint8_t OURS[4] = { 10, 2, 2, 1 }, OTHERS[4] = { 10, 9, 9, 9 };

/* ---- a core whose worker has the first TX ring, and all RX rings, of each port ---- */

static void
add_rings(unsigned port)
{
	unsigned rx, tx;

	CHECK(fw_port_rings(core, port, &rx, &tx) == 0, "port %u", port);
	for (unsigned ring = 0; ring < rx; ring++)
		CHECK(fw_worker_rx(worker, port, ring, error) == 0, "%s", error);
	CHECK(fw_worker_tx(worker, port, 0, error) == 0, "%s", error);
}

static void
open_core(const char *plan_path, const char *const *names)
{
	const struct fw_limits limits = { .rules = 16, .collectors = 16, .neighbours = 8, .exporters = 16, .flows = 64,
	    .frame_bytes = 2048, .ring_slots = 16, .unknown = 16, .fragments = 16, .streams = 16 };
	uint8_t mac[6] = { 2, 0, 0, 0, 9, 0 };
	size_t bytes;
	uint8_t *plan = read_file(plan_path, &bytes);

	kernel_start();
	core = fw_core_new(&limits, error);
	CHECK(core != NULL && (worker = fw_worker_new(core, error)) != NULL, "%s", error);
	for (unsigned i = 0; names[i] != NULL; i++)
		CHECK(fw_port_netmap(core, names[i], error) == (int)i, "%s: %s", names[i], error);
	for (unsigned i = 0; names[i] != NULL; i++)
		add_rings(i);
	for (uint32_t slot = 0; slot < limits.neighbours; slot++, mac[5]++)
		CHECK(fw_set_neighbour(core, slot, mac, FW_NEIGH_READY) == 0, "neighbour %u", slot);
	CHECK(fw_publish(core, plan, bytes, error) == 0, "%s", error);
	free(plan);
}

/* Everything that was received ended somewhere, and the kernel has all its buffers again. */
static void
close_core(void)
{
	struct fw_frame_ledger f;
	uint64_t dropped = 0;

	fw_read_frames(core, &f);
	for (unsigned cause = 0; cause < FW_DROP_CAUSES; cause++)
		dropped += f.drops[cause];
	CHECK(f.received == f.forwarded + f.passed + f.punted + f.pending + dropped, "%lu received",
	    (unsigned long)f.received);
	for (unsigned port = 0; port < PORTS; port++)
		CHECK(fw_port_close(core, port, error) == 0, "%s", error);
	fw_core_free(core);
	kernel_end(0);
}

static struct fw_frame_ledger
frames(void)
{
	struct fw_frame_ledger ledger;

	fw_read_frames(core, &ledger);
	return ledger;
}

static struct fw_work
work(void)
{
	struct fw_work sum;

	fw_read_work(core, &sum);
	return sum;
}

static uint64_t
dropped(enum fw_fate cause)
{
	return frames().drops[cause];
}

static void
step(unsigned rounds)
{
	while (rounds-- > 0)
		fw_worker_step(worker);
}

/* ---- datagrams that carry a number ---- */

static void
make(uint8_t *frame, const uint8_t *to, uint32_t number, uint32_t len)
{
	static const uint8_t head[34] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0x0e, 1, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0,
	    10, 2, 2, 3 };
	uint32_t sum = 0;

	memset(frame, (int)(number & 0xff), len);
	memcpy(frame, head, sizeof head);
	memcpy(frame + 30, to, 4);
	frame[16] = (uint8_t)((len - 14) >> 8);
	frame[17] = (uint8_t)(len - 14);
	for (unsigned at = 14; at < 34; at += 2)
		sum += get16(frame + at);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	frame[24] = (uint8_t)(sum >> 8);
	frame[25] = (uint8_t)sum;
	memcpy(frame + 34, (uint8_t[]){ 0x9c, 0x40, 2, 2, (uint8_t)((len - 34) >> 8), (uint8_t)(len - 34), 0, 0 }, 8);
	memcpy(frame + HEADERS, &number, sizeof number);
}

static bool
arrive(const char *device, unsigned ring, const uint8_t *to, uint32_t number, uint32_t len)
{
	uint8_t frame[KERNEL_FRAME_MAX];

	make(frame, to, number, len);
	return wire_arrive(device, ring, frame, len);
}

/* The number of the next datagram that has left, to the collector 192.0.2.`host`; -1: none has. */
static int64_t
leave(const char *device, uint8_t host)
{
	uint8_t frame[KERNEL_FRAME_MAX];
	int len = wire_leave(device, 0, frame);
	uint32_t number, sum = 0;

	if (len < 0)
		return -1;
	CHECK(len > HEADERS + 4 && memcmp(frame + 30, (uint8_t[]){ 192, 0, 2, host }, 4) == 0,
	    "%s: %d bytes to 192.0.2.%u", device, len, frame[33]);
	for (unsigned at = 14; at < 34; at += 2)
		sum += get16(frame + at);
	CHECK((sum & 0xffff) + (sum >> 16) == 0xffff, "%s: a checksum is wrong", device);
	memcpy(&number, frame + HEADERS, sizeof number);
	for (int at = HEADERS + 4; at < len; at++)
		CHECK(frame[at] == (number & 0xff), "%s: byte %d of datagram %u", device, at, number);
	return number;
}

/* So many datagrams to the collector have left since, with numbers that follow each other. */
static void
expect(const char *device, uint8_t host, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		int64_t number = leave(device, host);

		CHECK(number == first + i, "%s: %ld comes in the place of %u", device, (long)number, first + i);
	}
	CHECK(leave(device, host) == -1, "%s: more than %u", device, n);
}

/* ---- forwarding ---- */

/* In bursts of any length, to a card of any speed: all arrive, those of one ring in order. */
static void
stream(const char *out, uint32_t len_max)
{
	enum { TOTAL = 10000 };
	uint32_t sent[2] = { 0 }, received[2] = { 0 };
	unsigned turned_away = 0;

	while (received[0] + received[1] < 2 * TOTAL) {
		for (unsigned ring = 0; ring < 2; ring++) {
			uint32_t wanted = draw_below(&seed, 40);

			for (; wanted > 0 && sent[ring] < TOTAL; wanted--, sent[ring]++) {
				if (!arrive("ix0", ring, OURS, ring << 24 | sent[ring], 50 + draw_below(&seed, len_max - 49))) {
					turned_away++;
					break;
				}
			}
		}
		kernel_pace(out, 0, 1 + draw_below(&seed, 40), 1 + draw_below(&seed, 40));
		step(1 + draw_below(&seed, 2));
		for (int64_t number; (number = leave(out, 1)) >= 0;) {
			unsigned ring = (unsigned)(number >> 24);

			CHECK((number & 0xffffff) == received[ring], "ring %u: %ld comes in the place of %u", ring,
			    (long)(number & 0xffffff), received[ring]);
			received[ring]++;
		}
	}
	CHECK(frames().forwarded == 2 * TOTAL && frames().received == 2 * TOTAL, "%lu forwarded",
	    (unsigned long)frames().forwarded);
	CHECK(turned_away > 10, "the rings of ix0 were full %u times", turned_away);
}

static void
swap(const char *plan)
{
	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:ix1", NULL });
	CHECK(kernel_counts().maps == 1 && kernel_counts().held == 3, "one region");
	stream("ix1", 2048);
	CHECK(work().swapped == 20000 && work().copied == 0, "%lu copied", (unsigned long)work().copied);
	close_core();
}

static void
copy(const char *plan)
{
	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:em0", NULL });
	CHECK(kernel_counts().maps == 2, "two regions");
	stream("em0", 1024);
	CHECK(work().copied == 20000 && work().swapped == 0, "%lu swapped", (unsigned long)work().swapped);
	/* Longer than the buffers of the other region. */
	CHECK(arrive("ix0", 0, OURS, 1, 1025) && arrive("ix0", 0, OURS, 2, 2048) && arrive("ix0", 0, OURS, 3, 1024), "room");
	kernel_pace("em0", 0, 40, 40);
	step(2);
	expect("em0", 1, 3, 1);
	CHECK(dropped(FW_DROP_TOO_BIG) == 2, "%lu too big", (unsigned long)dropped(FW_DROP_TOO_BIG));
	close_core();
}

/* Collectors 1 and 3 by ix1, 2 by em0, 4 by ix0 itself. What a slow card cannot take is lost to its collectors alone. */
static void
collectors(const char *plan)
{
	struct fw_copy_ledger ledgers[4];
	uint32_t sent = 0, n;
	uint8_t frame[KERNEL_FRAME_MAX];

	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:ix1", "netmap:em0", NULL });
	for (unsigned round = 0; round < 1000; round++) {
		for (n = 0; n < 1 + draw_below(&seed, 10); n++)
			CHECK(arrive("ix0", 0, OURS, sent + n, 50 + draw_below(&seed, 900)), "no room");
		step(2);
		for (uint32_t i = 0; i < n; i++) {
			CHECK(leave("ix1", 1) == sent + i && leave("ix1", 3) == sent + i, "by ix1: %u", sent + i);
			CHECK(leave("em0", 2) == sent + i && leave("ix0", 4) == sent + i, "by em0 and ix0: %u", sent + i);
		}
		sent += n;
	}
	CHECK(frames().forwarded == sent && frames().received == sent, "%u sent", sent);
	kernel_pace("ix1", 0, 0, 0);
	for (unsigned i = 0; i < 200; i++, sent++) {
		CHECK(arrive("ix0", 0, OURS, sent, 100), "no room");
		step(2);
		CHECK(leave("em0", 2) == sent && leave("ix0", 4) == sent, "by em0 and ix0: %u", sent);
	}
	fw_read_collectors(core, ledgers, 4);
	for (unsigned i = 0; i < 4; i++)
		CHECK(ledgers[i].sent + ledgers[i].drops[FW_DROP_TX_FULL] == sent &&
		    (ledgers[i].drops[FW_DROP_TX_FULL] > 150) == (i % 2 == 0), "collector %u: %lu sent", i + 1,
		    (unsigned long)ledgers[i].sent);
	/* What the ring has taken leaves, when the card moves again. */
	kernel_pace("ix1", 0, 3, 3);
	step(30);
	for (n = 0; wire_leave("ix1", 0, frame) > 0; n++)
		;
	CHECK(n == 23, "%u have left", n);
	close_core();
}

/* Slots that cannot be: counted, not read, and their buffers stay where they are. */
static void
odd_slots(const char *plan)
{
	static const struct oddity odd[] = {
		{ .len = 2049 }, { .len = 65535 }, { .len = 3000 }, { .buf = 1 }, { .buf = 2600 }, { .buf = UINT32_MAX },
		{ .flags = NS_MOREFRAG },
	};
	uint8_t frame[KERNEL_FRAME_MAX];
	uint32_t good = 0, bad = 0;
	bool is_continued = false;

	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:ix1", NULL });
	for (unsigned i = 0; i < 3000; i++) {
		struct oddity as = draw_below(&seed, 3) == 0 ? odd[draw_below(&seed, 7)] : (struct oddity){ .flags = 0x100 };

		make(frame, OURS, good, 60);
		while (!wire_arrive_as("ix0", 1, frame, 60, as))
			step(1);
		/* The last part of a frame in several slots looks like a frame of its own. */
		if (as.len != 0 || as.buf != 0 || (as.flags & NS_MOREFRAG) != 0 || is_continued)
			bad++;
		else
			good++;
		is_continued = (as.flags & NS_MOREFRAG) != 0;
		if (draw_below(&seed, 8) == 0)
			step(2);
	}
	step(2);
	expect("ix1", 1, 0, good);
	CHECK(dropped(FW_DROP_TOO_BIG) == bad && frames().received == 3000, "%lu of %u too big",
	    (unsigned long)dropped(FW_DROP_TOO_BIG), bad);
	close_core();
}

/* ---- what goes wrong ---- */

/* One of two ways out is gone: its copies are lost, the others go on. */
static void
lost_port(const char *plan)
{
	struct fw_copy_ledger ledgers[2];
	unsigned calls;

	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:ix1", "netmap:em0", NULL });
	for (uint32_t i = 0; i < 400; i++) {
		if (i == 100)
			kernel_remove("ix1");
		CHECK(arrive("ix0", i % 2, OURS, i, 100), "no room");
		step(2);
		CHECK(leave("em0", 2) == i, "datagram %u by em0", i);
	}
	CHECK(strcmp(fw_port_error(core, 1), "netmap has lost the interface") == 0, "%s", fw_port_error(core, 1));
	CHECK(fw_port_error(core, 0) == NULL && fw_port_error(core, 2) == NULL, "only one is lost");
	fw_read_collectors(core, ledgers, 2);
	CHECK(ledgers[1].sent == 400 && ledgers[0].sent + ledgers[0].drops[FW_DROP_PORT_FAILED] == 400 &&
	    ledgers[0].sent >= 100 && ledgers[0].sent < 110, "%lu sent by ix1", (unsigned long)ledgers[0].sent);
	CHECK(frames().forwarded == 400, "%lu forwarded", (unsigned long)frames().forwarded);
	/* A port that is lost is not asked again. */
	kernel_remove("em0");
	kernel_remove("ix0");
	step(3);
	calls = kernel_counts().calls[ON_RXSYNC] + kernel_counts().calls[ON_TXSYNC];
	step(50);
	CHECK(kernel_counts().calls[ON_RXSYNC] + kernel_counts().calls[ON_TXSYNC] == calls, "it is asked again");
	CHECK(fw_worker_run(worker) == FW_RUN_FAILED, "nothing is left to do");
	close_core();
}

/* A ring that says what cannot be: as if its port were gone. */
static void
lying_ring(const char *plan)
{
	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:ix1", "netmap:em0", NULL });
	for (uint32_t i = 0; i < 300; i++) {
		if (i == 100)
			kernel_lie("ix1", true, 0, 4000);
		if (i == 200)
			kernel_lie("ix0", false, 1, 0x80000000);
		CHECK(arrive("ix0", 0, OURS, i, 100), "no room");
		step(2);
		CHECK(leave("em0", 2) == i, "datagram %u by em0", i);
	}
	for (unsigned port = 0; port < 2; port++)
		CHECK(strcmp(fw_port_error(core, port), "its ring in netmap's memory is broken") == 0, "port %u", port);
	CHECK(fw_port_error(core, 2) == NULL && frames().forwarded == 300, "the other ring and port go on");
	close_core();
}

/* ---- a worker in its own thread ---- */

static void *
run(void *end)
{
	*(int *)end = fw_worker_run(worker);
	return NULL;
}

static void
pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static unsigned
syncs(void)
{
	struct kernel_counts c = kernel_counts();

	return c.calls[ON_RXSYNC] + c.calls[ON_TXSYNC];
}

/* Datagrams wake it, it sleeps when there are none, and it ends when nothing can come any more. */
static void
thread(const char *plan)
{
	pthread_t its;
	unsigned before;
	int end = -1;

	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:ix1", NULL });
	pthread_create(&its, NULL, run, &end);
	for (uint32_t i = 0; i < 500; i++) {
		while (!arrive("ix0", i % 2, OURS, i, 100))
			pause_ms(1);
		for (unsigned waited = 0; leave("ix1", 1) != i; waited++) {
			CHECK(waited < 20000, "datagram %u does not leave", i);
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
		}
	}
	pause_ms(20);
	before = syncs();
	pause_ms(200);
	CHECK(syncs() - before < 10, "%u syncs with nothing to do", syncs() - before);
	/* A card that takes nothing is asked for a while, and then left alone. */
	kernel_pace("ix1", 0, 0, 0);
	CHECK(arrive("ix0", 0, OURS, 500, 100), "room");
	pause_ms(200);
	before = syncs();
	pause_ms(200);
	CHECK(syncs() - before < 100, "%u syncs for a card that takes nothing", syncs() - before);
	kernel_remove("ix0");
	kernel_remove("ix1");
	pthread_join(its, NULL);
	CHECK(end == FW_RUN_FAILED, "it ended with %d", end);
	close_core();
}

/* A port that is gone, and would end every sleep at once, is not waited for. */
static void
half_lost(const char *plan)
{
	pthread_t its;
	struct timespec before, after;
	long busy_ms;
	int end = -1;

	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:ix1", "netmap:em0", NULL });
	pthread_create(&its, NULL, run, &end);
	pause_ms(10);
	kernel_remove("ix1");
	pause_ms(50);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	pause_ms(200);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	busy_ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	CHECK(busy_ms < 50, "busy for %ld of 200 ms", busy_ms);
	CHECK(fw_port_error(core, 1) != NULL && end == -1, "it goes on without");
	fw_worker_stop(worker);
	pthread_join(its, NULL);
	CHECK(end == FW_RUN_STOPPED, "it ended with %d", end);
	close_core();
}

/* It sleeps while the one way out is full, and nothing is lost. */
static void
blocked(const char *plan)
{
	pthread_t its;
	unsigned before;
	uint32_t sent = 0;
	int end = -1;

	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:ix1", NULL });
	kernel_pace("ix1", 0, 0, 0);
	pthread_create(&its, NULL, run, &end);
	for (unsigned waited = 0; waited < 20; waited++, pause_ms(1))
		while (arrive("ix0", 0, OURS, sent, 100))
			sent++;
	CHECK(sent >= 31, "%u datagrams fill the rings", sent);
	pause_ms(20);
	before = syncs();
	pause_ms(100);
	CHECK(syncs() - before < 1000, "%u syncs in 100 ms", syncs() - before);
	kernel_pace("ix1", 0, 2, 1);
	for (uint32_t i = 0, waited = 0; i < sent; waited++) {
		int64_t number = leave("ix1", 1);

		CHECK(number == -1 || number == i, "%ld comes in the place of %u", (long)number, i);
		CHECK(waited < 20000, "datagram %u does not leave", i);
		if (number == i)
			i++;
		else
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
	fw_worker_stop(worker);
	pthread_join(its, NULL);
	CHECK(end == FW_RUN_STOPPED && frames().forwarded == sent, "%lu of %u forwarded",
	    (unsigned long)frames().forwarded, sent);
	close_core();
}

/* ---- the host stack behind a card ---- */

static void
check_passed(const char *device, unsigned ring, const uint8_t *to, uint32_t number)
{
	uint8_t frame[KERNEL_FRAME_MAX], as_sent[KERNEL_FRAME_MAX];
	int len = wire_leave(device, ring, frame);

	make(as_sent, to, number, 80);
	CHECK(len == 80 && memcmp(frame, as_sent, 80) == 0, "frame %u does not come as it was", number);
}

/* What is not ours goes up to the host, and what the host sends down to the card, as it came. A full host stops nothing. */
static void
host(const char *plan)
{
	uint32_t i;

	open_core(plan, (const char *const[]){ "netmap:ix0", "netmap:ix0^", "netmap:ix1", NULL });
	for (i = 0; i < 1000; i++) {
		CHECK(arrive("ix0", 0, OTHERS, i, 80) && arrive("ix0", 1, OURS, i, 80), "no room on the card");
		CHECK(arrive("ix0", 2, OURS, i, 80), "no room in the host's ring");
		step(2);
		check_passed("ix0", 2, OTHERS, i);
		check_passed("ix0", 0, OURS, i);
		CHECK(leave("ix1", 1) == i, "datagram %u", i);
	}
	CHECK(frames().passed == 2000 && frames().forwarded == 1000, "%lu passed", (unsigned long)frames().passed);
	kernel_pace("ix0", 2, 0, 0);
	for (; i < 1100; i++) {
		CHECK(arrive("ix0", 0, OTHERS, i, 80) && arrive("ix0", 0, OURS, i, 80), "no room on the card");
		CHECK(arrive("ix0", 2, OTHERS, i, 80), "no room in the host's ring");
		step(2);
		check_passed("ix0", 0, OTHERS, i);
		CHECK(leave("ix1", 1) == i, "datagram %u", i);
	}
	CHECK(frames().forwarded == 1100 && frames().passed == 2000 + 31 + 100 && dropped(FW_DROP_HOST_FULL) == 69,
	    "%lu passed, %lu did not", (unsigned long)frames().passed, (unsigned long)dropped(FW_DROP_HOST_FULL));
	kernel_pace("ix0", 2, 5, 5);
	step(10);
	for (i = 1000; i < 1031; i++)
		check_passed("ix0", 2, OTHERS, i);
	close_core();
}

static const struct {
	const char *name;
	void (*play)(const char *plan);
} scenarios[] = {
	{ "swap", swap },
	{ "copy", copy },
	{ "collectors", collectors },
	{ "odd_slots", odd_slots },
	{ "lost_port", lost_port },
	{ "lying_ring", lying_ring },
	{ "thread", thread },
	{ "half_lost", half_lost },
	{ "blocked", blocked },
	{ "host", host },
};

int
main(int argc, char **argv)
{
	CHECK(argc == 4, "three arguments, not %d", argc - 1);
	seed = 0x9e3779b97f4a7c15 + strtoul(argv[3], NULL, 10);
	for (unsigned i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
		if (strcmp(scenarios[i].name, argv[1]) == 0) {
			scenarios[i].play(argv[2]);
			return 0;
		}
	}
	CHECK(0, "no scenario %s", argv[1]);
}
