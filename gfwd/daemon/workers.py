"""Workers in threads of their own, so that the main thread hears of signals, and of a worker that ended by itself."""

import os
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress

from gfwd.native.core import RunEnd, Worker

_STOPPING_S = 10.0


class Threads(AbstractContextManager["Threads"]):
    """Runs each worker in a thread, pinned to its CPU where one is given. At the end of the block, all have ended.

    fileno() becomes readable when one has ended by itself. stopping_s: how long one that is told to end may take; after
    that the process ends without it.
    """

    def __init__(self, workers: Sequence[Worker], cpus: Sequence[int] = (), *, stopping_s: float = _STOPPING_S) -> None:
        self._workers = workers
        self._stopping_s = stopping_s
        self._cpus = cpus
        # Thread.join() does not do: once ^C has interrupted it, it takes the thread for ended.
        self._ended = [threading.Event() for _ in workers]
        self._ends: list[RunEnd | None] = [None for _ in workers]
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)

    def __enter__(self) -> "Threads":
        # ^C in the middle of start() would leave open whether there is a worker to wait for.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        for i in range(len(self._workers)):
            threading.Thread(target=self._run, args=(i,), name=f"worker {i}", daemon=True).start()
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        except KeyboardInterrupt:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._ear.close()
        self._mouth.close()

    def fileno(self) -> int:
        return self._ear.fileno()

    def listen(self) -> None:
        """What fileno() had to say was heard."""
        with suppress(BlockingIOError):
            self._ear.recv(4096)

    def wait(self) -> None:
        """Until all have ended by themselves."""
        for ended in self._ended:
            ended.wait()

    def all_have_ended(self) -> bool:
        return all(ended.is_set() for ended in self._ended)

    def rounds(self) -> list[int | None]:
        """How often each has gone round its rings; None: it has ended."""
        return [
            None if ended.is_set() else worker.rounds()
            for worker, ended in zip(self._workers, self._ended, strict=True)
        ]

    def ends(self) -> list[RunEnd | None]:
        """Why each has ended; None: it runs."""
        return self._ends

    def stop(self) -> None:
        """End all of them."""
        for worker in self._workers:
            worker.stop()
        for ended in self._ended:
            with suppress(KeyboardInterrupt):  # the second one of an impatient user
                ended.wait(self._stopping_s)
            if not ended.is_set():
                # It reads from a pipe that says nothing, say; and the core must not be freed under it.
                os._exit(128 + signal.SIGINT)

    def _run(self, i: int) -> None:
        try:
            if i < len(self._cpus):
                os.sched_setaffinity(0, {self._cpus[i]})  # of this thread
            self._ends[i] = self._workers[i].run()
        finally:
            self._ended[i].set()
            with suppress(OSError):  # whoever waited for the event may have closed it already
                self._mouth.send(b".")
