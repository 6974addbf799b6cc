/* What the program that unpacks the binary does otherwise than Nuitka has it.

   That program unpacks all to a folder, forks, becomes Python in the child, waits for it in the parent, and removes the
   folder. So the process that an operator or a service manager knows would not be gfwd: it dies of SIGHUP and SIGUSR1,
   makes SIGINT of SIGTERM, and does not take gfwd with it when it is killed. Here the two change places: the process
   that was started becomes Python, and the new one waits and cleans up. The linker takes this fork() before the C
   library's. */

#define _GNU_SOURCE /* closefrom() in glibc, which has it since 2.34 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

pid_t _Fork(void); /* the C library's own, under its other name (glibc 2.34, FreeBSD 13.1) */

static const int handled[] = {SIGINT, SIGQUIT, SIGTERM}; /* by Nuitka's program */
static struct sigaction action_before[3];
static sigset_t mask_before;

/* Signals wait until all is unpacked: one that ends gfwd must not end who has the folder to remove. */
__attribute__((constructor)) static void hold_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask_before);
	for (int i = 0; i < 3; i++)
		sigaction(handled[i], NULL, &action_before[i]);
}

/* As they were for the process that was started: who has it ignore SIGINT means that. */
static void let_signals_in(void)
{
	for (int i = 0; i < 3; i++)
		sigaction(handled[i], &action_before[i], NULL);
	sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

/* Waits in a session of its own, and without other files, until nobody holds the pipe any more. Signals stay out. */
static void wait_for_end(int pipe_end)
{
	char nothing;
	ssize_t n;

	setsid();
	dup2(pipe_end, 0);
	closefrom(1);
	while ((n = read(0, &nothing, 1)) > 0 || (n < 0 && errno == EINTR))
		;
}

/* Where nothing prints to: of the first three, those that were closed at the start are free for a pipe. Not
   F_DUPFD_CLOEXEC, since what becomes Python must go on holding it. -1: there is none. */
static int above_stderr(int end)
{
	int held = fcntl(end, F_DUPFD, STDERR_FILENO + 1);

	close(end);
	return held;
}

pid_t fork(void)
{
	int ends[2]; /* of a pipe that nobody writes to: the kernel closes gfwd's end of it, whichever way gfwd ends */
	pid_t cleaner;

	if (pipe(ends) != 0 || (ends[1] = above_stderr(ends[1])) < 0)
		return -1;
	cleaner = _Fork();
	if (cleaner < 0)
		return -1;
	if (cleaner == 0) {
		wait_for_end(ends[0]);
		return getpid(); /* as if of a child that has ended; there is none, so nothing is waited for */
	}
	close(ends[0]);
	unsetenv("NUITKA_ONEFILE_PARENT"); /* who sees it looks every second whether its parent lives */
	let_signals_in();
	return 0;
}
