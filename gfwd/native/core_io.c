/*
 * What passes between the core and Python while workers run: frames in both directions, and counters.
 */
#include <stdio.h>

#include "core.h"
#include "port_xdp.h"

/* ---- frames ---- */

static int
take_record(struct fw_ring *ring, struct fw_record *record, uint8_t *frame, uint32_t room)
{
	const uint8_t *bytes;
	const struct fw_record *head = ring_peek(ring, &bytes);

	if (head == NULL)
		return -1;
	*record = *head;
	memcpy(frame, bytes, head->bytes < room ? head->bytes : room);
	ring_pop(ring);
	return (int)record->bytes;
}

int
fw_worker_bell(struct fw_worker *w)
{
	return w->bell[0];
}

int
fw_punt_take(struct fw_worker *w, struct fw_record *record, uint8_t *frame, uint32_t room)
{
	return take_record(&w->tx.punt, record, frame, room);
}

int
fw_tap_take(struct fw_worker *w, struct fw_record *record, uint8_t *frame, uint32_t room)
{
	return take_record(&w->tx.tap, record, frame, room);
}

int
fw_ipfix_take(struct fw_worker *w, struct fw_record *record, uint8_t *frame, uint32_t room)
{
	return take_record(&w->streams.ipfix, record, frame, room);
}

int
fw_inject(struct fw_worker *w, unsigned port, const uint8_t *frame, uint32_t bytes)
{
	struct fw_record head = { .bytes = bytes, .port = port, .rule = FW_NONE };
	struct fw_egress *e = port < FW_PORTS_MAX ? w->tx.egress[port] : NULL;

	if (e == NULL || bytes > e->queue->frame_max || bytes > w->core->limits.frame_bytes)
		return 2;
	if (!ring_put(&w->inject, &head, frame))
		return 0;
	fw_worker_wake(w);
	return 1;
}

int
fw_mem_arrive(struct fw_core *core, unsigned port, unsigned ring, const uint8_t *frame, uint32_t bytes, uint64_t time)
{
	struct fw_port *p = core_port(core, port);

	return p != NULL && port_mem_has_ring(p, ring) ? port_mem_arrive(p, ring, frame, bytes, time) : -1;
}

int
fw_mem_leave(struct fw_core *core, unsigned port, unsigned ring, uint8_t *frame, uint32_t room)
{
	struct fw_port *p = core_port(core, port);

	return p != NULL && port_mem_has_ring(p, ring) ? port_mem_leave(p, ring, frame, room) : -2;
}

/* ---- interfaces ---- */

int
fw_xdp_queues(const char *interface, unsigned *rx, unsigned *tx, char *error)
{
	return port_xdp_queues(interface, rx, tx, error) ? 0 : -1;
}

int
fw_xdp_redirect(struct fw_core *core, unsigned port, unsigned on, char *error)
{
	struct fw_port *p = core_port(core, port);

	if (p == NULL || !port_is_xdp(p) || (on && core->published == NULL)) {
		snprintf(error, FW_ERROR_BYTES, "port %u is no AF_XDP port, or there is no plan yet", port);
		return -1;
	}
	return port_xdp_redirect(p, on ? core->published : NULL, error) ? 0 : -1;
}

int
fw_xdp_read(struct fw_core *core, unsigned port, struct fw_xdp_port *sum)
{
	const struct fw_port *p = core_port(core, port);

	if (p == NULL || !port_is_xdp(p))
		return -1;
	port_xdp_read(p, sum);
	return 0;
}

/* ---- sums ---- */

void
fw_read_frames(struct fw_core *core, struct fw_frame_ledger *sum)
{
	*sum = (struct fw_frame_ledger){ 0 };
	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next)
		stats_add_frames(sum, &w->stats);
}

void
fw_read_work(struct fw_core *core, struct fw_work *sum)
{
	*sum = (struct fw_work){ 0 };
	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next)
		stats_add_work(sum, &w->stats);
}

void
fw_read_collectors(struct fw_core *core, struct fw_copy_ledger *sum, uint32_t n)
{
	memset(sum, 0, n * sizeof *sum);
	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next)
		stats_add_collectors(sum, n, &w->stats);
}

void
fw_read_rules(struct fw_core *core, struct fw_count *sum, uint32_t n)
{
	memset(sum, 0, n * sizeof *sum);
	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next)
		stats_add_rules(sum, n, &w->stats);
}

void
fw_read_taps(struct fw_core *core, struct fw_tap_count *sum)
{
	memset(sum, 0, FW_TAPS_MAX * sizeof *sum);
	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next) {
		for (unsigned i = 0; i < FW_TAPS_MAX; i++) {
			sum[i].matched += __atomic_load_n(&w->tx.taps[i].matched, __ATOMIC_RELAXED);
			sum[i].taken += __atomic_load_n(&w->tx.taps[i].taken, __ATOMIC_RELAXED);
			sum[i].lost += __atomic_load_n(&w->tx.taps[i].lost, __ATOMIC_RELAXED);
		}
	}
}

uint32_t
fw_read_exporters(struct fw_core *core, struct fw_exporter *list, uint32_t n)
{
	uint32_t total = 0;

	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next)
		total += match_read_exporters(&w->matcher, list + (total < n ? total : n), total < n ? n - total : 0);
	return total;
}

uint32_t
fw_read_unknown(struct fw_core *core, struct fw_unknown *list, uint32_t n)
{
	uint32_t total = 0;

	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next)
		total += list == NULL ? unknown_room(&w->unknown) : unknown_read(&w->unknown, list + total, n - total);
	return total;
}

uint32_t
fw_read_streams(struct fw_core *core, struct fw_stream *list, uint32_t n)
{
	uint32_t total = 0;

	for (const struct fw_worker *w = core->workers; w != NULL; w = w->next)
		total += list == NULL ? streams_room(&w->streams) : streams_read(&w->streams, list + total, n - total);
	return total;
}
