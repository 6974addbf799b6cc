"""A core at work between interfaces: its plan follows the routes, its neighbours follow the kernel.

The thread that serves it waits: for signals, for news from the kernel, for the next question to a neighbour. Workers
forward in threads of their own, and never wait for it.
"""

import selectors
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gfwd.daemon import signals
from gfwd.daemon.accounts import ledger_of
from gfwd.daemon.interfaces import Port, Say
from gfwd.daemon.neighbours import KernelAsker, Neighbours
from gfwd.daemon.ways import Ways
from gfwd.daemon.workers import Threads
from gfwd.l2.kernel import Change, Kernel, Link, LinkChange, Reread, RoutesChanged
from gfwd.metrics.ledger import Ledger
from gfwd.native.core import Core, NeighbourState, Worker
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules.model import Address, Collector, Ports, Prefix, RuleSet, ports_text
from gfwd.rules.space import RuleSpace

_DRAINED_AFTER = 20  # milliseconds without a frame
_DRAINING_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is to be forwarded where.

    own: destination addresses that are ours. addresses: those of each collector. macs: of neighbours that are not to be
    asked for.
    """

    rules: RuleSet
    own: tuple[Prefix, ...]
    listen: Ports
    addresses: Mapping[Collector, tuple[Address, ...]]
    macs: Mapping[Address, bytes]

    def destinations(self) -> dict[Address, list[Collector]]:
        """Each address of a collector, and the collectors that have it."""
        found: dict[Address, list[Collector]] = {}
        for collector, addresses in self.addresses.items():
            for address in addresses:
                found.setdefault(address, []).append(collector)
        return found


class PortReport(NamedTuple):
    """A port; ours, passed, lost, unsent: see XdpPort. error: what went wrong with it."""

    name: str
    mode: str
    rx_queues: int
    tx_queues: int
    ours: int
    passed: int
    lost: int
    unsent: int
    error: str | None


class NeighbourReport(NamedTuple):
    address: str
    port: str
    mac: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Report:
    """The ledgers, and what stands beside them."""

    ledger: Ledger
    ports: tuple[PortReport, ...]
    neighbours: tuple[NeighbourReport, ...]

    def as_json(self) -> dict[str, Any]:
        """As objects of JSON."""
        return {
            **self.ledger.as_json(),
            "ports": {port.name: port._asdict() for port in self.ports},
            "neighbours": [neighbour._asdict() for neighbour in self.neighbours],
        }


class Forwarder:
    """One core, and what keeps it right. `say` gets a line for whatever the operator should know."""

    def __init__(
        self, setting: Setting, space: RuleSpace, kernel: Kernel, core: Core, ports: Sequence[Port], say: Say
    ) -> None:
        self._setting, self._space, self._kernel, self._core = setting, space, kernel, core
        self._ports, self._say = ports, say
        self._links = {port.link.index: port.link for port in ports}
        self._by_index = {port.link.index: port for port in ports}
        self._destinations = setting.destinations()
        self._ways = Ways(ports, core.limits.neighbours, setting.macs)
        self._found: dict[Address, Hop | None] = {}
        self._told: dict[int, tuple[bytes | None, NeighbourState]] = {}  # by slot: what the core knows
        self._neighbours = Neighbours(self._set_neighbour, self._say)

    # ---- the plan ----

    def follow_routes(self) -> None:
        """Find the ways to all collectors; where they are others than before, publish a plan that takes them."""
        found = self._ways.find(self._kernel.routes(), self._destinations)
        if found != self._found:
            self._tell_of_ways(found)
            self._found = found
            self._want_neighbours()
            self._publish()

    def _publish(self) -> None:
        self._core.publish(compile_plan(self._blueprint()))
        for port in self._ports:
            if port.rx:
                self._core.xdp_redirect(port.number)

    def _blueprint(self) -> Blueprint:
        return Blueprint(
            space=self._space,
            routes={
                collector: Route(counter, tuple(filter(None, map(self._found.get, addresses))))
                for counter, (collector, addresses) in enumerate(self._setting.addresses.items())
            },
            ports=tuple(PlanPort(mac=link.mac, mtu=link.mtu) for link in self._links.values()),
            own=self._setting.own,
            listen=self._setting.listen,
        )

    def _tell_of_ways(self, found: Mapping[Address, Hop | None]) -> None:
        """Which collectors have lost their way, or never had one, and which have found it again."""
        out = [port for port in self._ports if port.tx]
        names = " or ".join(map(str, out))
        are_up = all(self._links[port.link.index].is_up for port in out)
        for address, hop in found.items():
            collectors = ", ".join(map(str, self._destinations[address]))
            if hop is not None and self._found.get(address, hop) is None:
                self._say(f"collector {collectors}: a route leaves by {names}")
            elif hop is None and (address not in self._found or self._found[address] is not None):
                advice = f"; mend it: ip route add {address} via GATEWAY dev {out[0].interface.name}" if are_up else ""
                self._say(
                    f"collector {collectors}: warning: no route leaves by {names}, so its copies are dropped "
                    f"(no_collector){advice}"
                )

    # ---- neighbours ----

    def _want_neighbours(self) -> None:
        index = {port.number: port.link.index for port in self._ports}
        name = {port.number: str(port) for port in self._ports}
        now = time.monotonic()
        for (port, address), slot in self._ways.slots.items():
            mac = self._setting.macs.get(address)
            if mac is not None:
                self._neighbours.fix(slot, mac)
            else:
                self._neighbours.want(slot, name[port], address, KernelAsker(self._kernel, index[port]), now)

    def _set_neighbour(self, slot: int, mac: bytes | None, state: NeighbourState) -> None:
        self._told[slot] = mac, state
        self._core.set_neighbour(slot, mac, state)

    # ---- news ----

    def serve(self, threads: Threads, heard: signals.Signals, show: Callable[[Report], None]) -> None:
        """Until a signal says stop, or no worker is left. `show` gets the report where a signal asks for it."""
        self._say(self._ready_text())
        with selectors.DefaultSelector() as selector:
            for source in (self._kernel, threads, heard):
                selector.register(source, selectors.EVENT_READ)
            while not threads.all_have_ended():
                deadline = self._neighbours.deadline()
                selector.select(None if deadline is None else max(0.0, deadline - time.monotonic()))
                taken = heard.taken()
                if taken & signals.STOP:
                    return
                if taken & signals.STATUS:
                    show(self.report())
                threads.listen()
                now = time.monotonic()
                changes = self._kernel.changes()
                if any(isinstance(change, RoutesChanged) for change in changes):
                    self.follow_routes()  # first, so that who hears of a link can rely on its routes
                for change in changes:
                    self._take(change, now)
                self._neighbours.advance(now)

    def _take(self, change: Change, now: float) -> None:
        if isinstance(change, LinkChange):
            self._link_changed(change)
        elif isinstance(change, Reread):
            self._links_reread(change)
        self._neighbours.kernel_changed(change, now)

    def _link_changed(self, change: LinkChange) -> None:
        link = change.link
        port, before = self._by_index.get(link.index), self._links.get(link.index)
        if port is None or before is None:
            return
        self._links[link.index] = link
        if change.is_gone:
            if self._core.port_error(port.number) is None:
                self._core.port_fail(port.number, "the interface is gone")
                self._say(f"{port}: error: the interface is gone; what should leave by it is dropped (port_failed)")
        elif not link.is_up and before.is_up:
            self._say(f"{port}: error: the interface is down; bring it up: ip link set dev {link.name} up")
        elif (link.is_up, link.has_carrier) != (before.is_up, before.has_carrier):
            self._say(f"{port}: the link is up" if link.has_carrier else f"{port}: warning: the link has no carrier")
        if (link.mac, link.mtu) != (before.mac, before.mtu):
            self._publish()

    def _links_reread(self, tables: Reread) -> None:
        links: dict[int, Link] = {link.index: link for link in tables.links}
        for index, before in list(self._links.items()):
            self._link_changed(LinkChange(links.get(index, before), is_gone=index not in links))

    # ---- the end ----

    def drain(self, workers: Collection[Worker]) -> None:
        """The kernel takes over; what had come by then is forwarded, and what was sent leaves."""
        for port in self._ports:
            if port.rx:
                self._core.xdp_redirect(port.number, on=False)
        end, quiet = time.monotonic() + _DRAINING_S, 0
        while quiet < _DRAINED_AFTER and time.monotonic() < end:
            quiet = 0 if sum(worker.step() for worker in workers) else quiet + 1
            time.sleep(0.001)
        for port in self._ports:
            self._core.port_close(port.number)
            unsent = self._core.xdp(port.number).unsent
            if unsent:
                self._say(f"{port}: warning: {unsent:,} frames that were sent have not left; the link was not up")

    def report(self) -> Report:
        """How it stands now."""
        ports = {port.number: port for port in self._ports}
        return Report(
            ledger_of(self._core, self._setting.rules, self._space),
            tuple(map(self._port_report, self._ports)),
            tuple(
                self._neighbour_report(slot, ports[number], address)
                for (number, address), slot in self._ways.slots.items()
            ),
        )

    def _port_report(self, port: Port) -> PortReport:
        counts = self._core.xdp(port.number)
        error = self._core.port_error(port.number)
        return PortReport(
            name=str(port),
            mode=port.mode,
            rx_queues=port.rx,
            tx_queues=port.tx,
            ours=counts.ours,
            passed=counts.passed,
            lost=counts.lost,
            unsent=counts.unsent,
            error=error,
        )

    def _neighbour_report(self, slot: int, port: Port, address: Address) -> NeighbourReport:
        mac, state = self._told.get(slot, (None, NeighbourState.EMPTY))
        return NeighbourReport(str(address), str(port), None if mac is None else mac.hex(":"), state.name.lower())

    # ---- words ----

    def _ready_text(self) -> str:
        def text(ports: Sequence[Port]) -> str:
            return ", ".join(f"{port} ({port.mode}{f', {port.rx} queues' if port.rx > 1 else ''})" for port in ports)

        own = ", ".join(map(str, self._setting.own))
        into, out = text([port for port in self._ports if port.rx]), text([port for port in self._ports if port.tx])
        return f"forwarding from {into} to {out}: what is for {own}, port {ports_text(self._setting.listen)}"
