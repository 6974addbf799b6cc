/*
 * The memory port: netmap's rings in ordinary memory, and the wire behind them as two functions. The wire may be another
 * thread than the worker; it sees of a ring only what sync has handed over, as a card would.
 */
#ifndef GFWD_PORT_MEM_H
#define GFWD_PORT_MEM_H

#include "port.h"
#include "region.h"

/* NULL: the region has no rings left for it. */
struct fw_port *port_mem_new(struct fw_region *, uint32_t number, unsigned ring_pairs);

/* False: the port is of another kind, or has no such ring. */
bool port_mem_has_ring(const struct fw_port *, unsigned ring);

/* A frame arrives at a time (ns since 1970; 0: none): false when the ring is full or the frame is longer than a buffer. */
bool port_mem_arrive(struct fw_port *, unsigned ring, const uint8_t *frame, uint32_t bytes, uint64_t time);
/* A frame has left: its length, or -1 when there is none. No more than `room` bytes are copied. */
int port_mem_leave(struct fw_port *, unsigned ring, uint8_t *frame, uint32_t room);
/* All frames that wait to leave are gone, unread; how many they were. */
unsigned port_mem_discard(struct fw_port *, unsigned ring);

#endif
