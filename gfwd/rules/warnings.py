"""Rules that can never win, and duplicates: no error, but hardly what was meant.

A rule wins some point (source, port) if, for one of its ports, no rule of the same source is better, none of a
wider source (an ancestor's, or any source) is better, and the better rules of narrower sources leave some
address over. Only where narrower prefixes tile the wider one without a gap can they leave none; so the tilings
are folded up first, from the narrowest prefix to the widest, and then one walk down answers for all rules.
"""

from collections.abc import Callable
from typing import Final

from gfwd.errors import Problem
from gfwd.rules.levels import NO_NODE, Levels, levels_of
from gfwd.rules.model import ADDRESS_BITS, ALL_PORTS, FAMILIES, Address, Family, Ports, Prefix, Rule, RuleSet
from gfwd.rules.portmap import PortMap, best_of, worst_of
from gfwd.rules.porttree import PortTree
from gfwd.rules.prefixes import ROOTS, without
from gfwd.rules.space import denied_sources

_MOST_LINES_NAMED: Final = 3

Source = Prefix | None
Key = tuple[Source, Ports, bool, tuple[Prefix, ...]]


def warnings(ruleset: RuleSet) -> list[Problem]:
    """Remarks on rules that never get a datagram, in the order of the lines."""
    ranked = ruleset.ranked()
    idle = idle_rules(ruleset)
    if not idle:
        return []
    best_with_key: dict[Key, Rule] = {}
    for rule in ranked:
        if not rule.applies_always:
            best_with_key.setdefault(_key(rule), rule)
    problems = []
    for rank, contest in idle.items():
        rule = ranked[rank]
        best = best_with_key.get(_key(rule), rule)
        text = _idle_text(contest, rule, rank) if best is rule else _duplicate_text(best, rule)
        problems.append(Problem(ruleset.path, rule.line, 1, text, "warning"))
    return sorted(problems)


class Contest:
    """Rules of which the best takes all. Number 0 is for denied exporters, who come before all rules; a rule's number
    is its rank, from 1. Rules that do not take part match nothing.
    """

    def __init__(self, ruleset: RuleSet, takes_part: Callable[[Rule], bool]) -> None:
        self.ranked = ruleset.ranked()
        placed: list[tuple[Prefix | None, int]] = [(prefix, 0) for prefix in denied_sources(ruleset.exporters)]
        for number, rule in enumerate(self.ranked, 1):
            if takes_part(rule):
                placed += ((source, number) for source in without(rule.source, rule.excepted))
        self.levels = Levels(*levels_of(placed, [ALL_PORTS, *(rule.ports for rule in self.ranked)]))

    def losers(self) -> list[int]:
        """The ranks of those that win nothing."""
        return [number - 1 for number in _idle(self.levels, len(self.ranked) + 1) if number > 0]


def idle_rules(ruleset: RuleSet) -> dict[int, Contest]:
    """The ranks of all rules that never apply, whatever the source and the port of a datagram, and who takes it all.

    A rule that applies always loses to nobody but denied exporters, and takes nothing from others but from a default.
    """
    compete = Contest(ruleset, lambda rule: not rule.applies_always)
    idle = {rank: compete for rank in compete.losers() if not compete.ranked[rank].applies_always}
    always = [rule for rule in compete.ranked if rule.applies_always]
    if always:
        every = Contest(ruleset, lambda _: True)
        idle |= {rank: every for rank in every.losers() if every.ranked[rank].priority is None}
        denied = denied_sources(ruleset.exporters)
        idle |= {
            rank: compete
            for rank, rule in enumerate(compete.ranked)
            if rule.applies_always and not without(rule.source, (*rule.excepted, *denied))
        }
    return dict(sorted(idle.items()))


def _idle(space: Levels, numbers: int) -> list[int]:
    """The numbers that win nothing."""
    winners = bytearray(numbers)  # 1 for one that wins somewhere
    tilings = _Tilings(space)
    wider = PortTree(nobody=numbers)  # what is laid over those sources that hold the one in hand

    def judge(ranges: PortMap, below: PortMap) -> None:
        """Find the winners among the rules for one source, of which narrower sources cover all that is `below`."""
        mark = wider.mark()
        wider.lay(below)
        for first, last, number in ranges:
            winners[number] |= wider.leaves_room(first, last, number)
        wider.go_back(mark)

    judge(space.any_ranges, tilings.of_all)
    wider.lay(space.any_ranges)
    is_parent = set(space.parents)
    open_parents: list[tuple[int, int]] = []  # (node, mark from before its rules were laid), the narrowest last
    for node, ranges in enumerate(space.ranges):
        while open_parents and open_parents[-1][0] != space.parents[node]:
            wider.go_back(open_parents.pop()[1])
        judge(ranges, tilings.of_node.get(node, ()))
        if node in is_parent:
            open_parents.append((node, wider.mark()))
            wider.lay(ranges)
    return [number for number, wins in enumerate(winners) if not wins]


class _Tilings:
    """For each prefix that narrower ones tile: what they leave it.

    of_node  node → the ports that have a rule below the node for every single address of its prefix, with the
             worst among the best rules of those addresses: whoever is worse still wins none of them there
    of_all   the same for the whole address space, of both families
    """

    def __init__(self, space: Levels) -> None:
        self.of_node: dict[int, PortMap] = {}
        # Negative node numbers stand for what lies above the forest: a family's whole address space.
        uncovered = {_top(family): 1 << ADDRESS_BITS[family] for family in FAMILIES}
        uncovered.update((node, prefix.size) for node, prefix in enumerate(space.prefixes))
        parents = [
            _top(prefix.family) if parent == NO_NODE else parent
            for prefix, parent in zip(space.prefixes, space.parents, strict=True)
        ]
        for prefix, parent in zip(space.prefixes, parents, strict=True):
            uncovered[parent] -= prefix.size
        tiles: dict[int, list[PortMap]] = {node: [] for node, size in uncovered.items() if size == 0}
        for node in reversed(range(len(parents))):  # children before their parents
            below = _worst_of_all(tiles.pop(node, []))
            if below:
                self.of_node[node] = below
            if parents[node] in tiles:
                tiles[parents[node]].append(best_of(space.ranges[node], below))
        self.of_all = _worst_of_all([_worst_of_all(tiles.get(_top(family), [])) for family in FAMILIES])


def _top(family: Family) -> int:
    return -family


def _worst_of_all(port_maps: list[PortMap]) -> PortMap:
    """The ports that all maps have, with the worst number.

    Maps may grow when they are joined, so they are joined in pairs, and the pairs in pairs.
    """
    while len(port_maps) > 1:
        pairs = zip(port_maps[::2], port_maps[1::2], strict=False)
        odd_one = port_maps[len(port_maps) // 2 * 2 :]
        port_maps = [worst_of(one, other) for one, other in pairs] + odd_one
    return port_maps[0] if port_maps else ()


# Messages


def _key(rule: Rule) -> Key:
    """What two rules share that are duplicates. `default` and `*` are not: they are written for different ends."""
    return rule.source, rule.ports, rule.priority is None, rule.excepted


def _duplicate_text(winner: Rule, rule: Rule) -> str:
    if winner.receivers == rule.receivers:
        return f"a duplicate of line {winner.line}, which wins over it: remove one of the two"
    return (
        f"line {winner.line} has the same source and ports, and wins over this one, whose collectors get nothing: "
        "write all collectors in one line, or remove one of the two"
    )


def _idle_text(contest: Contest, rule: Rule, rank: int) -> str:
    """Name the one rule that takes all, if there is one, or else a few that take parts."""
    takers: set[int] = set()
    for family, source in _corners(rule):
        for port in _edges(rule.ports):
            better = [number for number in contest.levels.levels(family, source, port) if number < rank + 1]
            for number in better:
                if number > 0 and _covers(contest.ranked[number - 1], rule):
                    line = contest.ranked[number - 1].line
                    return f"this rule can never win: line {line} is better, and takes all of it"
            takers.update(better and [min(better)])
    if takers == {0}:
        return "this rule can never apply: all of its exporters are denied"
    lines = sorted(contest.ranked[number - 1].line for number in takers if number > 0)
    named = " and ".join(f"line {line}" for line in lines[:_MOST_LINES_NAMED])
    return f"this rule can never win: better rules together take all of it, among them {named}"


def _corners(rule: Rule) -> list[Address]:
    """The first and the last address of a rule's source."""
    return [
        Address(prefix.family, value)
        for source in without(rule.source, rule.excepted)
        for prefix in (ROOTS if source is None else (source,))
        for value in {prefix.value, prefix.last}
    ]


def _edges(ports: Ports) -> set[int]:
    """Where the first and the last range of a rule's ports begin and end."""
    return {*ports[0], *ports[-1]}


def _covers(better: Rule, rule: Rule) -> bool:
    """Whether one rule matches all that another one matches; False where that is not plain to see."""
    if better.excepted:
        return False
    if better.source is not None and (rule.source is None or not better.source.holds(rule.source)):
        return False
    return all(any(low <= first and last <= high for low, high in better.ports) for first, last in rule.ports)
