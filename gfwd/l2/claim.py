"""One own address on a wire that no host stack looks after: is it really ours? As a table; no I/O, no clock.

RFC 5227 for IPv4, RFC 4862 §5.4 for IPv6:

    TRIED    asked whether anybody has it; used meanwhile, since nothing that comes is to wait for that
    OURS     nobody has, and everybody is told so; whoever claims it later is answered back now and then
    TAKEN    somebody has it: we neither answer for it nor defend it, and try again in a while
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from gfwd.rules.model import Family


class State(Enum):
    TRIED = auto()
    OURS = auto()
    TAKEN = auto()


class Event(Enum):
    TIMEOUT = auto()  # the deadline has passed
    EXHAUSTED = auto()  # … after the last probe, or announcement
    CONFLICT = auto()  # somebody else says that the address is his


class Do(Enum):
    PROBE = auto()  # ask whether anybody has it
    ANNOUNCE = auto()  # tell everybody that we have it
    DEFEND = auto()  # likewise, but not too often
    SAY_TAKEN = auto()  # to the operator
    SAY_FREE = auto()
    SAY_CLAIMED = auto()


class Step(NamedTuple):
    """What a pair of state and event leads to."""

    state: State
    actions: tuple[Do, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds and counts.

    wait: at most so long before the first probe. probes: how many. probe_least, probe_most: from one to the next.
    announce_wait: from the last probe until it is ours. announcements: how many, and announce_gap: from one to the
    next. defend: least time from one defence to the next. again: until an address that is taken is tried again.
    """

    wait: float
    probes: int
    probe_least: float
    probe_most: float
    announce_wait: float
    announcements: int
    announce_gap: float = 2.0
    defend: float = 10.0
    again: float = 60.0


TIMINGS: Final[dict[Family, Timing]] = {
    # RFC 5227 §1.1: PROBE_WAIT, PROBE_NUM, PROBE_MIN, PROBE_MAX, ANNOUNCE_WAIT, ANNOUNCE_NUM, ANNOUNCE_INTERVAL,
    # DEFEND_INTERVAL, RATE_LIMIT_INTERVAL.
    4: Timing(wait=1, probes=3, probe_least=1, probe_most=2, announce_wait=2, announcements=2),
    # RFC 4861 §10, RFC 4862 §5.1: MAX_RTR_SOLICITATION_DELAY, DupAddrDetectTransmits, RETRANS_TIMER.
    6: Timing(wait=1, probes=1, probe_least=1, probe_most=1, announce_wait=1, announcements=1),
}


def _table() -> dict[tuple[State, Event], Step]:
    tried, ours, taken = State
    timeout, exhausted, conflict = Event
    return {
        (tried, timeout): Step(tried, (Do.PROBE,)),
        (tried, exhausted): Step(ours, (Do.SAY_FREE, Do.ANNOUNCE)),
        (tried, conflict): Step(taken, (Do.SAY_TAKEN,)),
        (ours, timeout): Step(ours, (Do.ANNOUNCE,)),
        (ours, exhausted): Step(ours),
        # RFC 5227 §2.4 (c): the address is what exporters send to, so it is not given up.
        (ours, conflict): Step(ours, (Do.SAY_CLAIMED, Do.DEFEND)),
        (taken, timeout): Step(tried, (Do.PROBE,)),
        (taken, exhausted): Step(taken),
        (taken, conflict): Step(taken),
    }


TABLE: Final = _table()


class Claim:
    """One own address. Every method that takes `now` (seconds, of any clock) returns what is to be done about it.

    deadline: when `advance` wants to be called; None: never, unless something else happens. random: a number from 0 up
    to 1, so that hosts that start together do not probe together.
    """

    __slots__ = ("_defended", "_done", "_random", "_said", "_was_taken", "deadline", "state", "timing")

    def __init__(self, timing: Timing, random: Callable[[], float], now: float) -> None:
        self.timing = timing
        self.state = State.TRIED
        self.deadline: float | None = now + random() * timing.wait
        self._random = random
        self._done = 0  # probes, or announcements, in this state
        self._defended = self._said = -math.inf
        self._was_taken = False

    @property
    def is_used(self) -> bool:
        """Whether we answer for it: unless somebody had it, and may have it still."""
        return not self._was_taken

    @property
    def is_sure(self) -> bool:
        """Whether it has turned out that nobody else has it."""
        return self.state is State.OURS

    def advance(self, now: float) -> list[Do]:
        """What is due by now."""
        if self.deadline is None or now < self.deadline:
            return []
        return self._take(Event.EXHAUSTED if self._done >= self._most() else Event.TIMEOUT, now)

    def conflict(self, now: float) -> list[Do]:
        """Somebody else says that it is his."""
        return self._take(Event.CONFLICT, now)

    def _take(self, event: Event, now: float) -> list[Do]:
        before, (self.state, actions) = self.state, TABLE[self.state, event]
        if self.state is not before:
            self._done = 0
        if event is Event.CONFLICT:
            if self.state is State.TAKEN:
                self.deadline = now + self.timing.again * (1 + self._random() / 4)
        else:
            self._done += bool({Do.PROBE, Do.ANNOUNCE}.intersection(actions))
            self.deadline = self._next(now)
        return [do for do in actions if self._is_due(do, now)]

    def _is_due(self, do: Do, now: float) -> bool:
        if do is Do.DEFEND:
            is_due = now - self._defended >= self.timing.defend
            self._defended = now if is_due else self._defended
            return is_due
        if do is Do.SAY_CLAIMED:
            is_due = now - self._said >= self.timing.again
            self._said = now if is_due else self._said
            return is_due
        if do is Do.SAY_TAKEN:
            is_due, self._was_taken = not self._was_taken, True
            return is_due
        if do is Do.SAY_FREE:
            is_due, self._was_taken = self._was_taken, False
            return is_due
        return True

    def _most(self) -> float:
        if self.state is State.TAKEN:
            return math.inf
        return self.timing.probes if self.state is State.TRIED else self.timing.announcements

    def _next(self, now: float) -> float | None:
        its = self.timing
        if self.state is State.OURS:
            return now + its.announce_gap if self._done < its.announcements else None
        if self._done >= its.probes:
            return now + its.announce_wait
        return now + its.probe_least + self._random() * (its.probe_most - its.probe_least)
