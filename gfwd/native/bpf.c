#ifdef __linux__
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf.h"

#define LOAD_TRIES 5

static int
call(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

int
bpf_map_new(enum bpf_kind kind, uint32_t value_bytes, uint32_t entries)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.map_type = kind == BPF_KIND_SOCKETS ? BPF_MAP_TYPE_XSKMAP : BPF_MAP_TYPE_ARRAY;
	attr.map_flags = kind == BPF_KIND_SOCKETS ? 0 : BPF_F_MMAPABLE;
	attr.key_size = sizeof(uint32_t);
	attr.value_size = value_bytes;
	attr.max_entries = entries;
	return call(BPF_MAP_CREATE, &attr);
}

int
bpf_lru_new(uint32_t key_bytes, uint32_t value_bytes, uint32_t entries)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.map_type = BPF_MAP_TYPE_LRU_HASH;
	attr.key_size = key_bytes;
	attr.value_size = value_bytes;
	attr.max_entries = entries;
	return call(BPF_MAP_CREATE, &attr);
}

int
bpf_map_set(int map, uint32_t key, const void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.map_fd = (uint32_t)map;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)value;
	return call(BPF_MAP_UPDATE_ELEM, &attr);
}

void *
bpf_map_memory(int map, size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
}

int
bpf_xdp_load(const uint64_t *code, uint32_t n)
{
	static const char licence[] = "BSD-2-Clause", name[] = "gfwd_redirect";
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.prog_type = BPF_PROG_TYPE_XDP;
	attr.expected_attach_type = BPF_XDP;
	attr.insns = (uintptr_t)code;
	attr.insn_cnt = n;
	attr.license = (uintptr_t)licence;
	memcpy(attr.prog_name, name, sizeof name);
	/* A signal that comes meanwhile ends the kernel's check of the program with EAGAIN. */
	for (unsigned tries = 0; tries < LOAD_TRIES; tries++) {
		int fd = call(BPF_PROG_LOAD, &attr);

		if (fd >= 0 || errno != EAGAIN)
			return fd;
	}
	return -1;
}

int
bpf_xdp_attach(int program, unsigned interface, int native)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.link_create.prog_fd = (uint32_t)program;
	attr.link_create.target_ifindex = interface;
	attr.link_create.attach_type = BPF_XDP;
	attr.link_create.flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
	return call(BPF_LINK_CREATE, &attr);
}
#endif
