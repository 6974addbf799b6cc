"""Signals as something to wait for, beside sockets."""

import signal
import socket
from contextlib import AbstractContextManager, suppress
from types import FrameType
from typing import Any

STOP = frozenset((signal.SIGINT, signal.SIGTERM))
RELOAD = frozenset((signal.SIGHUP,))
STATUS = frozenset(getattr(signal, name) for name in ("SIGUSR1", "SIGINFO") if hasattr(signal, name))
"""SIGINFO is FreeBSD's: ^T at the terminal."""


class Signals(AbstractContextManager["Signals"]):
    """Within the block, the signals above do nothing but make fileno() readable. For the main thread."""

    def __enter__(self) -> "Signals":
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        self._before: dict[int, Any] = {number: signal.signal(number, _let_be) for number in STOP | RELOAD | STATUS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._ear.close()
        self._mouth.close()

    def fileno(self) -> int:
        return self._ear.fileno()

    def taken(self) -> frozenset[int]:
        """The signals that have come since the last call."""
        with suppress(BlockingIOError):
            return frozenset(self._ear.recv(4096))
        return frozenset()


def ignore_early() -> None:
    """What nobody can answer yet must not end a process that only starts."""
    for number in RELOAD | STATUS:
        signal.signal(number, signal.SIG_IGN)


def _let_be(_number: int, _frame: FrameType | None) -> None:
    """The wakeup descriptor has its number already."""
