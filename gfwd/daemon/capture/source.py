"""Where gfwd inspect has its frames from: a capture, or (tap/live.py) a gfwd that runs."""

import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType
from typing import Any, BinaryIO, Final, Protocol, Self

from gfwd.daemon.capture.file import CaptureFile, Frame
from gfwd.errors import GfwdError

STDIN: Final = "-"
_BUFFER_BYTES: Final = 1 << 20
_TICK_FRAMES: Final = 4_096


class Source(Protocol):
    """A context manager. name: for people. file: that it is, if it is one. offset: how far it is, for a progress bar,
    which wants to know once in tick_frames. problem: what went wrong, when that was met.
    """

    name: str
    file: str | None
    tick_frames: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def offset(self) -> int: ...

    @property
    def problem(self) -> str | None: ...

    def frames(self) -> Iterator[Frame]:
        """All frames, once."""

    def notes(self) -> list[str]:
        """What is to be said at the end."""


class Capture:
    """A capture file, or standard input. Raises GfwdError where it cannot be opened. size: in bytes; None where nobody
    knows: a pipe has no size.

    ^C at a terminal is for whoever writes into the pipe, too, and ends that: so the first one leaves what it still
    has to say, and what is found to be said of all of it. The next one is as ever.
    """

    tick_frames = _TICK_FRAMES

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = None if name == STDIN else name
        self._stack = ExitStack()
        self._capture = CaptureFile(self._open())
        self.size = _size_of(name)
        self._before: Any = None  # who heard ^C

    def __enter__(self) -> Self:
        if self.file is None:
            self._before = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        self._stack.close()

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._capture.offset

    @property
    def problem(self) -> str | None:
        """Where and how it is broken; whoever is given frames has been given all that stand before."""
        return self._capture.problem

    def frames(self) -> Iterator[Frame]:
        return self._capture.frames()

    def notes(self) -> list[str]:
        return []

    def _open(self) -> BinaryIO:
        if self.name == STDIN:
            if sys.stdin is None:
                raise GfwdError("-: error: standard input is closed; give the capture's name")
            if sys.stdin.isatty():
                raise GfwdError("-: error: standard input is a terminal; give the capture's name, or pipe one in")
            return sys.stdin.buffer
        try:
            # Not `with`: the stack closes it.
            return self._stack.enter_context(open(self.name, "rb", _BUFFER_BYTES))
        except OSError as error:
            raise GfwdError(f"{self.name}: error: cannot be opened: {error.strerror}") from None


def _size_of(capture: str) -> int | None:
    try:
        found = os.stat(capture)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
