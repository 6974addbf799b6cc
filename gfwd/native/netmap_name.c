#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "fw.h"
#include "netmap_name.h"

#define RINGS_MAX 1024

static bool
refuse(const char *text, char *error)
{
	snprintf(error, FW_ERROR_BYTES,
	    "%.80s is no netmap port; right would be netmap:ix0, netmap:ix0-1 (a ring), netmap:ix0-0-3 (rings), netmap:ix0^ "
	    "(the host's side), netmap:x{1 (a pipe) or vale0:a", text);
	return false;
}

/* A ring number at *at, which moves behind it. */
static bool
ring_number(const char **at, uint32_t *ring)
{
	const char *start = *at;

	for (*ring = 0; isdigit((unsigned char)**at) && *ring < RINGS_MAX; (*at)++)
		*ring = *ring * 10 + (uint32_t)(**at - '0');
	return *at > start && *ring < RINGS_MAX;
}

/* What follows the interface's name. */
static bool
parse_suffix(struct nm_name *n, const char *at)
{
	if (strcmp(at, "^") == 0) {
		n->kind = NM_HOST;
		return true;
	}
	if (*at == '\0')
		return true;
	if (*at++ != '-' || !ring_number(&at, &n->first_ring))
		return false;
	n->last_ring = n->first_ring;
	if (*at == '-') {
		at++;
		if (!ring_number(&at, &n->last_ring))
			return false;
	}
	return *at == '\0' && n->last_ring >= n->first_ring;
}

bool
nm_name_parse(struct nm_name *n, const char *text, char *error)
{
	const char *at = text, *end;

	memset(n, 0, sizeof *n);
	n->last_ring = UINT32_MAX;
	if (strlen(text) >= sizeof n->name)
		return refuse(text, error);
	if (strncmp(text, "vale", 4) == 0 && strchr(text, ':') != NULL && strchr(text, ':')[1] != '\0') {
		n->kind = NM_VALE;
		memcpy(n->name, text, strlen(text));
		return true;
	}
	if (strncmp(text, "netmap:", 7) != 0)
		return refuse(text, error);
	at += 7;
	end = at + strcspn(at, "{}");
	if (*end != '\0') {
		uint32_t pipe;
		const char *number = end + 1;

		n->kind = NM_PIPE;
		memcpy(n->name, at, strlen(at));
		return (end > at && ring_number(&number, &pipe) && *number == '\0') || refuse(text, error);
	}
	/* Names of interfaces hold no such sign, on FreeBSD as on Linux, unless somebody renamed them. */
	end = at + strcspn(at, "-^");
	memcpy(n->name, at, (size_t)(end - at));
	return (end > at && parse_suffix(n, end)) || refuse(text, error);
}
