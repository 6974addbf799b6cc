"""Who stands where in the lab, and what the rules want to arrive where."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import cycle
from typing import NamedTuple

from gfwd.daemon.lab.traffic import CABLES, RULES, Stream, Traffic, from_capture, of_own_making
from gfwd.errors import ConfigError, GfwdError, Problem
from gfwd.rules import classic
from gfwd.rules.model import Address, Prefix, RuleSet, each_collector
from gfwd.rules.space import RuleSpace, receivers_of

OWN_RULES = "/dev/stdin"
"""Where the forwarder of the lab reads rules that are in no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """What to try. capture, rules: None for the lab's own. rate: datagrams a second. seconds: how long."""

    capture: str | None = None
    rules: str | None = None
    rate: int = 1_000
    seconds: int = 10


class Place(Enum):
    """Where a collector is: on the cable that gfwd's out port is on, or beyond."""

    LINK = "on the link"
    ROUTER = "behind the router"


class Target(NamedTuple):
    """A place where datagrams arrive."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Scene:
    """places: which of the two collectors has an address. targets: where the rules want each stream, in their order.

    remarks: what the user should know beforehand, a line each.
    """

    lab: Lab
    traffic: Traffic
    ruleset: RuleSet
    places: Mapping[Address, Place]
    targets: Mapping[Stream, tuple[Target, ...]]
    remarks: tuple[str, ...]

    @property
    def exporters(self) -> tuple[Address, ...]:
        """All source addresses, each once, sorted."""
        return tuple(sorted({Address(4, stream.source) for stream in self.traffic.streams}))


def prepare(lab: Lab) -> Scene:
    """Read capture and rules. Raises GfwdError where one of them cannot be read, or not be tried in the lab."""
    ruleset = classic.parse(RULES, OWN_RULES) if lab.rules is None else classic.load(lab.rules)
    places = _places(ruleset)
    traffic = of_own_making() if lab.capture is None else from_capture(lab.capture, lab.rate * lab.seconds)
    space = RuleSpace(ruleset)
    targets = {stream: _targets(space, stream) for stream in traffic.streams}
    return Scene(lab, traffic, ruleset, places, targets, _remarks(lab, traffic))


def _places(ruleset: RuleSet) -> dict[Address, Place]:
    """The rules' collectors by turns, as they come: the first on the link, the second behind the router …"""
    problems = []
    found: dict[Address, None] = {}
    for rule in ruleset.rules:
        for collector in rule.collectors:
            address = collector.address
            if address is None:
                text = f"the lab has no name server: write an address in place of {collector.host}"
                problems.append(Problem(ruleset.path, rule.line, 1, text))
            elif address.family == 4:
                found[address] = None
                if CABLES.holds(Prefix(4, address.value, 32)):
                    text = f"{address}: the lab's own cables are in {CABLES}: name another collector"
                    problems.append(Problem(ruleset.path, rule.line, 1, text))
    if problems:
        raise ConfigError(problems)
    if not found:
        raise GfwdError(
            f"{ruleset.path}: error: no collector has an IPv4 address, and the lab speaks IPv4 only for now"
        )
    return dict(zip(found, cycle(Place), strict=False))


def _targets(space: RuleSpace, stream: Stream) -> tuple[Target, ...]:
    """Where the rule that wins sends it; a collector of the other address family gets nothing."""
    winner = space.winner(4, stream.source, stream.port)
    if winner is None:
        return ()
    return tuple(
        Target(collector.address, stream.port if collector.port is None else collector.port)
        for collector in each_collector(receivers_of(space.outcomes[winner]))
        if collector.address is not None and collector.address.family == 4
    )


def _remarks(lab: Lab, traffic: Traffic) -> tuple[str, ...]:
    remarks = [] if traffic.broken is None else [traffic.broken]
    for why, n in traffic.left_out.items():
        if n:
            remarks.append(f"{lab.capture}: warning: left out {n:,} datagram{'' if n == 1 else 's'} {why.value}")
    return tuple(remarks)
