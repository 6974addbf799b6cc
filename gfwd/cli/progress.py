"""A bar on the terminal while a long file is read, or a number where nobody knows how much there is; nothing where
nobody looks, or where it is soon over.
"""

import os
import time
from typing import Final, Self, TextIO

from gfwd.metrics.words import many

_FIRST_S: Final = 1.0  # what is over sooner needs none
_EVERY_S: Final = 0.2
_WIDTH: Final = 40  # of the bar, where the terminal has room for it
_AROUND: Final = 9  # columns: what stands around it, and one that stays free, lest the line wraps


class Progress:
    """A context manager: the bar is gone when it ends. size: in bytes, None where nobody knows. counts: what is counted
    then, if it is to be shown.
    """

    def __init__(self, size: int | None, stream: TextIO | None, *, is_wanted: bool, counts: str | None = None) -> None:
        self._size, self._counts = size, counts
        is_shown = is_wanted and (size or counts is not None)
        self._stream = stream if is_shown and stream is not None and stream.isatty() else None
        self._width = _WIDTH if self._stream is None else _room(self._stream)
        self._next = time.monotonic() + _FIRST_S
        self._is_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def tick(self, done: int) -> None:
        """So many bytes are read, or so much of what is counted has come."""
        now = time.monotonic()
        if self._stream is None or now < self._next:
            return
        self._next = now + _EVERY_S
        if self._size:
            share = min(done / self._size, 1)
            bar = "#" * int(share * self._width)
            self._stream.write(f"\r[{bar:.<{self._width}}] {share:4.0%}")
        else:
            self._stream.write(f"\r{many(done, self._counts or '')} so far")
        self._stream.flush()
        self._is_shown = True

    def clear(self) -> None:
        if self._is_shown and self._stream is not None:
            self._stream.write(f"\r{'':{self._width + _AROUND - 1}}\r")
            self._stream.flush()
            self._is_shown = False


def _room(terminal: TextIO) -> int:
    """For the bar, in columns."""
    try:
        columns = os.get_terminal_size(terminal.fileno()).columns
    except OSError:
        columns = 0
    return max(1, min(_WIDTH, columns - _AROUND)) if columns else _WIDTH  # 0: it does not say
