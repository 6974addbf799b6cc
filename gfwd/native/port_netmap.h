/*
 * The netmap port: rings of a card, of the host stack behind it, of a pipe or of a VALE switch (netmap(4), API 14 and later).
 * Ports that netmap keeps in one memory region exchange buffers.
 */
#ifndef GFWD_PORT_NETMAP_H
#define GFWD_PORT_NETMAP_H

#include "port.h"

/* A memory region of netmap's, mapped once for all ports in it. */
struct nm_region {
	struct nm_region *next;		/* the core's list */
	uint8_t *memory;
	size_t bytes;
	uint16_t id;			/* nr_mem_id */
};

/* Opens it, and maps its region unless *regions has it. NULL: `error` says why not, and all is as it was. */
struct fw_port *port_netmap_new(struct nm_region **regions, uint32_t number, const char *name, char *error);
/* After the ports that lie in them. */
void nm_regions_free(struct nm_region *);

#endif
