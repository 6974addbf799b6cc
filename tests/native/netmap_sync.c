#include "netmap_inside.h"

/* nm_txsync_prologue(), nm_rxsync_prologue(): `known` <= head <= cur <= tail, around the ring. */
static bool
is_sound(const struct kring *k, uint32_t known, uint32_t tail)
{
	uint32_t head = k->ring->head, cur = k->ring->cur;

	return head < k->n && cur < k->n && distance(k, known, head) <= distance(k, known, tail) &&
	    distance(k, known, cur) <= distance(k, known, tail) && distance(k, known, head) <= distance(k, known, cur);
}

/* netmap_ring_reinit() */
static void
reinit(struct kring *k)
{
	struct netmap_ring *ring = k->ring;
	bool is_bad = ring->cur >= k->n || ring->head >= k->n || ring->tail >= k->n;

	kernel.counts.reinits++;
	k->rhead = ring->head;
	k->rtail = ring->tail;
	for (uint32_t i = 0; i < k->n; i++) {
		if (!is_buffer(k->device->region, ring->slot[i].buf_idx)) {
			ring->slot[i].buf_idx = 0;
			ring->slot[i].len = 0;
		} else if (ring->slot[i].len > k->device->region->buf_size) {
			ring->slot[i].len = 0;
		}
	}
	if (is_bad) {
		ring->head = ring->cur = k->rhead = k->hwcur;
		ring->tail = k->rtail = k->hwtail;
	}
}

static void
finalize(struct kring *k)
{
	k->ring->tail = k->rtail = k->hwtail;
	if (k->lie != 0)
		k->ring->tail = k->lie;
}

/* The program gives a slot: its buffer, and whether it says so when that is another one than before. */
bool
take_slot(struct kring *k, uint32_t i)
{
	struct netmap_slot *slot = &k->ring->slot[i];

	if (k->hidden[i] != 0) {
		if (slot->buf_idx != k->known[i])
			complain("%s: slot %u, which named buffer %u, came back with %u", k->device->name, i, k->known[i],
			    slot->buf_idx);
		slot->buf_idx = k->known[i] = k->hidden[i];
		k->hidden[i] = 0;
	}
	if (slot->buf_idx != k->known[i] && (slot->flags & NS_BUF_CHANGED) == 0)
		complain("%s: slot %u has another buffer without saying so", k->device->name, i);
	slot->flags &= (uint16_t)~NS_BUF_CHANGED;
	k->known[i] = slot->buf_idx;
	return hand_over(k->device->region, slot->buf_idx, PROGRAM, KERNEL, k->device->name);
}

void
give_slot(struct kring *k, uint32_t i)
{
	k->known[i] = k->ring->slot[i].buf_idx;
	hand_over(k->device->region, k->hidden[i] != 0 ? k->hidden[i] : k->known[i], KERNEL, PROGRAM, k->device->name);
}

void
add_frame(struct kring *k, const void *data, uint32_t bytes, struct oddity as)
{
	struct wire_frame *f = exact(sizeof *f);

	CHECK(bytes <= sizeof f->data, "a frame of %u bytes", bytes);
	f->next = NULL;
	f->bytes = bytes;
	f->as = as;
	memcpy(f->data, data, bytes);
	*k->last = f;
	k->last = &f->next;
	k->n_frames++;
}

int
take_frame(struct kring *k, void *data, struct oddity *as)
{
	struct wire_frame *f = k->first;
	uint32_t bytes;

	if (f == NULL)
		return -1;
	bytes = f->bytes;
	memcpy(data, f->data, bytes);
	*as = f->as;
	k->first = f->next;
	if (k->first == NULL)
		k->last = &k->first;
	k->n_frames--;
	free(f);
	return (int)bytes;
}

/* Slots that the kernel may still fill. */
bool
has_slot(const struct kring *k)
{
	return k->ring != NULL && k->n_frames + distance(k, k->hwcur, k->hwtail) < k->n - 1;
}

/* To all other ports of the switch; whoever has no room loses it. */
static void
switch_frame(struct device *from, const uint8_t *data, uint32_t bytes)
{
	size_t bridge = strcspn(from->name, ":") + 1;

	for (unsigned i = 0; i < DEVICES; i++) {
		struct device *d = &kernel.devices[i];

		if (d == from || d->kind != VALE || strncmp(d->name, from->name, bridge) != 0)
			continue;
		if (has_slot(&d->rx[0]))
			add_frame(&d->rx[0], data, bytes, (struct oddity){ .flags = 0x100 });
		else
			kernel.counts.vale_lost++;
		refresh(d->rx[0].by);
	}
}

/* False: the slot is none that a driver would take (NM_CHECK_ADDR_LEN); the ring is re-initialised. */
static bool
send_slot(struct kring *k, uint32_t i)
{
	struct netmap_slot *slot = &k->ring->slot[i];
	struct region *r = k->device->region;

	if (!is_buffer(r, slot->buf_idx) || slot->len > r->buf_size) {
		reinit(k);
		return false;
	}
	if (k->device->kind == VALE)
		switch_frame(k->device, buffer(r, slot->buf_idx), slot->len);
	else
		add_frame(k, buffer(r, slot->buf_idx), slot->len, (struct oddity){ .flags = slot->flags });
	return true;
}

static void
txsync_pipe(struct kring *k)
{
	uint32_t old = k->hwtail;

	k->hwtail = k->pipe_tail;
	for (; old != k->hwtail; old = next(k, old))
		give_slot(k, old);
	for (; k->hwcur != k->rhead; k->hwcur = next(k, k->hwcur)) {
		take_slot(k, k->hwcur);
		k->pipe->ring->slot[k->hwcur] = k->ring->slot[k->hwcur];
	}
	k->pipe->pipe_tail = k->hwcur;
	refresh(k->pipe->by);
}

static void
txsync(struct kring *k)
{
	unsigned sends = k->sends, frees = k->frees;

	if (!is_sound(k, k->rhead, k->rtail)) {
		reinit(k);
		return;
	}
	k->rhead = k->ring->head;
	if (k->pipe != NULL) {
		txsync_pipe(k);
		finalize(k);
		return;
	}
	for (; k->hwcur != k->rhead && sends > 0; k->hwcur = next(k, k->hwcur), sends--) {
		if (!send_slot(k, k->hwcur))
			return;
		take_slot(k, k->hwcur);
	}
	for (; k->hwtail != previous(k, k->hwcur) && frees > 0; k->hwtail = next(k, k->hwtail), frees--)
		give_slot(k, k->hwtail);
	finalize(k);
}

static void
rxsync_pipe(struct kring *k)
{
	uint32_t old = k->hwtail;

	k->hwtail = k->pipe_tail;
	for (; old != k->hwtail; old = next(k, old))
		give_slot(k, old);
	for (; k->hwcur != k->rhead; k->hwcur = next(k, k->hwcur)) {
		take_slot(k, k->hwcur);
		k->pipe->ring->slot[k->hwcur] = k->ring->slot[k->hwcur];
	}
	k->pipe->pipe_tail = previous(k, k->hwcur);
	refresh(k->pipe->by);
}

static void
rxsync_card(struct kring *k)
{
	const struct region *r = k->device->region;
	uint8_t data[KERNEL_FRAME_MAX];
	struct oddity as;
	int bytes;

	while (next(k, k->hwtail) != k->hwcur && (bytes = take_frame(k, data, &as)) >= 0) {
		struct netmap_slot *slot = &k->ring->slot[k->hwtail];

		memcpy(buffer(r, slot->buf_idx), data, (size_t)bytes);
		slot->len = as.len != 0 ? as.len : (uint16_t)bytes;
		slot->flags = as.flags;
		if (as.buf != 0) {
			k->hidden[k->hwtail] = slot->buf_idx;
			slot->buf_idx = as.buf;
		}
		give_slot(k, k->hwtail);
		k->hwtail = next(k, k->hwtail);
	}
	for (; k->hwcur != k->rhead; k->hwcur = next(k, k->hwcur))
		take_slot(k, k->hwcur);
}

static void
rxsync(struct kring *k)
{
	if (!is_sound(k, k->hwcur, k->hwtail)) {
		reinit(k);
		return;
	}
	k->rhead = k->ring->head;
	if (k->pipe != NULL)
		rxsync_pipe(k);
	else
		rxsync_card(k);
	finalize(k);
}

int
sync_rings(struct opened *o, bool is_tx)
{
	if (must_fail(is_tx ? ON_TXSYNC : ON_RXSYNC))
		return -1;
	if (o->device == NULL)
		return refuse(ENXIO);
	if (o->device->is_gone)
		return refuse(EIO);
	for (unsigned i = is_tx ? o->tx[0] : o->rx[0]; i < (is_tx ? o->tx[1] : o->rx[1]); i++) {
		if (is_tx)
			txsync(&o->device->tx[i]);
		else
			rxsync(&o->device->rx[i]);
	}
	refresh(o);
	return 0;
}
