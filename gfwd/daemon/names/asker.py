"""Lookups in threads of their own, a few at a time: neighbours, signals and forwarding do not wait for a server."""

import socket
import threading
from collections import deque
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, suppress
from queue import Empty, SimpleQueue

from gfwd.daemon.names.resolver import look_up
from gfwd.daemon.names.sources import Asking
from gfwd.dns.name import Answer, Bad, Name
from gfwd.rules.model import FAMILIES

_THREADS = 16

Asked = tuple[Name, int]
"""A name, and the number of its lookup."""


class Asker(AbstractContextManager["Asker"]):
    """fileno() is readable when a lookup has ended. What is still under way at the end of the block ends unheard."""

    def __init__(self) -> None:
        self._done: SimpleQueue[tuple[Asked, Answer]] = SimpleQueue()
        self._waiting: deque[tuple[Asked, Asking]] = deque()
        self._busy = 0
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)

    def __exit__(self, *_: object) -> None:
        self._ear.close()
        self._mouth.close()

    def fileno(self) -> int:
        return self._ear.fileno()

    def ask(self, asked: Asked, asking: Asking) -> None:
        """Begin a lookup, as soon as there is a thread for it."""
        self._waiting.append((asked, asking))
        self._begin()

    def follow(self, asking: Asking, wanted: Container[Name]) -> None:
        """Lookups that wait for a thread are made like this, too; those of names that nobody wants any more are not."""
        self._waiting = deque((asked, asking) for asked, _ in self._waiting if asked[0] in wanted)

    def taken(self) -> Iterator[tuple[Asked, Answer]]:
        """What has ended since the last call."""
        with suppress(BlockingIOError):
            while self._ear.recv(4096):
                pass
        with suppress(Empty):
            while True:
                ended = self._done.get_nowait()
                self._busy -= 1
                self._begin()
                yield ended

    def _begin(self) -> None:
        while self._waiting and self._busy < _THREADS:
            asked, asking = self._waiting.popleft()
            self._busy += 1
            try:
                threading.Thread(target=self._look_up, args=(asked, asking), name="names", daemon=True).start()
            except RuntimeError as error:  # no more threads
                self._tell(asked, _failed(str(error)))

    def _look_up(self, asked: Asked, asking: Asking) -> None:
        try:
            answer = look_up(asked[0].host, asking)
        except Exception as error:  # or nobody would ever hear of it, and the name not be asked for again
            answer = _failed(f"{type(error).__name__}: {error}")
        self._tell(asked, answer)

    def _tell(self, asked: Asked, answer: Answer) -> None:
        self._done.put((asked, answer))
        with suppress(OSError):  # it is told already, or gfwd has ended meanwhile
            self._mouth.send(b".")


def _failed(why: str) -> Answer:
    return {family: Bad(why) for family in FAMILIES}
