#include "egress.h"

void
egress_hand_over(struct fw_egress *e)
{
	unsigned n = e->n_out;

	if (n == 0)
		return;
	e->queue->ops->send(e->queue, e->out, n);
	for (unsigned i = 0; i < n; i++) {
		if (likely(e->origin[i] != NULL))
			e->origin[i]->buf = e->out[i].buf;
		else
			e->queue->spares[e->queue->n_spares++] = e->out[i].buf;
	}
	e->n_out = 0;
	e->room -= n;
}

unsigned
egress_ask_for_room(struct fw_egress *e, unsigned wanted)
{
	if (e->is_full)
		return e->room - e->n_out;
	egress_hand_over(e);
	e->room = e->queue->ops->room(e->queue, wanted);
	e->is_full = e->room == 0;
	if (e->room > FW_OUT)
		e->room = FW_OUT;
	return e->room;
}

void
egress_new_burst(struct fw_egress *e)
{
	e->is_full = false;
}

void
egress_flush(struct fw_egress *e)
{
	egress_hand_over(e);
	e->room = 0;
	e->is_full = false;
	e->queue->ops->flush(e->queue);
}
