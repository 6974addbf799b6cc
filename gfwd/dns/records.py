"""A name's addresses of one family: from answers, and from time that passes, to what holds, as a table.

    ASKING  never answered: nothing is known
    FRESH   the last answer holds
    STALE   its TTL is over, and no other answer has come: its addresses are used on
    GONE    … for longer than they may be: they are used no more

An answer that there are no addresses of this family is an answer.
"""

import math
from enum import Enum, auto
from typing import Final, NamedTuple

from gfwd.rules.model import Address


class State(Enum):
    ASKING = auto()
    FRESH = auto()
    STALE = auto()
    GONE = auto()


class Event(Enum):
    ANSWER = auto()
    FAILURE = auto()  # nobody has answered, or not with an answer
    EXPIRY = auto()  # the TTL of the last answer is over
    END = auto()  # … and so is the time for which it may be used on


def _table() -> dict[tuple[State, Event], State]:
    asking, fresh, stale, gone = State
    answer, failure, expiry, end = Event
    return {
        (asking, answer): fresh,
        (asking, failure): asking,
        (asking, expiry): asking,
        (asking, end): asking,
        (fresh, answer): fresh,
        (fresh, failure): fresh,
        (fresh, expiry): stale,
        (fresh, end): gone,
        (stale, answer): fresh,
        (stale, failure): stale,
        (stale, expiry): stale,
        (stale, end): gone,
        (gone, answer): fresh,
        (gone, failure): gone,
        (gone, expiry): gone,
        (gone, end): gone,
    }


TABLE: Final = _table()


class Terms(NamedTuple):
    """Seconds. A TTL counts as ttl_min at least and as ttl_max at most. max_stale: so long addresses are used beyond
    their TTL; 0: until there is another answer.
    """

    ttl_min: int = 10
    ttl_max: int = 3_600
    max_stale: int = 0

    def bounded(self, ttl: int) -> int:
        return max(self.ttl_min, min(ttl, self.ttl_max))


class Records:
    """`now` is the same clock everywhere, in seconds. addresses: those that are used. answered: when the last answer
    came; None: none has. expires: when its TTL is over.
    """

    __slots__ = ("_ends", "addresses", "answered", "expires", "state")

    def __init__(self) -> None:
        self.state = State.ASKING
        self.addresses: tuple[Address, ...] = ()
        self.answered: float | None = None
        self.expires = math.inf
        self._ends = math.inf

    def answer(self, addresses: tuple[Address, ...], ttl: float, max_stale: float, now: float) -> None:
        """ttl: bounded already."""
        self._take(Event.ANSWER)
        self.addresses, self.answered, self.expires = addresses, now, now + ttl
        self.limit(max_stale)

    def fail(self) -> None:
        self._take(Event.FAILURE)

    def limit(self, max_stale: float) -> None:
        """So long they may be used beyond their TTL; 0: without an end."""
        self._ends = self.expires + max_stale if max_stale else math.inf

    def advance(self, now: float) -> None:
        """What time has brought."""
        if self._ends <= now:
            self._take(Event.END)
        elif self.expires <= now:
            self._take(Event.EXPIRY)
        if self.state is State.GONE:
            self.addresses = ()

    def deadline(self) -> float:
        """When `advance` wants to be called; inf: never, as it stands."""
        if self.state is State.FRESH:
            return min(self.expires, self._ends)
        return self._ends if self.state is State.STALE else math.inf

    def _take(self, event: Event) -> None:
        self.state = TABLE[self.state, event]
