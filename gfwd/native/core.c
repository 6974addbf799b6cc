#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bytes.h"
#include "core.h"
#include "port_netmap.h"
#include "port_xdp.h"

/* ---- names ---- */

uint32_t
fw_none(void)
{
	return FW_NONE;
}

const char *
fw_drop_name(unsigned cause)
{
	static const char *const names[] = {
		[FW_DROP_SHORT] = "short",
		[FW_DROP_BAD_CHECKSUM] = "bad_checksum",
		[FW_DROP_TTL_EXPIRED] = "ttl_expired",
		[FW_DROP_NO_RULE] = "no_rule",
		[FW_DROP_DENIED] = "denied",
		[FW_DROP_RATE_LIMITED] = "rate_limited",
		[FW_DROP_LOOP] = "loop",
		[FW_DROP_NO_COLLECTOR] = "no_collector",
		[FW_DROP_SAMPLED_OUT] = "sampled_out",
		[FW_DROP_COLLECTOR_LIMIT] = "collector_limit",
		[FW_DROP_NEIGHBOUR_PENDING_FULL] = "neighbour_pending_full",
		[FW_DROP_NEIGHBOUR_FAILED] = "neighbour_failed",
		[FW_DROP_FAMILY_MISMATCH] = "family_mismatch",
		[FW_DROP_TX_FULL] = "tx_full",
		[FW_DROP_TOO_BIG] = "too_big",
		[FW_DROP_FRAGMENT_LOST] = "fragment_lost",
		[FW_DROP_PUNT_FULL] = "punt_full",
		[FW_DROP_PORT_FAILED] = "port_failed",
		[FW_DROP_HOST_FULL] = "host_full",
	};

	_Static_assert(sizeof names / sizeof names[0] == FW_DROP_CAUSES, "every cause has a name");
	return cause < FW_DROP_CAUSES ? names[cause] : NULL;
}

/* ---- memory of plans ---- */

/*
 * Pages of their own: plans come and go all day, and each is a little longer than the last hole in the heap. The address
 * sanitizer, though, sees the end of what comes from the heap, and of nothing else.
 */
#ifdef __SANITIZE_ADDRESS__
static void *
plan_memory(size_t bytes)
{
	return aligned_alloc(FW_CACHE_LINE, (bytes + FW_CACHE_LINE - 1) / FW_CACHE_LINE * FW_CACHE_LINE);
}

static void
give_back(struct fw_plan *plan, size_t bytes)
{
	(void)bytes;
	free(plan);
}
#else
static void *
plan_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void
give_back(struct fw_plan *plan, size_t bytes)
{
	munmap(plan, bytes);
}
#endif

/* One that was accepted, and so says how long it is; NULL: there is none. */
static void
free_plan(struct fw_plan *plan)
{
	if (plan != NULL)
		give_back(plan, plan->bytes);
}

/* ---- life ---- */

/* Far above what anybody needs, and far below where sizes computed from them could overflow. */
static bool
check_limits(const struct fw_limits *l, char *error)
{
	const struct {
		const char *name;
		uint32_t value, least, most;
	} limits[] = {
		{ "rules", l->rules, 1, 1 << 24 },
		{ "collectors", l->collectors, 1, 1 << 20 },
		{ "neighbours", l->neighbours, 1, 1 << 16 },
		{ "exporters", l->exporters, 1, 1 << 24 },
		{ "flows", l->flows, 1, 1 << 24 },
		{ "frame_bytes", l->frame_bytes, 64, 65536 },
		{ "ring_slots", l->ring_slots, 1, 1 << 20 },
		{ "unknown", l->unknown, 1, 1 << 20 },
		{ "fragments", l->fragments, 1, 1 << 16 },
		{ "streams", l->streams, 1, 1 << 20 },
	};

	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		if (limits[i].value < limits[i].least || limits[i].value > limits[i].most) {
			snprintf(error, FW_ERROR_BYTES, "limits: %s is %u; it may be %u to %u", limits[i].name,
			    limits[i].value, limits[i].least, limits[i].most);
			return false;
		}
	}
	return true;
}

struct fw_core *
fw_core_new(const struct fw_limits *limits, char *error)
{
	struct fw_core *core;

	if (!check_limits(limits, error))
		return NULL;
	core = calloc(1, sizeof *core);
	if (core != NULL) {
		core->limits = *limits;
		core->neighbours = calloc(limits->neighbours, sizeof *core->neighbours);
		core->collector_paces = calloc(limits->collectors, sizeof *core->collector_paces);
	}
	if (core == NULL || core->neighbours == NULL || core->collector_paces == NULL) {
		snprintf(error, FW_ERROR_BYTES, "no memory left");
		if (core != NULL) {
			free(core->neighbours);
			free(core->collector_paces);
		}
		free(core);
		return NULL;
	}
	return core;
}

void
fw_core_free(struct fw_core *core)
{
	while (core->workers != NULL) {
		struct fw_worker *w = core->workers;

		core->workers = w->next;
		worker_free(w);
	}
	for (uint32_t i = 0; i < core->n_ports; i++)
		core->ports[i]->ops->free(core->ports[i]);
	while (core->regions != NULL) {
		struct fw_region *r = core->regions;

		core->regions = r->next;
		region_free(r);
	}
	while (core->umems != NULL) {
		struct fw_umem *u = core->umems;

		core->umems = u->next;
		port_xdp_memory_free(u);
	}
	nm_regions_free(core->nm_regions);
	for (uint32_t i = 0; i < core->n_retired; i++)
		free_plan(core->retired[i]);
	free(core->retired);
	free_plan(core->published);
	free(core->neighbours);
	free(core->collector_paces);
	free(core);
}

/* ---- the two doors ---- */

static bool
is_read(const struct fw_core *core, const struct fw_plan *plan)
{
	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next)
		if (worker_reads(w, plan))
			return true;
	return false;
}

unsigned
fw_plans(struct fw_core *core)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < core->n_retired; i++) {
		if (is_read(core, core->retired[i]))
			core->retired[kept++] = core->retired[i];
		else
			free_plan(core->retired[i]);
	}
	core->n_retired = kept;
	return kept + (core->published != NULL);
}

/* Every worker can reach every collector, and the host stacks behind its ports. */
static bool
check_reach(const struct fw_core *core, const struct fw_plan *plan, char *error)
{
	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next) {
		for (unsigned i = 0; i < w->n_rx; i++) {
			uint32_t to = plan_ports(plan)[w->rx[i]->port].passes_to;

			if (to != FW_NONE && w->tx.egress[to] == NULL) {
				snprintf(error, FW_ERROR_BYTES, "plan: a worker has no TX ring on port %u", to);
				return false;
			}
		}
		for (uint32_t i = 0; i < plan->n_targets; i++) {
			const struct fw_plan_target *t = &plan_targets(plan)[i];

			if (t->family != 0 && w->tx.egress[t->egress] == NULL) {
				snprintf(error, FW_ERROR_BYTES, "plan: a worker has no TX ring on port %u", t->egress);
				return false;
			}
		}
	}
	return true;
}

static struct fw_plan *
copy_plan(const struct fw_core *core, const void *plan, size_t bytes, char *error)
{
	const struct plan_bounds bounds = {
		.ports = core->n_ports,
		.rules = core->limits.rules,
		.collectors = core->limits.collectors,
		.neighbours = core->limits.neighbours,
	};
	struct fw_plan *copy = bytes >= sizeof *copy ? plan_memory(bytes) : NULL;

	if (copy == NULL) {
		snprintf(error, FW_ERROR_BYTES, bytes >= sizeof *copy ? "no memory left" : "plan: cut short");
		return NULL;
	}
	memcpy(copy, plan, bytes);
	if (plan_check(copy, bytes, &bounds, error) && check_reach(core, copy, error))
		return copy;
	give_back(copy, bytes);
	return NULL;
}

int
fw_publish(struct fw_core *core, const void *plan, size_t bytes, char *error)
{
	struct fw_plan *fresh = copy_plan(core, plan, bytes, error);
	struct fw_plan **retired;

	if (fresh == NULL)
		return -1;
	/* Room for the old one first: after the swap nothing can fail. */
	retired = realloc(core->retired, (core->n_retired + 1) * sizeof *retired);
	if (retired == NULL) {
		snprintf(error, FW_ERROR_BYTES, "no memory left");
		free_plan(fresh);
		return -1;
	}
	core->retired = retired;
	fresh->generation = ++core->generation;
	if (core->published != NULL)
		core->retired[core->n_retired++] = core->published;
	__atomic_store_n(&core->published, fresh, __ATOMIC_SEQ_CST);
	for (struct fw_worker *w = core->workers; w != NULL; w = w->next)
		fw_worker_wake(w);
	fw_plans(core);
	return 0;
}

uint32_t
fw_generation(const struct fw_core *core)
{
	return core->published == NULL ? 0 : core->generation;
}

int
fw_set_neighbour(struct fw_core *core, uint32_t slot, const uint8_t *mac, unsigned state)
{
	if (slot >= core->limits.neighbours || state > FW_NEIGH_FAILED || (mac == NULL && state == FW_NEIGH_READY))
		return -1;
	__atomic_store_n(&core->neighbours[slot], neigh_word(mac, (enum fw_neigh_state)state), __ATOMIC_RELEASE);
	for (struct fw_worker *w = core->workers; w != NULL; w = w->next)
		fw_worker_wake(w);
	return 0;
}

uint32_t
fw_lookup(struct fw_core *core, unsigned family, const uint8_t *address, uint16_t port)
{
	if (core->published == NULL)
		return FW_NONE;
	if (family == 4)
		return match_lookup(core->published, 4, 0, get32(address), port);
	return match_lookup(core->published, 6, get64(address), get64(address + 8), port);
}

/* ---- workers ---- */

struct fw_worker *
fw_worker_new(struct fw_core *core, char *error)
{
	struct fw_worker *w;

	if (!core_is_open(core, error))
		return NULL;
	w = worker_new(core, &core->published, core->neighbours, core->collector_paces, &core->limits);
	if (w == NULL) {
		snprintf(error, FW_ERROR_BYTES, "no memory left for a worker");
		return NULL;
	}
	/* With the same chance, all workers would sample alike, and their fragments would have the same identifications. */
	for (const struct fw_worker *other = core->workers; other != NULL; other = other->next) {
		w->tx.chance += 2 * 0x9e3779b97f4a7c15U;	/* even: it is odd, and so never 0 */
		w->tx.first_ident += 0x9e3779b9U;
	}
	w->next = core->workers;
	core->workers = w;
	return w;
}

void
fw_worker_free(struct fw_worker *w)
{
	struct fw_worker **at = &w->core->workers;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	worker_free(w);
}

/* Finds a ring and takes it: a ring belongs to one worker. */
static struct fw_queue *
take_ring(const struct fw_core *core, unsigned port, unsigned ring, bool is_tx, char *error)
{
	struct fw_port *p = core_port(core, port);
	struct fw_queue *q = NULL;

	if (!core_is_open(core, error))
		return NULL;
	if (p != NULL)
		q = is_tx ? p->ops->tx_queue(p, ring) : p->ops->rx_queue(p, ring);
	if (q == NULL || q->taken) {
		snprintf(error, FW_ERROR_BYTES, "port %u: %s ring %u %s", port, is_tx ? "TX" : "RX", ring,
		    q == NULL ? "does not exist" : "has a worker already");
		return NULL;
	}
	return q;
}

int
fw_worker_rx(struct fw_worker *w, unsigned port, unsigned ring, char *error)
{
	struct fw_queue *q = take_ring(w->core, port, ring, false, error);

	if (q == NULL)
		return -1;
	if (worker_add_rx(w, q))
		return 0;
	snprintf(error, FW_ERROR_BYTES, "a worker reads no more than %d rings", FW_PORTS_MAX);
	return -1;
}

int
fw_worker_tx(struct fw_worker *w, unsigned port, unsigned ring, char *error)
{
	struct fw_queue *q = take_ring(w->core, port, ring, true, error);

	if (q == NULL)
		return -1;
	if (worker_add_tx(w, q))
		return 0;
	snprintf(error, FW_ERROR_BYTES, "a worker has one TX ring on each port");
	return -1;
}
