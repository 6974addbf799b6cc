"""What is not the same in two sets of rules, as rules: those that are gone, are new, or have changed places.

Where a datagram meets none of them, it meets the same rules in the same order in both sets, and the same one wins.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Sequence

from gfwd.rules.model import Ports, Prefix, Receiver, Rule

Key = tuple[Prefix | None, Ports, tuple[Receiver, ...], tuple[Prefix, ...], bool]


def moved(old: Sequence[Rule], new: Sequence[Rule]) -> list[Rule]:
    """Rules of either set, both given best first, beside the longest row of equal rules that both have in one order.

    What a rule says counts, and its rank; not its line, nor the letter of its priority.
    """
    places: defaultdict[Key, deque[int]] = defaultdict(deque)
    for place, rule in enumerate(new):
        places[_key(rule)].append(place)
    pairs = []
    for place, rule in enumerate(old):
        there = places.get(_key(rule))
        if there:
            pairs.append((place, there.popleft()))
    stay = [pairs[i] for i in _longest_rise([place for _, place in pairs])]
    stay_old, stay_new = {place for place, _ in stay}, {place for _, place in stay}
    return [
        *(rule for place, rule in enumerate(old) if place not in stay_old),
        *(rule for place, rule in enumerate(new) if place not in stay_new),
    ]


def _key(rule: Rule) -> Key:
    return rule.source, rule.ports, rule.receivers, rule.excepted, rule.applies_always


def _longest_rise(numbers: Sequence[int]) -> list[int]:
    """The indices of a longest rising row among numbers that are all different.

    Of all rows of the same length found so far, the one that ends lowest can go on best; so only these are kept.
    """
    ends: list[int] = []  # ends[n] is where the best row of n + 1 numbers ends
    at: list[int] = []  # the index of that number
    before: list[int] = []  # for each number, the index of the one before it in its row, or -1
    for index, number in enumerate(numbers):
        length = bisect_left(ends, number)
        before.append(at[length - 1] if length else -1)
        ends[length : length + 1] = [number]
        at[length : length + 1] = [index]
    row = []
    index = at[-1] if at else -1
    while index >= 0:
        row.append(index)
        index = before[index]
    return row[::-1]
