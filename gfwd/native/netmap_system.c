#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "netmap_system.h"

static int
system_open(const char *path)
{
	return open(path, O_RDWR | O_CLOEXEC);
}

static int
system_ioctl(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument);
}

static void *
system_map(int fd, size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static const struct nm_system real = {
	.open = system_open,
	.close = close,
	.ioctl = system_ioctl,
	.map = system_map,
	.unmap = munmap,
};

const struct nm_system *nm_system = &real;
