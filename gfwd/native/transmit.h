/*
 * Packet and rule → copies that leave, wait, or are dropped. The only place where a frame's fate is counted, since here it
 * is known whether the frame was dealt with at all.
 */
#ifndef GFWD_TRANSMIT_H
#define GFWD_TRANSMIT_H

#include "transmitter.h"

/* A new plan is in force: what is looked up once a plan is not looked up once a packet. */
void fw_transmit_take_up(struct fw_transmitter *, const struct fw_plan *);

/*
 * Deals with the first packets of a burst, in order: all n of them, or fewer where everything leaves by one port and that
 * has no room. The rest is to be offered again.
 */
unsigned fw_transmit(struct fw_transmitter *, const struct fw_plan *, struct fw_stats *, const struct fw_queue *in,
    struct fw_frame *frames, struct fw_packet *packets, unsigned n);

/* Sends or drops what waited for neighbours that have an answer now. Returns how many copies that were. */
unsigned fw_transmit_waiting(struct fw_transmitter *, struct fw_stats *);

/* Sends what Python made. Returns how many frames. */
unsigned fw_transmit_injected(struct fw_transmitter *, struct fw_ring *inject, struct fw_stats *);

/* Everything that was filled leaves now. */
void fw_transmit_flush(struct fw_transmitter *);

#endif
