"""Collectors that are named twice for the same datagrams: in one rule, or in one and another that applies beside it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from gfwd.errors import Problem
from gfwd.rules.levels import NO_NODE, find_parents
from gfwd.rules.model import (
    Collector,
    Ports,
    Prefix,
    Receiver,
    Rule,
    RuleSet,
    common_ports,
    each_collector,
)

_MOST_NAMED: Final = 3

Source = Prefix | None
Key = tuple[str, int | None] | Receiver
"""Host and port of a collector, which two may share whose options are different; or a group without names."""


def repeats(ruleset: RuleSet) -> list[Problem]:
    """A warning for each rule by which a collector is named once more, in the order of the lines."""
    beside, within = _Beside(ruleset.rules), cache(_within)  # many rules have the same collectors
    return sorted(
        Problem(ruleset.path, rule.line, 1, text, "warning")
        for rule in ruleset.rules
        for text in (*within(rule.receivers, _only_port(rule.ports)), *beside.texts(rule))
    )


def _only_port(ports: Ports) -> int | None:
    """The port that a rule is for, if it is one; then it is also that of a collector that keeps the datagram's."""
    first, last = ports[0]
    return first if first == last and len(ports) == 1 else None


def _within(receivers: Sequence[Receiver], only_port: int | None) -> list[str]:
    """Receivers of one rule with the same address and port."""
    texts = []
    leads_to: dict[tuple[str, int | None], Receiver] = {}
    for receiver in receivers:
        told: set[Receiver] = set()
        for collector in each_collector([receiver]):
            other = leads_to.setdefault((collector.host, collector.port or only_port), receiver)
            if other is not receiver and other not in told:
                told.add(other)
                place = collector._replace(port=collector.port or only_port).place()
                texts.append(f"{other} and {receiver} both send to {place}, so that it may get two copies: keep one")
    return texts


class _Beside:
    """The rules that apply wherever they match, by their source and by whom they send to.

    `single` has those for one port only, `wide` those for more; of equals, the one that is written first.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._single: defaultdict[tuple[Source, Key], dict[Ports, Rule]] = defaultdict(dict)
        self._wide: defaultdict[tuple[Source, Key], dict[Ports, Rule]] = defaultdict(dict)
        self._has_any = False
        for rule in rules:
            if rule.applies_always:
                self._has_any = True
                by_ports = self._wide if _only_port(rule.ports) is None else self._single
                for receiver in rule.receivers:
                    by_ports[rule.source, _key(receiver)].setdefault(rule.ports, rule)
        prefixes = sorted({rule.source for rule in rules if rule.source is not None}) if self._has_any else []
        parents = find_parents(prefixes)
        self._parent_of: dict[Prefix, Source] = {
            prefix: None if parent == NO_NODE else prefixes[parent]
            for prefix, parent in zip(prefixes, parents, strict=True)
        }

    def texts(self, rule: Rule) -> Iterator[str]:
        """What is to be said of a rule all of whose datagrams go to a collector of its own by another rule, too."""
        if not self._has_any or rule.priority is None:
            return
        found: dict[int, list[Receiver]] = {}
        for receiver in rule.receivers:
            other = next(self._others(rule, _key(receiver)), None)
            if other is not None:
                found.setdefault(other.line, []).append(receiver)
        for line, receivers in found.items():
            names = " and ".join(map(str, receivers[:_MOST_NAMED]))
            yield f"line {line} applies beside this rule, and sends all that this one is for to {names}, too: keep one"

    def _others(self, rule: Rule, key: Key) -> Iterator[Rule]:
        """The rules that send all that this one is for to the same receiver."""
        source = rule.source
        while True:
            exact = self._single.get((source, key), {}).get(rule.ports)
            wide = self._wide.get((source, key), {})
            candidates = [exact] if exact is not None else []
            candidates += [other for ports, other in wide.items() if common_ports(ports, rule.ports) == rule.ports]
            yield from (other for other in candidates if other is not rule and _holds_all_but_excepted(other, rule))
            if source is None:
                return
            source = self._parent_of[source]


def _key(receiver: Receiver) -> Key:
    return (receiver.host, receiver.port) if isinstance(receiver, Collector) else receiver.nameless()


def _holds_all_but_excepted(wider: Rule, rule: Rule) -> bool:
    """Whether a rule, whose source holds that of the other one, leaves out nothing that the other one is for."""
    return all(
        any(one.holds(hole) for one in rule.excepted)
        or (rule.source is not None and not hole.holds(rule.source) and not rule.source.holds(hole))
        for hole in wider.excepted
    )
