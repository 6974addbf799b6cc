/*
 * bpf(2) as the benchmark's programs need it: shared memory, programs of a few dozen instructions, links.
 *
 * Plain system calls and instructions written by hand, because neither clang nor libbpf is everywhere. What is attached
 * is held by a link, so it goes with the process, whichever way that ends.
 */
#ifndef GFWD_BENCH_BPF_H
#define GFWD_BENCH_BPF_H

#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int
bpf_call(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

static inline int
or_die(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

/* ---- memory that a BPF program and we have in common ---- */

/* Zeroed; `fd` is what programs refer to it by. */
static inline void *
shared_memory(uint32_t bytes, int *fd)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .max_entries = 1 };
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	void *memory;

	attr.value_size = bytes;
	attr.map_flags = BPF_F_MMAPABLE;
	(void)setrlimit(RLIMIT_MEMLOCK, &unlimited); /* before Linux 5.11, maps count as locked memory */
	*fd = or_die(bpf_call(BPF_MAP_CREATE, &attr), "bpf: map");
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (memory == MAP_FAILED)
		or_die(-1, "bpf: map: mmap");
	return memory;
}

/* ---- programs, as in the kernel's include/linux/filter.h ---- */

#define INSTRUCTION(c, d, s, o, i) \
	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define MOV(d, s) INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define SET(d, i) INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ALU(op, d, s) INSTRUCTION(BPF_ALU64 | (op) | BPF_X, d, s, 0, 0)
#define ALU_K(op, d, i) INSTRUCTION(BPF_ALU64 | (op) | BPF_K, d, 0, 0, i)
#define LOAD(size, d, s, o) INSTRUCTION(BPF_LDX | (size) | BPF_MEM, d, s, o, 0)
#define STORE(size, d, o, s) INSTRUCTION(BPF_STX | (size) | BPF_MEM, d, s, o, 0)
#define ADD_ATOMIC(d, o, s) INSTRUCTION(BPF_STX | BPF_DW | BPF_ATOMIC, d, s, o, BPF_ADD)
#define JUMP(op, d, s, o) INSTRUCTION(BPF_JMP | (op) | BPF_X, d, s, o, 0)
#define JUMP_K(op, d, i, o) INSTRUCTION(BPF_JMP | (op) | BPF_K, d, 0, o, i)
#define CALL(function) INSTRUCTION(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define EXIT INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
/* The address of shared memory, and a map itself; two instructions each. */
#define MEMORY(d, fd) \
	INSTRUCTION(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_VALUE, 0, fd), INSTRUCTION(0, 0, 0, 0, 0)
#define MAP(d, fd) INSTRUCTION(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd), INSTRUCTION(0, 0, 0, 0, 0)

/* A jump by this much goes to the label `otherwise`: see aim(). */
#define OTHERWISE INT16_MAX

/* Lets all jumps to OTHERWISE go to the instruction with this number. */
static inline void
aim(struct bpf_insn *program, unsigned label)
{
	for (unsigned i = 0; i < label; i++)
		if (BPF_CLASS(program[i].code) == BPF_JMP && program[i].off == OTHERWISE)
			program[i].off = (int16_t)(label - i - 1);
}

static inline int
load_program(enum bpf_prog_type type, enum bpf_attach_type attach, const struct bpf_insn *program, unsigned n)
{
	static char log[65536];
	union bpf_attr attr = { .prog_type = type };
	int fd;

	attr.insns = (uintptr_t)program;
	attr.insn_cnt = n;
	attr.license = (uintptr_t) "BSD";
	attr.expected_attach_type = attach;
	fd = bpf_call(BPF_PROG_LOAD, &attr);
	if (fd < 0) { /* again, for the verifier's words */
		attr.log_buf = (uintptr_t)log;
		attr.log_size = sizeof log;
		attr.log_level = 1;
		fd = bpf_call(BPF_PROG_LOAD, &attr);
		if (fd < 0)
			fprintf(stderr, "%s", log);
	}
	return or_die(fd, "bpf: program");
}

/* Attached until the descriptor is closed, which the end of the process does; negative where that is not to be. */
static inline int
attach(int program, unsigned interface, enum bpf_attach_type where, uint32_t flags)
{
	union bpf_attr attr = { .link_create = { .attach_type = where, .flags = flags } };

	attr.link_create.prog_fd = (uint32_t)program;
	attr.link_create.target_ifindex = interface;
	return bpf_call(BPF_LINK_CREATE, &attr);
}

#endif
