#include "netmap_inside.h"

static bool
is_busy(const struct kring *rings, const unsigned *range, bool exclusive)
{
	for (unsigned i = range[0]; i < range[1]; i++)
		if (rings[i].is_exclusive || (rings[i].users > 0 && exclusive))
			return true;
	return false;
}

static void
use(struct opened *o, struct kring *rings, const unsigned *range, int by)
{
	for (unsigned i = range[0]; i < range[1]; i++) {
		rings[i].users += (unsigned)by;
		rings[i].by = by > 0 ? o : NULL;
		if (o->is_exclusive)
			rings[i].is_exclusive = by > 0;
	}
}

/* netmap_interp_ringid(): a card that has fewer rings of one direction gives its first one instead. */
static bool
choose(unsigned *range, const struct nmreq_register *req, unsigned n, unsigned other, unsigned host)
{
	switch (req->nr_mode) {
	case NR_REG_ALL_NIC:
		range[0] = 0;
		range[1] = n;
		return true;
	case NR_REG_SW:
		range[0] = n;
		range[1] = n + host;
		return host > 0;
	case NR_REG_ONE_NIC:
		range[0] = req->nr_ringid < n ? req->nr_ringid : 0;
		range[1] = range[0] + 1;
		return req->nr_ringid < n || req->nr_ringid < other;
	default:
		return false;
	}
}

static void
make_interface(struct opened *o)
{
	const struct device *d = o->device;
	unsigned place = 0, n = 0;

	while (d->region->has_if[place])
		CHECK(++place < IFS, "no place for an interface");
	d->region->has_if[place] = true;
	o->nifp = (struct netmap_if *)(void *)(d->region->memory + place * IF_BYTES);
	memset(o->nifp, 0, IF_BYTES);
	memcpy(o->nifp->ni_name, d->name, IFNAMSIZ - 1);
	set(&o->nifp->ni_tx_rings, d->n_tx, 4);
	set(&o->nifp->ni_rx_rings, d->n_rx, 4);
	set(&o->nifp->ni_host_tx_rings, d->kind == CARD ? d->n_host : 1, 4);
	set(&o->nifp->ni_host_rx_rings, d->kind == CARD ? d->n_host : 1, 4);
	/* Rings of others, and the host's that pipes and VALE ports do not have, have no offset. */
	for (unsigned i = 0; i < d->n_tx + o->nifp->ni_host_tx_rings; i++, n++)
		if (i >= o->tx[0] && i < o->tx[1])
			set(&o->nifp->ring_ofs[n], d->tx[i].offset - place * IF_BYTES, 8);
	for (unsigned i = 0; i < d->n_rx + o->nifp->ni_host_rx_rings; i++, n++)
		if (i >= o->rx[0] && i < o->rx[1])
			set(&o->nifp->ring_ofs[n], d->rx[i].offset - place * IF_BYTES, 8);
}

static uint32_t
give_extra(struct opened *o, uint32_t wanted)
{
	struct region *r = o->device->region;
	uint32_t n = 0, head = 0, buf;

	for (; n < wanted && kernel.extra_left > 0 && (buf = allocate(r, PROGRAM)) != 0; n++, kernel.extra_left--) {
		memcpy(buffer(r, buf), &head, sizeof head);
		head = buf;
	}
	set(&o->nifp->ni_bufs_head, head, 4);
	kernel.counts.extra_given += n;
	return n;
}

static int
register_port(struct opened *o, const char *name, struct nmreq_register *req)
{
	struct device *d;

	if (must_fail(ON_REGISTER))
		return -1;
	if (o->device != NULL)
		return refuse(EBUSY);
	d = find_or_make_device(name);
	if (d == NULL || d->is_gone)
		return refuse(ENXIO);
	if (!choose(o->tx, req, d->n_tx, d->n_rx, d->n_host) || !choose(o->rx, req, d->n_rx, d->n_tx, d->n_host))
		return refuse(EINVAL);
	if (req->nr_flags & NR_RX_RINGS_ONLY)
		o->tx[0] = o->tx[1] = 0;
	if (req->nr_flags & NR_TX_RINGS_ONLY)
		o->rx[0] = o->rx[1] = 0;
	o->is_exclusive = (req->nr_flags & NR_EXCLUSIVE) != 0;
	if (is_busy(d->tx, o->tx, o->is_exclusive) || is_busy(d->rx, o->rx, o->is_exclusive))
		return refuse(EBUSY);
	if (!create_rings(d->tx, o->tx[0], o->tx[1]) || !create_rings(d->rx, o->rx[0], o->rx[1])) {
		delete_rings(d->tx, o->tx[0], o->tx[1]);
		delete_rings(d->rx, o->rx[0], o->rx[1]);
		return refuse(ENOMEM);
	}
	o->device = d;
	use(o, d->tx, o->tx, 1);
	use(o, d->rx, o->rx, 1);
	make_interface(o);
	kernel.counts.held++;
	req->nr_extra_bufs = give_extra(o, req->nr_extra_bufs);
	req->nr_offset = (size_t)((uint8_t *)o->nifp - d->region->memory);
	req->nr_memsize = d->region->bytes;
	req->nr_tx_rings = (uint16_t)d->n_tx;
	req->nr_rx_rings = (uint16_t)d->n_rx;
	req->nr_host_tx_rings = req->nr_host_rx_rings = (uint16_t)d->n_host;
	req->nr_tx_slots = d->tx[0].n;
	req->nr_rx_slots = d->rx[0].n;
	req->nr_mem_id = d->region->id;
	refresh(o);
	return 0;
}

static int
tell_port(const char *name, struct nmreq_port_info_get *req)
{
	const struct device *d;

	if (must_fail(ON_INFO))
		return -1;
	d = find_or_make_device(name);
	if (d == NULL || d->is_gone)
		return refuse(ENXIO);
	req->nr_memsize = d->region->bytes;
	req->nr_tx_rings = (uint16_t)d->n_tx;
	req->nr_rx_rings = (uint16_t)d->n_rx;
	req->nr_mem_id = d->region->id;
	return 0;
}

int
control(struct opened *o, struct nmreq_header *header)
{
	void *body = (void *)(uintptr_t)header->nr_body;

	CHECK(memchr(header->nr_name, 0, sizeof header->nr_name) != NULL, "a name without an end");
	if (header->nr_version < kernel.oldest_api || header->nr_version > kernel.oldest_api + 1)
		return refuse(EINVAL);
	if (header->nr_reserved != 0 || header->nr_options != 0)
		return refuse(EINVAL);
	if (header->nr_reqtype == NETMAP_REQ_REGISTER)
		return register_port(o, header->nr_name, body);
	if (header->nr_reqtype == NETMAP_REQ_PORT_INFO_GET)
		return tell_port(header->nr_name, body);
	return refuse(EINVAL);
}

/* netmap_extra_free(), and the rings that nobody else has. Only when the descriptor is closed and its mapping gone. */
void
let_go(struct opened *o)
{
	struct device *d = o->device;
	struct region *r;
	uint32_t buf;

	if (o->fd >= 0 || o->is_mapped)
		return;
	o->is_used = false;
	if (d == NULL)
		return;
	r = d->region;
	for (buf = o->nifp->ni_bufs_head; is_buffer(r, buf) && r->owner[buf] != FREE; kernel.counts.extra_back++) {
		uint32_t its = buf;

		memcpy(&buf, buffer(r, buf), sizeof buf);
		memset(buffer(r, its), 0, sizeof buf);
		release_buffer(r, its, "extra buffers");
	}
	if (buf != 0)
		complain("the list of extra buffers of %s breaks off with %u", d->name, buf);
	r->has_if[((uint8_t *)o->nifp - r->memory) / IF_BYTES] = false;
	use(o, d->tx, o->tx, -1);
	use(o, d->rx, o->rx, -1);
	delete_rings(d->tx, o->tx[0], o->tx[1]);
	delete_rings(d->rx, o->rx[0], o->rx[1]);
	kernel.counts.held--;
}
