"""Two sets of rules: which datagrams go somewhere else by the new one. Exact, for every source and every port.

Where datagrams go is what counts, not how it is written: two rules are alike where copies go to the same collectors.
Only rules that have moved (moved.py) can make a difference, and only for the sources and ports that they name; there,
the winners of both sets are compared prefix by prefix, and cover.py makes few prefixes of many.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gfwd.rules.cover import NOTHING, Cover
from gfwd.rules.levels import NO_NODE, find_parents
from gfwd.rules.model import (
    ADDRESS_BITS,
    ALL_PORTS,
    Address,
    Family,
    PortRange,
    Ports,
    Prefix,
    Rule,
    RuleSet,
    common_ports,
    merge_ports,
)
from gfwd.rules.moved import moved
from gfwd.rules.portmap import NumberedRange, PortMap, joined, ports_of, together
from gfwd.rules.prefixes import ROOTS
from gfwd.rules.space import RuleSpace


class Difference(NamedTuple):
    """Datagrams from any of `sources` to any of `ports`: the rule that won them, and the one that will.

    A source of None is any, of both families; a rule of None is no rule.
    """

    sources: tuple[Prefix | None, ...]
    ports: Ports
    before: Rule | None
    after: Rule | None


class Comparison:
    """Two sets of rules, compared for datagrams to the ports of `listen`."""

    def __init__(self, old: RuleSet, new: RuleSet, listen: Ports = ALL_PORTS) -> None:
        self._old, self._new = RuleSpace(old), RuleSpace(new)
        self._listen = listen
        self._outcomes = _Outcomes(self._old.ranked, self._new.ranked)

    def differences(self) -> list[Difference]:
        """All differences, none overlapping another, sorted by source and port."""
        changed = moved(self._old.ranked, self._new.ranked)
        if not changed:
            return []
        forest = _Forest(self._old, self._new)
        own = forest.own(_touched(changed, self._listen))

        def numbers(node: int, ports: Ports) -> PortMap:
            return joined(self._numbers(forest, node, ports))

        covered = Cover(forest.prefixes, forest.parents, own, numbers).find()
        by_class: defaultdict[tuple[int, Ports], list[Prefix | None]] = defaultdict(list)
        for (number, source), ports in covered.items():
            by_class[number, ports].append(source)
        found = [
            Difference(tuple(sorted(sources, key=_place)), ports, *self._outcomes.rules(number))
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
        return Difference((host,), ((port, port),), *self._outcomes.rules(number))

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


def _touched(changed: Sequence[Rule], listen: Ports) -> dict[Prefix | None, Ports]:
    """Source → the ports that rules of just this source can have changed."""
    ranges: defaultdict[Prefix | None, list[PortRange]] = defaultdict(list)
    for rule in changed:
        ranges[rule.source] += rule.ports
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

Copies = tuple[tuple[str, int, bool], ...]
"""Where copies go, sorted: host, port (0: the datagram's own), and whether a name's IPv4 address goes before."""


class _Outcomes:
    """What the winners of the old set and the new one make of a datagram, as a number; NOTHING where it is the same."""

    def __init__(self, old: Sequence[Rule], new: Sequence[Rule]) -> None:
        self._old, self._new = old, new
        self._winners: list[tuple[int | None, int | None]] = [(None, None)]
        self._number_of: dict[tuple[int | None, int | None], int] = {(None, None): NOTHING}  # the place in the list
        self._alike: dict[tuple[Family, int | None, int | None], Ports] = {}

    def rules(self, number: int) -> tuple[Rule | None, Rule | None]:
        """The winners that a number stands for."""
        before, after = self._winners[number]
        return _at(self._old, before), _at(self._new, after)

    def numbers(
        self, family: Family, first: int, last: int, before: int | None, after: int | None
    ) -> Iterator[NumberedRange]:
        """The numbers for these ports, all of which have the same winners."""
        winners = before, after
        if winners not in self._number_of:
            self._number_of[winners] = len(self._winners)
            self._winners.append(winners)
        number = self._number_of[winners]
        key = family, before, after
        if key not in self._alike:
            self._alike[key] = _alike(_copies(_at(self._old, before), family), _copies(_at(self._new, after), family))
        alike: PortMap = tuple((low, high, NOTHING) for low, high in self._alike[key])
        for low, high, (same,) in together([alike], ((first, last),)):
            yield low, high, number if same is None else NOTHING


def _at(ranked: Sequence[Rule], number: int | None) -> Rule | None:
    return None if number is None else ranked[number]


def _copies(rule: Rule | None, family: Family) -> Copies:
    """Where copies of a datagram of this family go. One that none can leave for goes where one without a rule goes."""
    if rule is None:
        return ()
    # Under a rule for any source, a name that has addresses of both families has its IPv4 one (docs/packets.md).
    prefers_other = family == 6 and rule.source is None
    return tuple(
        sorted(
            (collector.host, collector.port or 0, prefers_other and collector.address is None)
            for collector in rule.collectors_for(family)
        )
    )


def _alike(one: Copies, other: Copies) -> Ports:
    """The ports at which both go to the same places: all, or some that one set names, and the other lets be."""
    if one == other:
        return ALL_PORTS
    named = {port for _, port, _ in one + other if port}
    return merge_ports((port, port) for port in named if _sent(one, port) == _sent(other, port))


def _sent(copies: Copies, port: int) -> Copies:
    return tuple(sorted((host, own or port, prefers_other) for host, own, prefers_other in copies))
