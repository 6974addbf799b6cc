"""Rules that can never win, and duplicates: no error, but hardly what was meant.

A rule wins some point (source, port) if, for one of its ports, no rule of the same source is better, none of a
wider source (an ancestor's, or any source) is better, and the better rules of narrower sources leave some
address over. Only where narrower prefixes tile the wider one without a gap can they leave none; so the tilings
are folded up first, from the narrowest prefix to the widest, and then one walk down answers for all rules.
"""

from typing import Final

from gfwd.errors import Problem
from gfwd.rules.model import ADDRESS_BITS, FAMILIES, Address, Family, Ports, Prefix, Rule, RuleSet
from gfwd.rules.portmap import PortMap, best_of, worst_of
from gfwd.rules.porttree import PortTree
from gfwd.rules.space import NO_NODE, RuleSpace

_MOST_LINES_NAMED: Final = 3

Source = Prefix | None
Key = tuple[Source, Ports, bool]


def warnings(ruleset: RuleSet, space: RuleSpace) -> list[Problem]:
    """Remarks on rules that never get a datagram, in the order of the lines. `space` was made from `ruleset`."""
    idle = idle_rules(space)
    if not idle:
        return []
    best_with_key: dict[Key, int] = {}
    for number, rule in enumerate(space.ranked):
        best_with_key.setdefault(_key(rule), number)
    problems = []
    for number in idle:
        rule = space.ranked[number]
        best = best_with_key[_key(rule)]
        text = _idle_text(space, number) if best == number else _duplicate_text(space.ranked[best], rule)
        problems.append(Problem(ruleset.path, rule.line, 1, text, "warning"))
    return sorted(problems)


def idle_rules(space: RuleSpace) -> list[int]:
    """The numbers of all rules that can never win, whatever the source and the port of a datagram."""
    winners = bytearray(len(space.ranked))  # 1 for a rule that wins somewhere
    tilings = _Tilings(space)
    wider = PortTree(nobody=len(space.ranked))  # the rules for those sources that hold the one in hand

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

    def __init__(self, space: RuleSpace) -> None:
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
    return rule.source, rule.ports, rule.priority is None


def _duplicate_text(winner: Rule, rule: Rule) -> str:
    if winner.receivers == rule.receivers:
        return f"a duplicate of line {winner.line}, which wins over it: remove one of the two"
    return (
        f"line {winner.line} has the same source and ports, and wins over this one, whose collectors get nothing: "
        "write all collectors in one line, or remove one of the two"
    )


def _idle_text(space: RuleSpace, number: int) -> str:
    """Name the one rule that takes all, if there is one, or else a few that take parts."""
    rule = space.ranked[number]
    takers: set[int] = set()
    for family, source in _corners(rule):
        for port in _edges(rule.ports):
            better = [other for other in space.levels(family, source, port) if other < number]
            for other in better:
                if _covers(space.ranked[other], rule):
                    return f"this rule can never win: line {space.ranked[other].line} is better, and takes all of it"
            takers.add(min(better))
    lines = sorted(space.ranked[taker].line for taker in takers)
    named = " and ".join(f"line {line}" for line in lines[:_MOST_LINES_NAMED])
    return f"this rule can never win: better rules together take all of it, among them {named}"


def _corners(rule: Rule) -> list[Address]:
    """The first and the last address of a rule's source."""
    prefixes = [Prefix(family, 0, 0) for family in FAMILIES] if rule.source is None else [rule.source]
    return [Address(prefix.family, value) for prefix in prefixes for value in {prefix.value, prefix.last}]


def _edges(ports: Ports) -> set[int]:
    """Where the first and the last range of a rule's ports begin and end."""
    return {*ports[0], *ports[-1]}


def _covers(better: Rule, rule: Rule) -> bool:
    """Whether one rule matches all that another one matches."""
    if better.source is not None and (rule.source is None or not better.source.holds(rule.source)):
        return False
    return all(any(low <= first and last <= high for low, high in better.ports) for first, last in rule.ports)
