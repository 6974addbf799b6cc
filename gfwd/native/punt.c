#include <unistd.h>

#include "punt.h"

/* False: the ring is full, or too narrow. */
static bool
hand_over(struct fw_transmitter *tx, uint32_t in_port, const struct fw_frame *frame, uint32_t bytes, uint32_t mtu)
{
	struct fw_record head = { .time = frame->time, .bytes = bytes, .port = in_port, .rule = FW_NONE, .mtu = mtu };
	bool was_empty = ring_is_empty(&tx->punt);

	if (!ring_put(&tx->punt, &head, frame->data))
		return false;
	if (was_empty) {
		ssize_t n = write(tx->punt_bell, "", 1);	/* never blocks; a full pipe rings already */

		(void)n;
	}
	return true;
}

enum fw_fate
punt_frame(struct fw_transmitter *tx, uint32_t in_port, const struct fw_frame *frame)
{
	return hand_over(tx, in_port, frame, frame->len, 0) ? FW_PUNT : FW_DROP_PUNT_FULL;
}

void
punt_beginning(struct fw_transmitter *tx, uint32_t in_port, const struct fw_frame *frame, uint32_t mtu)
{
	hand_over(tx, in_port, frame, frame->len < FW_TOLD_BYTES ? frame->len : FW_TOLD_BYTES, mtu);
}
