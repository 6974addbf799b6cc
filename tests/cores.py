"""Drawn worlds in the real core: what tests need to put one there, and to look at what comes out.

The way is the whole one: rules text → parser → space → plan → core with memory ports. `Rig` holds the core and plays
the wire; `plan_of` makes the plan of a world.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import cast

from gfwd.native.core import Core, Limits, NeighbourState, Record, RunEnd, Worker
from gfwd.plan.blueprint import EVERY_ADDRESS, Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.plan.taps import Tap
from gfwd.rules import classic
from gfwd.rules.fields import parse_ports
from gfwd.rules.model import (
    ALL_PORTS,
    Address,
    Collector,
    Exporters,
    Family,
    Group,
    Options,
    Ports,
    Prefix,
    Receiver,
    Rule,
    RuleSet,
    merge_ports,
)
from gfwd.rules.space import RuleSpace, receivers_of
from tests import frames
from tests.options import each_target
from tests.oracle import twin

PATIENCE_S = 60  # only ever waited out where something hangs
STATES = {"ready": NeighbourState.READY, "pending": NeighbourState.PENDING, "failed": NeighbourState.FAILED}


@dataclass(frozen=True)
class Compiled:
    """A plan, and what its numbers stand for.

    numbers: of each of the world's rules its counter, by the rule's order. outcomes: by the number that the tap tells,
    the orders of the rules that apply. turns: of groups that take turns, by name.
    """

    plan: bytes
    numbers: tuple[int, ...]
    outcomes: tuple[tuple[int, ...], ...]
    turns: dict[str, int]


def plan_of(
    world: frames.World, *, taps: Sequence[Tap] = (), first_collector: int = 0, first_neighbour: int = 0
) -> Compiled:
    """The plan of a world whose collectors and neighbours have the slots from these on."""
    model = _Model(world)
    ruleset = model.ruleset
    space = RuleSpace(ruleset)
    own = world.config.own
    blueprint = Blueprint(
        space=space,
        routes=model.routes(first_collector, first_neighbour),
        ports=tuple(plan_port(port) for port in world.config.ports),
        own=EVERY_ADDRESS if isinstance(own, str) else _prefixes(own),
        listen=_listen(world, ruleset),
        exporters=ruleset.exporters,
        down=frozenset(model.collectors[index] for index, target in model.targets.items() if target.is_down),
    )
    by_line = {rule.line: number for number, rule in enumerate(space.ranked)}
    order_of = {rule.line: order for order, rule in enumerate(ruleset.rules)}
    return Compiled(
        compile_plan(blueprint),
        tuple(by_line[rule.line] for rule in ruleset.rules),
        tuple(tuple(order_of[rule.line] for rule in outcome) for outcome in space.outcomes),
        _turns(space, len(blueprint.routes)),
    )


class _Model:
    """A world in gfwd's own objects: what the text says comes from its parser, and options are put on top.

    collectors: by the world's numbers.
    """

    def __init__(self, world: frames.World) -> None:
        self.world = world
        self.targets = each_target(world.rules.rules)
        self.collectors: dict[int, Collector] = {}
        for index in sorted(self.targets, reverse=True):  # backups have greater numbers
            self.collectors[index] = self._collector(self.targets[index])
        parsed = classic.parse(world.rules.text, "drawn.rules")
        rules = tuple(map(self._rule, parsed.rules, world.rules.rules))
        its = world.config
        limits = tuple((_prefix(prefix), limit) for prefix, limit in its.limits)
        exporters = Exporters(_prefixes(its.allow), _prefixes(its.deny), its.limit, limits)
        self.ruleset = parsed._replace(rules=rules, exporters=exporters)

    def routes(self, first_collector: int, first_neighbour: int) -> dict[Collector, Route]:
        """Ways to all collectors, whose slots, and whose neighbours', count from these."""
        found: dict[Collector, Route] = {}
        for index, collector in self.collectors.items():
            target = self.targets[index]
            addresses = (_address(target.family, target.address), _address(6, target.other))
            slot = first_neighbour + self.world.rules.collectors[index].neighbour
            tags = None if target.tags is None else b"".join(twin.put_tag(*tag) for tag in target.tags)
            hops = tuple(Hop(address, target.egress, slot, tags) for address in addresses if address is not None)
            found[collector] = Route(first_collector + index, hops)
        return found

    def _collector(self, target: twin.TwinTarget) -> Collector:
        its = self.world.rules.collectors[target.collector]
        options = Options(
            own_source=target.own_source,
            source_port=target.source_port,
            ttl=target.ttl,
            sample=target.sample,
            limit=target.limit,
            backup=tuple(self.collectors[one.collector] for one in target.backups),
        )
        address = None if its.is_name else _address(its.family, its.address)
        return Collector(its.host, its.port, address, options=None if options == Options() else options)

    def _rule(self, parsed: Rule, drawn: twin.TwinRule) -> Rule:
        receivers = tuple(dict.fromkeys(map(self._receiver, drawn.targets)))
        if all(isinstance(one, Collector) and one.options is None for one in receivers):
            assert receivers == tuple(dict.fromkeys(parsed.receivers))  # the text says the same
        return parsed._replace(
            receivers=receivers, excepted=_prefixes(drawn.excepted), applies_always=drawn.applies_always
        )

    def _receiver(self, drawn: twin.Receiver) -> Receiver:
        if isinstance(drawn, twin.TwinTarget):
            return self.collectors[drawn.collector]
        members = tuple(self.collectors[member.collector] for member in drawn.members)
        return Group(drawn.name, drawn.balance, members)


def _turns(space: RuleSpace, collectors: int) -> dict[str, int]:
    """Groups get numbers as the outcomes name them."""
    named = (one for outcome in space.outcomes for one in receivers_of(outcome))
    groups = dict.fromkeys(one.name for one in named if isinstance(one, Group) and one.balance == "round-robin")
    return {name: number % collectors for number, name in enumerate(groups)}


def _prefix(prefix: twin.Prefix) -> Prefix:
    family, address, length = prefix
    return Prefix(cast(Family, family), address, length)


def _prefixes(prefixes: Sequence[twin.Prefix]) -> tuple[Prefix, ...]:
    return tuple(map(_prefix, prefixes))


def _address(family: int | None, value: int | None) -> Address | None:
    return None if family is None or value is None else Address(cast(Family, family), value)


def _listen(world: frames.World, ruleset: RuleSet) -> Ports:
    """What the operator said, or else the ports that the rules name."""
    if world.listen_text is None:
        return merge_ports(ports for rule in ruleset.rules if rule.ports != ALL_PORTS for ports in rule.ports)
    return ALL_PORTS if world.listen_text == "all" else parse_ports(world.listen_text)


def plan_port(port: twin.TwinPort) -> PlanPort:
    """A port as plans have it."""
    tags = b"".join(twin.put_tag(*tag) for tag in port.tags)
    return PlanPort(
        mac=port.mac,
        keep_tags=port.keep_tags,
        tags=tags,
        mtu=port.mtu,
        punts=not port.has_host_stack,
        punts_closed=port.punts_closed,
        punts_too_big=port.punts_too_big,
        out_only=port.out_only,
        own=tuple(Address(cast(Family, family), address) for family, address in port.own),
    )


def with_buffers(world: frames.World, buffers: Sequence[int]) -> frames.World:
    """The world with ports whose buffers are that long."""
    ports = [replace(port, buffer=buffer) for port, buffer in zip(world.config.ports, buffers, strict=True)]
    return replace(world, config=replace(world.config, ports=ports))


class Rig(AbstractContextManager["Rig"]):
    """A core with memory ports of one ring pair, one worker that has them all, and the wire behind them.

    region_of: for each port the number of its region. buffers: for each region the length of its buffers.
    """

    def __init__(
        self,
        limits: Limits,
        region_of: Sequence[int],
        buffers: Sequence[int],
        slots: int = 1_024,
        seeds: tuple[int, int] | None = None,
    ) -> None:
        self.core = Core(limits, seeds)
        rings = [2 * region_of.count(region) for region in range(len(buffers))]
        regions = [self.core.region(n, slots, size) if n else None for n, size in zip(rings, buffers, strict=True)]
        self.ports = [self.core.port_mem(region) for region in map(regions.__getitem__, region_of) if region]
        every_ring = [(port, 0) for port in self.ports]
        self.worker = self.core.worker(every_ring, every_ring)

    def __exit__(self, *_: object) -> None:
        self.core.close()

    def left(self, port: int) -> list[bytes]:
        """All frames that have left through a port by now."""
        return list(iter(lambda: self.core.leave(port), None))

    def punted(self) -> list[Record]:
        """All frames that were punted by now."""
        return list(iter(self.worker.take_punted, None))

    def tapped(self) -> list[Record]:
        """All datagrams that were tapped by now."""
        return list(iter(self.worker.take_tapped, None))


# -- Workers in threads of their own ----------------------------------------------------------------------------------


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to bring about."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happens any more"
        time.sleep(0.0001)


@contextmanager
def running(worker: Worker) -> Iterator[list[RunEnd]]:
    """A worker in a thread of its own; the list gets why it came back."""
    ends: list[RunEnd] = []
    thread = threading.Thread(target=lambda: ends.append(worker.run()))
    thread.start()
    try:
        yield ends
    finally:
        worker.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


# -- Small plans, by hand ---------------------------------------------------------------------------------------------


def plan_from(
    text: str,
    *,
    ports: Sequence[PlanPort] = (PlanPort(),),
    egress: Sequence[int] = (),
    own: tuple[Prefix, ...] = EVERY_ADDRESS,
    listen: Ports = ALL_PORTS,
    follow: Ports = (),
    taps: Sequence[Tap] = (),
) -> bytes:
    """The plan of a rules text; see plan_of_rules."""
    ruleset = classic.parse(text, "hand.rules")
    return plan_of_rules(ruleset, ports=ports, egress=egress, own=own, listen=listen, follow=follow, taps=taps)


def plan_of_rules(
    ruleset: RuleSet,
    *,
    ports: Sequence[PlanPort] = (PlanPort(),),
    egress: Sequence[int] = (),
    own: tuple[Prefix, ...] = EVERY_ADDRESS,
    listen: Ports = ALL_PORTS,
    follow: Ports = (),
    taps: Sequence[Tap] = (),
) -> bytes:
    """The plan of rules. Their collectors have slots as they are named, and each is a neighbour of its own.

    egress: the port for each collector; port 0 for those beyond its end.
    """
    routes: dict[Collector, Route] = {}
    for slot, collector in enumerate(ruleset.collectors()):
        port = egress[slot] if slot < len(egress) else 0
        hops = () if collector.address is None else (Hop(collector.address, port, slot),)
        routes[collector] = Route(slot, hops)
    blueprint = Blueprint(
        space=RuleSpace(ruleset),
        routes=routes,
        ports=tuple(ports),
        own=own,
        listen=listen,
        exporters=ruleset.exporters,
        follow=follow,
        taps=taps,
    )
    return compile_plan(blueprint)


def with_options(ruleset: RuleSet, options: Mapping[str, Options]) -> RuleSet:
    """The same rules, whose collectors have options, by the collectors' text."""

    def changed(receiver: Receiver) -> Receiver:
        return receiver._replace(options=options.get(str(receiver))) if isinstance(receiver, Collector) else receiver

    rules = tuple(rule._replace(receivers=tuple(map(changed, rule.receivers))) for rule in ruleset.rules)
    return ruleset._replace(rules=rules)


def mac(slot: int) -> bytes:
    """A neighbour's MAC, by its slot."""
    return bytes((2, 0, 0, 0, 1, slot))


def balances(core: Core, collectors: int) -> bool:
    """Whether every frame and every copy is in exactly one place."""
    frames_ledger, copies = core.frames(), core.collectors(collectors)
    places = frames_ledger.forwarded + frames_ledger.passed + frames_ledger.punted + frames_ledger.pending
    return frames_ledger.received == places + sum(frames_ledger.drops.values()) and all(
        ledger.wanted == ledger.sent + ledger.pending + sum(ledger.drops.values()) for ledger in copies
    )
