"""What a reload takes, read anew in a thread of its own: rules, names and all that is made of them may take a while,
and neighbours and signals must not wait for it meanwhile.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from gfwd.daemon import names
from gfwd.daemon.job import Run
from gfwd.errors import GfwdError
from gfwd.rules.model import Address, Collector
from gfwd.rules.space import RuleSpace


@dataclass(frozen=True, slots=True)
class Fresh:
    """What has been read. addresses: those of each collector."""

    job: Run
    addresses: Mapping[Collector, tuple[Address, ...]]
    space: RuleSpace


def prepare(job: Run) -> Fresh:
    """All that takes a while. Raises GfwdError."""
    return Fresh(job, names.addresses(job.rules.collectors()), RuleSpace(job.rules))


class Reader(AbstractContextManager["Reader"]):
    """read: gives the job as its files say it now; raises GfwdError. fileno() is readable when something was read."""

    def __init__(self, read: Callable[[], Run]) -> None:
        self._read = read
        self._done: SimpleQueue[Fresh | GfwdError] = SimpleQueue()
        self._is_busy = self._is_asked_again = False
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)

    def __exit__(self, *_: object) -> None:
        self._ear.close()
        self._mouth.close()

    def fileno(self) -> int:
        return self._ear.fileno()

    def ask(self) -> None:
        """Read. Where something is being read, once more after that, since the files may be others by now."""
        if self._is_busy:
            self._is_asked_again = True
            return
        self._is_busy = True
        threading.Thread(target=self._work, name="reload", daemon=True).start()

    def taken(self) -> Fresh | GfwdError | None:
        """What was read, or what was wrong with it; None: nothing was, or it is outdated already."""
        with suppress(BlockingIOError):
            self._ear.recv(4096)
        try:
            found = self._done.get_nowait()
        except Empty:
            return None
        self._is_busy = False
        if self._is_asked_again:
            self._is_asked_again = False
            self.ask()
            return None
        return found

    def _work(self) -> None:
        try:
            self._done.put(prepare(self._read()))
        except GfwdError as error:
            self._done.put(error)
        except Exception as error:  # or nobody would ever hear of it, and no reload would be taken again
            self._done.put(GfwdError(f"error: {type(error).__name__}: {error}"))
        with suppress(OSError):  # gfwd has ended meanwhile
            self._mouth.send(b".")
