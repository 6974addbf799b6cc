/*
 * sink: counts the datagrams that arrive at a collector, and drops them.
 *
 *     sink INTERFACE ADDRESS PORT
 *
 * A BPF program at the interface counts the frames that are IPv4 and UDP to ADDRESS and PORT, and all others; nothing
 * goes on to the host's stack. It says "counting" when it is ready. For every line on its standard input it prints
 * {"right": …, "other": …, "ns": …}, ns by CLOCK_MONOTONIC; at the end of the input it ends.
 *
 * The program sits at the ingress of traffic control (tcx, Linux 6.6), or else it is an XDP program. What counts here
 * runs on the core of whoever sends, and for XDP veth first makes another buffer of what a socket sent, which takes more
 * of that core.
 */
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <stdbool.h>
#include <time.h>

#include "bpf.h"

/* Newer than some systems' headers. */
#define TCX_INGRESS ((enum bpf_attach_type)46)

/* The part of a frame that is looked at, and where in it: from the EtherType to the destination port. */
enum { FIRST = 10, LAST = 38, ETHERTYPE = 12, IP_VERSION = 14, IP_PROTOCOL = 23, IP_DESTINATION = 30, UDP_PORT = 36 };
#define COPIED(offset) ((offset) - FIRST - 32) /* from the frame pointer */

struct counters {
	uint64_t right, other;
};

static int
load(int counters, struct in_addr address, uint16_t port, bool is_xdp)
{
	struct bpf_insn program[] = {
		SET(BPF_REG_2, FIRST),
		MOV(BPF_REG_3, BPF_REG_10),
		ALU_K(BPF_ADD, BPF_REG_3, -32),
		SET(BPF_REG_4, LAST - FIRST),
		CALL(is_xdp ? BPF_FUNC_xdp_load_bytes : BPF_FUNC_skb_load_bytes),
		MEMORY(BPF_REG_6, counters),
		SET(BPF_REG_7, 1),
		JUMP_K(BPF_JNE, BPF_REG_0, 0, OTHERWISE),
		LOAD(BPF_H, BPF_REG_1, BPF_REG_10, COPIED(ETHERTYPE)),
		JUMP_K(BPF_JNE, BPF_REG_1, htons(0x0800), OTHERWISE),
		LOAD(BPF_B, BPF_REG_1, BPF_REG_10, COPIED(IP_VERSION)),
		JUMP_K(BPF_JNE, BPF_REG_1, 0x45, OTHERWISE),
		LOAD(BPF_B, BPF_REG_1, BPF_REG_10, COPIED(IP_PROTOCOL)),
		JUMP_K(BPF_JNE, BPF_REG_1, IPPROTO_UDP, OTHERWISE),
		LOAD(BPF_W, BPF_REG_1, BPF_REG_10, COPIED(IP_DESTINATION)),
		INSTRUCTION(BPF_ALU | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, (int32_t)address.s_addr),
		JUMP(BPF_JNE, BPF_REG_1, BPF_REG_2, OTHERWISE),
		LOAD(BPF_H, BPF_REG_1, BPF_REG_10, COPIED(UDP_PORT)),
		JUMP_K(BPF_JNE, BPF_REG_1, htons(port), OTHERWISE),
		ADD_ATOMIC(BPF_REG_6, 0, BPF_REG_7),
		SET(BPF_REG_0, is_xdp ? XDP_DROP : TC_ACT_SHOT),
		EXIT,
		ADD_ATOMIC(BPF_REG_6, 8, BPF_REG_7), /* otherwise */
		SET(BPF_REG_0, is_xdp ? XDP_DROP : TC_ACT_SHOT),
		EXIT,
	};
	unsigned n = sizeof program / sizeof program[0];

	aim(program, n - 3);
	return load_program(is_xdp ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS, is_xdp ? BPF_XDP : 0, program, n);
}

int
main(int argc, char **argv)
{
	struct in_addr address;
	struct counters *counters;
	char line[16];
	unsigned interface;
	uint16_t port;
	int fd;

	if (argc != 4 || (interface = if_nametoindex(argv[1])) == 0 || inet_pton(AF_INET, argv[2], &address) != 1) {
		fprintf(stderr, "usage: sink INTERFACE ADDRESS PORT\n");
		return 2;
	}
	port = (uint16_t)atoi(argv[3]);
	counters = shared_memory(sizeof *counters, &fd);
	if (attach(load(fd, address, port, false), interface, TCX_INGRESS, 0) < 0)
		or_die(attach(load(fd, address, port, true), interface, BPF_XDP, XDP_FLAGS_DRV_MODE), "bpf: attach");
	puts("counting");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin) != NULL) {
		struct timespec t;

		clock_gettime(CLOCK_MONOTONIC, &t);
		printf("{\"right\": %llu, \"other\": %llu, \"ns\": %lld}\n", (unsigned long long)counters->right,
		    (unsigned long long)counters->other, (long long)t.tv_sec * 1000000000 + t.tv_nsec);
		fflush(stdout);
	}
	return 0;
}
