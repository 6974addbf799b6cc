"""Who gets copies: the collectors that rules name, or, while some are down, whoever steps in for them; and, where
several next hops lead to one, by which of them.

The plan is made by it, and gfwd explain says it.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from gfwd.native.core import SHARES
from gfwd.plan.blueprint import Hop, stand_in
from gfwd.plan.shares import hop_shares, shares
from gfwd.rules.model import Balance, Collector, Receiver


class Getter(NamedTuple):
    """Who gets a copy, without backups; is_there: it is not down."""

    collector: Collector
    is_there: bool

    def nameless(self) -> "Getter":
        """The same as it has in common with one that is called otherwise."""
        return self._replace(collector=self.collector.nameless())


class Sharing(NamedTuple):
    """A copy goes to one of these. getters: for each of the members who gets what it has a share or a turn of."""

    members: tuple[Collector, ...]
    getters: tuple[Getter, ...]
    balance: Balance

    def places(self) -> Sequence[int]:
        """Whose it is, by share or by turn: places in `getters`."""
        return shares(self.members) if self._has_shares() else range(len(self.members))

    def _has_shares(self) -> bool:
        return len(self.members) > 1 and self.balance != "round-robin"

    def with_hops(self, hops: Sequence[Sequence[Hop]]) -> Sequence[tuple[int, int]]:
        """The same divided among next hops, which are so many for each of the getters; none are as good as one. By
        share or by turn: places in `getters`, and of one's next hops.

        What goes by shares is divided by shares, so that an exporter's, or a flow's, take one way. What goes by turns
        takes the next hops by turns, too.
        """
        counts = [max(1, len(its)) for its in hops]
        if max(counts) == 1:
            return [(place, 0) for place in self.places()]
        if self.balance == "round-robin":
            turns = [hop_turns(its) for its in hops]
            rounds = max(1, min(math.lcm(*map(len, turns)), SHARES // len(turns)))
            return [(place, its[n % len(its)]) for n in range(rounds) for place, its in enumerate(turns)]
        places = self.places() if self._has_shares() else [0] * SHARES
        parts = [hop_shares(its) if len(its) > 1 else None for its in hops]
        return [(place, (parts[place] or _ALL_TO_THE_FIRST)[part]) for part, place in enumerate(places)]


_ALL_TO_THE_FIRST = bytes(SHARES)


def hop_turns(hops: Sequence[Hop]) -> list[int]:
    """The turns that next hops take: places, each as often as its weight says, and as far from each other as can be."""
    if len(hops) <= 1:
        return [0]
    common = math.gcd(*(hop.weight for hop in hops))
    turns = [((n + 0.5) / hop.weight, place) for place, hop in enumerate(hops) for n in range(hop.weight // common)]
    return [place for _, place in sorted(turns)]


def getter_of(collector: Collector, down: Collection[Collector]) -> Getter:
    """Itself, or who steps in for it."""
    if collector not in down:
        return Getter(collector.alone(), True)
    backup = stand_in(collector, down)
    return Getter(collector.alone(), False) if backup is None else Getter(backup.alone(), True)


def sharing_of(receiver: Receiver, down: Collection[Collector]) -> Sharing:
    """Of a group, who is down leaves what it had to the others, unless somebody steps in for it. Where all are down,
    each has its own, of which nothing leaves.
    """
    if isinstance(receiver, Collector):
        return Sharing((receiver,), (getter_of(receiver, down),), "exporter")
    getters = {member: getter_of(member, down) for member in receiver.members}
    members = tuple(member for member, getter in getters.items() if getter.is_there) or receiver.members
    return Sharing(members, tuple(map(getters.__getitem__, members)), receiver.balance)


def sharings_of(receivers: Iterable[Receiver], down: Collection[Collector]) -> list[tuple[Receiver, Sharing]]:
    """One for each receiver that copies are for: of collectors, the first, where copies would be sent twice.

    Who is a group's choice for a datagram, and is named beside it or another group's choice, too, gets one copy all the
    same: the core sees to that, since it is another one each time.
    """
    found: dict[object, tuple[Receiver, Sharing]] = {}
    for receiver in receivers:
        its = sharing_of(receiver, down)
        found.setdefault(its.getters[0].nameless() if isinstance(receiver, Collector) else receiver, (receiver, its))
    return list(found.values())
