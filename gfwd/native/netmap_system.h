/*
 * The kernel as the netmap port calls it: one small table, so that a test can stand in for it.
 */
#ifndef GFWD_NETMAP_SYSTEM_H
#define GFWD_NETMAP_SYSTEM_H

#include <stddef.h>

struct nm_system {
	int (*open)(const char *path);	/* for reading and writing */
	int (*close)(int fd);
	int (*ioctl)(int fd, unsigned long request, void *argument);
	void *(*map)(int fd, size_t bytes);	/* MAP_FAILED with errno set */
	int (*unmap)(void *memory, size_t bytes);
};

/* The real one, unless a test has put another in its place. */
extern const struct nm_system *nm_system;

#endif
