"""Drawn worlds in the real core: what tests need to put one there, and to look at what comes out.

The way is the whole one: rules text → parser → space → plan → core with memory ports. `Rig` holds the core and plays
the wire; `plan_of` makes the plan of a world.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import cast

from gfwd.native.core import Core, Limits, NeighbourState, Record
from gfwd.plan.blueprint import EVERY_ADDRESS, Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules import classic
from gfwd.rules.fields import parse_ports
from gfwd.rules.model import ALL_PORTS, Address, Collector, Family, Ports, Prefix, RuleSet, merge_ports
from gfwd.rules.space import RuleSpace
from tests import frames
from tests.oracle import twin

STATES = {"ready": NeighbourState.READY, "pending": NeighbourState.PENDING, "failed": NeighbourState.FAILED}


@dataclass(frozen=True)
class Compiled:
    """A plan, and the number in it of each of the world's rules, by the rule's order."""

    plan: bytes
    numbers: tuple[int, ...]


def plan_of(world: frames.World, *, tap_every: int = 0, first_collector: int = 0, first_neighbour: int = 0) -> Compiled:
    """The plan of a world whose collectors and neighbours have the slots from these on."""
    ruleset = classic.parse(world.rules.text, "drawn.rules")
    space = RuleSpace(ruleset)
    known = {(_host(collector), collector.port): collector for collector in world.rules.collectors}
    routes: dict[Collector, Route] = {}
    for collector in {collector for rule in ruleset.rules for collector in rule.collectors}:
        its = known[collector.address or collector.host, collector.port]
        slot = first_neighbour + its.neighbour
        address = _address(its.family, its.address)
        hops = () if address is None else (Hop(address, world.rules.neighbours[its.neighbour].egress, slot),)
        routes[collector] = Route(first_collector + its.index, hops)
    own = world.config.own
    blueprint = Blueprint(
        space=space,
        routes=routes,
        ports=tuple(plan_port(port) for port in world.config.ports),
        own=EVERY_ADDRESS if isinstance(own, str) else tuple(Prefix(cast(Family, f), a, n) for f, a, n in own),
        listen=_listen(world, ruleset),
        tap_every=tap_every,
    )
    by_line = {rule.line: number for number, rule in enumerate(space.ranked)}
    return Compiled(compile_plan(blueprint), tuple(by_line[rule.line] for rule in ruleset.rules))


def _host(collector: frames.Collector) -> Address | str:
    if collector.host.endswith(".example.net"):
        return collector.host
    return cast(Address, _address(collector.family, collector.address))


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
        out_only=port.out_only,
    )


def with_buffers(world: frames.World, buffers: Sequence[int]) -> frames.World:
    """The world with ports whose buffers are that long."""
    ports = [replace(port, buffer=buffer) for port, buffer in zip(world.config.ports, buffers, strict=True)]
    return replace(world, config=replace(world.config, ports=ports))


class Rig(AbstractContextManager["Rig"]):
    """A core with memory ports of one ring pair, one worker that has them all, and the wire behind them.

    region_of: for each port the number of its region. buffers: for each region the length of its buffers.
    """

    def __init__(self, limits: Limits, region_of: Sequence[int], buffers: Sequence[int], slots: int = 1_024) -> None:
        self.core = Core(limits)
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


# -- Small plans, by hand ---------------------------------------------------------------------------------------------


def plan_from(
    text: str,
    *,
    ports: Sequence[PlanPort] = (PlanPort(),),
    egress: Sequence[int] = (),
    own: tuple[Prefix, ...] = EVERY_ADDRESS,
    tap_every: int = 0,
) -> bytes:
    """The plan of a rules text. Its collectors have slots as they are named, and each is a neighbour of its own.

    egress: the port for each collector; port 0 for those beyond its end.
    """
    ruleset = classic.parse(text, "hand.rules")
    collectors = dict.fromkeys(collector for rule in ruleset.rules for collector in rule.collectors)
    routes: dict[Collector, Route] = {}
    for slot, collector in enumerate(collectors):
        port = egress[slot] if slot < len(egress) else 0
        hops = () if collector.address is None else (Hop(collector.address, port, slot),)
        routes[collector] = Route(slot, hops)
    space = RuleSpace(ruleset)
    return compile_plan(Blueprint(space=space, routes=routes, ports=tuple(ports), own=own, tap_every=tap_every))


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
