"""Rules for exporters that have none: for each the one that would take its datagrams, and changes nothing for others.

Its collectors are those that other exporters' datagrams to that port go to, or else other exporters' of its protocol.
Nobody is to take a suggestion unread: each says where it comes from.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from gfwd.rules.explain import explain
from gfwd.rules.fields import FieldError, parse_ports, parse_source
from gfwd.rules.model import (
    ADDRESS_BITS,
    Address,
    Collector,
    Family,
    Prefix,
    Receiver,
    Rule,
    each_collector,
    holds_port,
)
from gfwd.rules.portmap import PortMap, number_at, paint

PLACEHOLDER: Final = Collector("<collector>", None, None)
"""Stands where nobody knows a collector. No reader of rules takes it."""

SEVERAL: Final = 3
"""So many neighbours to the same port are one rule for their network."""

_NETWORK_BITS: Final[dict[Family, int]] = {4: 24, 6: 64}
_BEST, _WORST = "A", "Z"


class Stray(NamedTuple):
    """A source without a rule for a port. kin: ports that are usual for what it sends."""

    source: Address
    port: int
    kin: tuple[int, ...] = ()


class Suggestion(NamedTuple):
    """A rule, and the strays that it is for.

    model: the rule whose collectors it has; None: there is none, and PLACEHOLDER stands for them. kin: model is of that
    port, which is not the strays' own, but one of their kin; None: it is of their own. near: of strays, the rule that
    has the source, and not the port.
    """

    rule: Rule
    strays: tuple[Stray, ...]
    model: Rule | None
    kin: int | None
    near: tuple[tuple[Stray, Rule], ...]


class _Model(NamedTuple):
    rule: Rule
    kin: int | None


def suggest(ranked: Sequence[Rule], matched: Sequence[int], strays: Iterable[Stray]) -> list[Suggestion]:
    """One suggestion for each stray, or one for several neighbours; those of one network and port stand together, in
    the place of the first of them.

    ranked: the rules, best first. matched: the datagrams that each has matched. strays: that none of them matches.
    """
    groups: dict[tuple[Prefix, int], list[Stray]] = defaultdict(list)
    for stray in strays:
        groups[_network(stray.source), stray.port].append(stray)
    index = _Index(ranked)
    models = _Models(ranked, matched, {network.family for network, _ in groups})
    found = []
    for (network, port), members in groups.items():
        of = [models.of(stray) for stray in members]
        letter = index.letter_below(network, port) if len(members) >= SEVERAL and len(set(of)) == 1 else None
        if letter is not None:
            found.append(_suggestion(index, network, members, of[0], letter))
        else:
            found += [
                _suggestion(index, _host(stray.source), [stray], model, _BEST)
                for stray, model in zip(members, of, strict=True)
            ]
    return found


def cannot_be_named(stray: Stray) -> str | None:
    """Why no rule can name this source, or this port; None: one can."""
    try:
        parse_source(str(stray.source))
        parse_ports(str(stray.port))
    except FieldError as error:
        return error.text
    return None


def _suggestion(
    index: "_Index",
    source: Prefix,
    strays: Sequence[Stray],
    model: _Model | None,
    letter: str,
) -> Suggestion:
    """letter: the best priority that the rule may have."""
    port = strays[0].port
    receivers: tuple[Receiver, ...] = (PLACEHOLDER,)
    if model is not None:
        receivers = tuple(_receivers(model, source.family))
        letter = max(letter, model.rule.priority or _BEST)
    rule = Rule(source, ((port, port),), receivers, letter, 0)
    near = tuple((stray, its) for stray in strays if (its := index.near(stray)) is not None)
    return Suggestion(rule, tuple(strays), model and model.rule, model and model.kin, near)


def _receivers(model: _Model, family: Family) -> Iterator[Receiver]:
    """Those that a datagram of this family can be sent to. Who is sent the model's port listens there, and not on the
    strays': so it is written out, except for one that has a name, whose port stands elsewhere.
    """
    for receiver in model.rule.receivers:
        if not _can_get(receiver, family):
            continue
        if model.kin is not None and isinstance(receiver, Collector) and receiver.port is None and not receiver.name:
            yield receiver._replace(port=model.kin)
        else:
            yield receiver


def _can_get(receiver: Receiver, family: Family) -> bool:
    return any(one.can_get(family) for one in each_collector((receiver,)))


def _host(address: Address) -> Prefix:
    return Prefix(address.family, address.value, ADDRESS_BITS[address.family])


def _network(address: Address) -> Prefix:
    """The /24 or /64 that holds it."""
    free = ADDRESS_BITS[address.family] - _NETWORK_BITS[address.family]
    return Prefix(address.family, address.value >> free << free, _NETWORK_BITS[address.family])


class _Models:
    """For each of the families and each port, the rule that has matched most."""

    def __init__(self, ranked: Sequence[Rule], matched: Sequence[int], families: Iterable[Family]) -> None:
        self._ranked = ranked
        busiest = sorted(range(len(ranked)), key=lambda number: -matched[number])
        self._by_port: dict[Family, PortMap] = {family: self._paint(busiest, family) for family in families}

    def _paint(self, busiest: Iterable[int], family: Family) -> PortMap:
        @cache  # many rules have the same
        def can_get(receivers: tuple[Receiver, ...]) -> bool:
            return any(_can_get(receiver, family) for receiver in receivers)

        rules = ((number, self._ranked[number]) for number in busiest)
        return paint(
            (first, last, number)
            for number, rule in rules
            if not rule.applies_always and can_get(rule.receivers)
            for first, last in rule.ports
        )

    def of(self, stray: Stray) -> _Model | None:
        by_port = self._by_port[stray.source.family]
        for port in (stray.port, *stray.kin):
            number = number_at(by_port, port)
            if number is not None:
                return _Model(self._ranked[number], None if port == stray.port else port)
        return None


class _Index:
    """The rules by their sources, so that nobody has to look at all of them for each stray."""

    def __init__(self, ranked: Sequence[Rule]) -> None:
        self._ranked = ranked
        self._by_source: dict[Prefix | None, list[int]] = defaultdict(list)
        for number, rule in enumerate(ranked):
            self._by_source[rule.source].append(number)
        self._prefixes = sorted(prefix for prefix in self._by_source if prefix is not None)
        self._lengths = {
            family: sorted({prefix.length for prefix in self._prefixes if prefix.family == family}) for family in (4, 6)
        }

    def near(self, stray: Stray) -> Rule | None:
        """The rule that names the source, and misses it by the port alone; of several the one that says most."""
        host = _host(stray.source)
        numbers = (number for prefix in self._around(host) for number in self._by_source[prefix])
        rules = (self._ranked[number] for number in sorted(numbers))
        its = [rule for rule in rules if not any(prefix.holds(host) for prefix in rule.excepted)]
        misses = explain(its, *stray[:2]).other_port
        return misses[0].rule if misses else None

    def letter_below(self, network: Prefix, port: int) -> str | None:
        """The best priority that takes nothing from the rules that others in the network have; None: there is none."""
        around = [*self._around(network), *self._within(network)]
        numbers = (number for source in (None, *around) for number in self._by_source.get(source, ()))
        letters = [
            rule.priority
            for rule in (self._ranked[number] for number in numbers)
            if rule.priority is not None and holds_port(rule.ports, port)
        ]
        if not letters:
            return _BEST
        worst = max(letters)
        return None if worst == _WORST else chr(ord(worst) + 1)

    def _around(self, prefix: Prefix) -> Iterator[Prefix]:
        """Sources that hold it."""
        for length in self._lengths[prefix.family]:
            free = ADDRESS_BITS[prefix.family] - length
            holder = Prefix(prefix.family, prefix.value >> free << free, length)
            if length <= prefix.length and holder in self._by_source:
                yield holder

    def _within(self, network: Prefix) -> Iterator[Prefix]:
        """Sources that it holds, but for itself."""
        for at in range(bisect_left(self._prefixes, network), len(self._prefixes)):
            prefix = self._prefixes[at]
            if not network.holds(prefix):
                return
            if prefix != network:
                yield prefix
