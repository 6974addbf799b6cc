/*
 * generator: sends frames into a veth as fast as asked for, as if its peer were a card and they came from a wire.
 *
 *     generator INTERFACE EXPORTERS COUNT RATE SECONDS < FRAME
 *
 * FRAME is one Ethernet frame with IPv4 (no options) and UDP. Of it go out COUNT copies, RATE of them a second (0: as
 * fast as it goes), for SECONDS at most; the source address of each is one more than that of the one before, until after
 * EXPORTERS it starts again. Prints {"sent": …, "seconds": …}.
 *
 * The frames are made in the kernel: BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES runs a small XDP program, which
 * fills in the address and redirects the frame to INTERFACE. A veth takes such frames only while its peer has an XDP
 * program or GRO on. The program keeps the pace too: where it is too early for a frame, it drops it, and is run again at
 * once. So frames leave evenly, one by one, and no timer of the kernel has a part in that.
 */
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "bpf.h"

enum { FRAME_MAX = 1514, EXPORTERS_MAX = 1 << 20 };
enum { IP_CHECKSUM = 24, IP_SOURCE = 26, UDP_CHECKSUM = 40, HEADERS = 42 }; /* offsets in the frame */

/* A frame that is later than this sets the clock anew: no burst makes up for the time when the generator was held up. */
#define LATE_NS 100000
/*
 * More often than any run asks for: watch() ends it. It has to be one call, because in each the kernel waits for others
 * to have left the program that it ran before, tens of milliseconds long.
 */
#define RUNS (1U << 31)
/* So long we wait for the first frame. */
#define START_NS 5000000000U

/* What program and we have in common. */
struct state {
	uint64_t left;
	uint64_t due_ns;
	uint32_t exporter;
};

/* What is different from one exporter to the next, as it stands in the frame. */
struct exporter {
	uint32_t source;
	uint16_t ip_checksum, udp_checksum;
};
_Static_assert(sizeof(struct exporter) == 8, "the program shifts by 3");

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* ---- exporters ---- */

/* The checksum after `before` became `after` (RFC 1624, equation 3). */
static uint16_t
updated(uint16_t checksum, uint32_t before, uint32_t after)
{
	uint32_t sum = (uint16_t)~checksum + (~before & 0xffff) + (~before >> 16) + (after & 0xffff) + (after >> 16);

	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

static void
fill(struct exporter *exporters, unsigned n, const uint8_t *frame)
{
	uint32_t first;
	uint16_t ip, udp;

	memcpy(&first, frame + IP_SOURCE, sizeof first);
	memcpy(&ip, frame + IP_CHECKSUM, sizeof ip);
	memcpy(&udp, frame + UDP_CHECKSUM, sizeof udp);
	for (unsigned i = 0; i < n; i++) {
		uint32_t source = __builtin_bswap32(__builtin_bswap32(first) + i);
		uint16_t with_source = updated(udp, first, source);

		exporters[i].source = source;
		exporters[i].ip_checksum = updated(ip, first, source);
		/* Zero says that there is none; one that comes out as zero is sent as its complement. */
		exporters[i].udp_checksum = udp == 0 ? 0 : with_source == 0 ? 0xffff : with_source;
	}
}

/* ---- the program ---- */

static int
load(int state, int exporters, unsigned n, unsigned interface, uint64_t interval_ns)
{
	const struct bpf_insn begin[] = {
		MOV(BPF_REG_6, BPF_REG_1),
		MEMORY(BPF_REG_7, state),
		LOAD(BPF_DW, BPF_REG_8, BPF_REG_7, offsetof(struct state, left)),
		JUMP_K(BPF_JEQ, BPF_REG_8, 0, OTHERWISE),
	};
	const struct bpf_insn pace[] = {
		CALL(BPF_FUNC_ktime_get_ns),
		LOAD(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct state, due_ns)),
		JUMP(BPF_JLT, BPF_REG_0, BPF_REG_1, OTHERWISE),
		MOV(BPF_REG_2, BPF_REG_0),
		ALU(BPF_SUB, BPF_REG_2, BPF_REG_1),
		JUMP_K(BPF_JLE, BPF_REG_2, LATE_NS, 1),
		MOV(BPF_REG_1, BPF_REG_0),
		ALU_K(BPF_ADD, BPF_REG_1, (int32_t)interval_ns),
		STORE(BPF_DW, BPF_REG_7, offsetof(struct state, due_ns), BPF_REG_1),
	};
	const struct bpf_insn send[] = {
		ALU_K(BPF_SUB, BPF_REG_8, 1),
		STORE(BPF_DW, BPF_REG_7, offsetof(struct state, left), BPF_REG_8),
		LOAD(BPF_W, BPF_REG_2, BPF_REG_6, offsetof(struct xdp_md, data)),
		LOAD(BPF_W, BPF_REG_3, BPF_REG_6, offsetof(struct xdp_md, data_end)),
		MOV(BPF_REG_4, BPF_REG_2),
		ALU_K(BPF_ADD, BPF_REG_4, HEADERS),
		JUMP(BPF_JGT, BPF_REG_4, BPF_REG_3, OTHERWISE),
		/* whose turn it is, and whose next */
		LOAD(BPF_W, BPF_REG_1, BPF_REG_7, offsetof(struct state, exporter)),
		JUMP_K(BPF_JGE, BPF_REG_1, (int32_t)n, OTHERWISE),
		MOV(BPF_REG_4, BPF_REG_1),
		ALU_K(BPF_ADD, BPF_REG_4, 1),
		JUMP_K(BPF_JLT, BPF_REG_4, (int32_t)n, 1),
		SET(BPF_REG_4, 0),
		STORE(BPF_W, BPF_REG_7, offsetof(struct state, exporter), BPF_REG_4),
		ALU_K(BPF_LSH, BPF_REG_1, 3),
		MEMORY(BPF_REG_5, exporters),
		ALU(BPF_ADD, BPF_REG_5, BPF_REG_1),
		LOAD(BPF_W, BPF_REG_1, BPF_REG_5, offsetof(struct exporter, source)),
		STORE(BPF_W, BPF_REG_2, IP_SOURCE, BPF_REG_1),
		LOAD(BPF_H, BPF_REG_1, BPF_REG_5, offsetof(struct exporter, ip_checksum)),
		STORE(BPF_H, BPF_REG_2, IP_CHECKSUM, BPF_REG_1),
		LOAD(BPF_H, BPF_REG_1, BPF_REG_5, offsetof(struct exporter, udp_checksum)),
		STORE(BPF_H, BPF_REG_2, UDP_CHECKSUM, BPF_REG_1),
		SET(BPF_REG_1, (int32_t)interface),
		SET(BPF_REG_2, 0),
		CALL(BPF_FUNC_redirect),
		EXIT,
	};
	const struct bpf_insn otherwise[] = { SET(BPF_REG_0, XDP_DROP), EXIT };
	struct bpf_insn program[64];
	unsigned length = 0;

#define APPEND(part) (memcpy(program + length, part, sizeof(part)), length += sizeof(part) / sizeof(part)[0])
	APPEND(begin);
	if (interval_ns > 0)
		APPEND(pace);
	APPEND(send);
	aim(program, length);
	APPEND(otherwise);
	return load_program(BPF_PROG_TYPE_XDP, BPF_XDP, program, length);
}

/* ---- running ---- */

/* Who watches a run, because the program cannot end it: the call that runs it is left early when a signal comes. */
struct watch {
	const struct state *state;
	uint64_t count, limit_ns, started, ended;
	pthread_t runner;
	bool has_left;
};

static void *
watch(void *argument)
{
	struct watch *w = argument;
	uint64_t began = now_ns();
	bool is_over;

	do {
		(void)usleep(1000);
		w->ended = now_ns();
		/* Before the first frame, the kernel makes itself ready; that can take tens of milliseconds. */
		if (w->started == 0 && __atomic_load_n(&w->state->left, __ATOMIC_RELAXED) != w->count)
			w->started = w->ended;
		is_over = w->started > 0 ? w->ended - w->started >= w->limit_ns : w->ended - began >= START_NS;
	} while (!is_over && __atomic_load_n(&w->state->left, __ATOMIC_RELAXED) > 0);
	/* More than once: a signal that comes just before the call does not shorten it. */
	for (; !__atomic_load_n(&w->has_left, __ATOMIC_ACQUIRE); (void)usleep(1000))
		(void)pthread_kill(w->runner, SIGUSR1);
	return NULL;
}

static void
just_interrupt(int signal)
{
	(void)signal;
}

static void
run(int program, const uint8_t *frame, uint32_t bytes)
{
	struct xdp_md context = { .data_end = bytes };
	union bpf_attr attr = { .test = { .prog_fd = (uint32_t)program, .data_size_in = bytes, .repeat = RUNS } };

	attr.test.data_in = (uintptr_t)frame;
	attr.test.ctx_in = (uintptr_t)&context;
	attr.test.ctx_size_in = sizeof context;
	attr.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
	if (bpf_call(BPF_PROG_TEST_RUN, &attr) < 0 && errno != EINTR)
		or_die(-1, "bpf: BPF_PROG_TEST_RUN with live frames (needs Linux 5.18 or newer)");
}

int
main(int argc, char **argv)
{
	struct sigaction interrupt = { .sa_handler = just_interrupt };
	struct watch w = { .runner = pthread_self() };
	uint8_t frame[FRAME_MAX];
	size_t bytes = fread(frame, 1, sizeof frame, stdin);
	struct state *state;
	struct exporter *exporters;
	int state_fd, exporters_fd, program;
	pthread_t watcher;
	uint64_t rate;
	unsigned n;

	if (argc != 6 || bytes <= HEADERS) {
		fprintf(stderr, "usage: generator INTERFACE EXPORTERS COUNT RATE SECONDS < FRAME\n");
		return 2;
	}
	n = (unsigned)strtoul(argv[2], NULL, 10);
	w.count = strtoull(argv[3], NULL, 10);
	rate = strtoull(argv[4], NULL, 10);
	w.limit_ns = (uint64_t)(strtod(argv[5], NULL) * 1e9);
	if (if_nametoindex(argv[1]) == 0 || n < 1 || n > EXPORTERS_MAX || rate > 1000000000) {
		fprintf(stderr, "generator: no such interface, or a number that cannot be\n");
		return 2;
	}
	state = shared_memory(sizeof *state, &state_fd);
	exporters = shared_memory(n * (uint32_t)sizeof *exporters, &exporters_fd);
	fill(exporters, n, frame);
	program = load(state_fd, exporters_fd, n, if_nametoindex(argv[1]), rate == 0 ? 0 : 1000000000U / rate);
	state->left = w.count;
	w.state = state;
	sigaction(SIGUSR1, &interrupt, NULL);
	if (pthread_create(&watcher, NULL, watch, &w) != 0)
		or_die(-1, "thread");
	run(program, frame, (uint32_t)bytes);
	__atomic_store_n(&w.has_left, true, __ATOMIC_RELEASE);
	pthread_join(watcher, NULL);
	printf("{\"sent\": %llu, \"seconds\": %.6f}\n", (unsigned long long)(w.count - state->left),
	    (double)(w.ended - w.started) / 1e9);
	return 0;
}
