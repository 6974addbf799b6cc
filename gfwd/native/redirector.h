/*
 * The XDP program of one interface (redirect.bpf.c) as its port sees it: loaded, told what is ours, attached, and counted.
 */
#ifndef GFWD_REDIRECTOR_H
#define GFWD_REDIRECTOR_H

#include <stdbool.h>

#include "fw.h"
#include "redirect.h"

struct redirector {
	int ours;			/* maps of the program: what is ours, twice … */
	int which_is;			/* … which of the two counts now … */
	uint32_t which;
	int counts;			/* … what it counted, and `count` is its memory … */
	int fragments;			/* … datagrams of ours of which the first fragment was here … */
	int sockets;			/* … and the socket of each queue */
	struct redirect_count *count;
	int program;
	int link;			/* holds it to the interface, and is closed with the process, however that ends */
	bool is_native;
	int refused;			/* why the driver did not take it: errno; 0: it did */
};

void redirector_init(struct redirector *);
/* Attached, and redirecting nothing. False: `error` says why not; to be closed all the same. */
bool redirector_open(struct redirector *, const char *name, unsigned interface, char *error);
void redirector_close(struct redirector *);

/* What is ours on a queue goes to this socket. False with errno set. */
bool redirector_add(const struct redirector *, unsigned queue, int socket);
/* Own addresses and ports of this plan are ours from now on; NULL: nothing is. False: `error` says why not. */
bool redirector_set(struct redirector *, const struct fw_plan *, const uint8_t *mac, char *error);
/* Adds what it has counted. */
void redirector_read(const struct redirector *, struct fw_xdp_port *);

/* Writes into `error` what failed, with errno; returns false. */
bool refuse_xdp(char *error, const char *what);

#endif
