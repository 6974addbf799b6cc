"""Files that are watched: whether they have changed, and have come to rest since.

Looking at them once a second is simple, and right whatever changes them: an editor that writes a new file and gives it
the old one's name, one that writes in place, a symbolic link that leads elsewhere. Events of the kernel (inotify,
kqueue) are about one file, or one folder, and each of those takes other ones. A look is a stat(2) a file.
"""

import os
from collections.abc import Iterable

LOOK_S = 1.0
"""From one look to the next, and so long nothing must have changed: what is written in steps is taken once."""
GONE_S = 5.0
"""So long a file may be away before that counts as a change."""

_Mark = tuple[int, ...] | None
_NEVER_SEEN: _Mark = ()


class Watch:
    """`now` is the same clock everywhere, in seconds."""

    def __init__(self) -> None:
        self._files: frozenset[str] = frozenset()
        self._taken: dict[str, _Mark] = {}  # when they were last said to have changed
        self._seen: dict[str, _Mark] = {}  # at the last look …
        self._since = 0.0  # … and since when they have been like that
        self._next = 0.0

    def follow(self, files: Iterable[str]) -> None:
        """Watch these from now on. One that is new counts as changed: nobody knows since when it is as it is."""
        self._files = frozenset(files)

    def deadline(self) -> float | None:
        """When `has_changed` wants to be called next; None: nothing is watched."""
        return self._next if self._files else None

    def has_changed(self, now: float) -> bool:
        """Whether a file is another one than when this was last true, and all have come to rest. Whoever reads them now
        has read what this was about, or something newer that will be seen at a later look.
        """
        if not self._files or now < self._next:
            return False
        self._next = now + LOOK_S
        marks = {file: _mark(file) for file in self._files}
        if marks != self._seen:
            self._seen, self._since = marks, now
        quiet = GONE_S if None in marks.values() else LOOK_S
        are_others = any(mark != self._taken.get(file, _NEVER_SEEN) for file, mark in marks.items())
        if not are_others or now - self._since < quiet:
            return False
        self._taken = marks
        return True


def _mark(file: str) -> _Mark:
    """What is another one after each change; None: there is no such file, or nobody may look at it."""
    try:
        its = os.stat(file)
    except OSError:
        return None
    return its.st_dev, its.st_ino, its.st_size, its.st_mtime_ns, its.st_ctime_ns
