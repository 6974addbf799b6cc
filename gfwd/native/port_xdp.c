#ifdef __linux__
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "plan.h"
#include "port_xdp.h"
#include "redirector.h"

#define MASK (XSK_SLOTS - 1)
/* How long a port that is closed waits for its last frames to leave. */
#define CLOSING_MS 100
/* Every 20 ms. */
#define OPENING_TRIES 100

struct xdp_rx {
	struct fw_queue queue;		/* first: a struct fw_queue * is also a struct xdp_rx * */
	struct xsk *socket;
};

struct xdp_tx {
	struct fw_queue queue;
	struct xsk *socket;
	uint32_t n_free;
	uint32_t free[XSK_SLOTS];	/* buffers to give back for those that are sent */
};

struct xdp_port {
	struct fw_port port;
	struct fw_umem *umem;
	unsigned interface;
	unsigned n_rx;
	unsigned n_tx;
	struct xsk *sockets;		/* of queue 0 and on */
	unsigned n_sockets;
	struct xdp_rx *rx;
	struct xdp_tx *tx;
	struct redirector redirector;
};

/* ---- receiving ---- */

static unsigned
xdp_rx(struct fw_queue *q, struct fw_frame *frames, unsigned max)
{
	struct xsk *x = ((struct xdp_rx *)q)->socket;
	const struct xdp_desc *entries = x->rx.entries;
	uint32_t n = xsk_waiting(&x->rx);

	if (n == 0) {
		if (*x->fill.flags & XDP_RING_NEED_WAKEUP)
			(void)recvfrom(x->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
		return 0;
	}
	if (n > max)
		n = max;
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *d = &entries[(x->rx.ours + i) & MASK];
		uint8_t *data = q->buffers + d->addr;

		frames[i] = (struct fw_frame){ .data = data, .buf = (uint32_t)(d->addr / q->buffer_bytes), .len = d->len };
		__builtin_prefetch(data);
	}
	return n;
}

static void
xdp_rx_done(struct fw_queue *q, const struct fw_frame *frames, unsigned n)
{
	struct xsk *x = ((struct xdp_rx *)q)->socket;
	uint64_t *fill = x->fill.entries;

	xsk_consumed(&x->rx, n);
	/* As many as came from there, so there is room. */
	for (unsigned i = 0; i < n; i++)
		fill[(x->fill.ours + i) & MASK] = (uint64_t)frames[i].buf * q->buffer_bytes;
	xsk_produced(&x->fill, n);
}

/* ---- sending ---- */

/* Buffers of frames that have left. */
static void
take_back(struct xdp_tx *t)
{
	struct xsk_ring *completion = &t->socket->completion;
	const uint64_t *entries = completion->entries;
	uint32_t n = xsk_waiting(completion);

	for (uint32_t i = 0; i < n; i++)
		t->free[t->n_free++] = (uint32_t)(entries[(completion->ours + i) & MASK] / t->queue.buffer_bytes);
	xsk_consumed(completion, n);
}

/*
 * Has the kernel send what is in the ring. In copy mode it takes some 32 frames a call and says EAGAIN; it also does when it
 * cannot take any, so go on only as long as it gets ahead.
 */
static void
kick(struct xdp_tx *t)
{
	struct xsk_ring *ring = &t->socket->tx;
	uint32_t before;

	do {
		before = xsk_free(ring);
		if (before == XSK_SLOTS || (*ring->flags & XDP_RING_NEED_WAKEUP) == 0)
			return;
		if (sendto(t->socket->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0)
			break;
	} while (xsk_free(ring) != before);
	(void)xsk_free(ring);
}

static unsigned
tx_space(struct xdp_tx *t)
{
	uint32_t n = xsk_free(&t->socket->tx);

	return n < t->n_free ? n : t->n_free;
}

static unsigned
xdp_room(struct fw_queue *q, unsigned wanted)
{
	struct xdp_tx *t = (struct xdp_tx *)q;

	if (__atomic_load_n(&q->failed, __ATOMIC_RELAXED))
		return 0;
	if (tx_space(t) < wanted)
		take_back(t);
	if (tx_space(t) < wanted) {
		kick(t);
		take_back(t);
	}
	return tx_space(t);
}

static void
xdp_send(struct fw_queue *q, struct fw_frame *frames, unsigned n)
{
	struct xdp_tx *t = (struct xdp_tx *)q;
	struct xsk_ring *ring = &t->socket->tx;
	struct xdp_desc *entries = ring->entries;

	for (unsigned i = 0; i < n; i++) {
		entries[(ring->ours + i) & MASK] = (struct xdp_desc){
			.addr = (uint64_t)(frames[i].data - q->buffers),
			.len = frames[i].len,
		};
		frames[i].buf = t->free[--t->n_free];
	}
	xsk_produced(ring, n);
}

static void
xdp_flush(struct fw_queue *q)
{
	struct xdp_tx *t = (struct xdp_tx *)q;
	struct xsk_ring *ring = &t->socket->tx;

	/* Seen to be empty, and nothing was put in since. */
	if (ring->theirs == ring->ours) {
		q->owes = false;
		return;
	}
	kick(t);
	take_back(t);
	q->owes = ring->theirs != ring->ours;
}

static const struct fw_queue_ops xdp_ops = {
	.rx = xdp_rx,
	.rx_done = xdp_rx_done,
	.room = xdp_room,
	.send = xdp_send,
	.flush = xdp_flush,
};

/* ---- what is ours ---- */

bool
port_xdp_redirect(struct fw_port *port, const struct fw_plan *plan, char *error)
{
	struct xdp_port *p = (struct xdp_port *)port;

	return redirector_set(&p->redirector, plan, plan != NULL ? plan_ports(plan)[port->number].mac : NULL, error);
}

/* Entries in a ring that a worker, or the kernel, moves on meanwhile: never more than there were. */
static uint32_t
entries_in(const struct xsk_ring *ring)
{
	uint32_t consumed = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	uint32_t n = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) - consumed;

	return n < XSK_SLOTS ? n : XSK_SLOTS;
}

static uint32_t
unsent(const struct xdp_port *p)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < p->n_tx; i++)
		n += entries_in(&p->sockets[i].tx);
	return n;
}

void
port_xdp_read(const struct fw_port *port, struct fw_xdp_port *s)
{
	const struct xdp_port *p = (const struct xdp_port *)port;

	*s = (struct fw_xdp_port){
		.is_native = p->redirector.is_native,
		.refused = (uint32_t)p->redirector.refused,
		.is_zero_copy = p->umem->zero_copy,
	};
	redirector_read(&p->redirector, s);
	for (unsigned i = 0; i < p->n_sockets; i++)
		s->lost += xsk_lost(&p->sockets[i]);
	for (unsigned i = 0; i < p->n_rx; i++)
		s->unread += entries_in(&p->sockets[i].rx);
	s->unsent = unsent(p);
}

/* ---- opening ---- */

static bool
refuse_socket(const struct xdp_port *p, unsigned queue, bool *needs_copies, char *error)
{
	struct rlimit limit = { 0 };
	int why = errno;

	if (p->umem->zero_copy && (!p->redirector.is_native || why == EOPNOTSUPP || why == EINVAL)) {
		*needs_copies = true;
		snprintf(error, FW_ERROR_BYTES, "cannot share zero-copy memory with the ports before it");
	} else if (why == ENOBUFS) {
		getrlimit(RLIMIT_MEMLOCK, &limit);
		snprintf(error, FW_ERROR_BYTES,
		    "needs %zu KiB of locked memory, and may have %llu: raise it with: ulimit -l unlimited "
		    "(systemd: LimitMEMLOCK=infinity)",
		    p->umem->bytes / 1024, (unsigned long long)limit.rlim_cur / 1024);
	} else if (why == EBUSY) {
		snprintf(error, FW_ERROR_BYTES, "another program has an AF_XDP socket on its queue %u: end that", queue);
	} else {
		char what[64];

		snprintf(what, sizeof what, "no AF_XDP socket on queue %u", queue);
		refuse_xdp(error, what);
	}
	return false;
}

/* A process that has just ended, ours of before perhaps, still holds its queues for a moment. */
static int
open_socket(struct xdp_port *p, unsigned i)
{
	const struct timespec moment = { .tv_nsec = 20000000 };
	int done = -1;

	for (unsigned tries = 0; done != 0 && tries < OPENING_TRIES; tries++) {
		if (tries > 0)
			nanosleep(&moment, NULL);
		done = xsk_open(&p->sockets[i], p->umem, p->interface, i, i < p->n_rx, i < p->n_tx, !p->redirector.is_native);
		if (done != 0 && errno != EBUSY)
			break;
	}
	return done;
}

static bool
open_sockets(struct xdp_port *p, bool *needs_copies, char *error)
{
	unsigned n = p->n_rx > p->n_tx ? p->n_rx : p->n_tx;

	for (unsigned i = 0; i < n; i++) {
		struct xsk *x = &p->sockets[i];

		if (p->umem->zero_copy && !p->redirector.is_native)
			return refuse_socket(p, i, needs_copies, error);
		if (open_socket(p, i) != 0)
			return refuse_socket(p, i, needs_copies, error);
		p->n_sockets++;
		if (i < p->n_rx && !redirector_add(&p->redirector, i, x->fd))
			return refuse_xdp(error, "the XDP program cannot be given a socket");
	}
	return true;
}

/* ---- queues and their buffers ---- */

static struct fw_queue
queue_of(const struct xdp_port *p, unsigned i)
{
	const struct fw_umem *u = p->umem;

	return (struct fw_queue){
		.ops = &xdp_ops,
		.buffers = u->memory,
		.buffer_bytes = u->buffer_bytes,
		.frame_max = u->buffer_bytes - FW_XDP_HEADROOM,
		.slots = XSK_SLOTS,
		.port = p->port.number,
		.fd = p->sockets[i].fd,
	};
}

/*
 * Every socket has buffers in its fill ring, also where nothing of ours comes in: in zero-copy mode the card puts into them
 * what is the kernel's. A TX queue has as many at hand, and FW_SPARES more for copies.
 */
static void
give_buffers(struct xdp_port *p)
{
	struct fw_umem *u = p->umem;

	for (unsigned i = 0; i < p->n_sockets; i++) {
		struct xsk_ring *fill = &p->sockets[i].fill;
		uint64_t *entries = fill->entries;

		for (uint32_t n = 0; n < XSK_SLOTS; n++)
			entries[n] = (uint64_t)u->n_given++ * u->buffer_bytes;
		xsk_produced(fill, XSK_SLOTS);
	}
	for (unsigned i = 0; i < p->n_rx; i++)
		p->rx[i] = (struct xdp_rx){ .queue = queue_of(p, i), .socket = &p->sockets[i] };
	for (unsigned i = 0; i < p->n_tx; i++) {
		struct xdp_tx *t = &p->tx[i];

		t->queue = queue_of(p, i);
		t->socket = &p->sockets[i];
		while (t->n_free < XSK_SLOTS)
			t->free[t->n_free++] = u->n_given++;
		while (t->queue.n_spares < FW_SPARES)
			t->queue.spares[t->queue.n_spares++] = u->n_given++;
	}
}

static uint32_t
buffers_for(unsigned sockets, unsigned tx_queues)
{
	return sockets * XSK_SLOTS + tx_queues * (XSK_SLOTS + FW_SPARES);
}

/* ---- life ---- */

static struct fw_queue *
xdp_rx_queue(struct fw_port *port, unsigned ring)
{
	struct xdp_port *p = (struct xdp_port *)port;

	return ring < p->n_rx ? &p->rx[ring].queue : NULL;
}

static struct fw_queue *
xdp_tx_queue(struct fw_port *port, unsigned ring)
{
	struct xdp_port *p = (struct xdp_port *)port;

	return ring < p->n_tx ? &p->tx[ring].queue : NULL;
}

/* The last frames leave; those that do not within a moment stay unsent. */
static int
xdp_close(struct fw_port *port)
{
	struct xdp_port *p = (struct xdp_port *)port;
	const struct timespec millisecond = { .tv_nsec = 1000000 };

	for (unsigned ms = 0; ms < CLOSING_MS && port->error[0] == '\0'; ms++) {
		for (unsigned i = 0; i < p->n_tx; i++)
			xdp_flush(&p->tx[i].queue);
		if (unsent(p) == 0)
			break;
		nanosleep(&millisecond, NULL);
	}
	return 0;
}

static void
xdp_free(struct fw_port *port)
{
	struct xdp_port *p = (struct xdp_port *)port;

	for (unsigned i = 0; i < p->n_sockets; i++)
		xsk_close(&p->sockets[i], p->umem);
	redirector_close(&p->redirector);
	free(p->sockets);
	free(p->rx);
	free(p->tx);
	free(p);
}

static const struct fw_port_ops xdp_port_ops = {
	.rx_queue = xdp_rx_queue,
	.tx_queue = xdp_tx_queue,
	.close = xdp_close,
	.free = xdp_free,
};

bool
port_is_xdp(const struct fw_port *port)
{
	return port->ops == &xdp_port_ops;
}

static struct xdp_port *
port_alloc(unsigned rx_queues, unsigned tx_queues)
{
	struct xdp_port *p = calloc(1, sizeof *p);
	unsigned n = rx_queues > tx_queues ? rx_queues : tx_queues;

	if (p == NULL)
		return NULL;
	redirector_init(&p->redirector);
	p->port.ops = &xdp_port_ops;
	p->n_rx = rx_queues;
	p->n_tx = tx_queues;
	p->sockets = calloc(n, sizeof *p->sockets);
	p->rx = calloc(rx_queues + 1, sizeof *p->rx);
	p->tx = calloc(tx_queues + 1, sizeof *p->tx);
	if (p->sockets == NULL || p->rx == NULL || p->tx == NULL) {
		xdp_free(&p->port);
		return NULL;
	}
	return p;
}

struct fw_port *
port_xdp_new(struct fw_umem *u, uint32_t number, const char *interface, unsigned rx_queues, unsigned tx_queues,
    bool *needs_copies, char *error)
{
	unsigned sockets = rx_queues > tx_queues ? rx_queues : tx_queues;
	struct xdp_port *p;

	*needs_copies = false;
	if (rx_queues > REDIRECT_QUEUES_MAX || tx_queues > REDIRECT_QUEUES_MAX) {
		snprintf(error, FW_ERROR_BYTES, "%u RX and %u TX queues; up to %u of each can be opened", rx_queues,
		    tx_queues, REDIRECT_QUEUES_MAX);
		return NULL;
	}
	if (sockets == 0 || buffers_for(sockets, tx_queues) > u->n_buffers - u->n_given) {
		snprintf(error, FW_ERROR_BYTES, "there is no memory for %u RX and %u TX queues", rx_queues, tx_queues);
		return NULL;
	}
	p = port_alloc(rx_queues, tx_queues);
	if (p == NULL) {
		snprintf(error, FW_ERROR_BYTES, "no memory left");
		return NULL;
	}
	p->port.number = number;
	p->umem = u;
	p->interface = if_nametoindex(interface);
	if (p->interface == 0) {
		snprintf(error, FW_ERROR_BYTES, "there is no such interface");
	} else if (redirector_open(&p->redirector, interface, p->interface, error) &&
	    open_sockets(p, needs_copies, error)) {
		give_buffers(p);
		return &p->port;
	}
	xdp_free(&p->port);
	return NULL;
}

bool
port_xdp_queues(const char *interface, unsigned *rx, unsigned *tx, char *error)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	struct ifreq request;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), why;

	memset(&request, 0, sizeof request);
	strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
	request.ifr_data = (void *)&channels;
	why = fd >= 0 && ioctl(fd, SIOCETHTOOL, &request) == 0 ? 0 : errno;
	if (fd >= 0)
		close(fd);
	*rx = *tx = 1;
	if (why == EOPNOTSUPP)	/* a driver that has nothing to say about it has one of each */
		return true;
	if (why != 0) {
		snprintf(error, FW_ERROR_BYTES, "%s", why == ENODEV ? "there is no such interface" : strerror(why));
		return false;
	}
	if (channels.combined_count + channels.rx_count > 0)
		*rx = channels.combined_count + channels.rx_count;
	if (channels.combined_count + channels.tx_count > 0)
		*tx = channels.combined_count + channels.tx_count;
	return true;
}

struct fw_umem *
port_xdp_memory(unsigned sockets, unsigned tx_queues, unsigned buffer_bytes, bool copies, char *error)
{
	struct fw_umem *u = NULL;

	errno = EINVAL;
	if (sockets <= 65536 && tx_queues <= 65536)
		u = umem_new(buffers_for(sockets, tx_queues), buffer_bytes, copies);
	if (u == NULL)
		snprintf(error, FW_ERROR_BYTES, "memory for %u AF_XDP sockets, %u bytes a frame: %s", sockets, buffer_bytes,
		    strerror(errno));
	return u;
}

void
port_xdp_memory_free(struct fw_umem *u)
{
	umem_free(u);
}
#endif
