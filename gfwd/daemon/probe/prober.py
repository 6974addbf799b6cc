"""Tries in threads of their own, at most one for each collector: neighbours, signals and other tries do not wait for
one that gets no answer, or for a name server that is down.
"""

import socket
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, suppress
from queue import Empty, SimpleQueue

from gfwd.health.watch import Outcome, Verdict

Probe = Callable[[], Outcome]


class Prober(AbstractContextManager["Prober"]):
    """fileno() is readable when a try has ended. What is still being tried at the end of the block ends unheard."""

    def __init__(self) -> None:
        self._done: SimpleQueue[tuple[Hashable, int, Outcome]] = SimpleQueue()
        self._busy: set[Hashable] = set()
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)

    def __exit__(self, *_: object) -> None:
        self._ear.close()
        self._mouth.close()

    def fileno(self) -> int:
        return self._ear.fileno()

    def ask(self, who: Hashable, number: int, probe: Probe) -> None:
        """Begin a try; who and number: it is known by these. One whose last try has not ended yet is let be."""
        if who in self._busy:
            return
        self._busy.add(who)
        try:
            threading.Thread(target=self._try, args=(who, number, probe), name="health", daemon=True).start()
        except RuntimeError as error:  # no more threads
            self._tell(who, number, Outcome(Verdict.UNTRIED, str(error)))

    def taken(self) -> Iterator[tuple[Hashable, int, Outcome]]:
        """What has ended since the last call."""
        with suppress(BlockingIOError):
            while self._ear.recv(4096):
                pass
        with suppress(Empty):
            while True:
                ended = self._done.get_nowait()
                self._busy.discard(ended[0])
                yield ended

    def _try(self, who: Hashable, number: int, probe: Probe) -> None:
        try:
            outcome = probe()
        except OSError as error:  # it could not be made
            outcome = Outcome(Verdict.UNTRIED, error.strerror or str(error))
        except Exception as error:  # or nobody would ever hear of it
            outcome = Outcome(Verdict.UNTRIED, f"{type(error).__name__}: {error}")
        self._tell(who, number, outcome)

    def _tell(self, who: Hashable, number: int, outcome: Outcome) -> None:
        self._done.put((who, number, outcome))
        with suppress(OSError):  # it is told already, or gfwd has ended meanwhile
            self._mouth.send(b".")
