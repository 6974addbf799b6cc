"""Where rules apply beside the one that wins: which of them apply together, for every source and port.

Each combination that some point of the space has gets a number, as a rule alone has it otherwise. What a node has for a
port holds all that comes from the nodes around it, too; so combinations of deeper nodes get the smaller numbers, and
the smallest number on the way up from an address is the right one.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from itertools import pairwise
from typing import Final, NamedTuple

from gfwd.errors import GfwdError
from gfwd.rules.levels import NO_NODE, Placed, by_source, find_parents
from gfwd.rules.model import Ports, Prefix
from gfwd.rules.portmap import PortMap, joined, ports_of, together

MOST: Final = 2_000_000
"""Combinations, each for a source and some ports, that there may be: some 200 MB."""


class Kind(Enum):
    """How a number gets on with others that match the same datagrams."""

    DENIES = auto()  # no other applies
    COMPETES = auto()  # the best of these applies
    ALWAYS = auto()  # all of these apply
    DEFAULT = auto()  # the best of these applies, where no other does


class Combinations(NamedTuple):
    """What Levels are made of, with new numbers: places in `together`, where what applies stands, best first."""

    any_ranges: PortMap
    nodes: list[tuple[Prefix, PortMap]]
    together: list[tuple[int, ...]]


def combine(placed: Placed, ports: Sequence[Ports], kinds: Sequence[Kind]) -> Combinations:
    """ports, kinds: by number. Raises GfwdError where there are more than MOST."""
    combiner = _Combiner(ports, kinds)
    for_any, grouped = by_source(placed)
    by_prefix = list(grouped)
    any_map = combiner.stacked(for_any)
    prefixes = [prefix for prefix, _ in by_prefix]
    parents = find_parents(prefixes)
    maps: list[PortMap] = []
    size = 0
    for node, (_, numbers) in enumerate(by_prefix):
        around = [any_map]
        parent = parents[node]
        while parent != NO_NODE:
            around.insert(-1, maps[parent])
            parent = parents[parent]
        maps.append(combiner.joined(combiner.stacked(numbers), around))
        size += len(maps[node])
        if size > MOST:
            raise GfwdError(
                f"error: the rules that apply beside others make more than {MOST:,} combinations of source and ports: "
                'keep apply = "all" for few rules'
            )
    numbering = _Numbering(combiner.states)
    inmost_first = [numbering.of(port_map) for port_map in reversed(maps)]
    numbered = list(zip(prefixes, reversed(inmost_first), strict=True))
    return Combinations(numbering.of(any_map), numbered, [combiner.together(state) for state in numbering.states])


class _State(NamedTuple):
    """Of what matches: the best of those that do not apply always, and those that do."""

    best: int | None
    always: tuple[int, ...]


class _Combiner:
    """States get numbers, so that they fit into port maps."""

    def __init__(self, ports: Sequence[Ports], kinds: Sequence[Kind]) -> None:
        self._ports, self._kinds = ports, kinds
        self.states: list[_State] = []
        self._number_of: dict[_State, int] = {}

    def stacked(self, numbers: Iterable[int]) -> PortMap:
        """For each port the state of these numbers alone, which have one source."""
        changes: defaultdict[int, list[tuple[int, bool]]] = defaultdict(list)  # by port: which begins there, or ends
        for number in numbers:
            for first, last in self._ports[number]:
                changes[first].append((number, True))
                changes[last + 1].append((number, False))
        competing: list[int] = []  # both sorted
        always: list[int] = []
        ranges = []
        for first, beyond in pairwise([*sorted(changes), 0]):
            for number, begins in changes[first]:
                here = always if self._kinds[number] is Kind.ALWAYS else competing
                if begins:
                    insort(here, number)
                else:
                    here.remove(number)
            if competing or always:
                state = _State(competing[0] if competing else None, tuple(always))
                ranges.append((first, beyond - 1, self._number(state)))
        return joined(ranges)

    def joined(self, own: PortMap, around: Sequence[PortMap]) -> PortMap:
        """For each port that `own` has: its state together with the state around it, which the first map has that has
        one for the port.
        """
        ranges = []
        for first, last, (mine, *outer) in together([own, *around], ports_of(own)):
            assert mine is not None
            one, other = self.states[mine], next((self.states[n] for n in outer if n is not None), _State(None, ()))
            best = min((n for n in (one.best, other.best) if n is not None), default=None)
            always = tuple(sorted({*one.always, *other.always}))
            ranges.append((first, last, self._number(_State(best, always))))
        return joined(ranges)

    def together(self, state: _State) -> tuple[int, ...]:
        """What applies, best first."""
        kind = None if state.best is None else self._kinds[state.best]
        if kind is Kind.DENIES:
            return (state.best,) if state.best is not None else ()
        if state.best is None or (kind is Kind.DEFAULT and state.always):
            return state.always
        return tuple(sorted((state.best, *state.always)))

    def _number(self, state: _State) -> int:
        if state not in self._number_of:
            self._number_of[state] = len(self.states)
            self.states.append(state)
        return self._number_of[state]


class _Numbering:
    """Numbers as they are asked for, smallest first; within one port map, equal states have one number."""

    def __init__(self, states: Sequence[_State]) -> None:
        self._states = states
        self.states: list[_State] = []

    def of(self, port_map: PortMap) -> PortMap:
        number_of: dict[int, int] = {}
        for _, _, state in port_map:
            if state not in number_of:
                number_of[state] = len(self.states)
                self.states.append(self._states[state])
        return tuple((first, last, number_of[state]) for first, last, state in port_map)
