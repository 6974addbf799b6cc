"""Outcomes of the rule space → who gets which copies: targets, and what is special about them.

Most rules are plain: each of their datagrams goes to all of their targets, and nothing but the addresses changes. All
that needs more (options, groups, rules that apply together, denied exporters) is a special, and the others know nothing
of it.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gfwd.native import core
from gfwd.plan.blueprint import Blueprint, Hop, Route
from gfwd.plan.getters import Getter, sharing_of, sharings_of
from gfwd.plan.places import spread
from gfwd.rules.model import ADDRESS_BITS, NO_OPTIONS, Balance, Collector, Family, Group, Receiver
from gfwd.rules.space import Outcome, receivers_of

_NS = 1_000_000_000
_NO_OPTION = (b"", b"", 0, 0, 0, 0, 0, 0, b"", b"")

PlanRule = tuple[int, int, int, int]
"""A struct fw_plan_rule: first target, number of targets, counter, special."""


class _Choice(NamedTuple):
    """A struct fw_plan_choice: a copy goes to one of the members. turn: a number for each group that takes turns."""

    first_member: int
    n_members: int
    balance: int
    turn: int


class _Choices(NamedTuple):
    """Where choices stand: the first, and how many. writes_ttl: some may fall on a target with a TTL of its own."""

    first: int
    n: int
    writes_ttl: bool


_NO_SPAN = 0, 0
_NO_CHOICES = _Choices(0, 0, False)


class Targets:
    """Gathers what outcomes need; the same for several of them only once, so that few stay in the cache.

    egresses: ports that targets leave by.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.egresses: set[int] = set()
        self.entries: list[tuple[object, ...]] = []  # struct fw_plan_target
        self.specials = array("I")
        self.choices = array("I")
        self.members = array("I")
        self.counters = array("I")
        self._blueprint = blueprint
        self._options: list[tuple[object, ...]] = []  # struct fw_plan_option
        self._others = array("I")  # by target
        self._ttls: list[int] = []  # of the same; 0: one less
        self._spans: dict[tuple[tuple[Receiver, ...], Family | None], tuple[int, int]] = {}
        self._choice_of: dict[tuple[Receiver, Family | None], _Choice] = {}
        self._numbers: dict[tuple[Getter, Family | None, Hop | None, Hop | None], int] = {}
        self._routes = {collector.alone(): route for collector, route in blueprint.routes.items()}
        self._turns: dict[Group, int] = {}
        self._choices_of: dict[tuple[tuple[Receiver, ...], Family | None], _Choices] = {}
        self._specials: dict[tuple[int, ...], int] = {}

    def rule(self, outcome: Outcome, counters: Sequence[int]) -> PlanRule:
        """counters: the slots of the rules that apply."""
        if not outcome:
            return 0, 0, 0, self._special(core.DENIED, _NO_CHOICES, ())
        family = next((rule.source.family for rule in outcome if rule.source is not None), None)
        receivers = receivers_of(outcome)
        first, n = self._span(receivers, family) if len(outcome) == 1 else _NO_SPAN
        if n > 0:
            return first, n, counters[0], 0
        return 0, 0, 0, self._special(core.FORWARD, self._choices(receivers, family), counters)

    def options(self) -> list[tuple[object, ...]]:
        """One for each target; none where no target has any."""
        return self._options if any(option != _NO_OPTION for option in self._options) else []

    def others(self) -> "array[int]":
        """For each target the same collector's in the other family; none where no target has any."""
        return self._others if any(other != core.NONE for other in self._others) else array("I")

    # ---- plain rules ----

    def _span(self, receivers: tuple[Receiver, ...], family: Family | None) -> tuple[int, int]:
        """Where the targets stand: the first, and how many; none: there is more to it."""
        key = receivers, family
        span = self._spans.get(key)  # asked once a rule, and hashing a large group takes a while
        if span is None:
            span = self._spans[key] = self._new_span(receivers, family)
        return span

    def _new_span(self, receivers: tuple[Receiver, ...], family: Family | None) -> tuple[int, int]:
        copies = sharings_of(self._spread(receivers, family), self._blueprint.down)
        getters = [its.getters[0] for one, its in copies if isinstance(one, Collector)]
        if len(getters) < len(copies) or any(map(_has_options, getters)):
            return _NO_SPAN
        hops = [self._hops(getter, family) for getter in getters]
        others = [self._hops_of_others(getter, family) for getter in getters]
        if any(len(ways) > 1 or any(hop.tags is not None for hop in ways) for ways in (*hops, *others)):
            return _NO_SPAN
        firsts = [(_at(ways, 0), _at(behind, 0)) for ways, behind in zip(hops, others, strict=True)]
        first = len(self.entries)
        for getter, (hop, _) in zip(getters, firsts, strict=True):
            self._add(getter.collector, hop)
        for target, (getter, (_, other)) in enumerate(zip(getters, firsts, strict=True), first):
            self._add_other(target, getter.collector, other)
        return first, len(getters)

    def _spread(self, receivers: tuple[Receiver, ...], family: Family | None) -> tuple[Receiver, ...]:
        return spread(receivers, self._blueprint.places, self._blueprint.down, family)

    # ---- special ones ----

    def _special(self, fate: int, choices: _Choices, counters: Sequence[int]) -> int:
        key = fate, choices.first, choices.n, *counters
        if key not in self._specials:
            self._specials[key] = len(self._specials)
            self.specials.extend(
                (fate, choices.first, choices.n, len(self.counters), len(counters), choices.writes_ttl)
            )
            self.counters.extend(counters)
        return self._specials[key]

    def _choices(self, receivers: tuple[Receiver, ...], family: Family | None) -> _Choices:
        """One for each receiver. Where groups choose who gets a copy anyway, the core sends no other."""
        key = receivers, family
        its = self._choices_of.get(key)
        if its is None:
            copies = sharings_of(self._spread(receivers, family), self._blueprint.down)
            choices = [self._choice(one, family) for one, _ in copies]
            its = _Choices(len(self.choices) // 4, len(choices), any(map(self._writes_ttl, choices)))
            self._choices_of[key] = its
            for choice in choices:
                self.choices.extend(choice)
        return its

    def _writes_ttl(self, choice: _Choice) -> bool:
        beyond = choice.first_member + choice.n_members
        return any(self._ttls[target] for target in set(self.members[choice.first_member : beyond]))

    def _choice(self, receiver: Receiver, family: Family | None) -> _Choice:
        """The same one wherever the receiver is named: the members of a group that shares out are thousands."""
        key = receiver, family
        if key not in self._choice_of:
            its = sharing_of(receiver, self._blueprint.down)
            hops = [self._hops(getter, family) for getter in its.getters]
            others = [self._hops_of_others(getter, family) for getter in its.getters]
            members = [
                self._number(its.getters[place], family, _at(hops[place], hop), _at(others[place], other))
                for place, hop, other in _each_with(its.with_hops(hops), its.with_hops(others))
            ]
            turn = self._turn(receiver) if isinstance(receiver, Group) else 0
            self._choice_of[key] = self._among(members, its.balance, turn)
        return self._choice_of[key]

    def _among(self, targets: Sequence[int], balance: Balance, turn: int) -> _Choice:
        first_member = len(self.members)
        self.members.extend(targets)
        return _Choice(first_member, len(targets), core.BALANCES[balance], turn)

    def _turn(self, group: Group) -> int:
        """It takes the same turns for all rules. Groups beyond as many as there are collectors share a number."""
        if group.balance != "round-robin":
            return 0
        return self._turns.setdefault(group, len(self._turns) % len(self._blueprint.routes))

    def _number(self, getter: Getter, family: Family | None, hop: Hop | None, other: Hop | None) -> int:
        """other: for datagrams of the other family."""
        key = getter, family, hop, other
        if key not in self._numbers:
            self._numbers[key] = target = self._add(getter.collector, hop)
            self._add_other(target, getter.collector, other)
        return self._numbers[key]

    # ---- targets ----

    def _hops(self, getter: Getter, family: Family | None) -> tuple[Hop, ...]:
        """The next hops that its copies are divided among; none: they go nowhere, as those for one that is down."""
        return self._route(getter).hops_for(family) if getter.is_there else ()

    def _hops_of_others(self, getter: Getter, family: Family | None) -> tuple[Hop, ...]:
        """The same for datagrams of the other family, if that is another place.

        Datagrams of one family are all that there are, where the rules name it.
        """
        hops = self._hops(getter, family)
        if not hops or family is not None:
            return ()
        others = self._route(getter).hops_for(6 if hops[0].address.family == 4 else 4)
        return () if others == hops else others

    def _route(self, getter: Getter) -> Route:
        """Without the ways on which gfwd has no source of its own, where that is asked for."""
        route = self._routes[getter.collector]
        if not (getter.collector.options or NO_OPTIONS).own_source:
            return route
        return route._replace(hops=tuple(hop for hop in route.hops if self._own_source(hop) is not None))

    def _add_other(self, target: int, collector: Collector, hop: Hop | None) -> None:
        if hop is not None:
            self._others[target] = self._add(collector, hop)

    def _add(self, collector: Collector, hop: Hop | None) -> int:
        """Without a hop, it has the target of a collector without an address."""
        route = self._routes[collector]
        options = collector.options or NO_OPTIONS
        source = self._own_source(hop) if hop is not None and options.own_source else None
        port = (collector.port or 0).to_bytes(2, "big")
        if hop is None:
            self.entries.append((b"", 0, port, 0, 0, 0, route.counter))
        else:
            self.egresses.add(hop.egress)
            family, value = hop.address
            self.entries.append((_bytes(family, value), family, port, 0, hop.neighbour, hop.egress, route.counter))
        self._others.append(core.NONE)
        tags = None if hop is None else hop.tags
        limit_ns = 0 if options.limit is None else max(1, _NS // options.limit)
        self._ttls.append(options.ttl or 0)
        self._options.append(
            (
                source or b"",
                (options.source_port or 0).to_bytes(2, "big") if options.source_port else b"",
                int(source is not None),
                options.ttl or 0,
                0 if options.sample == 1 else options.sample,
                limit_ns,
                int(tags is not None),
                len(tags or b""),
                b"",
                tags or b"",
            )
        )
        return len(self.entries) - 1

    def _own_source(self, hop: Hop) -> bytes | None:
        own = self._blueprint.ports[hop.egress].own_of(hop.address.family)
        return None if own is None else _bytes(own.family, own.value)


def _bytes(family: Family, value: int) -> bytes:
    return value.to_bytes(ADDRESS_BITS[family] // 8, "big")


def _at(hops: Sequence[Hop], place: int) -> Hop | None:
    """None: there are none."""
    return hops[place] if hops else None


def _each_with(hops: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """For each part or turn who gets it, by which next hop, and by which one in the other family.

    Turns go on until both families have had whole rounds, where that is not too long.
    """
    rounds = math.lcm(len(hops), len(others))
    for n in range(rounds if rounds <= core.SHARES else max(len(hops), len(others))):
        place, hop = hops[n % len(hops)]
        yield place, hop, others[n % len(others)][1]


def _has_options(getter: Getter) -> bool:
    """Whether copies are not just sent."""
    options = getter.collector.options
    return options is not None and options._replace(check=None, out=None, vlan=None, resolve=None) != NO_OPTIONS
