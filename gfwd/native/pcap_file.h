/*
 * Capture files: pcap and pcapng in, pcap out. One frame at a time, through stdio's buffer, so that a file of any size
 * takes the same little memory. Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
 */
#ifndef GFWD_PCAP_FILE_H
#define GFWD_PCAP_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "fw.h"

#define PCAP_INTERFACES_MAX 4096

/* How a pcapng interface, or a whole pcap file, counts time. */
struct pcap_clock {
	uint64_t units_per_second;
	int64_t offset_seconds;
};

struct pcap_reader {
	FILE *file;
	uint64_t offset;		/* of what is read next, in bytes from the file's start */
	uint64_t block;			/* where the record or block that is being read starts */
	bool is_ng;
	bool is_swapped;		/* written on a machine of the other byte order */
	uint32_t n_interfaces;
	struct pcap_clock *clocks;	/* one for each interface; a pcap file has one */
	uint32_t first_snaplen;		/* of interface 0: simple packets have no length of their own */
	char error[FW_ERROR_BYTES];
};

/* False: reader->error says why, with the offset; nothing needs to be closed. */
bool pcap_reader_open(struct pcap_reader *, const char *path);

enum pcap_read { PCAP_FRAME, PCAP_END, PCAP_BROKEN };

/*
 * The next frame. *bytes is its captured length; one longer than `room` is skipped, and none of its bytes are stored.
 * *time is in ns since 1970. PCAP_BROKEN: reader->error says what is wrong, and at which offset.
 */
enum pcap_read pcap_reader_next(struct pcap_reader *, uint8_t *frame, uint32_t room, uint32_t *bytes, uint64_t *time);
void pcap_reader_close(struct pcap_reader *);

/* Classic pcap, host byte order, stamps in nanoseconds. NULL with errno set. */
FILE *pcap_writer_open(const char *path);
/* False with errno set. */
bool pcap_writer_put(FILE *, const uint8_t *frame, uint32_t bytes, uint64_t time);

#endif
