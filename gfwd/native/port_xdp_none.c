/*
 * In the place of port_xdp.c where there is no AF_XDP: the same functions, which say so.
 */
#ifndef __linux__
#include <stdio.h>

#include "port_xdp.h"

static void
no_xdp(char *error)
{
	snprintf(error, FW_ERROR_BYTES, "this gfwd was built without AF_XDP, which only Linux has");
}

bool
port_xdp_queues(const char *interface, unsigned *rx, unsigned *tx, char *error)
{
	(void)interface, (void)rx, (void)tx;
	no_xdp(error);
	return false;
}

struct fw_umem *
port_xdp_memory(unsigned sockets, unsigned tx_queues, unsigned buffer_bytes, bool copies, char *error)
{
	(void)sockets, (void)tx_queues, (void)buffer_bytes, (void)copies;
	no_xdp(error);
	return NULL;
}

void
port_xdp_memory_free(struct fw_umem *u)
{
	(void)u;
}

struct fw_port *
port_xdp_new(struct fw_umem *u, uint32_t number, const char *interface, unsigned rx_queues, unsigned tx_queues,
    bool *needs_copies, char *error)
{
	(void)u, (void)number, (void)interface, (void)rx_queues, (void)tx_queues, (void)needs_copies;
	no_xdp(error);
	return NULL;
}

bool
port_is_xdp(const struct fw_port *port)
{
	(void)port;
	return false;
}

bool
port_xdp_redirect(struct fw_port *port, const struct fw_plan *plan, char *error)
{
	(void)port, (void)plan;
	no_xdp(error);
	return false;
}

void
port_xdp_read(const struct fw_port *port, struct fw_xdp_port *s)
{
	(void)port;
	*s = (struct fw_xdp_port){ 0 };
}
#endif
