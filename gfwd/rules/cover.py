"""From numbers on a forest of prefixes to the fewest prefixes that say the same.

A prefix of the forest has a number for each port, which holds for its addresses as far as no narrower prefix has
another. What comes out has no holes: for each port, the largest prefixes all of whose addresses have one number. It is
found from the narrowest prefix to the widest. Each tells the next wider one only where it differs from it, so what is
alike costs nothing; two halves that have the same number go on as one.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

from gfwd.rules.levels import NO_NODE
from gfwd.rules.model import ADDRESS_BITS, PortRange, Ports, Prefix, merge_ports
from gfwd.rules.portmap import NumberedRange, PortMap, joined, ports_of, together
from gfwd.rules.prefixes import ROOTS, left_out

NOTHING: Final = 0
"""The number of what is not to be covered."""

_MIXED: Final = -1  # more than one number among the addresses: they have been told already

Numbers = Callable[[int, Ports], PortMap]
"""A node and ports → the number for each of these ports."""

Covered = dict[tuple[int, Prefix | None], Ports]
"""A number and a prefix, or None for all of both families → the ports."""

_prefix = itemgetter(0)


class Cover:
    """prefixes, parents: the forest, sorted, with both ROOTS. own: the ports that may have another number than above,
    for each node.
    """

    def __init__(
        self, prefixes: Sequence[Prefix], parents: Sequence[int], own: Sequence[Ports], numbers: Numbers
    ) -> None:
        self._prefixes = prefixes
        self._parents = parents
        self._own = own
        self._numbers = numbers
        self._found: defaultdict[tuple[int, Prefix | None], list[PortRange]] = defaultdict(list)

    def find(self) -> Covered:
        """The cover. To be called once."""
        inside: defaultdict[int, list[tuple[Prefix, PortMap]]] = defaultdict(list)
        for node in reversed(range(len(self._prefixes))):  # children before their parents
            differs = self._differs(node, inside.pop(node, [])[::-1])
            if differs:
                inside[self._parents[node]].append((self._prefixes[node], differs))
        low, high = ROOTS
        tops = dict(inside[NO_NODE])
        for both in self._both(low, tops.get(low, ()), high, tops.get(high, ()), ()):
            self._tell(None, *both)
        return {key: merge_ports(ranges) for key, ranges in self._found.items()}

    def _differs(self, node: int, inside: Sequence[tuple[Prefix, PortMap]]) -> PortMap:
        """Where the node's addresses are to be told apart from those around it.

        inside: the same of the node's children, in their order.
        """
        ports = merge_ports([*self._own[node], *ports_of(*map(itemgetter(1), inside))])
        if not ports:
            return ()
        here = self._numbers(node, ports)
        parent = self._parents[node]
        around = self._numbers(parent, ports) if parent != NO_NODE else ((ports[0][0], ports[-1][1], NOTHING),)
        folded = self._folded(self._prefixes[node], inside, here)
        return joined(
            (first, last, number)
            for first, last, (other, mine, outer) in together((folded, here, around), ports)
            if (number := _first(other, mine)) != outer
        )

    def _folded(self, prefix: Prefix, inside: Sequence[tuple[Prefix, PortMap]], here: PortMap) -> PortMap:
        """What holds for all of the prefix, where it is not what `here` says; `inside` lies within."""
        if not inside:
            return ()
        if inside[0][0] == prefix:
            return inside[0][1]
        low, high = prefix.halves()
        middle = bisect_left(inside, high, key=_prefix)
        return self._both(
            low, self._folded(low, inside[:middle], here), high, self._folded(high, inside[middle:], here), here
        )

    def _both(self, low: Prefix, in_low: PortMap, high: Prefix, in_high: PortMap, here: PortMap) -> PortMap:
        """Join two halves. Where they differ from each other, each is told for itself."""
        whole: list[NumberedRange] = []
        for first, last, (one, other, rest) in together((in_low, in_high, here), ports_of(in_low, in_high)):
            left, right = _first(one, rest), _first(other, rest)
            if left != right:
                self._tell(low, first, last, left)
                self._tell(high, first, last, right)
            whole.append((first, last, left if left == right else _MIXED))
        return joined(whole)

    def _tell(self, source: Prefix | None, first: int, last: int, number: int) -> None:
        if number not in (NOTHING, _MIXED):
            self._found[number, source].append((first, last))


def all_but(sources: Sequence[Prefix]) -> tuple[Prefix, list[Prefix]]:
    """The smallest prefix that holds all of these, and the fewest that make up what it holds besides.

    sources: of one family, sorted, none within another.
    """
    low, high = sources[0], sources[-1]
    bits = ADDRESS_BITS[low.family]
    free = max((low.value ^ high.last).bit_length(), bits - low.length)
    whole = Prefix(low.family, low.value >> free << free, bits - free)
    return whole, left_out(whole, sources)


def _first(*numbers: int | None) -> int:
    return next((number for number in numbers if number is not None), NOTHING)
