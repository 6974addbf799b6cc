/*
 * What redirect.bpf.c and its loader (redirector.c) share. Compiled for both: fixed widths, no gaps.
 */
#ifndef GFWD_REDIRECT_H
#define GFWD_REDIRECT_H

#include <stdint.h>

#define REDIRECT_OWN_MAX 64		/* own addresses of each family */
#define REDIRECT_QUEUES_MAX 256
#define REDIRECT_LISTEN_WORDS 2048	/* a bit for each UDP port, as in struct fw_plan */
#define REDIRECT_FRAGMENTS 16384	/* datagrams whose later fragments follow the first; the kernel keeps some back for each CPU */
#define REDIRECT_FRAGMENT_NS 2000000000U	/* for so long, as in fragment.h */

/* An address is ours when (address & mask) == value; all in network order. */
struct redirect_own4 {
	uint32_t value;
	uint32_t mask;
};

struct redirect_own6 {
	uint64_t value[2];
	uint64_t mask[2];
};

/* What is ours on one interface. All zero: nothing. */
struct redirect_ours {
	uint8_t mac[8];			/* the interface's, in the first six bytes */
	uint32_t n_own4;
	uint32_t n_own6;
	struct redirect_own4 own4[REDIRECT_OWN_MAX];
	struct redirect_own6 own6[REDIRECT_OWN_MAX];
	uint32_t listen[REDIRECT_LISTEN_WORDS];
};

/* What the fragments of one UDP datagram have in common; all as they lie in the frame. The map's value is a time in ns. */
struct redirect_fragment {
	uint32_t family;
	uint32_t ident;
	uint8_t source[16];		/* IPv4 in the first four bytes */
	uint8_t destination[16];
};

/* Frames of one RX queue; a cache line each, since every queue has its own CPU. */
struct redirect_count {
	uint64_t ours;			/* handed to the queue's socket */
	uint64_t passed;		/* left to the kernel */
	uint64_t unused[6];
};

#endif
