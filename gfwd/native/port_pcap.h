/*
 * The capture-file port: a memory ring whose card is a file. An input has one RX ring, an output one TX ring.
 */
#ifndef GFWD_PORT_PCAP_H
#define GFWD_PORT_PCAP_H

#include "port.h"
#include "region.h"

/* NULL: `error` (FW_ERROR_BYTES long) says why. */
struct fw_port *port_pcap_in_new(struct fw_region *, uint32_t number, const char *path, char *error);
struct fw_port *port_pcap_out_new(struct fw_region *, uint32_t number, const char *path, char *error);

#endif
