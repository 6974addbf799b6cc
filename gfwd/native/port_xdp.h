/*
 * The AF_XDP port: an interface of Linux, with one socket a queue, all in one memory. An XDP program (redirect.bpf.c) hands
 * over what is ours and leaves the rest to the kernel, so the host lives on behind the same card.
 *
 * Elsewhere than on Linux every function that opens something says that there is no AF_XDP.
 */
#ifndef GFWD_PORT_XDP_H
#define GFWD_PORT_XDP_H

#include "port.h"
#include "xsk.h"

/* RX and TX queues that an interface has now. False: `error` says why not. */
bool port_xdp_queues(const char *interface, unsigned *rx, unsigned *tx, char *error);

/* Memory for so many sockets and TX queues of all ports; NULL: `error` says why. `copies`: see fw_abi.h. */
struct fw_umem *port_xdp_memory(unsigned sockets, unsigned tx_queues, unsigned buffer_bytes, bool copies, char *error);
void port_xdp_memory_free(struct fw_umem *);

/*
 * Opens RX queues 0 to rx_queues - 1, and TX queues likewise. Nothing is redirected yet. NULL: `error` says why; where
 * *needs_copies is set, it would do with memory made with `copies`.
 */
struct fw_port *port_xdp_new(struct fw_umem *, uint32_t number, const char *interface, unsigned rx_queues,
    unsigned tx_queues, bool *needs_copies, char *error);

/* Is it a port of this kind? The rest is for these only. */
bool port_is_xdp(const struct fw_port *);
/* From now on, own addresses and ports of this plan are redirected; NULL: nothing is. False: `error` says why not. */
bool port_xdp_redirect(struct fw_port *, const struct fw_plan *, char *error);
void port_xdp_read(const struct fw_port *, struct fw_xdp_port *);

#endif
