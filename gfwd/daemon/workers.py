"""Workers in threads of their own, so that the main thread hears of signals, and of a worker that ended by itself."""

import os
import socket
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress

from gfwd.errors import GfwdError
from gfwd.native.core import RunEnd, Worker

_STOPPING_S = 5.0


class Threads(AbstractContextManager["Threads"]):
    """Runs each worker in a thread, pinned to its CPU where one is given. At the end of the block, all have ended.

    fileno() becomes readable when one has ended by itself.
    """

    def __init__(self, workers: Sequence[Worker], cpus: Sequence[int] = ()) -> None:
        self._workers = workers
        self._cpus = cpus
        self._ended = [threading.Event() for _ in workers]
        self._ends: list[RunEnd | None] = [None for _ in workers]
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)

    def __enter__(self) -> "Threads":
        for i in range(len(self._workers)):
            threading.Thread(target=self._run, args=(i,), name=f"worker {i}", daemon=True).start()
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

    def all_have_ended(self) -> bool:
        return all(ended.is_set() for ended in self._ended)

    def ends(self) -> list[RunEnd | None]:
        """Why each has ended; None: it runs."""
        return self._ends

    def stop(self) -> None:
        """End all of them. Raises GfwdError where one does not, and then the core must not be freed."""
        for worker in self._workers:
            worker.stop()
        # Thread.join() does not do for that: once ^C has interrupted it, it takes the thread for ended.
        for ended in self._ended:
            if not ended.wait(_STOPPING_S):
                raise GfwdError("a worker does not stop")

    def _run(self, i: int) -> None:
        try:
            if i < len(self._cpus):
                os.sched_setaffinity(0, {self._cpus[i]})  # of this thread
            self._ends[i] = self._workers[i].run()
        finally:
            self._ended[i].set()
            self._mouth.send(b".")
