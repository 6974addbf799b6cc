#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "netmap_name.h"
#include "netmap_system.h"
#include "nmring.h"
#include "port_netmap.h"

#define DEVICE "/dev/netmap"
/* Syncs without any progress, after which a TX ring counts as left alone: the card tells of what it has sent when it likes. */
#define OWING_SYNCS 64
#define CLOSING_MS 100
#define BROKEN "its ring in netmap's memory is broken"

struct nm_queue {
	struct fw_nmring nm;		/* first: a struct fw_nmring * is also a struct nm_queue * */
	struct netmap_port *its;
	int fd;
	uint32_t synced;		/* TX: head at the last sync … */
	uint32_t freed;			/* … and tail */
	unsigned owing;			/* TX: syncs without progress */
};

/* One open() of the device: a pair of rings, or all of a pipe, a VALE port or the host's side. */
struct nm_opened {
	int fd;
	struct netmap_if *nifp;
	struct nmreq_register req;
	struct nm_queue *tx;		/* the queue that has them; NULL: none has */
};

struct netmap_port {
	struct fw_port port;
	struct nm_name name;
	struct nm_region *region;
	uint32_t card_rx;		/* a card's rings, whether they are ours or not */
	uint32_t card_tx;
	struct nm_opened *opened;
	unsigned n_opened;
	struct nm_queue *rx;
	struct nm_queue *tx;
	unsigned n_rx;
	unsigned n_tx;
};

/* ---- sync: an exchange with the kernel ---- */

static void
fail(struct nm_queue *q, const char *what)
{
	char *error = q->its->port.error;

	if (error[0] == '\0')
		snprintf(error, FW_ERROR_BYTES, "%s", what);
	q->nm.is_broken = true;
	__atomic_store_n(&q->nm.queue.failed, true, __ATOMIC_RELEASE);
}

/* False: the port is broken. */
static bool
sync_ring(struct nm_queue *q, unsigned long request)
{
	const struct netmap_ring *ring = q->nm.ring;
	uint32_t head = ring->head;

	if (__atomic_load_n(&q->nm.queue.failed, __ATOMIC_RELAXED))
		q->nm.is_broken = true;	/* somebody else has found out */
	else if (q->nm.is_broken)
		fail(q, BROKEN);
	else if (nm_system->ioctl(q->fd, request, NULL) != 0)
		fail(q, errno == ENXIO || errno == EIO ? "netmap has lost the interface" : strerror(errno));
	else if (ring->head >= ring->num_slots || ring->tail >= ring->num_slots || ring->num_slots != q->nm.queue.slots)
		fail(q, BROKEN);
	else if (ring->head != head)	/* frames would be sent, or received, a second time */
		fail(q, "netmap found its ring in disorder: another program writes into it");
	return !q->nm.is_broken;
}

static void
sync_rx(struct fw_nmring *nm)
{
	struct nm_queue *q = (struct nm_queue *)nm;

	sync_ring(q, NIOCRXSYNC);
}

/* Has the card something of ours that it may not have sent? */
static bool
is_pending(struct netmap_ring *ring)
{
	return nm_ring_next(ring, ring->tail) != ring->head;
}

static void
sync_tx(struct fw_nmring *nm)
{
	struct nm_queue *q = (struct nm_queue *)nm;
	struct netmap_ring *ring = nm->ring;
	bool is_new = ring->head != q->synced;

	if (!is_new && !is_pending(ring)) {
		nm->queue.owes = false;
		return;
	}
	q->synced = ring->head;
	if (!sync_ring(q, NIOCTXSYNC)) {
		nm->queue.owes = false;
		return;
	}
	q->owing = is_new || ring->tail != q->freed ? 0 : q->owing + 1;
	q->freed = ring->tail;
	nm->queue.owes = is_pending(ring) && q->owing < OWING_SYNCS;
}

/* ---- opening ---- */

static bool
explain_device(char *error)
{
	int why = errno;

	if (why == ENOENT || why == ENXIO || why == ENODEV)
		snprintf(error, FW_ERROR_BYTES,
		    "there is no " DEVICE ": load netmap (FreeBSD: kldload netmap; Linux: insmod netmap.ko)");
	else if (why == EACCES || why == EPERM)
		snprintf(error, FW_ERROR_BYTES, "no permission for " DEVICE ": run gfwd as root, or give its user the device");
	else
		snprintf(error, FW_ERROR_BYTES, DEVICE ": %s", strerror(why));
	return false;
}

static bool
explain_register(const struct nm_name *name, char *error)
{
	int why = errno;

	switch (why) {
	case ENXIO:
	case ENODEV:
	case ENOENT:
		snprintf(error, FW_ERROR_BYTES, "there is no such interface, or netmap cannot open it");
		break;
	case EBUSY:
		snprintf(error, FW_ERROR_BYTES, "another program has its rings: end that, or name other rings");
		break;
	case EIO:
	case ENETDOWN:
		snprintf(error, FW_ERROR_BYTES, "netmap cannot open it while it is down; bring it up: ifconfig %s up", name->name);
		break;
	case ENOMEM:
		snprintf(error, FW_ERROR_BYTES,
		    "netmap has no memory left for it: close other netmap programs, or raise dev.netmap.buf_num, "
		    "dev.netmap.ring_num and dev.netmap.ring_size");
		break;
	case EINVAL:
		snprintf(error, FW_ERROR_BYTES, "netmap refuses it: no such ring, or a kernel with another API than %d",
		    NETMAP_API);
		break;
	default:
		snprintf(error, FW_ERROR_BYTES, "netmap refuses it: %s", strerror(why));
	}
	return false;
}

static bool
control(const struct nm_opened *o, const struct nm_name *name, uint16_t type, void *body, char *error)
{
	struct nmreq_header header;

	memset(&header, 0, sizeof header);
	header.nr_version = NETMAP_API;
	header.nr_reqtype = type;
	memcpy(header.nr_name, name->name, sizeof header.nr_name);
	header.nr_body = (uintptr_t)body;
	return nm_system->ioctl(o->fd, NIOCCTRL, &header) == 0 || explain_register(name, error);
}

/* How many rings the card has. Who opens the first one is told then; for another one that must be known before. */
static bool
ask_card(struct netmap_port *p, const struct nm_opened *o, char *error)
{
	struct nmreq_port_info_get info;

	memset(&info, 0, sizeof info);
	if (!control(o, &p->name, NETMAP_REQ_PORT_INFO_GET, &info, error))
		return false;
	p->card_rx = info.nr_rx_rings;
	p->card_tx = info.nr_tx_rings;
	return true;
}

static bool
registered(const struct netmap_port *p, struct nm_opened *o, uint32_t ring, char *error)
{
	static const uint32_t modes[] = {
		[NM_CARD] = NR_REG_ONE_NIC,
		[NM_HOST] = NR_REG_SW,
		[NM_PIPE] = NR_REG_ALL_NIC,
		[NM_VALE] = NR_REG_ALL_NIC,
	};

	memset(&o->req, 0, sizeof o->req);
	o->req.nr_mode = modes[p->name.kind];
	o->req.nr_ringid = (uint16_t)ring;
	o->req.nr_extra_bufs = FW_SPARES;
	/* Else two programs may have the same rings, and each undo what the other does. */
	o->req.nr_flags = NR_EXCLUSIVE;
	/* Where a card has fewer rings of one direction, netmap would give the first one of these instead, and then it is busy. */
	if (p->name.kind == NM_CARD && ring > 0 && ring >= p->card_tx)
		o->req.nr_flags |= NR_RX_RINGS_ONLY;
	else if (p->name.kind == NM_CARD && ring > 0 && ring >= p->card_rx)
		o->req.nr_flags |= NR_TX_RINGS_ONLY;
	return control(o, &p->name, NETMAP_REQ_REGISTER, &o->req, error);
}

static struct nm_region *
mapped(struct nm_region **regions, const struct nm_opened *o, char *error)
{
	struct nm_region *r;

	for (r = *regions; r != NULL; r = r->next)
		if (r->id == o->req.nr_mem_id && r->bytes == o->req.nr_memsize)
			return r;
	r = calloc(1, sizeof *r);
	if (r == NULL) {
		snprintf(error, FW_ERROR_BYTES, "no memory left");
		return NULL;
	}
	r->id = o->req.nr_mem_id;
	r->bytes = o->req.nr_memsize;
	r->memory = nm_system->map(o->fd, r->bytes);
	if (r->memory == MAP_FAILED) {
		snprintf(error, FW_ERROR_BYTES, "netmap's memory (%zu KiB) cannot be mapped: %s", r->bytes / 1024,
		    strerror(errno));
		free(r);
		return NULL;
	}
	r->next = *regions;
	*regions = r;
	return r;
}

/* Opens one more pair of rings, and maps what it lies in. */
static bool
open_rings(struct netmap_port *p, struct nm_region **regions, uint32_t ring, char *error)
{
	struct nm_opened *o = &p->opened[p->n_opened];
	struct nm_region *region;

	memset(o, 0, sizeof *o);
	o->fd = nm_system->open(DEVICE);
	if (o->fd < 0)
		return explain_device(error);
	p->n_opened++;
	if (p->n_opened == 1 && ring > 0 && !ask_card(p, o, error))
		return false;
	if (!registered(p, o, ring, error))
		return false;
	p->card_rx = o->req.nr_rx_rings;
	p->card_tx = o->req.nr_tx_rings;
	region = mapped(regions, o, error);
	if (region == NULL)
		return false;
	if (p->region != NULL && p->region != region) {
		snprintf(error, FW_ERROR_BYTES, "its rings lie in different memory regions of netmap");
		return false;
	}
	p->region = region;
	if (o->req.nr_offset >= region->bytes - sizeof *o->nifp) {
		snprintf(error, FW_ERROR_BYTES, "netmap says that its rings lie outside of the memory that it gave");
		return false;
	}
	o->nifp = NETMAP_IF(region->memory, o->req.nr_offset);
	return true;
}

/* ---- queues ---- */

/* Is the ring there, and does it lie inside of the region, with its slots and the first of its buffers? */
static bool
ring_lies_inside(const struct nm_region *r, const struct netmap_if *nifp, const struct netmap_ring *ring)
{
	const uint8_t *start = (const uint8_t *)ring;
	size_t left;

	/* Rings that were not asked for have no offset. */
	if (start == (const uint8_t *)nifp)
		return false;

	if (start < r->memory || start >= r->memory + r->bytes - sizeof *ring || ((uintptr_t)start & 7) != 0)
		return false;
	left = (size_t)(r->memory + r->bytes - start);
	return ring->num_slots >= 2 && ring->num_slots <= (left - sizeof *ring) / sizeof(struct netmap_slot) &&
	    ring->nr_buf_size >= 64 && ring->buf_ofs > 0 && (uint64_t)ring->buf_ofs < left && ring->head < ring->num_slots &&
	    ring->tail < ring->num_slots;
}

static bool
init_queue(struct netmap_port *p, struct nm_queue *q, const struct nm_opened *o, struct netmap_ring *ring,
    void (*sync)(struct fw_nmring *))
{
	const struct nm_region *r = p->region;
	const uint8_t *buffers;

	if (!ring_lies_inside(r, o->nifp, ring))
		return false;
	buffers = (const uint8_t *)NETMAP_BUF(ring, 0);
	nmring_init(&q->nm, ring, (uint32_t)((size_t)(r->memory + r->bytes - buffers) / ring->nr_buf_size), p->port.number,
	    sync);
	q->nm.queue.fd = o->fd;
	q->its = p;
	q->fd = o->fd;
	q->synced = ring->head;
	q->freed = ring->tail;
	return true;
}

/*
 * Spare buffers come as a chain: each begins with the number of the next. What is in it from now on are frames, so the head
 * is taken off: were we killed, netmap would walk through them otherwise. close_rings() puts the chain back.
 */
static void
take_extra(struct nm_opened *o, struct nm_queue *q)
{
	uint32_t *head = (uint32_t *)(uintptr_t)&o->nifp->ni_bufs_head;
	uint32_t buf = *head;

	while (buf != 0 && buf < q->nm.n_buffers && q->nm.queue.n_spares < FW_SPARES) {
		q->nm.queue.spares[q->nm.queue.n_spares++] = buf;
		memcpy(&buf, queue_buffer(&q->nm.queue, buf), sizeof buf);
	}
	*head = 0;
	o->tx = q;
}

static void
give_extra_back(struct nm_opened *o)
{
	uint32_t *head;
	struct fw_queue *q;

	if (o->tx == NULL)
		return;
	head = (uint32_t *)(uintptr_t)&o->nifp->ni_bufs_head;
	q = &o->tx->nm.queue;
	while (q->n_spares > 0) {
		uint32_t buf = q->spares[--q->n_spares];

		memcpy(queue_buffer(q, buf), head, sizeof *head);
		*head = buf;
	}
}

/* The queues of what was opened last. A TX queue needs spare buffers; what netmap gives at one opening is for one. */
static bool
add_queues(struct netmap_port *p, uint32_t ring, char *error)
{
	struct nm_opened *o = &p->opened[p->n_opened - 1];
	const struct netmap_if *nifp = o->nifp;
	uint32_t tx = ring, rx = ring, last_rx = ring;

	if (p->name.kind == NM_HOST) {
		tx = nifp->ni_tx_rings;
		rx = nifp->ni_rx_rings;
		last_rx = rx + (nifp->ni_host_rx_rings > 0 ? nifp->ni_host_rx_rings : 1) - 1;
	} else if (p->name.kind != NM_CARD) {
		last_rx = o->req.nr_rx_rings - 1U;
	}
	for (; rx <= last_rx && p->n_rx < FW_PORTS_MAX && (p->name.kind != NM_CARD || rx < o->req.nr_rx_rings); rx++)
		if (!init_queue(p, &p->rx[p->n_rx++], o, NETMAP_RXRING(nifp, rx), sync_rx))
			goto broken;
	if (p->name.kind == NM_CARD && tx >= o->req.nr_tx_rings)
		return true;
	if (!init_queue(p, &p->tx[p->n_tx++], o, NETMAP_TXRING(nifp, tx), sync_tx))
		goto broken;
	take_extra(o, &p->tx[p->n_tx - 1]);
	if (p->tx[p->n_tx - 1].nm.queue.n_spares == FW_SPARES)
		return true;
	snprintf(error, FW_ERROR_BYTES, "netmap gave %u of %u spare buffers: raise dev.netmap.buf_num",
	    p->tx[p->n_tx - 1].nm.queue.n_spares, FW_SPARES);
	return false;
broken:
	snprintf(error, FW_ERROR_BYTES, "its rings in netmap's memory are broken");
	return false;
}

/* ---- life ---- */

static struct fw_queue *
netmap_rx_queue(struct fw_port *port, unsigned ring)
{
	struct netmap_port *p = (struct netmap_port *)port;

	return ring < p->n_rx ? &p->rx[ring].nm.queue : NULL;
}

static struct fw_queue *
netmap_tx_queue(struct fw_port *port, unsigned ring)
{
	struct netmap_port *p = (struct netmap_port *)port;

	return ring < p->n_tx ? &p->tx[ring].nm.queue : NULL;
}

/* The last frames leave; those that do not within a moment are lost with the port. */
static int
netmap_close(struct fw_port *port)
{
	struct netmap_port *p = (struct netmap_port *)port;
	const struct timespec millisecond = { .tv_nsec = 1000000 };

	for (unsigned ms = 0; ms < CLOSING_MS && port->error[0] == '\0'; ms++) {
		bool owes = false;

		for (unsigned i = 0; i < p->n_tx; i++) {
			p->tx[i].nm.queue.ops->flush(&p->tx[i].nm.queue);
			owes |= p->tx[i].nm.queue.owes;
		}
		if (!owes)
			break;
		nanosleep(&millisecond, NULL);
	}
	return 0;
}

static void
netmap_free(struct fw_port *port)
{
	struct netmap_port *p = (struct netmap_port *)port;

	for (unsigned i = 0; i < p->n_opened; i++) {
		give_extra_back(&p->opened[i]);
		nm_system->close(p->opened[i].fd);
	}
	free(p->opened);
	free(p->rx);
	free(p->tx);
	free(p);
}

static const struct fw_port_ops netmap_ops = {
	.rx_queue = netmap_rx_queue,
	.tx_queue = netmap_tx_queue,
	.close = netmap_close,
	.free = netmap_free,
};

static struct netmap_port *
port_alloc(uint32_t number)
{
	struct netmap_port *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->port.ops = &netmap_ops;
	p->port.number = number;
	p->opened = calloc(FW_PORTS_MAX, sizeof *p->opened);
	p->rx = calloc(FW_PORTS_MAX, sizeof *p->rx);
	p->tx = calloc(FW_PORTS_MAX, sizeof *p->tx);
	if (p->opened != NULL && p->rx != NULL && p->tx != NULL)
		return p;
	netmap_free(&p->port);
	return NULL;
}

/* A card's rings are opened one by one, so that each worker waits for its own; all else in one go. */
static bool
open_all(struct netmap_port *p, struct nm_region **regions, char *error)
{
	uint32_t ring = p->name.first_ring, last = p->name.last_ring;

	do {
		if (!open_rings(p, regions, ring, error) || !add_queues(p, ring, error))
			return false;
		if (p->name.kind != NM_CARD)
			return true;
		if (last == UINT32_MAX)
			last = (p->card_rx > p->card_tx ? p->card_rx : p->card_tx) - 1U;
		if (last - p->name.first_ring >= FW_PORTS_MAX) {
			/* Some of them would not do: what the card puts into the others, nobody would forward. */
			snprintf(error, FW_ERROR_BYTES, "%u rings, and a port has up to %u: give the card fewer queues (FreeBSD, "
			    "loader.conf: hw.ix.num_queues, or dev.ix.0.iflib.override_nrxqs and override_ntxqs; Linux: ethtool -L %s)",
			    last - p->name.first_ring + 1, FW_PORTS_MAX, p->name.name);
			return false;
		}
	} while (ring++ < last);
	return true;
}

struct fw_port *
port_netmap_new(struct nm_region **regions, uint32_t number, const char *name, char *error)
{
	struct netmap_port *p = port_alloc(number);
	struct nm_region *before = *regions;

	if (p == NULL) {
		snprintf(error, FW_ERROR_BYTES, "no memory left");
		return NULL;
	}
	if (nm_name_parse(&p->name, name, error) && open_all(p, regions, error))
		return &p->port;
	netmap_free(&p->port);
	/* A mapping keeps what was opened open, also when its descriptor is closed. */
	while (*regions != before) {
		struct nm_region *its = *regions;

		*regions = its->next;
		its->next = NULL;
		nm_regions_free(its);
	}
	return NULL;
}

void
nm_regions_free(struct nm_region *r)
{
	while (r != NULL) {
		struct nm_region *next = r->next;

		nm_system->unmap(r->memory, r->bytes);
		free(r);
		r = next;
	}
}
