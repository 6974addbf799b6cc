/*
 * The whole: ports, workers, neighbour slots, and the plan in force.
 */
#ifndef GFWD_CORE_H
#define GFWD_CORE_H

#include "port_mem.h"
#include "region.h"
#include "worker.h"

struct fw_core {
	struct fw_limits limits;
	uint64_t *neighbours;
	uint64_t *collector_paces;	/* by counter slot; see pace.h */
	struct fw_plan *published;	/* swapped by fw_publish, read by every worker */
	uint32_t generation;		/* of the last published plan */
	struct fw_plan **retired;	/* plans that some worker may still read */
	uint32_t n_retired;
	struct fw_port *ports[FW_PORTS_MAX];
	uint32_t n_ports;
	struct fw_region *regions;
	struct fw_umem *umems;
	struct nm_region *nm_regions;
	struct fw_worker *workers;
};

/* May ports and workers still be added? False: `error` says why not. */
bool core_is_open(const struct fw_core *, char *error);
/* A port by its number; NULL: there is none. */
struct fw_port *core_port(const struct fw_core *, unsigned port);

#endif
