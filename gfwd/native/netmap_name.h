/*
 * Names of netmap ports, as in netmap(4), and what they ask of the kernel:
 *
 *     netmap:ix0          all rings of the card
 *     netmap:ix0-2        its rings number 2 (TX and RX)
 *     netmap:ix0-2-5      2 to 5
 *     netmap:ix0^         the host stack behind it
 *     netmap:x{1 netmap:x}1   the two ends of a pipe
 *     vale0:a             a port of a VALE switch
 */
#ifndef GFWD_NETMAP_NAME_H
#define GFWD_NETMAP_NAME_H

#include <stdbool.h>
#include <stdint.h>

enum nm_kind { NM_CARD, NM_HOST, NM_PIPE, NM_VALE };

struct nm_name {
	enum nm_kind kind;
	char name[64];			/* as the kernel wants it (nr_name) */
	uint32_t first_ring;
	uint32_t last_ring;		/* UINT32_MAX: the last one there is */
};

/* False: `error` (FW_ERROR_BYTES long) says what would be right. */
bool nm_name_parse(struct nm_name *, const char *text, char *error);

#endif
