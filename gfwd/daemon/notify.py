"""What the service manager is told, where there is one (sd_notify(3)): ready, reloading, stopping, and that gfwd lives.

A datagram of lines NAME=value to the Unix socket that $NOTIFY_SOCKET names. It is told that gfwd lives only while the
loop comes here and every worker goes round its rings: of a gfwd where either hangs, nothing is heard, and the service
manager starts another one.
"""

import os
import re
import socket
import time
from collections.abc import MutableMapping, Sequence
from contextlib import AbstractContextManager, suppress

_USEC = re.compile("[1-9][0-9]{0,18}")
_PATIENCE_S = 1.0  # for a service manager that does not read; what it is told of life comes again anyhow
_ROUND_S = 2.0
"""A worker with nothing to do goes round once a second (worker.c); so long it may take, however busy the machine is."""

Rounds = Sequence[int | None]
"""How often each worker has gone round; None: it has ended, and nobody waits for it."""


class Notify(AbstractContextManager["Notify"]):
    """environment: where $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID are; they are taken out of it, since they are
    for this process, and for none that it starts. Where they are not there, nobody is told anything.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._socket = _connected(environment.pop("NOTIFY_SOCKET", ""))
        usec, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        is_watched = self._socket is not None and _USEC.fullmatch(usec) and pid in ("", str(os.getpid()))
        self._every_s = int(usec) / 2e6 if is_watched else None
        self._next: float | None = None  # when it is to be told next that gfwd lives
        self._rounds: dict[int, tuple[int, float]] = {}  # by worker: how many there were, and since when

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def ready(self, status: str, now: float) -> None:
        """It forwards: since the start, or again after a reload. status: for people, who see its first line."""
        first, _, more = status.partition("\n")
        self._tell("READY=1", f"STATUS={first}{' …' if more else ''}")
        if self._next is None and self._every_s is not None:
            self._next = now  # the service manager counts from here on

    def reloading(self) -> None:
        """Until ready() is said again."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=stopping")

    def deadline(self) -> float | None:
        """When `advance` wants to be called next (time.monotonic()); None: nobody asks whether gfwd lives."""
        return self._next

    def advance(self, rounds: Rounds, now: float) -> None:
        """Tell that gfwd lives, where that is due and true."""
        if self._next is None or self._every_s is None or now < self._next:
            return
        self._next = now + self._every_s
        if self._all_go_round(rounds, now):
            self._tell("WATCHDOG=1")

    def _all_go_round(self, rounds: Rounds, now: float) -> bool:
        for worker, number in enumerate(rounds):
            if number is None:
                self._rounds.pop(worker, None)
            elif self._rounds.get(worker, (None, now))[0] != number:
                self._rounds[worker] = number, now
        longest = max(_ROUND_S, self._every_s or 0.0)
        return all(now - since <= longest for _, since in self._rounds.values())

    def _tell(self, *lines: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it is gone, or hangs: nobody is left who could be told of that
                self._socket.send("\n".join(lines).encode("utf-8", "replace"))


def _connected(address: str) -> socket.socket | None:
    """The service manager's socket; None: there is none, or no Unix socket (vsock:, of a machine inside another)."""
    if not address.startswith(("/", "@")):
        return None
    its = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    its.settimeout(_PATIENCE_S)
    try:
        its.connect(f"\0{address[1:]}" if address[0] == "@" else address)  # @: an abstract name (unix(7))
    except OSError:
        its.close()
        return None
    return its
