/*
 * The core's ports: opened one by one before the first plan, numbered in that order, and freed with the core.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core.h"
#include "port_netmap.h"
#include "port_pcap.h"
#include "port_xdp.h"

struct fw_port *
core_port(const struct fw_core *core, unsigned port)
{
	return port < core->n_ports ? core->ports[port] : NULL;
}

/* A plan knows the ports and the workers that were there when it was made: both come first. */
bool
core_is_open(const struct fw_core *core, char *error)
{
	if (core->published == NULL)
		return true;
	snprintf(error, FW_ERROR_BYTES, "ports and workers come before the first plan");
	return false;
}

static int
add_port(struct fw_core *core, struct fw_port *port)
{
	if (port == NULL)
		return -1;
	core->ports[core->n_ports] = port;
	return (int)core->n_ports++;
}

static bool
has_room_for_port(const struct fw_core *core, char *error)
{
	if (!core_is_open(core, error))
		return false;
	if (core->n_ports < FW_PORTS_MAX)
		return true;
	snprintf(error, FW_ERROR_BYTES, "more than %d ports", FW_PORTS_MAX);
	return false;
}

struct fw_region *
fw_region_new(struct fw_core *core, unsigned rings, unsigned slots, unsigned buffer_bytes, char *error)
{
	struct fw_region *r = region_new(rings, slots, buffer_bytes);

	if (r == NULL) {
		snprintf(error, FW_ERROR_BYTES, "a region of %u rings, %u slots, %u bytes: %s", rings, slots,
		    buffer_bytes, strerror(errno));
		return NULL;
	}
	r->next = core->regions;
	core->regions = r;
	return r;
}

int
fw_port_mem(struct fw_core *core, struct fw_region *region, unsigned ring_pairs, char *error)
{
	struct fw_port *port;

	if (!has_room_for_port(core, error))
		return -1;
	port = port_mem_new(region, core->n_ports, ring_pairs);
	if (port == NULL)
		snprintf(error, FW_ERROR_BYTES, "the region has no %u pairs of rings left", ring_pairs);
	return add_port(core, port);
}

int
fw_port_pcap_in(struct fw_core *core, struct fw_region *region, const char *path, char *error)
{
	if (!has_room_for_port(core, error))
		return -1;
	return add_port(core, port_pcap_in_new(region, core->n_ports, path, error));
}

int
fw_port_pcap_out(struct fw_core *core, struct fw_region *region, const char *path, char *error)
{
	if (!has_room_for_port(core, error))
		return -1;
	return add_port(core, port_pcap_out_new(region, core->n_ports, path, error));
}

struct fw_umem *
fw_umem_new(struct fw_core *core, unsigned sockets, unsigned tx_queues, unsigned buffer_bytes, unsigned copies,
    char *error)
{
	struct fw_umem *u = port_xdp_memory(sockets, tx_queues, buffer_bytes, copies != 0, error);

	if (u == NULL)
		return NULL;
	u->next = core->umems;
	core->umems = u;
	return u;
}

int
fw_port_xdp(struct fw_core *core, struct fw_umem *umem, const char *interface, unsigned rx_queues, unsigned tx_queues,
    char *error)
{
	struct fw_port *port;
	bool needs_copies;

	if (!has_room_for_port(core, error))
		return -1;
	port = port_xdp_new(umem, core->n_ports, interface, rx_queues, tx_queues, &needs_copies, error);
	return port == NULL && needs_copies ? -2 : add_port(core, port);
}

int
fw_port_netmap(struct fw_core *core, const char *name, char *error)
{
	if (!has_room_for_port(core, error))
		return -1;
	return add_port(core, port_netmap_new(&core->nm_regions, core->n_ports, name, error));
}

int
fw_port_rings(struct fw_core *core, unsigned port, unsigned *rx, unsigned *tx)
{
	struct fw_port *p = core_port(core, port);

	if (p == NULL)
		return -1;
	for (*rx = 0; p->ops->rx_queue(p, *rx) != NULL; (*rx)++)
		;
	for (*tx = 0; p->ops->tx_queue(p, *tx) != NULL; (*tx)++)
		;
	return 0;
}

const char *
fw_port_error(struct fw_core *core, unsigned port)
{
	struct fw_port *p = core_port(core, port);

	return p != NULL && p->error[0] != '\0' ? p->error : NULL;
}

int
fw_port_close(struct fw_core *core, unsigned port, char *error)
{
	struct fw_port *p = core_port(core, port);

	if (p == NULL || p->ops->close(p) == 0)
		return 0;
	snprintf(error, FW_ERROR_BYTES, "%s", p->error);
	return -1;
}

void
fw_port_fail(struct fw_core *core, unsigned port, const char *why)
{
	struct fw_port *p = core_port(core, port);
	struct fw_queue *q;

	if (p == NULL)
		return;
	if (p->error[0] == '\0')
		snprintf(p->error, sizeof p->error, "%s", why);
	for (unsigned i = 0; (q = p->ops->rx_queue(p, i)) != NULL; i++)
		__atomic_store_n(&q->failed, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; (q = p->ops->tx_queue(p, i)) != NULL; i++)
		__atomic_store_n(&q->failed, true, __ATOMIC_RELEASE);
	for (struct fw_worker *w = core->workers; w != NULL; w = w->next)
		fw_worker_wake(w);
}
