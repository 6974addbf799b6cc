#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netmap_inside.h"
#include "netmap_system.h"

struct kernel kernel;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

bool
must_fail(enum kernel_call call)
{
	kernel.counts.calls[call]++;
	if (kernel.error[call] == 0)
		return false;
	if (kernel.after[call] > 0) {
		kernel.after[call]--;
		return false;
	}
	errno = kernel.error[call];
	return true;
}

static int
open_device(const char *path)
{
	struct opened *o = kernel.opened;
	int ends[2], small = 1;

	CHECK(strcmp(path, "/dev/netmap") == 0, "%s", path);
	if (must_fail(ON_OPEN))
		return -1;
	while (o->is_used)
		CHECK(++o < &kernel.opened[OPENED], "too many descriptors");
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "no descriptors left");
	for (unsigned i = 0; i < 2; i++)
		CHECK(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0, "no small buffer");
	*o = (struct opened){ .is_used = true, .fd = ends[0], .end = ends[1] };
	kernel.counts.open++;
	return o->fd;
}

static struct opened *
find_opened(int fd)
{
	for (unsigned i = 0; i < OPENED; i++)
		if (kernel.opened[i].is_used && kernel.opened[i].fd == fd && fd >= 0)
			return &kernel.opened[i];
	return NULL;
}

/* ---- the system calls ---- */

static int
kernel_open(const char *path)
{
	int fd;

	pthread_mutex_lock(&lock);
	fd = open_device(path);
	pthread_mutex_unlock(&lock);
	return fd;
}

static int
kernel_close(int fd)
{
	struct opened *o;

	pthread_mutex_lock(&lock);
	o = find_opened(fd);
	CHECK(o != NULL, "descriptor %d is closed, and was not open", fd);
	close(o->fd);
	if (o->end >= 0)
		close(o->end);
	o->fd = -1;
	kernel.counts.open--;
	let_go(o);
	pthread_mutex_unlock(&lock);
	return 0;
}

static int
kernel_ioctl(int fd, unsigned long request, void *argument)
{
	const unsigned long tx = (unsigned long)NIOCTXSYNC, rx = (unsigned long)NIOCRXSYNC;
	struct opened *o;
	int result = -1;

	pthread_mutex_lock(&lock);
	o = find_opened(fd);
	CHECK(o != NULL, "descriptor %d is not open", fd);
	if (request == NIOCCTRL)
		result = control(o, argument);
	else if (request == tx || request == rx)
		result = sync_rings(o, request == tx);
	else
		CHECK(0, "request %lx", request);
	pthread_mutex_unlock(&lock);
	return result;
}

/* Whoever maps a region keeps its descriptor's registration, even when it is closed: so do Linux and FreeBSD. */
static void *
map_region(struct opened *o, size_t bytes)
{
	struct region *r = o->device->region;
	struct view *v = r->views;

	if (must_fail(ON_MAP))
		return MAP_FAILED;
	CHECK(bytes == r->bytes, "%zu bytes of a region of %zu", bytes, r->bytes);
	while (v->memory != NULL)
		CHECK(++v < &r->views[VIEWS], "region %u is mapped too often", r->id);
	v->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->file, 0);
	CHECK(v->memory != MAP_FAILED, "no memory");
	v->by = o;
	o->is_mapped = true;
	kernel.counts.maps++;
	for (uint32_t buf = 0; buf < r->n_buffers; buf++)
		show(r, buf);
	return v->memory;
}

static void *
kernel_map(int fd, size_t bytes)
{
	struct opened *o;
	void *memory;

	pthread_mutex_lock(&lock);
	o = find_opened(fd);
	CHECK(o != NULL && o->device != NULL && !o->is_mapped, "descriptor %d cannot be mapped", fd);
	memory = map_region(o, bytes);
	pthread_mutex_unlock(&lock);
	return memory;
}

static struct view *
find_view(const void *memory)
{
	for (unsigned i = 0; i < REGIONS * VIEWS; i++)
		if (memory != NULL && kernel.regions[i / VIEWS].views[i % VIEWS].memory == memory)
			return &kernel.regions[i / VIEWS].views[i % VIEWS];
	return NULL;
}

static int
kernel_unmap(void *memory, size_t bytes)
{
	struct view *v;

	pthread_mutex_lock(&lock);
	v = find_view(memory);
	CHECK(v != NULL && v->by->device->region->bytes == bytes, "%zu bytes are unmapped that were not mapped", bytes);
	ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
	munmap(memory, bytes);
	v->memory = NULL;
	v->by->is_mapped = false;
	kernel.counts.maps--;
	let_go(v->by);
	pthread_mutex_unlock(&lock);
	return 0;
}

static const struct nm_system emulated = {
	.open = kernel_open,
	.close = kernel_close,
	.ioctl = kernel_ioctl,
	.map = kernel_map,
	.unmap = kernel_unmap,
};

/* ---- for the harness ---- */

static struct kring *
find_kring(const char *device, bool is_tx, unsigned ring)
{
	struct device *d = find_device(device);

	CHECK(d != NULL && ring < RINGS, "%s has no ring %u", device, ring);
	return is_tx ? &d->tx[ring] : &d->rx[ring];
}

void
kernel_start(void)
{
	struct region *one, *two;

	memset(&kernel, 0, sizeof kernel);
	kernel.oldest_api = NETMAP_MIN_API;
	kernel.extra_left = UINT32_MAX;
	one = region_of(1, 2048, BUFFERS);
	two = region_of(2, 1024, 500);
	kernel.last_region = 2;
	new_device(CARD, "ix0", one, 2, 2, 1, 32);
	new_device(CARD, "ix1", one, 1, 1, 0, 24);
	new_device(CARD, "ix2", one, 1, 3, 0, 16);
	new_device(CARD, "ix3", one, 3, 1, 0, 16);
	new_device(CARD, "em0", two, 1, 1, 0, 40);
	nm_system = &emulated;
}

void
kernel_end(unsigned complaints)
{
	const struct kernel_counts *c = &kernel.counts;

	CHECK(c->open == 0, "%u descriptors are open", c->open);
	CHECK(c->maps == 0, "%u regions are mapped", c->maps);
	CHECK(c->held == 0, "%u registrations are in force", c->held);
	for (unsigned i = 0; i < DEVICES; i++) {
		for (unsigned ring = 0; ring < RINGS; ring++) {
			drop_frames(&kernel.devices[i].tx[ring]);
			drop_frames(&kernel.devices[i].rx[ring]);
		}
	}
	for (unsigned i = 0; i < REGIONS; i++) {
		struct region *r = &kernel.regions[i];
		unsigned lost = 0;

		if (r->id == 0)
			continue;
		for (uint32_t buf = 2; buf < r->n_buffers; buf++)
			lost += r->owner[buf] != FREE;
		if (lost > 0)
			complain("%u buffers of region %u did not come back", lost, r->id);
		munmap(r->memory, r->bytes);
		close(r->file);
	}
	CHECK(c->complaints == complaints, "%u complaints, the first: %s", c->complaints, c->complaint);
}

struct kernel_counts
kernel_counts(void)
{
	struct kernel_counts counts;

	pthread_mutex_lock(&lock);
	counts = kernel.counts;
	pthread_mutex_unlock(&lock);
	return counts;
}

void
kernel_fail(enum kernel_call call, unsigned after, int error)
{
	pthread_mutex_lock(&lock);
	kernel.after[call] = after;
	kernel.error[call] = error;
	pthread_mutex_unlock(&lock);
}

void
kernel_api(uint16_t oldest)
{
	kernel.oldest_api = oldest;
}

void
kernel_extra(unsigned left)
{
	kernel.extra_left = left;
}

void
kernel_remove(const char *device)
{
	struct device *d;

	pthread_mutex_lock(&lock);
	d = find_device(device);
	d->is_gone = true;
	for (unsigned i = 0; i < OPENED; i++) {
		struct opened *o = &kernel.opened[i];

		if (o->is_used && o->device == d && o->end >= 0) {
			close(o->end);	/* poll() tells at once, whatever is waited for */
			o->end = -1;
		}
	}
	pthread_mutex_unlock(&lock);
}

/* netmap_reset() */
void
kernel_reset(const char *device)
{
	struct device *d;

	pthread_mutex_lock(&lock);
	d = find_device(device);
	for (unsigned i = 0; i < d->n_tx; i++) {
		struct kring *k = &d->tx[i];

		if (k->ring == NULL)
			continue;
		for (; k->hwcur != k->rhead; k->hwcur = next(k, k->hwcur))
			take_slot(k, k->hwcur);
		for (; k->hwtail != previous(k, k->rhead); k->hwtail = next(k, k->hwtail))
			give_slot(k, k->hwtail);
	}
	for (unsigned i = 0; i < d->n_rx; i++)
		drop_frames(&d->rx[i]);
	pthread_mutex_unlock(&lock);
}

struct netmap_ring *
kernel_ring(const char *device, bool is_tx, unsigned ring)
{
	return find_kring(device, is_tx, ring)->ring;
}

void
kernel_pace(const char *device, unsigned ring, unsigned sends, unsigned frees)
{
	struct kring *k;

	pthread_mutex_lock(&lock);
	k = find_kring(device, true, ring);
	k->sends = sends;
	k->frees = frees;
	refresh(k->by);
	pthread_mutex_unlock(&lock);
}

void
kernel_lie(const char *device, bool is_tx, unsigned ring, uint32_t tail)
{
	pthread_mutex_lock(&lock);
	find_kring(device, is_tx, ring)->lie = tail;
	pthread_mutex_unlock(&lock);
}

bool
wire_arrive_as(const char *device, unsigned ring, const void *frame, uint32_t bytes, struct oddity as)
{
	struct kring *k;
	bool fits;

	pthread_mutex_lock(&lock);
	k = find_kring(device, false, ring);
	fits = has_slot(k);
	CHECK(bytes <= k->device->region->buf_size, "a frame of %u bytes", bytes);
	if (fits)
		add_frame(k, frame, bytes, as);
	refresh(k->by);
	pthread_mutex_unlock(&lock);
	return fits;
}

bool
wire_arrive(const char *device, unsigned ring, const void *frame, uint32_t bytes)
{
	return wire_arrive_as(device, ring, frame, bytes, (struct oddity){ 0 });
}

int
wire_leave(const char *device, unsigned ring, void *frame)
{
	struct oddity as;
	int bytes;

	pthread_mutex_lock(&lock);
	bytes = take_frame(find_kring(device, true, ring), frame, &as);
	pthread_mutex_unlock(&lock);
	return bytes;
}
