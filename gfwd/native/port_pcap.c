#include <errno.h>
#include <stdlib.h>

#include "nmring.h"
#include "pcap_file.h"
#include "port_pcap.h"

struct pcap_port {
	struct fw_nmring nm;		/* first: a struct fw_nmring * is also a struct pcap_port * */
	struct fw_port port;
	bool is_input;
	bool is_read;			/* input: the file's end was met, or the place where it is broken */
	struct pcap_reader reader;	/* input */
	FILE *file;			/* output; NULL once closed */
};

static struct pcap_port *
pcap_port(struct fw_port *port)
{
	return (struct pcap_port *)(void *)((char *)port - offsetof(struct pcap_port, port));
}

/* ---- the card's side ---- */

/* Fills every slot that the worker has given back, up to the file's end. */
static void
sync_in(struct fw_nmring *nm)
{
	struct pcap_port *p = (struct pcap_port *)nm;
	struct netmap_ring *ring = nm->ring;

	while (!p->is_read && nm_ring_next(ring, ring->tail) != ring->head) {
		struct netmap_slot *slot = &ring->slot[ring->tail];
		uint32_t room = nm->queue.frame_max, bytes;
		enum pcap_read r = pcap_reader_next(&p->reader, (uint8_t *)NETMAP_BUF(ring, slot->buf_idx), room, &bytes,
		    &nm->times[ring->tail]);

		if (r == PCAP_BROKEN)
			memcpy(p->port.error, p->reader.error, sizeof p->port.error);
		if (r != PCAP_FRAME) {
			p->is_read = true;
			break;
		}
		/* Longer than any buffer here: netmap's own sign for a frame that lies elsewhere. */
		slot->flags = bytes > room ? NS_INDIRECT : 0;
		slot->len = (uint16_t)(bytes > room ? room : bytes);
		ring->tail = nm_ring_next(ring, ring->tail);
	}
	/* What was read may still wait for room at the other side. */
	nm->queue.ended = p->is_read && nm_ring_empty(ring);
}

/* Writes every slot that the worker has filled. */
static void
sync_out(struct fw_nmring *nm)
{
	struct pcap_port *p = (struct pcap_port *)nm;
	struct netmap_ring *ring = nm->ring;
	uint32_t s = nm_ring_next(ring, ring->tail);

	for (; s != ring->head; s = nm_ring_next(ring, s)) {
		const struct netmap_slot *slot = &ring->slot[s];

		if (p->file == NULL)
			nm->queue.failed = true;	/* closed: what comes now is lost */
		if (!nm->queue.failed && !pcap_writer_put(p->file, (const uint8_t *)NETMAP_BUF(ring, slot->buf_idx),
		    slot->len, nm->times[s])) {
			nm->queue.failed = true;
			snprintf(p->port.error, sizeof p->port.error, "cannot be written: %s", strerror(errno));
		}
		ring->tail = s;
	}
}

/* ---- life ---- */

static struct fw_queue *
pcap_rx_queue(struct fw_port *port, unsigned ring)
{
	struct pcap_port *p = pcap_port(port);

	return p->is_input && ring == 0 ? &p->nm.queue : NULL;
}

static struct fw_queue *
pcap_tx_queue(struct fw_port *port, unsigned ring)
{
	struct pcap_port *p = pcap_port(port);

	return !p->is_input && ring == 0 ? &p->nm.queue : NULL;
}

static int
pcap_close(struct fw_port *port)
{
	struct pcap_port *p = pcap_port(port);
	FILE *file = p->file;

	p->file = NULL;
	if (file == NULL)
		return 0;
	if (fclose(file) == 0 && !p->nm.queue.failed)
		return 0;
	if (!p->nm.queue.failed)
		snprintf(port->error, sizeof port->error, "cannot be written: %s", strerror(errno));
	p->nm.queue.failed = true;
	return -1;
}

static void
pcap_free(struct fw_port *port)
{
	struct pcap_port *p = pcap_port(port);

	pcap_close(port);
	if (p->is_input)
		pcap_reader_close(&p->reader);
	free(p->nm.times);
	free(p);
}

static const struct fw_port_ops pcap_ops = {
	.rx_queue = pcap_rx_queue,
	.tx_queue = pcap_tx_queue,
	.close = pcap_close,
	.free = pcap_free,
};

static struct pcap_port *
port_new(struct fw_region *region, uint32_t number, bool is_input, char *error)
{
	struct netmap_if *nifp = region_interface(region, !is_input, is_input);
	struct pcap_port *p = calloc(1, sizeof *p);
	struct netmap_ring *ring;

	if (nifp == NULL || p == NULL) {
		snprintf(error, FW_ERROR_BYTES, nifp == NULL ? "the region has no ring left" : "no memory left");
		free(p);
		return NULL;
	}
	ring = is_input ? NETMAP_RXRING(nifp, 0) : NETMAP_TXRING(nifp, 0);
	nmring_init(&p->nm, ring, region->n_buffers, number, is_input ? sync_in : sync_out);
	if (!is_input)
		region_give_spares(region, &p->nm.queue);
	p->nm.times = calloc(ring->num_slots, sizeof *p->nm.times);
	if (p->nm.times == NULL) {
		snprintf(error, FW_ERROR_BYTES, "no memory left");
		free(p);
		return NULL;
	}
	p->port.ops = &pcap_ops;
	p->port.number = number;
	p->is_input = is_input;
	return p;
}

struct fw_port *
port_pcap_in_new(struct fw_region *region, uint32_t number, const char *path, char *error)
{
	struct pcap_port *p = port_new(region, number, true, error);

	if (p == NULL)
		return NULL;
	if (!pcap_reader_open(&p->reader, path)) {
		memcpy(error, p->reader.error, FW_ERROR_BYTES);
		pcap_free(&p->port);
		return NULL;
	}
	return &p->port;
}

struct fw_port *
port_pcap_out_new(struct fw_region *region, uint32_t number, const char *path, char *error)
{
	struct pcap_port *p = port_new(region, number, false, error);

	if (p == NULL)
		return NULL;
	p->file = pcap_writer_open(path);
	if (p->file == NULL) {
		snprintf(error, FW_ERROR_BYTES, "cannot be written: %s", strerror(errno));
		pcap_free(&p->port);
		return NULL;
	}
	return &p->port;
}
