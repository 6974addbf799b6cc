/*
 * The XDP program on every AF_XDP port: UDP to one of our addresses and a port that we listen on goes to the socket of its
 * queue, all else to the kernel, as if we were not there. Both are counted.
 *
 * It only tells what is ours, by the steps of docs/packets.md; what is wrong with a datagram of ours, the core finds out and
 * counts. In doubt a frame is the kernel's, since user space cannot hand one back: one to another MAC address (the card is
 * promiscuous for somebody), a later fragment (it names no port), headers cut or odd.
 *
 * Runs in the kernel (Linux 5.10 and later): every access must be seen to lie inside the frame, every loop to end.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>

#include "redirect.h"

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

enum { IPV4 = 0x0800, IPV6 = 0x86dd, VLAN = 0x8100, VLAN_SERVICE = 0x88a8, VLAN_QINQ = 0x9100 };
enum { HOP_BY_HOP = 0, UDP = 17, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60 };
enum { ETHER_BYTES = 14, TAG_BYTES = 4, IPV4_BYTES = 20, IPV6_BYTES = 40, UDP_PORTS_BYTES = 4, EXTENSIONS_MAX = 6 };

/* The loader puts the file descriptors of its maps in the place of these. */
extern char ours_map, which_map, sockets_map, counts_map;

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const redirect_map)(void *map, uint64_t key, uint64_t otherwise) = (void *)BPF_FUNC_redirect_map;

INLINE uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

INLINE uint32_t
load32(const uint8_t *p)
{
	return *(const uint32_t *)p;
}

INLINE uint64_t
load64(const uint8_t *p)
{
	return (uint64_t)load32(p + 4) << 32 | load32(p);
}

INLINE bool
is_own4(const struct redirect_ours *ours, const uint8_t *address)
{
	for (uint32_t i = 0; i < REDIRECT_OWN_MAX && i < ours->n_own4; i++)
		if ((load32(address) & ours->own4[i].mask) == ours->own4[i].value)
			return true;
	return false;
}

INLINE bool
is_own6(const struct redirect_ours *ours, const uint8_t *address)
{
	uint64_t high = load64(address), low = load64(address + 8);

	for (uint32_t i = 0; i < REDIRECT_OWN_MAX && i < ours->n_own6; i++) {
		const struct redirect_own6 *own = &ours->own6[i];

		if ((high & own->mask[0]) == own->value[0] && (low & own->mask[1]) == own->value[1])
			return true;
	}
	return false;
}

INLINE bool
is_listened_on(const struct redirect_ours *ours, const uint8_t *udp, const uint8_t *end)
{
	uint16_t port;

	if (udp + UDP_PORTS_BYTES > end)
		return false;
	port = get16(udp + 2);
	return ours->listen[port / 32] >> (port % 32) & 1;
}

INLINE bool
is_ours4(const struct redirect_ours *ours, const uint8_t *ip, const uint8_t *end)
{
	uint32_t header;

	if (ip + IPV4_BYTES > end || ip[0] >> 4 != 4 || ip[9] != UDP || !is_own4(ours, ip + 16))
		return false;
	header = (ip[0] & 15) * 4;
	if (header < IPV4_BYTES || (get16(ip + 6) & 0x1fff) != 0)
		return false;
	return is_listened_on(ours, ip + header, end);
}

INLINE bool
is_ours6(const struct redirect_ours *ours, const uint8_t *ip, const uint8_t *end)
{
	const uint8_t *at = ip + IPV6_BYTES;
	uint8_t next;

	if (at > end || ip[0] >> 4 != 6 || !is_own6(ours, ip + 24))
		return false;
	next = ip[6];
	for (int i = 0; i < EXTENSIONS_MAX && next != UDP; i++) {
		uint8_t kind = next;

		if (at + 8 > end)
			return false;
		if (kind != HOP_BY_HOP && kind != ROUTING && kind != FRAGMENT && kind != DESTINATION)
			return false;
		/* A routing header with segments left names another destination. */
		if (kind == ROUTING && at[3] != 0)
			return false;
		/* A later fragment names no port; a first one does where UDP follows at once. */
		if (kind == FRAGMENT && (get16(at + 2) >> 3 != 0 || ((at[3] & 1) != 0 && at[0] != UDP)))
			return false;
		next = at[0];
		at += kind == FRAGMENT ? 8 : (at[1] + 1) * 8;
	}
	return next == UDP && is_listened_on(ours, at, end);
}

INLINE bool
is_ours(const struct redirect_ours *ours, const uint8_t *frame, const uint8_t *end)
{
	const uint8_t *ip = frame + ETHER_BYTES;
	uint16_t type;

	if (ip > end)
		return false;
	if (load32(frame) != load32(ours->mac) || get16(frame + 4) != get16(ours->mac + 4))
		return false;
	type = get16(frame + 12);
	for (int i = 0; i < 2 && (type == VLAN || type == VLAN_SERVICE || type == VLAN_QINQ); i++) {
		if (ip + TAG_BYTES > end)
			return false;
		type = get16(ip + 2);
		ip += TAG_BYTES;
	}
	if (type == IPV4)
		return is_ours4(ours, ip, end);
	return type == IPV6 && is_ours6(ours, ip, end);
}

SECTION("xdp") int
redirect(struct xdp_md *ctx)
{
	const uint8_t *frame = (const uint8_t *)(uintptr_t)ctx->data, *end = (const uint8_t *)(uintptr_t)ctx->data_end;
	uint32_t queue = ctx->rx_queue_index, first = 0;
	uint32_t counted = queue < REDIRECT_QUEUES_MAX ? queue : REDIRECT_QUEUES_MAX - 1;
	const uint32_t *which = map_lookup(&which_map, &first);
	const struct redirect_ours *ours = which != NULL ? map_lookup(&ours_map, which) : NULL;
	struct redirect_count *count = map_lookup(&counts_map, &counted);
	int action = XDP_PASS;

	/* None of them can be missing, but the kernel wants to see that we looked. */
	if (ours == NULL || count == NULL)
		return XDP_PASS;
	if (is_ours(ours, frame, end))
		action = (int)redirect_map(&sockets_map, queue, XDP_PASS);
	__sync_fetch_and_add(action == XDP_REDIRECT ? &count->ours : &count->passed, 1);
	return action;
}
