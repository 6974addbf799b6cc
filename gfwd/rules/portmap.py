"""Port maps: from a port to the number of a rule, as ranges.

A port map holds (first port, last port, number), sorted, none overlapping another; ports between the ranges
have no rule. As rules are numbered by rank, the smaller number is the better rule. Port maps are tuples: the
garbage collector lets go of tuples of numbers for good, where it would look into 100,000 lists again and again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import itemgetter

from gfwd.rules.model import LAST_PORT

NumberedRange = tuple[int, int, int]  # first port, last port, both included, and the number of a rule
PortMap = tuple[NumberedRange, ...]

by_number = itemgetter(2)


def number_at(port_map: PortMap, port: int) -> int | None:
    """The number that the map has for the port; None where it has none."""
    index = bisect_right(port_map, (port, LAST_PORT + 1, 0)) - 1
    if index >= 0 and port <= port_map[index][1]:
        return port_map[index][2]
    return None


def paint(ranges: Iterable[NumberedRange]) -> PortMap:
    """Lay ranges over each other, best first: what is painted once is never painted over.

    Painted ranges that touch become one, whatever their numbers, so a range is stepped over only once
    before it is gone, and n ranges take about n log n steps.
    """
    firsts: list[int] = []  # of all that is painted: sorted, with at least one bare port between two
    lasts: list[int] = []
    painted: list[NumberedRange] = []
    for first, last, number in ranges:
        left = bisect_left(lasts, first - 1)  # the painted ranges left to right - 1 overlap this one, or touch it
        right = bisect_right(firsts, last + 1)
        bare = first
        for index in range(left, right):
            if bare < firsts[index]:
                painted.append((bare, firsts[index] - 1, number))
            bare = lasts[index] + 1
        if bare <= last:
            painted.append((bare, last, number))
        firsts[left:right] = [min([first, *firsts[left:right]])]
        lasts[left:right] = [max([last, *lasts[left:right]])]
    painted.sort()
    return tuple(painted)


def best_of(one: PortMap, other: PortMap) -> PortMap:
    """The ports that either map has, with the better number."""
    return paint(sorted(one + other, key=by_number))


def worst_of(one: PortMap, other: PortMap) -> PortMap:
    """The ports that both maps have, with the worse number."""
    common: list[NumberedRange] = []
    i = j = 0
    while i < len(one) and j < len(other):
        first = max(one[i][0], other[j][0])
        last = min(one[i][1], other[j][1])
        if first <= last:
            common.append((first, last, max(one[i][2], other[j][2])))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(common)
