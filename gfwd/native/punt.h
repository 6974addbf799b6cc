/*
 * Frames for Python: into the punt ring, and a byte into the pipe that wakes it.
 */
#ifndef GFWD_PUNT_H
#define GFWD_PUNT_H

#include "transmitter.h"

/* The whole frame; FW_DROP_PUNT_FULL: Python is behind. */
enum fw_fate punt_frame(struct fw_transmitter *, uint32_t in_port, const struct fw_frame *);
/*
 * As much of one that was too big to leave as an ICMP error repeats, with the MTU that it met; nothing where Python is behind,
 * since the frame is counted as dropped all the same.
 */
void punt_beginning(struct fw_transmitter *, uint32_t in_port, const struct fw_frame *, uint32_t mtu);

#endif
