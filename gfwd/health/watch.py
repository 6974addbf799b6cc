"""One collector under check: when to try, and what the tries have said.

A try has less time than there is from one try to the next, so there is never more than one. Tries of many collectors
do not stay together: the first is made at some moment of the first interval, and each interval is longer or shorter by
up to a tenth.
"""

import math
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from gfwd.health.machine import Machine, State
from gfwd.rules.model import Check

_LONGEST_S = 2.0
_JITTER = 0.1


class Verdict(Enum):
    SUCCESS = auto()
    FAILURE = auto()
    OPEN = auto()  # it says nothing yet, and the next one will
    UNTRIED = auto()  # that the try could not be made says nothing of the collector


class Outcome(NamedTuple):
    """What came of a try. what: the same for people. target: what was tried, for people; empty: not even that."""

    verdict: Verdict
    what: str
    target: str = ""


class Change(NamedTuple):
    """It has come from one state to another. seconds: how long it was in the one before."""

    before: State
    after: State
    seconds: float


def patience(check: Check) -> float:
    """How many seconds a try may take: two, or half of the interval where that is shorter."""
    return min(_LONGEST_S, check.interval / 2)


class Watch:
    """`now` is the same clock everywhere, in seconds. random: a number from 0 up to 1.

    since: when it came to its state. last: the last outcome that counted; trouble: why the last try could not be made,
    None where it could. change: the last one. alike: so many failures in a row had the same reason.
    """

    __slots__ = (
        "_begun",
        "_due",
        "_late",
        "_machine",
        "_random",
        "alike",
        "change",
        "check",
        "last",
        "since",
        "tries",
        "trouble",
    )

    def __init__(self, check: Check, now: float, random: Callable[[], float]) -> None:
        self.check = check
        self.since = now
        self.last: Outcome | None = None
        self.trouble: str | None = None
        self.change: Change | None = None
        self.alike = 0
        self.tries = 0
        self._machine = Machine(check.rise, check.fall)
        self._random = random
        self._due = now + check.interval * random()
        self._late = math.inf  # when the try that is being made counts as failed; inf: none is
        self._begun = 0.0

    @property
    def state(self) -> State:
        return self._machine.state

    @property
    def in_a_row(self) -> int:
        """How many tries in a row have had the result of the last one."""
        return self._machine.in_a_row

    def deadline(self) -> float:
        """When `advance` wants to be called."""
        return min(self._due, self._late)

    def advance(self, now: float) -> int | None:
        """What is due by now. Returns the number of a try that is to be made at once; None: there is none to make."""
        if self._late <= now:
            self.judged(self.tries, Outcome(Verdict.FAILURE, f"no result in {now - self._begun:.1f} s"), now)
        if now < self._due:
            return None
        self.tries += 1
        self._begun = now
        self._due = now + self.check.interval * (1 - _JITTER + 2 * _JITTER * self._random())
        # It ends by itself before; but what looks up a name may be held up for longer.
        self._late = now + patience(self.check) + self.check.interval / 4
        return self.tries

    def judged(self, number: int, outcome: Outcome, now: float) -> None:
        """What came of this try. One that comes too late changes nothing any more."""
        if number != self.tries or math.isinf(self._late):
            return
        self._late = math.inf
        self.trouble = outcome.what if outcome.verdict is Verdict.UNTRIED else None
        if outcome.verdict in (Verdict.UNTRIED, Verdict.OPEN):
            return
        is_same = self.last is not None and (self.last.verdict, self.last.what) == (outcome.verdict, outcome.what)
        self.alike = self.alike + 1 if is_same else 1
        if not outcome.target and self.last is not None:
            outcome = outcome._replace(target=self.last.target)
        self.last = outcome
        before = self.state
        if self._machine.take(is_success=outcome.verdict is Verdict.SUCCESS):
            self.change = Change(before, self.state, now - self.since)
            self.since = now
