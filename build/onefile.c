/* What the binary does before it is Python: it unpacks itself into a folder of its own, and starts what is there.

   Nuitka has a program for that, which forks, becomes Python in the child, waits for it in the parent, and removes the
   folder. The process that an operator or a service manager knows would then not be gfwd: it dies of SIGHUP and SIGUSR1,
   makes SIGINT of SIGTERM, and does not take gfwd with it when it is killed. It knows one folder, and leaves what it has
   unpacked there when it fails. So only what is packed, and zstd, are taken from it. start() comes before its main().

       /tmp/gfwd-unpacked-XXXXXX/   of the user that started it, and nobody else's
           lock                     held by gfwd as long as it lives; the kernel lets go of it, whichever way gfwd ends
           gfwd.bin, ...            what was packed
           bin/gfwd                 the name by which it is started, and known in top

   The process that was started becomes gfwd. Another one, the cleaner, waits for the lock, and removes the folder. */

#define _GNU_SOURCE /* closefrom() in glibc, which has it since 2.34 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "onefile_definitions.h" /* by Nuitka, as what is packed, */
#include "nuitka/defines.h"
#include "nuitka/blobs.h"
#include "zstd.h"

#if !_NUITKA_ONEFILE_COMPRESSION_BOOL
#error "Nuitka did not compress: it found no zstandard"
#endif

NUITKA_DECLARE_CONSTANT_BLOB(payload_bin, payload_bin, const)
const char *getBinaryPath(void); /* and where the binary is: aborts on Linux without /proc */

#define PREFIX "gfwd-unpacked-"
#define LOCK "/lock"
#define STALE_S 60 /* a folder that is older and that nobody holds: its cleaner was killed too */

extern char **environ; /* FreeBSD's headers leave that to us */

static sigset_t mask_before;

/* ---- what is packed: "KAY", then by zstd a row of files, and an empty name ---- */

enum { EXECUTABLE = 1, LINK = 2 };

static struct {
	ZSTD_DCtx *zstd;
	ZSTD_inBuffer packed;
	size_t at, end; /* of what is in bytes */
	char bytes[1 << 18];
} reader;

_Noreturn static void damaged(void)
{
	dprintf(STDERR_FILENO, "gfwd: error: %s is damaged: what is packed in it cannot be read. Fetch it again\n",
		getBinaryPath());
	_exit(1);
}

static void rewind_reader(void)
{
	const unsigned char *all = getpayload_binData();

	if (reader.zstd == NULL && (reader.zstd = ZSTD_createDCtx()) == NULL)
		damaged();
	ZSTD_DCtx_reset(reader.zstd, ZSTD_reset_session_only);
	reader.packed = (ZSTD_inBuffer){all + 3, _NUITKA_ONEFILE_PAYLOAD_SIZE_INT - 3, 0};
	reader.at = reader.end = 0;
	if (memcmp(all, "KAY", 3) != 0)
		damaged();
}

/* Up to n of the next bytes, at least one, and how many they are. */
static size_t next(const char **bytes, size_t n)
{
	while (reader.at == reader.end) {
		ZSTD_outBuffer out = {reader.bytes, sizeof reader.bytes, 0};
		size_t before = reader.packed.pos;
		size_t error = ZSTD_decompressStream(reader.zstd, &out, &reader.packed);

		if (ZSTD_isError(error) || (out.pos == 0 && reader.packed.pos == before))
			damaged();
		reader.at = 0;
		reader.end = out.pos;
	}
	if (n > reader.end - reader.at)
		n = reader.end - reader.at;
	*bytes = reader.bytes + reader.at;
	reader.at += n;
	return n;
}

static void take(void *to, size_t n)
{
	const char *bytes;

	for (size_t done = 0, part; done < n; done += part) {
		part = next(&bytes, n - done);
		memcpy((char *)to + done, bytes, part);
	}
}

static const char *take_name(char name[PATH_MAX])
{
	size_t n = 0;

	do {
		if (n == PATH_MAX)
			damaged();
		take(name + n, 1);
	} while (name[n++] != '\0');
	return name;
}

/* ---- into a folder: false, and errno, where that fails ---- */

static bool write_all(int file, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t written = write(file, bytes, n);

		if (written < 0 && errno != EINTR)
			return false;
		if (written > 0) {
			bytes += written;
			n -= (size_t)written;
		}
	}
	return true;
}

static bool make_parents(int folder, char *name)
{
	for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		bool made;

		*slash = '\0';
		made = mkdirat(folder, name, 0700) == 0 || errno == EEXIST;
		*slash = '/';
		if (!made)
			return false;
	}
	return true;
}

static bool unpack_file(int folder, const char *name, bool executable)
{
	int file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, executable ? 0700 : 0600);
	const char *bytes;
	uint64_t size;
	bool good = file >= 0;

	take(&size, sizeof size);
	while (good && size > 0) {
		size_t n = next(&bytes, size > SIZE_MAX ? SIZE_MAX : (size_t)size);

		good = write_all(file, bytes, n);
		size -= n;
	}
	return file >= 0 && close(file) == 0 && good;
}

static bool unpack(int folder)
{
	static char name[PATH_MAX], target[PATH_MAX];

	rewind_reader();
	while (*take_name(name) != '\0') {
		unsigned char flags;

		take(&flags, 1);
		if (!make_parents(folder, name))
			return false;
		if ((flags & LINK) ? symlinkat(take_name(target), folder, name) != 0
				   : !unpack_file(folder, name, flags & EXECUTABLE))
			return false;
	}
	return mkdirat(folder, "bin", 0700) == 0 && symlinkat("../gfwd.bin", folder, "bin/gfwd") == 0;
}

/* ---- the cleaner ---- */

static int remove_one(const char *path, const struct stat *its, int type, struct FTW *place)
{
	(void)its, (void)type, (void)place;
	remove(path);
	return 0; /* go on, whether that was possible or not */
}

static void remove_folder(const char *folder)
{
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What gfwds left there that ended together with their cleaners, as all processes of a container do. */
static void remove_stale(const char *base)
{
	DIR *all = opendir(base);
	char path[PATH_MAX + sizeof LOCK];

	for (struct dirent *one; all != NULL && (one = readdir(all)) != NULL;) {
		struct stat its;
		int length, lock;

		length = snprintf(path, PATH_MAX, "%s/%s", base, one->d_name);
		if (strncmp(one->d_name, PREFIX, strlen(PREFIX)) != 0 || length >= PATH_MAX || lstat(path, &its) != 0 ||
		    !S_ISDIR(its.st_mode) || its.st_uid != geteuid() || time(NULL) - its.st_mtime < STALE_S)
			continue;
		memcpy(path + length, LOCK, sizeof LOCK);
		lock = open(path, O_RDWR | O_NOFOLLOW);
		path[length] = '\0';
		if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0)
			remove_folder(path);
		close(lock);
	}
	if (all != NULL)
		closedir(all);
}

/* In a session and a place of its own, without gfwd's files; and no signal that can be held off ends it. */
_Noreturn static void clean_up(const char *base, const char *folder)
{
	char path[PATH_MAX + sizeof LOCK];
	int lock;

	snprintf(path, sizeof path, "%s" LOCK, folder);
	setsid();
	closefrom(0);
	if (chdir("/") == 0 && (lock = open(path, O_RDWR)) >= 0) {
		remove_stale(base);
		while (flock(lock, LOCK_EX) != 0 && errno == EINTR)
			;
	}
	remove_folder(folder);
	_exit(0);
}

/* ---- the process that becomes gfwd: NULL, or why that is not possible in a folder ---- */

/* Who else may rename what is in it could have us run something of theirs. */
static const char *unsafe(const char *base)
{
	struct stat its;

	if (*base != '/')
		return "not an absolute path";
	if (stat(base, &its) != 0)
		return strerror(errno);
	if (!S_ISDIR(its.st_mode))
		return strerror(ENOTDIR);
	if (its.st_uid != 0 && its.st_uid != geteuid())
		return "belongs to another user";
	if ((its.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (its.st_mode & S_ISVTX) == 0)
		return "others may change what is in it";
	return NULL;
}

/* Where nothing prints to: of the first three, those may be free that were closed at the start. It stays open in gfwd,
   and with it the lock. */
static int open_lock(const char *folder)
{
	char path[PATH_MAX + sizeof LOCK];
	int file, lock;

	snprintf(path, sizeof path, "%s" LOCK, folder);
	file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (file < 0)
		return -1;
	lock = fcntl(file, F_DUPFD, STDERR_FILENO + 1);
	close(file);
	if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0)
		return lock;
	close(lock);
	return -1;
}

/* Of locales that are not there, as in a container with the C library alone, Nuitka's program aborts. What the C library
   has for them is C. */
static void settle_locale(void)
{
	locale_t wanted = newlocale(LC_CTYPE_MASK, "", (locale_t)0);

	if (wanted == (locale_t)0)
		wanted = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	if (wanted == (locale_t)0)
		setenv("LC_ALL", "C", 1);
	else
		freelocale(wanted);
}

/* What Python is told by its own variables (PYTHONDEVMODE, PYTHONINSPECT) is for the host's Python. Nuitka's heeds
   some of them, and ends by a fatal error, a traceback or SIGSEGV. */
static void forget_python(void)
{
	static const char python[] = "PYTHON";

	for (char **one = environ; one != NULL && *one != NULL;) {
		const char *equals = strchr(*one, '=');
		char name[64];

		if (equals == NULL || strncmp(*one, python, strlen(python)) != 0 || equals - *one >= (int)sizeof name) {
			one++;
			continue;
		}
		memcpy(name, *one, (size_t)(equals - *one));
		name[equals - *one] = '\0';
		unsetenv(name);
		one = environ; /* which has moved */
	}
}

/* Returns only where that failed. SIGINT waits until gfwd/cli/__init__.py lets it in, which can answer it: Python that
   has not started yet answers with a traceback, or aborts. */
static void become(const char *folder, char *argv[])
{
	char path[PATH_MAX + 16];
	sigset_t held, mask = mask_before;

#ifdef __linux__
	snprintf(path, sizeof path, "%s/bin/gfwd", folder);
#else
	snprintf(path, sizeof path, "%s/gfwd.bin", folder);
#endif
	argv[0] = (char *)getBinaryPath(); /* by which it starts itself once more */
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_SETMASK, &mask, &held);
	execv(path, argv);
	sigprocmask(SIG_SETMASK, &held, NULL);
}

static const char *start_in(const char *base, char *argv[])
{
	static char folder[PATH_MAX];
	const char *trouble = unsafe(base);
	int lock, place;
	pid_t cleaner;

	if (trouble != NULL)
		return trouble;
	if (snprintf(folder, sizeof folder, "%s/" PREFIX "XXXXXX", base) >= (int)sizeof folder)
		return strerror(ENAMETOOLONG);
	if (mkdtemp(folder) == NULL)
		return strerror(errno);
	lock = open_lock(folder);
	cleaner = lock < 0 ? -1 : fork();
	if (cleaner == 0)
		clean_up(base, folder);
	if (cleaner < 0) {
		trouble = strerror(errno);
		close(lock);
		remove_folder(folder);
		return trouble;
	}
	place = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (place >= 0 && unpack(place)) {
		become(folder, argv);
		trouble = errno == EACCES ? "no program may run there: it is mounted noexec" : strerror(errno);
	} else
		trouble = strerror(errno);
	close(place);
	close(lock); /* the cleaner has waited for that */
	waitpid(cleaner, NULL, 0);
	return trouble;
}

__attribute__((constructor)) static void start(int argc, char *argv[])
{
	/* /tmp may be full, read-only or noexec; /run and /dev/shm are Linux's, and in memory. */
	const char *const folders[] = {getenv("TMPDIR"), "/tmp", "/var/tmp", "/run", "/dev/shm"};
	char tried[4096] = "";
	sigset_t all;

	(void)argc;
#ifdef __linux__
	if (access("/proc/self/exe", F_OK) != 0) {
		dprintf(STDERR_FILENO,
			"gfwd: error: /proc: %s. Without it this binary does not find itself: mount -t proc proc /proc\n",
			strerror(errno));
		_exit(1);
	}
#endif
	/* Until all is unpacked: one that ends gfwd need not wait for long, and none comes between start and cleaner. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask_before);
	/* Nuitka's, of another gfwd by which this one was started perhaps. */
	unsetenv("NUITKA_ONEFILE_PARENT");
	unsetenv("NUITKA_ONEFILE_DIRECTORY");
	unsetenv("NUITKA_ORIGINAL_ARGV0");
	forget_python();
	settle_locale();
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		size_t n = strlen(tried);

		if (folders[i] != NULL && *folders[i] != '\0')
			snprintf(tried + n, sizeof tried - n, "  %s: %s\n", folders[i], start_in(folders[i], argv));
	}
	dprintf(STDERR_FILENO,
		"gfwd: error: no folder to unpack to:\n%sMake 64 MB of room in one of them, or name another folder by TMPDIR\n",
		tried);
	_exit(1);
}
