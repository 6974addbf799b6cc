"""Every (source address, destination port), and what becomes of datagrams there.

What can become of them has numbers, of which 0 is the best, so of all that match, the smallest number wins. There are
levels. On top lies what is for any source, in one port map. Below, each prefix that is named is a
node with a port map of its own, and prefixes either hold one another or have nothing in common, so the nodes
form a forest. The winner of a point is the best of: the map of any source, the map of the deepest node that
holds the address, and those of all its ancestors.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from gfwd.rules.model import ADDRESS_BITS, Family, Ports, Prefix
from gfwd.rules.portmap import PortMap, number_at, paint

NO_NODE: Final = -1

Placed = Iterable[tuple[Prefix | None, int]]
"""Each source of each number, of which None is any, the smallest number first."""


class Levels:
    """Numbers by where they apply. It is not changed once it is made.

    any_ranges  the winners among the numbers for any source: [(first port, last port, number)]
    prefixes    the nodes: each prefix that is named, once, a parent before its children
    parents     for each node the smallest other prefix that holds it, as a node number, or NO_NODE
    ranges      for each node the winners among the numbers for exactly its prefix, in the form of any_ranges
    """

    def __init__(self, any_ranges: PortMap, nodes: Iterable[tuple[Prefix, PortMap]]) -> None:
        self.any_ranges = any_ranges
        self.prefixes: list[Prefix] = []
        self.ranges: list[PortMap] = []
        for prefix, ranges in nodes:
            self.prefixes.append(prefix)
            self.ranges.append(ranges)
        self.parents: list[int] = find_parents(self.prefixes)
        self._segments: dict[Family, tuple[list[int], list[int]]] = {}

    def segments(self, family: Family) -> tuple[list[int], list[int]]:
        """The family's addresses cut into segments, each with the deepest node that holds it.

        Returns the segments' first addresses, sorted, the first of them 0, and for each its node or NO_NODE.
        Two neighbours never have the same node. The lists are made once, and shared by all who ask.
        """
        if family not in self._segments:
            self._segments[family] = self._cut_segments(family)
        return self._segments[family]

    def levels(self, family: Family, source: int, port: int) -> list[int]:
        """The number that is best at its level, for each level that has one for this point."""
        starts, nodes = self.segments(family)
        node = nodes[bisect_right(starts, source) - 1]
        best = [number_at(self.any_ranges, port)]
        while node != NO_NODE:
            best.append(number_at(self.ranges[node], port))
            node = self.parents[node]
        return [number for number in best if number is not None]

    def winner(self, family: Family, source: int, port: int) -> int | None:
        """The number that wins this point; None where none matches."""
        return min(self.levels(family, source, port), default=None)

    def _cut_segments(self, family: Family) -> tuple[list[int], list[int]]:
        """Walk the nodes from left to right; where one begins or ends, a segment begins."""
        starts = [0]
        nodes = [NO_NODE]
        beyond = 1 << ADDRESS_BITS[family]  # the address after the last

        def cut(start: int, node: int) -> None:
            if start == starts[-1]:
                nodes[-1] = node  # what was to begin here holds no address of its own
            elif start < beyond:
                starts.append(start)
                nodes.append(node)

        unfinished: list[tuple[int, int]] = []  # (last address, node), the deepest node last
        for node, prefix in enumerate(self.prefixes):
            if prefix.family != family:
                continue
            while unfinished and unfinished[-1][0] < prefix.value:
                end, ended = unfinished.pop()
                cut(end + 1, self.parents[ended])
            cut(prefix.value, node)
            unfinished.append((prefix.last, node))
        for end, ended in reversed(unfinished):
            cut(end + 1, self.parents[ended])
        return starts, nodes


def by_source(placed: Placed) -> tuple[list[int], Iterator[tuple[Prefix, list[int]]]]:
    """The numbers for any source, and those for each prefix; the prefixes are sorted."""
    for_any: list[int] = []
    sources: list[Prefix] = []
    numbers: list[int] = []
    for source, number in placed:
        if source is None:
            for_any.append(number)
        else:
            sources.append(source)
            numbers.append(number)
    source_at = sources.__getitem__
    places = sorted(range(len(sources)), key=source_at)  # keeps equals in order
    grouped = ((prefix, [numbers[place] for place in group]) for prefix, group in groupby(places, key=source_at))
    return for_any, grouped


def levels_of(placed: Placed, ports: Sequence[Ports]) -> tuple[PortMap, Iterator[tuple[Prefix, PortMap]]]:
    """What Levels are made of. ports: by number."""

    def winners(numbers: Sequence[int]) -> PortMap:
        """Who wins which ports among numbers for the same source, given best first."""
        ranges = [(first, last, number) for number in numbers for first, last in ports[number]]
        return tuple(ranges) if len(numbers) == 1 else paint(ranges)

    for_any, by_prefix = by_source(placed)
    return winners(for_any), ((prefix, winners(numbers)) for prefix, numbers in by_prefix)


def find_parents(prefixes: list[Prefix]) -> list[int]:
    """For each of the sorted prefixes, the place of the smallest one that holds it, or NO_NODE."""
    parents: list[int] = []
    holders: list[tuple[int, int, int]] = []  # (family, last address, place) of those that hold the prefix in hand
    for place, prefix in enumerate(prefixes):
        family, first, _ = prefix
        while holders and (holders[-1][1] < first or holders[-1][0] != family):
            holders.pop()
        parents.append(holders[-1][2] if holders else NO_NODE)
        holders.append((family, prefix.last, place))
    return parents
