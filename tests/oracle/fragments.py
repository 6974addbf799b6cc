"""What the twin knows of datagrams that come in fragments: a list, the oldest first.

docs/packets.md, "Fragments". All times are in ns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tests.oracle.memory import SECOND

LASTS = 2 * SECOND

Key = tuple[int, int, int, int]
"""Family, source, destination, identification."""
Piece = TypeVar("Piece")
Decision = TypeVar("Decision")


@dataclass
class Followed(Generic[Piece, Decision]):
    """A datagram of which a fragment was here. decision: of the first one; None: it was not here yet."""

    key: Key
    time: int
    decision: Decision | None = None
    waiting: list[Piece] = field(default_factory=list)


class Fragments(Generic[Piece, Decision]):
    """So many datagrams, and so many fragments that wait, at most. What methods return is lost."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._followed: list[Followed[Piece, Decision]] = []

    def find(self, key: Key) -> Followed[Piece, Decision] | None:
        """What is known of a datagram."""
        return next((one for one in self._followed if one.key == key), None)

    def expire(self, now: int) -> list[Piece]:
        """The oldest go, up to the first that is not too old."""
        lost: list[Piece] = []
        while self._followed and abs(now - self._followed[0].time) > LASTS:
            lost += self._followed.pop(0).waiting
        return lost

    def begin(self, key: Key, now: int) -> tuple[Followed[Piece, Decision], list[Piece]]:
        """A first fragment is here: its datagram is the newest, and nothing is decided."""
        before = self.find(key)
        lost: list[Piece] = []
        if before is not None:
            self._followed.remove(before)
        elif len(self._followed) == self._limit:
            lost = self._followed.pop(0).waiting
        self._followed.append(Followed(key, now, waiting=[] if before is None else before.waiting))
        return self._followed[-1], lost

    def wait(self, key: Key, piece: Piece, now: int) -> list[Piece]:
        """A later fragment waits for its first one."""
        lost: list[Piece] = []
        while sum(len(one.waiting) for one in self._followed) == self._limit:
            lost += self._followed.pop(0).waiting
        if self.find(key) is None:
            if len(self._followed) == self._limit:
                lost += self._followed.pop(0).waiting
            self._followed.append(Followed(key, now))
        followed = self.find(key)
        assert followed is not None
        followed.waiting.append(piece)
        return lost
