/*
 * bpf(2), as much of it as an AF_XDP port needs: maps, one program, and the link that holds it to an interface.
 *
 * All of them are file descriptors, and go when their process goes, whichever way it ends. Functions return -1 with errno set.
 */
#ifndef GFWD_BPF_H
#define GFWD_BPF_H

#include <stddef.h>
#include <stdint.h>

enum bpf_kind { BPF_KIND_ARRAY, BPF_KIND_SOCKETS };

int bpf_map_new(enum bpf_kind, uint32_t value_bytes, uint32_t entries);
/* A map with keys of any length, for the program alone; where it is full, what was not used for longest goes. */
int bpf_lru_new(uint32_t key_bytes, uint32_t value_bytes, uint32_t entries);
/* Entry `key` of a map becomes a copy of *value. */
int bpf_map_set(int map, uint32_t key, const void *value);
/* The map's memory, to read from and write to; MAP_FAILED with errno set. Arrays only. */
void *bpf_map_memory(int map, size_t bytes);

/* `code` is n instructions of 8 bytes. */
int bpf_xdp_load(const uint64_t *code, uint32_t n);
/* Native: in the driver, before the kernel makes a packet of the frame; else generic, after that. */
int bpf_xdp_attach(int program, unsigned interface, int native);

#endif
