#ifdef __linux__
#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "xsk.h"

/* ---- memory ---- */

struct fw_umem *
umem_new(uint32_t n_buffers, uint32_t buffer_bytes, bool copies)
{
	struct fw_umem *u;

	/* Aligned mode: a power of two, up to a page. */
	if ((buffer_bytes != 2048 && buffer_bytes != 4096) || n_buffers == 0) {
		errno = EINVAL;
		return NULL;
	}
	u = calloc(1, sizeof *u);
	if (u == NULL)
		return NULL;
	u->buffer_bytes = buffer_bytes;
	u->n_buffers = n_buffers;
	u->bytes = (size_t)n_buffers * buffer_bytes;
	u->fd = -1;
	u->copies = copies;
	u->memory = mmap(NULL, u->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (u->memory == MAP_FAILED) {
		free(u);
		return NULL;
	}
	return u;
}

void
umem_free(struct fw_umem *u)
{
	munmap(u->memory, u->bytes);
	free(u);
}

/* ---- opening ---- */

static int
set(const struct xsk *x, int option, const void *value, socklen_t bytes)
{
	return setsockopt(x->fd, SOL_XDP, option, value, bytes);
}

/* The first socket brings the memory along. */
static int
register_memory(const struct xsk *x, const struct fw_umem *u)
{
	struct xdp_umem_reg reg;

	if (u->fd >= 0)
		return 0;
	memset(&reg, 0, sizeof reg);
	reg.addr = (uintptr_t)u->memory;
	reg.len = u->bytes;
	reg.chunk_size = u->buffer_bytes;
	return set(x, XDP_UMEM_REG, &reg, sizeof reg);
}

static int
map_ring(struct xsk_ring *r, int fd, const struct xdp_ring_offset *at, size_t entry_bytes, off_t page)
{
	uint8_t *memory;

	r->bytes = at->desc + XSK_SLOTS * entry_bytes;
	memory = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page);
	if (memory == MAP_FAILED)
		return -1;
	r->memory = memory;
	r->producer = (uint32_t *)(void *)(memory + at->producer);
	r->consumer = (uint32_t *)(void *)(memory + at->consumer);
	r->flags = (uint32_t *)(void *)(memory + at->flags);
	r->entries = memory + at->desc;
	return 0;
}

static int
make_rings(struct xsk *x, bool has_rx, bool has_tx)
{
	const uint32_t slots = XSK_SLOTS;
	struct xdp_mmap_offsets at;
	socklen_t bytes = sizeof at;

	if (set(x, XDP_UMEM_FILL_RING, &slots, sizeof slots) != 0 ||
	    set(x, XDP_UMEM_COMPLETION_RING, &slots, sizeof slots) != 0 ||
	    (has_rx && set(x, XDP_RX_RING, &slots, sizeof slots) != 0) ||
	    (has_tx && set(x, XDP_TX_RING, &slots, sizeof slots) != 0) ||
	    getsockopt(x->fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &bytes) != 0)
		return -1;
	if (map_ring(&x->fill, x->fd, &at.fr, sizeof(uint64_t), (off_t)XDP_UMEM_PGOFF_FILL_RING) != 0 ||
	    map_ring(&x->completion, x->fd, &at.cr, sizeof(uint64_t), (off_t)XDP_UMEM_PGOFF_COMPLETION_RING) != 0 ||
	    (has_rx && map_ring(&x->rx, x->fd, &at.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING) != 0) ||
	    (has_tx && map_ring(&x->tx, x->fd, &at.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING) != 0))
		return -1;
	return 0;
}

static int
bind_to(const struct xsk *x, struct fw_umem *u, unsigned interface, unsigned queue, bool generic)
{
	struct sockaddr_xdp address;
	struct xdp_options options = { 0 };
	socklen_t bytes = sizeof options;

	memset(&address, 0, sizeof address);
	address.sxdp_family = AF_XDP;
	address.sxdp_ifindex = interface;
	address.sxdp_queue_id = queue;
	if (u->fd >= 0) {
		/* The kernel keeps to what it settled with the first socket, and takes no other flags. */
		address.sxdp_flags = XDP_SHARED_UMEM;
		address.sxdp_shared_umem_fd = (uint32_t)u->fd;
		return bind(x->fd, (const struct sockaddr *)&address, sizeof address);
	}
	address.sxdp_flags = XDP_USE_NEED_WAKEUP | (generic || u->copies ? XDP_COPY : 0);
	if (bind(x->fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
	    getsockopt(x->fd, SOL_XDP, XDP_OPTIONS, &options, &bytes) != 0)
		return -1;
	u->fd = x->fd;
	u->zero_copy = (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
	return 0;
}

int
xsk_open(struct xsk *x, struct fw_umem *u, unsigned interface, unsigned queue, bool has_rx, bool has_tx, bool generic)
{
	int why;

	memset(x, 0, sizeof *x);
	x->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (x->fd >= 0 && register_memory(x, u) == 0 && make_rings(x, has_rx, has_tx) == 0 &&
	    bind_to(x, u, interface, queue, generic) == 0)
		return 0;
	why = errno;
	xsk_close(x, u);
	errno = why;
	return -1;
}

void
xsk_close(struct xsk *x, struct fw_umem *u)
{
	struct xsk_ring *rings[] = { &x->rx, &x->tx, &x->fill, &x->completion };

	for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++)
		if (rings[i]->memory != NULL)
			munmap(rings[i]->memory, rings[i]->bytes);
	if (x->fd >= 0)
		close(x->fd);
	if (u->fd == x->fd) {
		u->fd = -1;
		u->zero_copy = false;
	}
	memset(x, 0, sizeof *x);
	x->fd = -1;
}

uint64_t
xsk_lost(const struct xsk *x)
{
	struct xdp_statistics s;
	socklen_t bytes = sizeof s;

	memset(&s, 0, sizeof s);	/* an older kernel fills less of it */
	if (getsockopt(x->fd, SOL_XDP, XDP_STATISTICS, &s, &bytes) != 0)
		return 0;
	/* In copy mode, want of a buffer is among the dropped; in zero-copy mode the card counts it, not the socket. */
	return s.rx_dropped + s.rx_ring_full;
}
#endif
