#ifdef __linux__
#include <endian.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf.h"
#include "plan.h"
#include "redirect_bpf.h"
#include "redirector.h"

#define COUNT_BYTES (REDIRECT_QUEUES_MAX * sizeof(struct redirect_count))

bool
refuse_xdp(char *error, const char *what)
{
	int why = errno;

	if (why == EPERM || why == EACCES)
		snprintf(error, FW_ERROR_BYTES,
		    "no permission for AF_XDP: run gfwd as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON");
	else
		snprintf(error, FW_ERROR_BYTES, "%s: %s", what, strerror(why));
	return false;
}

/* ---- what is ours ---- */

static void
describe(struct redirect_ours *ours, const struct fw_plan *plan, const uint8_t *mac)
{
	memcpy(ours->mac, mac, 6);
	memcpy(ours->listen, plan_listen(plan), sizeof ours->listen);
	ours->n_own4 = plan->n_own4;
	for (uint32_t i = 0; i < plan->n_own4; i++) {
		memcpy(&ours->own4[i].value, plan_own4(plan)[i].value, 4);
		memcpy(&ours->own4[i].mask, plan_own4(plan)[i].mask, 4);
	}
	ours->n_own6 = plan->n_own6;
	for (uint32_t i = 0; i < plan->n_own6; i++) {
		const struct fw_plan_own6 *own = &plan_own6(plan)[i];

		ours->own6[i] = (struct redirect_own6){
			.value = { htobe64(own->value_hi), htobe64(own->value_lo) },
			.mask = { htobe64(own->mask_hi), htobe64(own->mask_lo) },
		};
	}
}

/* The kernel copies it while the program may read: so it is written where the program does not look, and then it does. */
bool
redirector_set(struct redirector *r, const struct fw_plan *plan, const uint8_t *mac, char *error)
{
	struct redirect_ours ours;

	if (plan != NULL && (plan->n_own4 > REDIRECT_OWN_MAX || plan->n_own6 > REDIRECT_OWN_MAX)) {
		snprintf(error, FW_ERROR_BYTES, "%u own addresses of IPv4 and %u of IPv6; AF_XDP takes up to %u of each",
		    plan->n_own4, plan->n_own6, REDIRECT_OWN_MAX);
		return false;
	}
	memset(&ours, 0, sizeof ours);
	if (plan != NULL)
		describe(&ours, plan, mac);
	if (bpf_map_set(r->ours, !r->which, &ours) != 0 || bpf_map_set(r->which_is, 0, &(uint32_t){ !r->which }) != 0)
		return refuse_xdp(error, "the XDP program cannot be told what is ours");
	r->which = !r->which;
	return true;
}

bool
redirector_add(const struct redirector *r, unsigned queue, int socket)
{
	return bpf_map_set(r->sockets, queue, &socket) == 0;
}

void
redirector_read(const struct redirector *r, struct fw_xdp_port *s)
{
	for (unsigned i = 0; i < REDIRECT_QUEUES_MAX; i++) {
		s->ours += __atomic_load_n(&r->count[i].ours, __ATOMIC_RELAXED);
		s->passed += __atomic_load_n(&r->count[i].passed, __ATOMIC_RELAXED);
	}
}

/* ---- life ---- */

static bool
make_maps(struct redirector *r, char *error)
{
	void *memory;

	r->ours = bpf_map_new(BPF_KIND_ARRAY, sizeof(struct redirect_ours), 2);
	r->which_is = bpf_map_new(BPF_KIND_ARRAY, sizeof(uint32_t), 1);
	r->counts = bpf_map_new(BPF_KIND_ARRAY, sizeof(struct redirect_count), REDIRECT_QUEUES_MAX);
	r->fragments = bpf_lru_new(sizeof(struct redirect_fragment), sizeof(uint64_t), REDIRECT_FRAGMENTS);
	r->sockets = bpf_map_new(BPF_KIND_SOCKETS, sizeof(int), REDIRECT_QUEUES_MAX);
	if (r->ours < 0 || r->which_is < 0 || r->counts < 0 || r->fragments < 0 || r->sockets < 0)
		return refuse_xdp(error, "the XDP program's maps cannot be made");
	memory = bpf_map_memory(r->counts, COUNT_BYTES);
	if (memory == MAP_FAILED)
		return refuse_xdp(error, "the XDP program's counters cannot be read");
	r->count = memory;
	return true;
}

static int
map_named(const struct redirector *r, const char *name)
{
	if (strcmp(name, "ours_map") == 0)
		return r->ours;
	if (strcmp(name, "which_map") == 0)
		return r->which_is;
	if (strcmp(name, "fragments_map") == 0)
		return r->fragments;
	return strcmp(name, "counts_map") == 0 ? r->counts : r->sockets;
}

/* An instruction that loads a map has the map's file descriptor in its upper half, and a mark that says so. */
static int
load(const struct redirector *r)
{
	const uint64_t is_map = (uint64_t)BPF_PSEUDO_MAP_FD << 12;
	uint64_t code[sizeof redirect_code / sizeof redirect_code[0]];

	memcpy(code, redirect_code, sizeof code);
	for (size_t i = 0; i < sizeof redirect_uses / sizeof redirect_uses[0]; i++)
		code[redirect_uses[i].at] |= (uint64_t)map_named(r, redirect_uses[i].map) << 32 | is_map;
	return bpf_xdp_load(code, sizeof code / sizeof code[0]);
}

/* In the driver where that works; else, more slowly, behind it. */
static bool
attach(struct redirector *r, const char *name, unsigned interface, char *error)
{
	r->link = bpf_xdp_attach(r->program, interface, 1);
	r->is_native = r->link >= 0;
	if (r->link < 0 && errno != EBUSY && errno != EPERM) {
		r->refused = errno;
		r->link = bpf_xdp_attach(r->program, interface, 0);
	}
	if (r->link >= 0)
		return true;
	/* EEXIST: one is attached in the other mode. */
	if (errno != EBUSY && errno != EEXIST)
		return refuse_xdp(error, "the XDP program cannot be attached");
	snprintf(error, FW_ERROR_BYTES,
	    "another XDP program is attached to it: end that program, or take it off with: ip link set dev %s xdp off", name);
	return false;
}

void
redirector_init(struct redirector *r)
{
	*r = (struct redirector){ .ours = -1, .which_is = -1, .counts = -1, .fragments = -1, .sockets = -1, .program = -1,
		.link = -1 };
}

bool
redirector_open(struct redirector *r, const char *name, unsigned interface, char *error)
{
	if (!make_maps(r, error))
		return false;
	r->program = load(r);
	if (r->program < 0)
		return refuse_xdp(error, "the kernel does not take the XDP program (Linux 5.10 or later does)");
	return attach(r, name, interface, error);
}

void
redirector_close(struct redirector *r)
{
	const int fds[] = { r->link, r->program, r->ours, r->which_is, r->counts, r->fragments, r->sockets };

	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (r->count != NULL)
		munmap(r->count, COUNT_BYTES);
	redirector_init(r);
}
#endif
