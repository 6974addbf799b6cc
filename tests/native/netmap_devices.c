#include <sys/socket.h>

#include "netmap_inside.h"

/* ---- descriptors: poll() finds them readable or writable as netmap's would be ---- */

void
refresh(struct opened *o)
{
	bool readable = false, writable = false;
	char byte = 0;

	if (o == NULL || o->fd < 0 || o->end < 0 || o->device == NULL)
		return;
	for (unsigned i = o->rx[0]; i < o->rx[1]; i++) {
		const struct kring *k = &o->device->rx[i];

		readable |= k->n_frames > 0 || k->rtail != k->rhead || (k->pipe != NULL && k->pipe_tail != k->hwtail);
	}
	for (unsigned i = o->tx[0]; i < o->tx[1]; i++) {
		const struct kring *k = &o->device->tx[i];

		writable |= k->rtail != k->rhead || (k->pipe != NULL && k->pipe_tail != k->hwtail) ||
		    (k->sends > 0 && k->hwcur != k->rhead) || (k->frees > 0 && k->hwtail != previous(k, k->hwcur));
	}
	if (readable && !o->is_readable)
		CHECK(send(o->end, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1, "a full socket");
	while (!readable && recv(o->fd, &byte, 1, MSG_DONTWAIT) > 0)
		;
	while (!writable && send(o->fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	while (writable && recv(o->end, &byte, 1, MSG_DONTWAIT) > 0)
		;
	o->is_readable = readable;
	o->is_writable = writable;
}

/* ---- devices ---- */

struct device *
new_device(enum kind kind, const char *name, struct region *r, unsigned tx, unsigned rx, unsigned host, uint32_t slots)
{
	struct device *d = kernel.devices;

	while (d->kind != NONE)
		CHECK(++d < &kernel.devices[DEVICES], "too many devices");
	*d = (struct device){ .kind = kind, .region = r, .n_tx = tx, .n_rx = rx, .n_host = host };
	snprintf(d->name, sizeof d->name, "%s", name);
	for (unsigned i = 0; i < 2 * RINGS; i++) {
		struct kring *k = i < RINGS ? &d->tx[i] : &d->rx[i - RINGS];

		*k = (struct kring){ .device = d, .is_tx = i < RINGS, .n = slots, .sends = slots, .frees = slots };
		k->last = &k->first;
	}
	return d;
}

struct device *
find_device(const char *name)
{
	for (unsigned i = 0; i < DEVICES; i++)
		if (kernel.devices[i].kind != NONE && strcmp(kernel.devices[i].name, name) == 0)
			return &kernel.devices[i];
	return NULL;
}

/* Pipes and VALE ports come to be when they are named; a pipe with its other end. */
struct device *
find_or_make_device(const char *name)
{
	struct device *d = find_device(name), *other;
	char other_name[64], *at;

	if (d != NULL || (strncmp(name, "vale", 4) == 0 && strchr(name, ':') != NULL)) {
		return d != NULL ? d : new_device(VALE, name, region_of(++kernel.last_region, 2048, 200), 1, 1, 0, 16);
	}
	snprintf(other_name, sizeof other_name, "%s", name);
	at = strpbrk(other_name, "{}");
	if (at == NULL)
		return NULL;
	*at = *at == '{' ? '}' : '{';
	d = new_device(PIPE, name, region_of(++kernel.last_region, 2048, 400), 1, 1, 0, 16);
	other = new_device(PIPE, other_name, d->region, 1, 1, 0, 16);
	d->tx[0].pipe = &other->rx[0];
	d->rx[0].pipe = &other->tx[0];
	other->tx[0].pipe = &d->rx[0];
	other->rx[0].pipe = &d->tx[0];
	return d;
}

/* ---- rings come and go ---- */

void
drop_frames(struct kring *k)
{
	while (k->first != NULL) {
		struct wire_frame *f = k->first;

		k->first = f->next;
		free(f);
	}
	k->last = &k->first;
	k->n_frames = 0;
}

/* Whose buffer is it that this slot names? In a pipe both ends have the slot, and one of them the buffer. */
static bool
has_buffer(const struct kring *k, uint32_t slot)
{
	const struct kring *rx = k->is_tx ? k->pipe : k, *tx = k->is_tx ? k : k->pipe;

	if (k->pipe == NULL)
		return true;
	return (distance(k, rx->hwcur, slot) < distance(k, rx->hwcur, tx->hwcur)) != k->is_tx;
}

static void
delete_ring(struct kring *k)
{
	struct region *r = k->device->region;

	for (uint32_t i = 0; i < k->n; i++) {
		uint32_t buf = k->hidden[i] != 0 ? k->hidden[i] : k->ring->slot[i].buf_idx;

		if (has_buffer(k, i))
			release_buffer(r, buf, k->device->name);
	}
	if (!k->is_tx)
		drop_frames(k);	/* those that have left are on the wire */
}

static void
forget_ring(struct kring *k)
{
	k->device->region->has_ring[(k->offset - IFS * IF_BYTES) / RING_BYTES] = false;
	k->ring = NULL;
	k->lie = 0;
}

static bool
create_ring(struct kring *k)
{
	struct region *r = k->device->region;
	unsigned place = 0;
	bool fake = k->pipe != NULL && !k->is_tx;

	while (r->has_ring[place])
		CHECK(++place < IFS, "no place for a ring");
	r->has_ring[place] = true;
	k->offset = IFS * IF_BYTES + (size_t)place * RING_BYTES;
	k->ring = (struct netmap_ring *)(void *)(r->memory + k->offset);
	memset(k->ring, 0, RING_BYTES);
	k->hwcur = k->rhead = 0;
	k->hwtail = k->rtail = k->pipe_tail = k->is_tx ? k->n - 1 : 0;
	memset(k->hidden, 0, sizeof k->hidden);
	set(&k->ring->buf_ofs, buffer_offset(r, 0) - k->offset, 8);
	set(&k->ring->num_slots, k->n, 4);
	set(&k->ring->nr_buf_size, r->buf_size, 4);
	set(&k->ring->dir, !k->is_tx, 2);
	k->ring->tail = k->rtail;
	for (uint32_t i = 0; i < k->n; i++) {
		bool is_lent = k->is_tx && i < k->n - 1;

		/* A pipe's RX ring has the buffers of the other end's TX ring. */
		k->ring->slot[i].buf_idx = fake ? 0 : allocate(r, is_lent ? PROGRAM : KERNEL);
		k->known[i] = k->ring->slot[i].buf_idx;
		if (!fake && k->ring->slot[i].buf_idx == 0)
			return false;
	}
	return true;
}

/* Creates the rings that nobody has yet, and with a pipe's end the other one. False: no memory. */
bool
create_rings(struct kring *rings, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++) {
		struct kring *k = &rings[i];

		if (k->ring == NULL && !create_ring(k)) {
			for (uint32_t slot = 0; slot < k->n && k->ring->slot[slot].buf_idx != 0; slot++)
				release_buffer(k->device->region, k->ring->slot[slot].buf_idx, "unwinding");
			forget_ring(k);
			return false;
		}
		if (k->pipe != NULL && k->pipe->ring == NULL)
			CHECK(create_ring(k->pipe), "no memory for a pipe");
	}
	return true;
}

void
delete_rings(struct kring *rings, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++) {
		struct kring *k = &rings[i];

		if (k->ring == NULL || k->users > 0 || (k->pipe != NULL && k->pipe->users > 0))
			continue;
		delete_ring(k);
		if (k->pipe != NULL) {
			delete_ring(k->pipe);
			forget_ring(k->pipe);
		}
		forget_ring(k);
	}
}
