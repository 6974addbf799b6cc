"""One datagram and all rules: which ones apply, which ones do not and why, and which ones it misses by little.

Usually one rule applies, the one that wins. Rules that apply always do so beside it; where the exporter is denied, none
does.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from heapq import nsmallest
from typing import Final, NamedTuple

from gfwd.rules.model import ADDRESS_BITS, EVERY_EXPORTER, Address, Exporters, Prefix, Rule, holds_port

MISSES_MAX: Final = 3
"""Near misses of each kind that are told."""


class Why(Enum):
    """Why a rule that matches does not apply."""

    PRIORITY = "worse_priority"
    EARLIER = "written_earlier"
    DEFAULT = "is_default"
    OTHERS = "others_apply"  # it is a default, and rules that apply always do
    DENIED = "denied"  # else it would


class Loser(NamedTuple):
    """A rule that matches, and does not apply."""

    rule: Rule
    why: Why


class Miss(NamedTuple):
    """A rule that does not match, and by how little. would_apply: if it did match. excepted: by what it is not for the
    exporter.
    """

    rule: Rule
    would_apply: bool
    excepted: Prefix | None = None


class Denial(NamedTuple):
    """Why nothing is taken from the exporter. prefix: which of `deny` holds it; None: none of `allow` does."""

    prefix: Prefix | None


class Limit(NamedTuple):
    """How many datagrams a second are taken from the exporter; None: all. prefix: whose limit it is; None: of all."""

    rate: int | None
    prefix: Prefix | None


class Explanation(NamedTuple):
    """What the rules make of a datagram from `source` to `port`.

    denial: None, where the exporter is not denied. applying: the rules that apply, best first. losers: all other rules
    that match, best first. other_port, other_source, excepted: rules that miss it by the port alone, by the source
    alone, or by an exception; first those that would apply, and of these the nearest (for other_port, those whose
    source says most, and of these the nearest port; for excepted, those whose source says most). A denied exporter
    misses nothing. limit: None, where there is none for this exporter.
    """

    source: Address
    port: int
    denial: Denial | None
    applying: tuple[Rule, ...]
    losers: tuple[Loser, ...]
    other_port: tuple[Miss, ...]
    other_source: tuple[Miss, ...]
    excepted: tuple[Miss, ...]
    limit: Limit | None


_Measured = tuple[Miss, tuple[int, ...]]
"""A miss, with how far it is, by several measures."""


def explain(ranked: Sequence[Rule], source: Address, port: int, exporters: Exporters = EVERY_EXPORTER) -> Explanation:
    """Look at every rule, best first, as RuleSet.ranked() gives them."""
    host = Prefix(source.family, source.value, ADDRESS_BITS[source.family])
    matching: list[Rule] = []
    has_winner = False
    other_port: list[_Measured] = []
    other_source: list[_Measured] = []
    excepted: list[_Measured] = []
    for rank, rule in enumerate(ranked):
        miss = Miss(rule, rule.applies_always or not (matching if rule.priority is None else has_winner))
        has_port = holds_port(rule.ports, port)
        if rule.source is not None and not rule.source.holds(host):
            if rule.source.family == source.family and has_port:
                other_source.append((miss, (_bits_apart(rule.source, source), rank)))
            continue
        exception = _longest(rule.excepted, host)
        if exception is not None:
            if has_port:
                excepted.append((miss._replace(excepted=exception), (_width(rule), rank)))
        elif has_port:
            matching.append(rule)
            has_winner |= not rule.applies_always
        else:
            other_port.append((miss, (_width(rule), _ports_apart(rule, port), rank)))
    denial = _denial(exporters, host)
    reasons = _reasons(matching, is_denied=denial is not None)
    if denial is not None:
        other_port = other_source = excepted = []
    return Explanation(
        source,
        port,
        denial,
        tuple(rule for rule, why in reasons if why is None),
        tuple(Loser(rule, why) for rule, why in reasons if why is not None),
        _nearest(other_port),
        _nearest(other_source),
        _nearest(excepted),
        _limit(exporters, host),
    )


def _reasons(matching: Sequence[Rule], *, is_denied: bool) -> list[tuple[Rule, Why | None]]:
    """For each rule that matches, best first, why it does not apply; None: it does."""
    competing = [rule for rule in matching if not rule.applies_always]
    has_others = len(competing) < len(matching)
    reasons = []
    for rule in matching:
        why = None if rule.applies_always else _why(rule, competing[0], has_others=has_others)
        reasons.append((rule, Why.DENIED if is_denied and why is None else why))
    return reasons


def _why(rule: Rule, winner: Rule, *, has_others: bool) -> Why | None:
    """winner: of the rules that do not apply always. has_others: some that do match, too."""
    if winner.priority is None and has_others:
        return Why.OTHERS
    if rule is winner:
        return None
    if rule.priority == winner.priority:
        return Why.EARLIER
    return Why.DEFAULT if rule.priority is None else Why.PRIORITY


def _denial(exporters: Exporters, host: Prefix) -> Denial | None:
    denied = _longest(exporters.deny, host)
    if denied is not None:
        return Denial(denied)
    is_allowed = not exporters.allow or _longest(exporters.allow, host) is not None
    return None if is_allowed else Denial(None)


def _limit(exporters: Exporters, host: Prefix) -> Limit | None:
    rates = dict(exporters.limits)
    prefix = _longest(rates, host)
    if prefix is not None:
        return Limit(rates[prefix], prefix)
    return None if exporters.limit is None else Limit(exporters.limit, None)


def _longest(prefixes: Iterable[Prefix], host: Prefix) -> Prefix | None:
    """The longest of those that hold it."""
    return max((prefix for prefix in prefixes if prefix.holds(host)), key=lambda prefix: prefix.length, default=None)


def _width(rule: Rule) -> int:
    """How little the rule's source says, in bits: a rule for one exporter was meant for it, `*` for nobody."""
    return ADDRESS_BITS[6] + 1 if rule.source is None else ADDRESS_BITS[rule.source.family] - rule.source.length


def _ports_apart(rule: Rule, port: int) -> int:
    """How far the rule's nearest port is."""
    return min(abs(port - edge) for ports in rule.ports for edge in ports)


def _bits_apart(prefix: Prefix, source: Address) -> int:
    """From where on, counted from the last bit, the prefix and the source that is not in it differ."""
    return (prefix.value ^ source.value).bit_length()


def _nearest(misses: Iterable[_Measured]) -> tuple[Miss, ...]:
    """The few that say most."""
    few = nsmallest(MISSES_MAX, misses, key=lambda found: (not found[0].would_apply, found[1]))
    return tuple(miss for miss, _ in few)
