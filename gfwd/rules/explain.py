"""One datagram and all rules: which one wins, which ones lose to it and why, and which ones it misses by little."""

from collections.abc import Iterable, Sequence
from enum import Enum
from heapq import nsmallest
from typing import Final, NamedTuple

from gfwd.rules.model import ADDRESS_BITS, Address, Prefix, Rule, holds_port

MISSES_MAX: Final = 3
"""Near misses of each kind that are told."""


class Why(Enum):
    """Why a rule that matches does not win."""

    PRIORITY = "worse_priority"
    EARLIER = "written_earlier"
    DEFAULT = "is_default"


class Loser(NamedTuple):
    """A rule that matches, and loses."""

    rule: Rule
    why: Why


class Miss(NamedTuple):
    """A rule that does not match, and by how little. would_win: if it did match, it would be the winner."""

    rule: Rule
    would_win: bool


class Explanation(NamedTuple):
    """What the rules make of a datagram from `source` to `port`.

    winner: None, where no rule matches. losers: all other rules that match, best first. other_port, other_source: rules
    that miss it by the port alone, or by the source alone; first those that would win, and of these the nearest (for
    other_port, those whose source says most, and of these the nearest port).
    """

    source: Address
    port: int
    winner: Rule | None
    losers: tuple[Loser, ...]
    other_port: tuple[Miss, ...]
    other_source: tuple[Miss, ...]


def explain(ranked: Sequence[Rule], source: Address, port: int) -> Explanation:
    """Look at every rule, best first, as RuleSet.ranked() gives them."""
    host = Prefix(source.family, source.value, ADDRESS_BITS[source.family])
    matching: list[Rule] = []
    other_port: list[tuple[Miss, tuple[int, ...]]] = []  # with how far it is, by several measures
    other_source: list[tuple[Miss, tuple[int, ...]]] = []
    for rank, rule in enumerate(ranked):
        miss = Miss(rule, would_win=not matching)
        if rule.source is None or rule.source.holds(host):
            if holds_port(rule.ports, port):
                matching.append(rule)
            else:
                other_port.append((miss, (_width(rule), _ports_apart(rule, port), rank)))
        elif rule.source.family == source.family and holds_port(rule.ports, port):
            other_source.append((miss, (_bits_apart(rule.source, source), rank)))
    winner = matching[0] if matching else None
    return Explanation(
        source,
        port,
        winner,
        tuple(Loser(rule, _why(rule, matching[0])) for rule in matching[1:]),
        _nearest(other_port),
        _nearest(other_source),
    )


def _why(rule: Rule, winner: Rule) -> Why:
    if rule.priority == winner.priority:
        return Why.EARLIER
    return Why.DEFAULT if rule.priority is None else Why.PRIORITY


def _width(rule: Rule) -> int:
    """How little the rule's source says, in bits: a rule for one exporter was meant for it, `*` for nobody."""
    return ADDRESS_BITS[6] + 1 if rule.source is None else ADDRESS_BITS[rule.source.family] - rule.source.length


def _ports_apart(rule: Rule, port: int) -> int:
    """How far the rule's nearest port is."""
    return min(abs(port - edge) for ports in rule.ports for edge in ports)


def _bits_apart(prefix: Prefix, source: Address) -> int:
    """From where on, counted from the last bit, the prefix and the source that is not in it differ."""
    return (prefix.value ^ source.value).bit_length()


def _nearest(misses: Iterable[tuple[Miss, tuple[int, ...]]]) -> tuple[Miss, ...]:
    """The few that say most."""
    few = nsmallest(MISSES_MAX, misses, key=lambda found: (not found[0].would_win, found[1]))
    return tuple(miss for miss, _ in few)
