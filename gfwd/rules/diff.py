"""Two sets of rules: which datagrams go somewhere else by the new one. Exact, for every source and every port.

Where datagrams go is what counts, not how it is written: two rules are alike where copies go to the same collectors.
Only rules that have moved (moved.py) can make a difference, and only for the sources and ports that they name; there,
the winners of both sets are compared prefix by prefix, and cover.py makes few prefixes of many.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from gfwd.rules.cover import NOTHING, Cover
from gfwd.rules.levels import NO_NODE, find_parents
from gfwd.rules.model import (
    ADDRESS_BITS,
    ALL_PORTS,
    Address,
    Collector,
    Family,
    Group,
    Options,
    PortRange,
    Ports,
    Prefix,
    Rule,
    RuleSet,
    common_ports,
    each_collector,
    merge_ports,
)
from gfwd.rules.moved import moved
from gfwd.rules.portmap import NumberedRange, PortMap, joined, ports_of, together
from gfwd.rules.prefixes import ROOTS, without
from gfwd.rules.space import Outcome, RuleSpace, denied_sources, receivers_of

T = TypeVar("T")


class Difference(NamedTuple):
    """Datagrams from any of `sources` to any of `ports`: the rules that applied to them, and those that will.

    A source of None is any, of both families; an outcome of None is that no rule applies.
    """

    sources: tuple[Prefix | None, ...]
    ports: Ports
    before: Outcome | None
    after: Outcome | None


class Comparison:
    """Two sets of rules, compared for datagrams to the ports of `listen`."""

    def __init__(self, old: RuleSet, new: RuleSet, listen: Ports = ALL_PORTS) -> None:
        self._old, self._new = RuleSpace(old), RuleSpace(new)
        self._listen = listen
        self._exporters = old.exporters, new.exporters
        self._outcomes = _Outcomes(self._old.outcomes, self._new.outcomes)

    def differences(self) -> list[Difference]:
        """All differences, none overlapping another, sorted by source and port."""
        changed = moved(self._old.ranked, self._new.ranked)
        denied = [denied_sources(exporters) for exporters in self._exporters]
        touched = _touched(changed, [] if denied[0] == denied[1] else [*denied[0], *denied[1]], self._listen)
        if not touched:
            return []
        forest = _Forest(self._old, self._new)
        own = forest.own(touched)

        def numbers(node: int, ports: Ports) -> PortMap:
            return joined(self._numbers(forest, node, ports))

        covered = Cover(forest.prefixes, forest.parents, own, numbers).find()
        by_class: defaultdict[tuple[int, Ports], list[Prefix | None]] = defaultdict(list)
        for (number, source), ports in covered.items():
            by_class[number, ports].append(source)
        found = [
            Difference(tuple(sorted(sources, key=_place)), ports, *self._outcomes.both(number))
            for (number, ports), sources in by_class.items()
        ]
        return sorted(found, key=lambda difference: (_place(difference.sources[0]), difference.ports))

    def at(self, source: Address, port: int) -> Difference | None:
        """The difference for one source and one port, if there is one."""
        if not common_ports(self._listen, ((port, port),)):
            return None
        before = self._old.winner(source.family, source.value, port)
        after = self._new.winner(source.family, source.value, port)
        number = next(self._outcomes.numbers(source.family, port, port, before, after))[2]
        if number == NOTHING:
            return None
        host = Prefix(source.family, source.value, ADDRESS_BITS[source.family])
        return Difference((host,), ((port, port),), *self._outcomes.both(number))

    def _numbers(self, forest: "_Forest", node: int, ports: Ports) -> Iterator[NumberedRange]:
        """The number of the outcome for each port, at addresses of which the node is the deepest."""
        family = forest.prefixes[node].family
        old = [self._old.any_ranges, *forest.levels(forest.old, node)]
        new = [self._new.any_ranges, *forest.levels(forest.new, node)]
        for first, last, winners in together([*old, *new], ports):
            before, after = _best(winners[: len(old)]), _best(winners[len(old) :])
            yield from self._outcomes.numbers(family, first, last, before, after)


def _best(numbers: Sequence[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def _place(source: Prefix | None) -> tuple[int, ...]:
    return source or ()


def _touched(changed: Sequence[Rule], denied: Sequence[Prefix], listen: Ports) -> dict[Prefix | None, Ports]:
    """Source → the ports where something can have changed for just this source."""
    ranges: defaultdict[Prefix | None, list[PortRange]] = defaultdict(list)
    for rule in changed:
        for source in without(rule.source, rule.excepted):
            ranges[source] += rule.ports
    for source in denied:
        ranges[source] += ALL_PORTS
    return {source: common_ports(merge_ports(found), listen) for source, found in ranges.items()}


class _Forest:
    """The prefixes of both sets, and all of each family, as one forest. old, new: the ranges of each node."""

    def __init__(self, old: RuleSpace, new: RuleSpace) -> None:
        self.prefixes = sorted({*ROOTS, *old.prefixes, *new.prefixes})
        self.parents = find_parents(self.prefixes)
        self.old, self.new = (
            [ranges.get(prefix, ()) for prefix in self.prefixes]
            for ranges in (dict(zip(space.prefixes, space.ranges, strict=True)) for space in (old, new))
        )

    def levels(self, ranges: Sequence[PortMap], node: int) -> list[PortMap]:
        """The ranges of the node and of all that hold it."""
        found = []
        while node != NO_NODE:
            if ranges[node]:
                found.append(ranges[node])
            node = self.parents[node]
        return found

    def own(self, touched: dict[Prefix | None, Ports]) -> list[Ports]:
        """For each node the ports where its outcome can be another one than around it, and none that is not touched."""
        inherited: list[Ports] = []
        own: list[Ports] = []
        for node, prefix in enumerate(self.prefixes):
            parent = self.parents[node]
            above = touched.get(None, ()) if parent == NO_NODE else inherited[parent]
            inherited.append(merge_ports([*above, *touched[prefix]]) if prefix in touched else above)
            mine = ports_of(self.old[node], self.new[node])
            own.append(inherited[node] if parent == NO_NODE else common_ports(inherited[node], mine))
        return own


# ---- what comes of a datagram ----

Place = tuple[str, int, str]
"""Where a copy goes: host, port (0: the datagram's own), and how it goes."""

Copies = tuple[tuple[str, tuple[Place, ...]], ...]
"""All copies, sorted: how one of several places is chosen ("": there is but one), and the places."""


class _Outcomes:
    """What outcomes of the old set and the new one make of a datagram, as a number; NOTHING where it is the same."""

    def __init__(self, old: Sequence[Outcome], new: Sequence[Outcome]) -> None:
        self._old, self._new = old, new
        self._first_of_old, self._first_of_new = _first_of_each(old), _first_of_each(new)
        self._pairs: list[tuple[int | None, int | None]] = [(None, None)]
        self._number_of: dict[tuple[int | None, int | None], int] = {(None, None): NOTHING}  # the place in the list
        self._alike: dict[tuple[Family, int | None, int | None], Ports] = {}

    def both(self, number: int) -> tuple[Outcome | None, Outcome | None]:
        """The outcomes that a number stands for."""
        before, after = self._pairs[number]
        return _at(self._old, before), _at(self._new, after)

    def numbers(
        self, family: Family, first: int, last: int, before: int | None, after: int | None
    ) -> Iterator[NumberedRange]:
        """The numbers for these ports, all of which have the same outcomes."""
        pair = _at(self._first_of_old, before), _at(self._first_of_new, after)
        if pair not in self._number_of:
            self._number_of[pair] = len(self._pairs)
            self._pairs.append(pair)
        number = self._number_of[pair]
        key = family, *pair
        if key not in self._alike:
            one, other = self.both(number)
            self._alike[key] = _alike(_copies(one, family), _copies(other, family))
        alike: PortMap = tuple((low, high, NOTHING) for low, high in self._alike[key])
        for low, high, (same,) in together([alike], ((first, last),)):
            yield low, high, number if same is None else NOTHING


def _first_of_each(outcomes: Sequence[Outcome]) -> Sequence[int]:
    """For each the first that is the same: rules that apply together at several places do so under several numbers."""
    if all(len(outcome) == 1 for outcome in outcomes):
        return range(len(outcomes))
    first: dict[tuple[int, ...], int] = {}
    return [first.setdefault(tuple(map(id, outcome)), number) for number, outcome in enumerate(outcomes)]


def _at(items: Sequence[T], number: int | None) -> T | None:
    return None if number is None else items[number]


def _copies(outcome: Outcome | None, family: Family) -> Copies:
    """Where copies of a datagram of this family go. One that none can leave for goes where one without a rule goes."""
    if not outcome:
        return ()

    def place(collector: Collector) -> Place:
        how = (collector.options or Options())._replace(check=None)  # which changes nothing, as long as it is there
        backups = tuple(one.place() for one in how.backup)
        text = "" if how == Options() else repr((how._replace(backup=()), backups))
        return collector.host, collector.port or 0, text

    copies: list[tuple[str, tuple[Place, ...]]] = []
    for receiver in receivers_of(outcome):
        members = [one for one in each_collector([receiver]) if one.can_get(family)]
        if isinstance(receiver, Group):
            # A member of the other family has its share, and gets nothing.
            balance = f"{receiver.balance} {len(receiver.members)}"
            copies.append((balance, tuple(sorted(map(place, members)))))
        else:
            copies += (("", (place(one),)) for one in members)
    return tuple(sorted(copies))


def _alike(one: Copies, other: Copies) -> Ports:
    """The ports at which both go to the same places: all, or some that one set names, and the other lets be."""
    if one == other:
        return ALL_PORTS
    named = {port for _, places in one + other for _, port, _ in places if port}
    return merge_ports((port, port) for port in named if _sent(one, port) == _sent(other, port))


def _sent(copies: Copies, port: int) -> Copies:
    def filled_in(places: tuple[Place, ...]) -> tuple[Place, ...]:
        return tuple(sorted((host, own or port, how) for host, own, how in places))

    return tuple(sorted((balance, filled_in(places)) for balance, places in copies))
