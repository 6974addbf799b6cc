#define _GNU_SOURCE
#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "netmap_inside.h"

void
complain(const char *format, ...)
{
	va_list arguments;

	if (kernel.counts.complaints++ > 0)
		return;
	va_start(arguments, format);
	vsnprintf(kernel.counts.complaint, sizeof kernel.counts.complaint, format, arguments);
	va_end(arguments);
}

/* ---- memory ---- */

struct region *
region_of(uint16_t id, uint32_t buf_size, uint32_t n_buffers)
{
	struct region *r = &kernel.regions[id - 1];

	CHECK(id <= REGIONS && n_buffers <= BUFFERS, "region %u with %u buffers", id, n_buffers);
	if (r->id != 0)
		return r;
	*r = (struct region){ .id = id, .buf_size = buf_size, .n_buffers = n_buffers };
	r->bytes = buffer_offset(r, n_buffers);
	r->file = memfd_create("netmap", 0);
	CHECK(r->file >= 0 && ftruncate(r->file, (off_t)r->bytes) == 0, "no memory for region %u", id);
	r->memory = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->file, 0);
	CHECK(r->memory != MAP_FAILED, "no memory for region %u", id);
	return r;
}

void
show(const struct region *r, uint32_t buf)
{
	for (unsigned i = 0; i < VIEWS; i++) {
		if (r->views[i].memory == NULL)
			continue;
		if (r->owner[buf] == PROGRAM)
			ASAN_UNPOISON_MEMORY_REGION(r->views[i].memory + buffer_offset(r, buf), r->buf_size);
		else
			ASAN_POISON_MEMORY_REGION(r->views[i].memory + buffer_offset(r, buf), r->buf_size);
	}
}

/* A buffer gets another owner. */
bool
hand_over(struct region *r, uint32_t buf, enum owner from, enum owner to, const char *where)
{
	static const char *const names[] = { "free", "the kernel's", "the program's" };

	if (!is_buffer(r, buf) || r->owner[buf] != from) {
		complain("%s: buffer %u of region %u is %s, not %s", where, buf, r->id,
		    is_buffer(r, buf) ? names[r->owner[buf]] : "none", names[from]);
		return false;
	}
	r->owner[buf] = (uint8_t)to;
	show(r, buf);
	return true;
}

/* 0: there is none left. */
uint32_t
allocate(struct region *r, enum owner owner)
{
	for (uint32_t buf = 2; buf < r->n_buffers; buf++) {
		if (r->owner[buf] == FREE) {
			hand_over(r, buf, FREE, owner, "allocation");
			return buf;
		}
	}
	return 0;
}

/* Whoever had it. */
void
release_buffer(struct region *r, uint32_t buf, const char *where)
{
	if (is_buffer(r, buf) && r->owner[buf] == KERNEL)
		hand_over(r, buf, KERNEL, FREE, where);
	else
		hand_over(r, buf, PROGRAM, FREE, where);
}
