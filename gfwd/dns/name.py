"""One name: when to ask for its addresses, and which hold by the answers so far. No I/O, and the time is an argument.

Both families are asked for at once. A name is asked for again before its answer expires, after 70 to 90 % of the TTL,
so that many names do not stay together and a server that is away for a moment is not missed. Where that fails, it is
tried again after 1, 2, 4 … 60 s, or up to a quarter more; what was answered last holds meanwhile.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from gfwd.dns.choice import settled
from gfwd.dns.records import Records, State, Terms
from gfwd.rules.model import FAMILIES, Address, Family

_EARLIEST: Final = 0.7  # of the TTL
_SPREAD: Final = 0.2
_BACKOFF_S: Final = 1.0
_BACKOFF_LONGEST_S: Final = 60.0
_BACKOFF_SPREAD: Final = 0.25
_DOUBLINGS_MOST: Final = 6


class Good(NamedTuple):
    """The addresses that a name has; none, if it has none of this family. ttl: seconds; None: nobody has said."""

    addresses: tuple[Address, ...]
    ttl: int | None


class Bad(NamedTuple):
    """Why there is no answer. is_final: the DNS has answered, and there is nothing; asking again soon will not help."""

    why: str
    is_final: bool = False


Answer = Mapping[Family, Good | Bad]
"""What has come of a lookup, for each family."""


class Name:
    """`now` is the same clock everywhere, in seconds. random: a number from 0 up to 1.

    addresses: those that hold, as choice.settled() has it. trouble: why the last lookup failed, or a part of it; None:
    it did not. is_final: the trouble is that there is no such name, or no address. lookups, failures: how many.
    """

    __slots__ = (
        "_again",
        "_due",
        "_in_a_row",
        "_number",
        "_random",
        "_records",
        "_under_way",
        "addresses",
        "failures",
        "host",
        "is_final",
        "lookups",
        "terms",
        "trouble",
    )

    def __init__(self, host: str, terms: Terms, now: float, random: Callable[[], float]) -> None:
        self.host, self.terms = host, terms
        self.addresses: tuple[Address, ...] = ()
        self.trouble: str | None = None
        self.is_final = False
        self.lookups = self.failures = 0
        self._records = {family: Records() for family in FAMILIES}
        self._random = random
        self._due = now
        self._in_a_row = 0  # failures
        self._number = 0
        self._under_way = self._again = False

    # ---- how it stands ----

    @property
    def state(self) -> State:
        """Of the addresses that are used, the worst; without any, why there is none."""
        used = [its.state for its in self._records.values() if its.addresses]
        if used:
            return State.STALE if State.STALE in used else State.FRESH
        return State.GONE if any(its.state is State.GONE for its in self._records.values()) else State.ASKING

    def age(self, now: float) -> float | None:
        """Seconds since the answer came that what is used is from, the oldest of them; None: nothing is used."""
        answered = [its.answered for its in self._records.values() if its.addresses and its.answered is not None]
        return now - min(answered) if answered else None

    def ttl(self, now: float) -> float | None:
        """Seconds for which that answer holds, 0: its TTL is over; None: nothing is used."""
        expires = [its.expires for its in self._records.values() if its.addresses]
        return max(0.0, min(expires) - now) if expires else None

    # ---- what happens ----

    def deadline(self) -> float:
        """When `advance` wants to be called; inf: not before an answer has come."""
        due = math.inf if self._under_way else self._due
        return min(due, *(its.deadline() for its in self._records.values()))

    def advance(self, now: float) -> int | None:
        """What is due by now. Returns the number of a lookup that is to be made; None: there is none to make."""
        for its in self._records.values():
            its.advance(now)
        self._settle()
        if self._under_way or now < self._due:
            return None
        return self.begin()

    def begin(self) -> int:
        """A lookup is being made, be it due or not. Returns its number."""
        self._under_way = True
        self._number += 1
        return self._number

    def ask_soon(self, now: float) -> None:
        """Something has changed, so that another answer may come; also than the one that is under way."""
        self._due = min(self._due, now)
        self._again = self._under_way

    def follow(self, terms: Terms) -> None:
        """Other terms, for what holds already, too, but for its TTL."""
        self.terms = terms
        for its in self._records.values():
            its.limit(terms.max_stale)

    def answered(self, number: int, answer: Answer, now: float) -> None:
        """What has come of this lookup. What comes of another one than the last changes nothing."""
        if number != self._number or not self._under_way:
            return
        self._under_way = False
        self.lookups += 1
        known = [one.ttl for one in answer.values() if isinstance(one, Good) and one.ttl is not None]
        bad: list[Bad] = []
        for family, one in answer.items():
            its = self._records[family]
            if isinstance(one, Good):
                ttl = min(known, default=self.terms.ttl_max) if one.ttl is None else one.ttl
                its.answer(one.addresses, self.terms.bounded(ttl), self.terms.max_stale, now)
            else:
                its.fail()
                bad.append(one)
            its.advance(now)
        self._settle()
        self.trouble = bad[0].why if bad else None
        self.is_final = bool(bad) and all(one.is_final for one in bad)
        good = [self._records[family].expires - now for family, one in answer.items() if isinstance(one, Good)]
        self._plan(now, min(good, default=math.inf), has_failed=bool(bad))

    def _plan(self, now: float, ttl: float, *, has_failed: bool) -> None:
        """When to ask again. ttl: of what has been answered; inf: nothing has."""
        wait = ttl * (_EARLIEST + _SPREAD * self._random())
        if has_failed:
            self.failures += 1
            backoff = min(_BACKOFF_S * 2 ** min(self._in_a_row, _DOUBLINGS_MOST), _BACKOFF_LONGEST_S)
            wait = min(wait, backoff * (1 + _BACKOFF_SPREAD * self._random()))
        self._in_a_row = self._in_a_row + 1 if has_failed else 0
        self._due = now if self._again else now + wait
        self._again = False

    def _settle(self) -> None:
        self.addresses = settled(self.addresses, [a for its in self._records.values() for a in its.addresses])
