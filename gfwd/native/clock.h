/*
 * What time it is, asked only where somebody wants to know: most bursts never do.
 */
#ifndef GFWD_CLOCK_H
#define GFWD_CLOCK_H

#include <time.h>

#include "port.h"

/* The same for all of a burst. */
struct fw_clock {
	uint64_t now;			/* ns since 1970; 0: nobody has asked yet */
};

/* When a frame came in, ns since 1970: as its port says, else now. */
static inline uint64_t
clock_of(struct fw_clock *clock, const struct fw_frame *frame)
{
	struct timespec t;

	if (frame->time != 0)
		return frame->time;
	if (clock->now == 0) {
		clock_gettime(CLOCK_REALTIME, &t);
		clock->now = (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
	}
	return clock->now;
}

#endif
