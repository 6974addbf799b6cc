/*
 * bare_xdp: the least that an AF_XDP forwarder can do, to compare with.
 *
 *     bare_xdp IN OUT DESTINATION_MAC SOURCE_MAC PATIENCE [SLOTS]
 *
 * All that arrives on queue 0 of IN leaves by queue 0 of OUT with these two MAC addresses, and is not looked at. Both
 * sockets share one UMEM, so a frame's address moves from ring to ring and its bytes stay. After PATIENCE empty rounds it
 * sleeps in poll(2); 0 means never. Rings have SLOTS (4,096 by default, as those of gfwd). It says "forwarding" when it is ready, and ends
 * on SIGINT or SIGTERM; then it prints what it counted.
 */
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "bpf.h"

enum { BURST = 64, FRAME_BYTES = 2048 };

static volatile sig_atomic_t stopping;

static struct {
	uint64_t forwarded, kicks, sleeps;
} counts;

/* ---- rings ---- */

struct ring {
	uint32_t *producer, *consumer, *flags, mask;
	void *slots;
};

static struct ring
map_ring(int fd, const struct xdp_ring_offset *at, off_t which, unsigned slots, size_t slot_bytes)
{
	size_t bytes = at->desc + slots * slot_bytes;
	uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, which);

	if (memory == MAP_FAILED)
		or_die(-1, "AF_XDP: mmap");
	return (struct ring){
		.producer = (uint32_t *)(memory + at->producer),
		.consumer = (uint32_t *)(memory + at->consumer),
		.flags = (uint32_t *)(memory + at->flags),
		.mask = slots - 1,
		.slots = memory + at->desc,
	};
}

static void
publish(uint32_t *index, uint32_t value)
{
	__atomic_store_n(index, value, __ATOMIC_RELEASE);
}

static uint32_t
filled(const struct ring *r)
{
	return __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) - *r->consumer;
}

static struct xdp_desc *
descriptor(const struct ring *r, uint32_t i)
{
	return (struct xdp_desc *)r->slots + (i & r->mask);
}

static uint64_t *
address(const struct ring *r, uint32_t i)
{
	return (uint64_t *)r->slots + (i & r->mask);
}

/* ---- sockets ---- */

struct xsk {
	int fd;
	struct ring rx, tx, fill, completion;
};

static void
set(int fd, int option, const void *value, socklen_t bytes)
{
	or_die(setsockopt(fd, SOL_XDP, option, value, bytes), "AF_XDP: setsockopt");
}

static struct xsk
open_socket(const char *interface, int shared_with, void *umem, unsigned slots)
{
	struct xdp_umem_reg memory = {
		.addr = (uintptr_t)umem,
		.len = 2ULL * slots * FRAME_BYTES,
		.chunk_size = FRAME_BYTES,
	};
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP, .sxdp_ifindex = if_nametoindex(interface) };
	struct xdp_mmap_offsets at;
	socklen_t length = sizeof at;
	struct xsk s = { .fd = or_die(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), "AF_XDP: socket") };
	unsigned frames = 2 * slots;

	if (shared_with < 0)
		set(s.fd, XDP_UMEM_REG, &memory, sizeof memory);
	set(s.fd, XDP_UMEM_FILL_RING, &frames, sizeof frames);
	set(s.fd, XDP_UMEM_COMPLETION_RING, &frames, sizeof frames);
	set(s.fd, shared_with < 0 ? XDP_RX_RING : XDP_TX_RING, &slots, sizeof slots);
	or_die(getsockopt(s.fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length), "AF_XDP: offsets");
	s.fill = map_ring(s.fd, &at.fr, XDP_UMEM_PGOFF_FILL_RING, frames, sizeof(uint64_t));
	s.completion = map_ring(s.fd, &at.cr, XDP_UMEM_PGOFF_COMPLETION_RING, frames, sizeof(uint64_t));
	if (shared_with < 0)
		s.rx = map_ring(s.fd, &at.rx, XDP_PGOFF_RX_RING, slots, sizeof(struct xdp_desc));
	else
		s.tx = map_ring(s.fd, &at.tx, XDP_PGOFF_TX_RING, slots, sizeof(struct xdp_desc));
	address.sxdp_flags = shared_with < 0 ? XDP_USE_NEED_WAKEUP : XDP_SHARED_UMEM;
	address.sxdp_shared_umem_fd = shared_with < 0 ? 0 : (uint32_t)shared_with;
	/* The kernel lets go of a queue somewhat after the process that had it ended. */
	for (unsigned tries = 0; bind(s.fd, (struct sockaddr *)&address, sizeof address) != 0; (void)usleep(10000))
		if (errno != EBUSY || ++tries == 200)
			or_die(-1, "AF_XDP: bind");
	return s;
}

/* All that arrives on IN goes to the socket; what has no socket, to the host. */
static void
redirect_all(const char *interface, int fd)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 1 };
	uint32_t queue = 0;
	int map = or_die(bpf_call(BPF_MAP_CREATE, &attr), "bpf: map");
	const struct bpf_insn program[] = {
		LOAD(BPF_W, BPF_REG_2, BPF_REG_1, offsetof(struct xdp_md, rx_queue_index)),
		MAP(BPF_REG_1, map),
		SET(BPF_REG_3, XDP_PASS),
		CALL(BPF_FUNC_redirect_map),
		EXIT,
	};

	memset(&attr, 0, sizeof attr);
	attr.map_fd = (uint32_t)map;
	attr.key = (uintptr_t)&queue;
	attr.value = (uintptr_t)&fd;
	or_die(bpf_call(BPF_MAP_UPDATE_ELEM, &attr), "bpf: socket into map");
	fd = load_program(BPF_PROG_TYPE_XDP, BPF_XDP, program, sizeof program / sizeof program[0]);
	or_die(attach(fd, if_nametoindex(interface), BPF_XDP, XDP_FLAGS_DRV_MODE), "bpf: attach");
}

/* ---- forwarding ---- */

/* What has been sent is free to be received into. */
static void
recycle(struct xsk *in, struct xsk *out)
{
	uint32_t n = filled(&out->completion), to = *in->fill.producer, from = *out->completion.consumer;

	for (uint32_t i = 0; i < n; i++)
		*address(&in->fill, to + i) = *address(&out->completion, from + i);
	publish(in->fill.producer, to + n);
	publish(out->completion.consumer, from + n);
}

/* Until the kernel has taken all: where it copies, it does the sending in this very call, a few dozen frames each time. */
static void
kick(struct xsk *out)
{
	while (__atomic_load_n(out->tx.consumer, __ATOMIC_ACQUIRE) != *out->tx.producer &&
	       (__atomic_load_n(out->tx.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) && !stopping) {
		counts.kicks++;
		(void)sendto(out->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
	}
}

static unsigned
forward(struct xsk *in, struct xsk *out, uint8_t *umem, const uint8_t macs[12])
{
	uint32_t n = filled(&in->rx), from = *in->rx.consumer, to = *out->tx.producer;

	if (n > BURST)
		n = BURST;
	for (uint32_t i = 0; i < n; i++) {
		struct xdp_desc d = *descriptor(&in->rx, from + i);

		memcpy(umem + d.addr, macs, 12);
		*descriptor(&out->tx, to + i) = (struct xdp_desc){ .addr = d.addr, .len = d.len };
	}
	if (n > 0) {
		publish(in->rx.consumer, from + n);
		publish(out->tx.producer, to + n);
		kick(out);
		counts.forwarded += n;
	}
	recycle(in, out);
	return n;
}

static void
stop(int signal)
{
	(void)signal;
	stopping = 1;
}

static bool
parse_mac(const char *text, uint8_t *mac)
{
	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) == 6;
}

int
main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = stop };
	uint8_t macs[12], *umem;
	struct xsk in, out;
	unsigned slots = argc > 6 ? (unsigned)atoi(argv[6]) : 4096, empty = 0;
	unsigned long patience;

	if (argc < 6 || !parse_mac(argv[4], macs + 6) || !parse_mac(argv[3], macs) || (slots & (slots - 1)) != 0) {
		fprintf(stderr, "usage: bare_xdp IN OUT DESTINATION_MAC SOURCE_MAC PATIENCE [SLOTS]\n");
		return 2;
	}
	patience = strtoul(argv[5], NULL, 10);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	umem = mmap(NULL, 2UL * slots * FRAME_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (umem == MAP_FAILED)
		or_die(-1, "memory");
	in = open_socket(argv[1], -1, umem, slots);
	out = open_socket(argv[2], in.fd, umem, slots);
	for (uint32_t i = 0; i < 2 * slots; i++)
		*address(&in.fill, i) = (uint64_t)i * FRAME_BYTES;
	publish(in.fill.producer, 2 * slots);
	redirect_all(argv[1], in.fd);
	fprintf(stderr, "forwarding\n");
	while (!stopping) {
		if (forward(&in, &out, umem, macs) > 0) {
			empty = 0;
		} else if (patience > 0 && ++empty >= patience) {
			struct pollfd fd = { .fd = in.fd, .events = POLLIN };

			counts.sleeps++;
			(void)poll(&fd, 1, 1000);
			empty = 0;
		}
	}
	printf("{\"forwarded\": %llu, \"kicks\": %llu, \"sleeps\": %llu}\n", (unsigned long long)counts.forwarded,
	    (unsigned long long)counts.kicks, (unsigned long long)counts.sleeps);
	return 0;
}
