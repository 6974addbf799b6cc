/*
 * The XDP program on every AF_XDP port: UDP to one of our addresses and a port that we listen on goes to the socket of its
 * queue, all else to the kernel, as if we were not there. Both are counted.
 *
 * It only tells what is ours, by the steps of docs/packets.md; what is wrong with a datagram of ours, the core finds out and
 * counts. In doubt a frame is the kernel's, since user space cannot hand one back: one to another MAC address (the card is
 * promiscuous for somebody), a later fragment that comes before its first (it names no port), headers cut or odd.
 *
 * Runs in the kernel (Linux 5.10 and later): every access must be seen to lie inside the frame, every loop to end.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>

#include "redirect.h"

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
/* The compiler may not work a pointer out once more: the kernel must see the check and the access on one and the same. */
#define WORKED_OUT(pointer) __asm__ volatile("" : "+r"(pointer))

enum { IPV4 = 0x0800, IPV6 = 0x86dd, VLAN = 0x8100, VLAN_SERVICE = 0x88a8, VLAN_QINQ = 0x9100 };
enum { HOP_BY_HOP = 0, UDP = 17, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60 };
enum { ETHER_BYTES = 14, TAG_BYTES = 4, IPV4_BYTES = 20, IPV6_BYTES = 40, UDP_PORTS_BYTES = 4, EXTENSIONS_MAX = 6 };

/* The loader puts the file descriptors of its maps in the place of these. */
extern char ours_map, which_map, sockets_map, counts_map, fragments_map;

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const map_update)(void *map, const void *key, const void *value, uint64_t flags) =
    (void *)BPF_FUNC_map_update_elem;
static long (*const map_delete)(void *map, const void *key) = (void *)BPF_FUNC_map_delete_elem;
static uint64_t (*const now_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
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

INLINE void
copy_words(uint8_t *to, const uint8_t *from, int n)
{
	for (int i = 0; i < n; i++)
		*(uint32_t *)(to + 4 * i) = load32(from + 4 * i);
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

	WORKED_OUT(udp);
	if (udp + UDP_PORTS_BYTES > end)
		return false;
	port = get16(udp + 2);
	return ours->listen[port / 32] >> (port % 32) & 1;
}

/* ---- fragments: only the first has ports, and the later ones go where it went ---- */

enum { WHOLE, FIRST, LATER };

/*
 * A first fragment that is not ours takes the entry away that another datagram with the same identification may have left:
 * what is the kernel's must not follow it.
 */
INLINE bool
first_fragment(const struct redirect_fragment *key, bool is_for_us)
{
	uint64_t now = now_ns();

	if (is_for_us)
		map_update(&fragments_map, key, &now, BPF_ANY);
	else
		map_delete(&fragments_map, key);
	return is_for_us;
}

INLINE bool
later_fragment(const struct redirect_fragment *key)
{
	const uint64_t *since = map_lookup(&fragments_map, key);

	return since != NULL && now_ns() - *since < REDIRECT_FRAGMENT_NS;
}

/* ---- IPv4 and IPv6 ---- */

INLINE bool
is_ours4(const struct redirect_ours *ours, const uint8_t *ip, const uint8_t *end)
{
	struct redirect_fragment key = { .family = 4 };
	uint32_t header, fragment;
	bool is_for_us;

	if (ip + IPV4_BYTES > end || ip[0] >> 4 != 4 || ip[9] != UDP || !is_own4(ours, ip + 16))
		return false;
	header = (ip[0] & 15) * 4;
	if (header < IPV4_BYTES)
		return false;
	fragment = get16(ip + 6) & 0x3fff;	/* more follow, and the offset */
	if (fragment != 0) {
		key.ident = get16(ip + 4);
		copy_words(key.source, ip + 12, 1);
		copy_words(key.destination, ip + 16, 1);
		if ((fragment & 0x1fff) != 0)
			return later_fragment(&key);
	}
	is_for_us = is_listened_on(ours, ip + header, end);
	return fragment == 0 ? is_for_us : first_fragment(&key, is_for_us);
}

INLINE bool
is_ours6(const struct redirect_ours *ours, const uint8_t *ip, const uint8_t *end)
{
	struct redirect_fragment key = { .family = 6 };
	const uint8_t *at = ip + IPV6_BYTES;
	int part = WHOLE;
	bool is_for_us;
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
		if (kind == FRAGMENT && get16(at + 2) >> 3 != 0)
			part = LATER;
		else if (kind == FRAGMENT && (at[3] & 1) != 0)
			part = FIRST;
		next = at[0];
		/* What is in fragments begins with UDP, or is the kernel's. */
		if (part != WHOLE && next != UDP)
			return false;
		if (part != WHOLE)
			key.ident = load32(at + 4);
		at += kind == FRAGMENT ? 8 : (at[1] + 1) * 8;
	}
	if (next != UDP)
		return false;
	if (part == WHOLE)
		return is_listened_on(ours, at, end);
	copy_words(key.source, ip + 8, 4);
	copy_words(key.destination, ip + 24, 4);
	if (part == LATER)
		return later_fragment(&key);
	is_for_us = is_listened_on(ours, at, end);
	return first_fragment(&key, is_for_us);
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
