"""The rule space: every (source address, destination port), and which rule wins it.

Rules are numbered by rank, 0 being the best, so of all rules that match, the smallest number wins. The space
has levels. On top lie the rules for any source, in one port map. Below, each prefix that some rule names is a
node with a port map of its own, and prefixes either hold one another or have nothing in common, so the nodes
form a forest. The winner of a point is the best of: the map of any source, the map of the deepest node that
holds the address, and those of all its ancestors.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby
from typing import Final

from gfwd.rules.model import ADDRESS_BITS, Family, Prefix, Rule, RuleSet
from gfwd.rules.portmap import PortMap, number_at, paint

NO_NODE: Final = -1


class RuleSpace:
    """The rules of a RuleSet by where they apply. It is not changed once it is made.

    ranked      the rules, best first: a rule's place is its number
    any_ranges  the winners among the rules for any source, `default` too: [(first port, last port, number)]
    prefixes    the nodes: each prefix that a rule names, once, a parent before its children
    parents     for each node the smallest other prefix that holds it, as a node number, or NO_NODE
    ranges      for each node the winners among the rules for exactly its prefix, in the form of any_ranges
    """

    def __init__(self, ruleset: RuleSet) -> None:
        self.ranked: tuple[Rule, ...] = ruleset.ranked()
        self.any_ranges: PortMap = self._winners(
            [number for number, rule in enumerate(self.ranked) if rule.source is None]
        )
        self.prefixes: list[Prefix] = []
        self.ranges: list[PortMap] = []
        for prefix, numbers in self._numbers_by_prefix():
            self.prefixes.append(prefix)
            self.ranges.append(self._winners(numbers))
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
        """The rule that is best at its level, for each level that has one for this point."""
        starts, nodes = self.segments(family)
        node = nodes[bisect_right(starts, source) - 1]
        best = [number_at(self.any_ranges, port)]
        while node != NO_NODE:
            best.append(number_at(self.ranges[node], port))
            node = self.parents[node]
        return [number for number in best if number is not None]

    def winner(self, family: Family, source: int, port: int) -> int | None:
        """The number of the rule that wins this point; None where no rule matches."""
        return min(self.levels(family, source, port), default=None)

    def _numbers_by_prefix(self) -> Iterator[tuple[Prefix, list[int]]]:
        """The rules for each prefix, best first; the prefixes are sorted."""
        sources = {number: rule.source for number, rule in enumerate(self.ranked) if rule.source is not None}
        source_of = sources.__getitem__
        for prefix, group in groupby(sorted(sources, key=source_of), key=source_of):  # sorted() keeps equals in order
            yield prefix, list(group)

    def _winners(self, numbers: list[int]) -> PortMap:
        """Who wins which ports among rules for the same source, given best first."""
        ranges = [(first, last, number) for number in numbers for first, last in self.ranked[number].ports]
        return tuple(ranges) if len(numbers) == 1 else paint(ranges)

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
