"""Outcomes of the rule space → who gets which copies: targets, and what is special about them.

Most rules are plain: each of their datagrams goes to all of their targets, and nothing but the addresses changes. All
that needs more (options, groups, rules that apply together, denied exporters) is a special, and the others know nothing
of it.
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from gfwd.native import core
from gfwd.plan.blueprint import Blueprint, Hop
from gfwd.plan.getters import Getter, sharing_of, sharings_of
from gfwd.rules.model import ADDRESS_BITS, NO_OPTIONS, Collector, Family, Group, Receiver
from gfwd.rules.space import Outcome, receivers_of

_NS = 1_000_000_000
_NO_OPTION = (b"", b"", 0, 0, 0, 0, 0)

PlanRule = tuple[int, int, int, int]
"""A struct fw_plan_rule: first target, number of targets, counter, special."""


class _Copy(NamedTuple):
    """A copy goes to one of these. balance: see enum fw_balance. turn: a number for each group that takes turns."""

    targets: tuple[int, ...]
    balance: int
    turn: int = 0


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
        self._ttls: list[int] = []  # of the same; 0: one less
        self._spans: dict[tuple[tuple[Receiver, ...], Family | None], tuple[int, int] | None] = {}
        self._copies: dict[tuple[Receiver, Family | None], _Copy] = {}
        self._numbers: dict[tuple[Getter, Family | None], int] = {}
        self._routes = {collector.alone(): route for collector, route in blueprint.routes.items()}
        self._turns: dict[Group, int] = {}
        self._first_choices: dict[tuple[tuple[Receiver, ...], Family | None], tuple[int, int]] = {}
        self._specials: dict[tuple[int, ...], int] = {}

    def rule(self, outcome: Outcome, counters: Sequence[int]) -> PlanRule:
        """counters: the slots of the rules that apply."""
        if not outcome:
            return 0, 0, 0, self._special(core.DENIED, (0, 0), ())
        family = next((rule.source.family for rule in outcome if rule.source is not None), None)
        receivers = receivers_of(outcome)
        span = self._span(receivers, family) if len(outcome) == 1 else None
        if span is not None:
            return *span, counters[0], 0
        return 0, 0, 0, self._special(core.FORWARD, self._choices(receivers, family), counters)

    def options(self) -> list[tuple[object, ...]]:
        """One for each target; none where no target has any."""
        return self._options if any(option != _NO_OPTION for option in self._options) else []

    # ---- plain rules ----

    def _span(self, receivers: tuple[Receiver, ...], family: Family | None) -> tuple[int, int] | None:
        """Where the targets stand: the first, and how many; None: there is more to it."""
        key = receivers, family
        if key not in self._spans:
            copies = sharings_of(receivers, self._blueprint.down)
            getters = [its.getters[0] for one, its in copies if isinstance(one, Collector)]
            is_plain = len(getters) == len(copies) and not any(map(_has_options, getters))
            self._spans[key] = (len(self.entries), len(getters)) if is_plain else None
            if is_plain:
                for getter in getters:
                    self._add(getter, family)
        return self._spans[key]

    # ---- special ones ----

    def _special(self, fate: int, choices: tuple[int, int], counters: Sequence[int]) -> int:
        key = fate, *choices, *counters
        if key not in self._specials:
            self._specials[key] = len(self._specials)
            writes_ttl = self._writes_ttl(*choices)
            self.specials.extend((fate, *choices, len(self.counters), len(counters), writes_ttl))
            self.counters.extend(counters)
        return self._specials[key]

    def _writes_ttl(self, first: int, n: int) -> bool:
        """Whether one of these choices may fall on a target that is to get a TTL of its own."""
        for choice in range(first, first + n):
            first_member, n_members = self.choices[4 * choice : 4 * choice + 2]
            if any(self._ttls[target] for target in self.members[first_member : first_member + n_members]):
                return True
        return False

    def _choices(self, receivers: tuple[Receiver, ...], family: Family | None) -> tuple[int, int]:
        """Where the choices stand, one for each receiver: the first, and how many. The core sends nobody two copies."""
        key = receivers, family
        if key not in self._first_choices:
            copies = [self._copy(one, family) for one, _ in sharings_of(receivers, self._blueprint.down)]
            self._first_choices[key] = len(self.choices) // 4, len(copies)
            for copy in copies:
                self.choices.extend((len(self.members), len(copy.targets), copy.balance, copy.turn))
                self.members.extend(copy.targets)
        return self._first_choices[key]

    def _copy(self, receiver: Receiver, family: Family | None) -> _Copy:
        key = receiver, family
        if key not in self._copies:
            its = sharing_of(receiver, self._blueprint.down)
            numbers = [self._number(getter, family) for getter in its.getters]
            targets = tuple(numbers[place] for place in its.places())
            turn = self._turn(receiver) if isinstance(receiver, Group) else 0
            self._copies[key] = _Copy(targets, core.BALANCES[its.balance], turn)
        return self._copies[key]

    def _turn(self, group: Group) -> int:
        """It takes the same turns for all rules. Groups beyond as many as there are collectors share a number."""
        if group.balance != "round-robin":
            return 0
        return self._turns.setdefault(group, len(self._turns) % len(self._blueprint.routes))

    def _number(self, getter: Getter, family: Family | None) -> int:
        key = getter, family
        if key not in self._numbers:
            self._numbers[key] = self._add(getter, family)
        return self._numbers[key]

    # ---- targets ----

    def _add(self, getter: Getter, family: Family | None) -> int:
        """A collector that is down has the target of one without an address."""
        collector = getter.collector
        route = self._routes[collector]
        hop = route.hop_for(family) if getter.is_there else None
        options = collector.options or NO_OPTIONS
        source = None
        if hop is not None and options.own_source:
            source = self._own_source(hop)
            if source is None:
                hop = None
        port = (collector.port or 0).to_bytes(2, "big")
        if hop is None:
            self.entries.append((b"", 0, port, 0, 0, 0, route.counter))
        else:
            self.egresses.add(hop.egress)
            family, value = hop.address
            self.entries.append((_bytes(family, value), family, port, 0, hop.neighbour, hop.egress, route.counter))
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
                0,
            )
        )
        return len(self.entries) - 1

    def _own_source(self, hop: Hop) -> bytes | None:
        own = self._blueprint.ports[hop.egress].own
        return next((_bytes(one.family, one.value) for one in own if one.family == hop.address.family), None)


def _bytes(family: Family, value: int) -> bytes:
    return value.to_bytes(ADDRESS_BITS[family] // 8, "big")


def _has_options(getter: Getter) -> bool:
    """Whether copies are not just sent."""
    options = getter.collector.options
    return options is not None and options._replace(check=None) != NO_OPTIONS
