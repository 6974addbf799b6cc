"""The core's records of what somebody looks at, to each his own."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gfwd.daemon.tap.plans import InForce, Look, Plans
from gfwd.daemon.tap.want import Want
from gfwd.errors import GfwdError
from gfwd.native.core import TAPS_MAX, Core, Record, TapCount, Worker

EVERY_S: Final = 0.02  # from one look into the rings to the next …
AT_MOST_S: Final = 0.005  # … which takes no longer, so that neighbours and links have their share of the time
_AT_ONCE: Final = 32  # records from one look at the clock to the next


class Tapped(NamedTuple):
    """A datagram that somebody looks at. in_force: what its rule stands for; None: that is forgotten.

    is_of_sample: else he gets it for its templates alone. is_behind_gap: he has lost some right before it.
    """

    record: Record
    in_force: InForce | None
    is_of_sample: bool
    is_behind_gap: bool


Take = Callable[[Tapped], None]


@dataclass(frozen=True, slots=True)
class _Looker:
    """since: the generation of the first plan with him in it. before: what his number had counted by then."""

    look: Look
    take: Take
    since: int
    before: TapCount


class Taps:
    """Those who look at what a core forwards. All of it happens in the thread that calls advance()."""

    def __init__(self, core: Core, workers: Sequence[Worker], plans: Plans) -> None:
        self._core, self._workers, self._plans = core, workers, plans
        self._lookers: dict[int, _Looker] = {}
        self._next = 0  # numbers take turns, so that what was for one is not taken for another's
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._lookers)

    def open(self, want: Want, take: Take) -> int:
        """From now on `take` gets what is wanted, when advance() is called; returns the number to close it by.

        Raises GfwdError where there is no such rule, or too many look.
        """
        look = self._plans.look_of(want)
        order: list[int] = [*range(self._next, TAPS_MAX), *range(self._next)]
        free = [number for number in order if number not in self._lookers]
        if not free:
            raise GfwdError(f"error: {TAPS_MAX} look at datagrams already, and no more can; try again later")
        if not self._lookers:
            self.drain(None)  # of what somebody has left behind nobody wants to hear
        number, before = free[0], self._core.taps()[free[0]]
        since = self._plans.look({**self._looks(), number: look})
        self._lookers[number] = _Looker(look, take, since, before)
        self._next = (number + 1) % TAPS_MAX
        self._due = time.monotonic() + EVERY_S
        return number

    def close(self, number: int) -> None:
        """Raises GfwdError where the core does not take the plan without him; then he is let go with the next one."""
        del self._lookers[number]
        self._plans.look(self._looks())

    def count(self, number: int) -> TapCount:
        """Since it was opened."""
        now, before = self._core.taps()[number], self._lookers[number].before
        return TapCount(*(n - b for n, b in zip(now, before, strict=True)))

    def is_gone(self, number: int) -> bool:
        """Whether he looks for a rule that there is no more."""
        return number in self._plans.gone

    def deadline(self) -> float | None:
        """When advance() wants to be called (time.monotonic()); None: nobody looks."""
        return self._due if self._lookers else None

    def advance(self) -> None:
        """Hand out what has come, as far as there is time."""
        now = time.monotonic()
        if self._lookers and self._due <= now:
            self.drain(now + AT_MOST_S)
            self._due = time.monotonic() + EVERY_S

    def drain(self, until: float | None) -> None:
        """Hand out what has come, until then (time.monotonic()); None: all that is there now."""
        waiting = list(self._workers)
        rounds = 0
        while waiting and (until is None or time.monotonic() < until) and rounds <= self._core.limits.ring_slots:
            waiting = [worker for worker in waiting if self._hand_out(worker)]
            rounds += _AT_ONCE

    def _hand_out(self, worker: Worker) -> bool:
        """Whether there may be more."""
        for _ in range(_AT_ONCE):
            record = worker.take_tapped()
            if record is None:
                return False
            in_force = self._plans.of(record.generation)
            for number, looker in list(self._lookers.items()):
                bit = 1 << number
                if (record.taps | record.templates) & bit and record.generation >= looker.since:
                    looker.take(Tapped(record, in_force, bool(record.taps & bit), bool(record.gaps & bit)))
        return True

    def _looks(self) -> dict[int, Look]:
        return {number: looker.look for number, looker in self._lookers.items()}
