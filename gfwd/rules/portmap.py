"""Port maps: from a port to the number of a rule, as ranges.

A port map holds (first port, last port, number), sorted, none overlapping another; ports between the ranges
have no rule. As rules are numbered by rank, the smaller number is the better rule. Port maps are tuples: the
garbage collector lets go of tuples of numbers for good, where it would look into 100,000 lists again and again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from gfwd.rules.model import LAST_PORT, Ports, merge_ports

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


def together(port_maps: Sequence[PortMap], ports: Ports) -> Iterator[tuple[int, int, list[int | None]]]:
    """Cut the ports wherever one of the maps changes: (first port, last port, the number of each map, or None)."""
    for first, last in ports:
        at = first
        while at <= last:
            stretches = [_stretch(port_map, at) for port_map in port_maps]
            end = min(last, *(end for _, end in stretches))
            yield at, end, [number for number, _ in stretches]
            at = end + 1


def joined(ranges: Iterable[NumberedRange]) -> PortMap:
    """The same map, of whose sorted ranges those that touch, and have the same number, have become one."""
    whole: list[NumberedRange] = []
    for first, last, number in ranges:
        if whole and whole[-1][2] == number and whole[-1][1] + 1 == first:
            whole[-1] = (whole[-1][0], last, number)
        else:
            whole.append((first, last, number))
    return tuple(whole)


def ports_of(*port_maps: PortMap) -> Ports:
    """The ports that any of the maps has."""
    return merge_ports((first, last) for port_map in port_maps for first, last, _ in port_map)


def _stretch(port_map: PortMap, port: int) -> tuple[int | None, int]:
    """What the map has for the port, and the last port up to which that stays so."""
    index = bisect_right(port_map, (port, LAST_PORT + 1, 0))
    if index > 0 and port <= port_map[index - 1][1]:
        return port_map[index - 1][2], port_map[index - 1][1]
    return None, port_map[index][0] - 1 if index < len(port_map) else LAST_PORT
