/*
 * Copies of datagrams of ours, as they came in, for those who look: lossy and counted, since the path waits for nobody. Nobody
 * looks most of the time, and that costs one look at the plan a burst.
 */
#ifndef GFWD_TAP_H
#define GFWD_TAP_H

#include "burst.h"

/* Who wants to look at it: a bit for each tap's number. */
uint32_t tap_wanted(const struct fw_plan *, const struct fw_packet *, bool is_whole);

/* Of n packets behind match, those that somebody wants to look at leave the common case: FW_TAPPED instead of FW_FORWARD. */
void tap_mark(const struct fw_plan *, struct fw_packet *packets, unsigned n);

/*
 * Before anything is written into frame i: a record with a copy of it, for whom it may concern; NULL: nobody, or there is no room.
 * is_whole: it is no fragment. What has been begun is to be ended, with what became of the frame.
 */
struct fw_record *tap_begin(const struct burst *, unsigned i, bool is_whole);
void tap_end(const struct burst *, struct fw_record *, enum fw_fate);

#endif
