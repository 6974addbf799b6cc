#include <stdlib.h>

#include "neigh.h"

/* ---- kept datagrams ---- */

struct fw_waiting_frame *
waiting_frame(const struct fw_waiting *w, uint32_t number)
{
	return pool_entry(&w->frames, number);
}

uint32_t
waiting_keep(struct fw_waiting *w, uint32_t in_port, const struct fw_frame *frame, const struct fw_packet *packet)
{
	uint32_t number = frame->len <= w->frame_bytes ? pool_take(&w->frames) : FW_NONE;
	struct fw_waiting_frame *f;

	if (number == FW_NONE)
		return FW_NONE;
	f = waiting_frame(w, number);
	f->copies = 0;
	f->next = FW_NONE;
	f->is_sent = false;
	f->in_port = in_port;
	f->packet = *packet;
	f->frame = *frame;
	f->frame.data = (uint8_t *)(f + 1);
	memcpy(f->frame.data, frame->data, frame->len);
	return number;
}

void
waiting_let_go(struct fw_waiting *w, uint32_t number)
{
	if (waiting_frame(w, number)->copies == 0)
		pool_give(&w->frames, number);
}

/* ---- queues ---- */

static struct fw_waiting_copy *
copy_at(const struct fw_waiting *w, uint32_t i)
{
	return pool_entry(&w->copies, i);
}

bool
waiting_add(struct fw_waiting *w, uint32_t frame, const struct fw_plan_target *target, const struct fw_plan_option *option)
{
	struct fw_waiting_queue *q = &w->queues[target->neighbour];
	uint32_t i;

	if (q->n == FW_WAITING_MAX)
		return false;
	i = pool_take(&w->copies);	/* has FW_WAITING_MAX entries for each queue */
	*copy_at(w, i) = (struct fw_waiting_copy){ .target = *target, .frame = frame, .next = FW_NONE };
	if (option != NULL)
		copy_at(w, i)->option = *option;
	if (q->n == 0) {
		q->first = i;
		w->busy[w->n_busy++] = target->neighbour;
	} else {
		copy_at(w, q->last)->next = i;
	}
	q->last = i;
	q->n++;
	waiting_frame(w, frame)->copies++;
	return true;
}

struct fw_waiting_copy *
waiting_first(const struct fw_waiting *w, uint32_t slot)
{
	return w->queues[slot].n > 0 ? copy_at(w, w->queues[slot].first) : NULL;
}

void
waiting_pop(struct fw_waiting *w, uint32_t slot)
{
	struct fw_waiting_queue *q = &w->queues[slot];
	uint32_t i = q->first;

	waiting_frame(w, copy_at(w, i)->frame)->copies--;
	q->first = copy_at(w, i)->next;
	q->n--;
	pool_give(&w->copies, i);
}

void
waiting_tidy(struct fw_waiting *w)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < w->n_busy; i++)
		if (w->queues[w->busy[i]].n > 0)
			w->busy[kept++] = w->busy[i];
	w->n_busy = kept;
}

/* ---- life ---- */

bool
waiting_init(struct fw_waiting *w, const struct fw_limits *limits)
{
	uint32_t n = limits->neighbours * FW_WAITING_MAX;
	size_t frame_bytes = (sizeof(struct fw_waiting_frame) + limits->frame_bytes + 7) & ~(size_t)7;

	w->frame_bytes = limits->frame_bytes;
	w->queues = calloc(limits->neighbours, sizeof *w->queues);
	w->busy = calloc(limits->neighbours, sizeof *w->busy);
	return w->queues != NULL && w->busy != NULL &&
	    pool_init(&w->copies, n, sizeof(struct fw_waiting_copy)) &&
	    pool_init(&w->frames, n + limits->fragments, frame_bytes);
}

void
waiting_free(struct fw_waiting *w)
{
	free(w->queues);
	free(w->busy);
	pool_free(&w->copies);
	pool_free(&w->frames);
}
