"""Run: the real core between interfaces of this host, until it is told to stop.

The main thread waits: for signals, for news from the kernel, for the next question to a neighbour. Workers forward in
threads of their own, and never wait for it.
"""

import os
import selectors
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gfwd.daemon import names, signals
from gfwd.daemon.accounts import ledger_of
from gfwd.daemon.interface import Interface
from gfwd.daemon.interfaces import Candidate, Port, Say, Wanted, candidates, open_ports
from gfwd.daemon.neighbours import KernelAsker, Neighbours
from gfwd.daemon.ways import Ways
from gfwd.daemon.workers import Threads
from gfwd.errors import GfwdError, UsageError
from gfwd.l2.kernel import Change, Kernel, Link, LinkChange, Reread, RoutesChanged
from gfwd.metrics.ledger import Ledger
from gfwd.native.core import Core, Limits, NeedsCopies, NeighbourState, RunEnd, Worker
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules.listen import named_ports
from gfwd.rules.model import ADDRESS_BITS, Address, Collector, Ports, Prefix, RuleSet, ports_text
from gfwd.rules.space import RuleSpace

_MORE_NEIGHBOURS = 64  # slots for what a change of routes may bring
_DRAINED_AFTER = 20  # milliseconds without a frame
_DRAINING_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What to forward.

    own: addresses that are ours; None: those that the inputs have. listen: UDP ports that are ours; None: those that
    the rules name. macs: of neighbours that are not to be asked for. cpus: one for each worker, or none.
    """

    rules: RuleSet
    inputs: tuple[Interface, ...]
    outputs: tuple[Interface, ...]
    own: tuple[Prefix, ...] | None = None
    listen: Ports | None = None
    macs: Mapping[Address, bytes] = field(default_factory=dict)
    workers: int = 1
    cpus: tuple[int, ...] = ()


class PortReport(NamedTuple):
    """A port at the end; ours, passed, lost: see XdpPort. error: what went wrong with it."""

    name: str
    mode: str
    rx_queues: int
    tx_queues: int
    ours: int
    passed: int
    lost: int
    error: str | None


class NeighbourReport(NamedTuple):
    address: str
    port: str
    mac: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The accounting, and whether all that was asked for worked to the end."""

    ledger: Ledger
    ports: tuple[PortReport, ...]
    neighbours: tuple[NeighbourReport, ...]
    is_whole: bool

    def as_json(self) -> dict[str, Any]:
        """The ledgers, and what stands beside them."""
        return {
            **self.ledger.as_json(),
            "ports": {port.name: port._asdict() for port in self.ports},
            "neighbours": [neighbour._asdict() for neighbour in self.neighbours],
        }


def listened_on(ruleset: RuleSet, listen: Ports | None) -> Ports:
    """The UDP ports that are ours. Raises UsageError where neither the rules nor the operator name one."""
    ports = listen or named_ports(ruleset)
    if not ports:
        raise UsageError(
            f"{ruleset.path}: error: no rule names a port, and on all of them gfwd would carry off answers to the "
            "host's own questions (DNS, NTP, DHCP)\nsay which are the exporters': --listen 514,2055,9990-9999; or, "
            "where the address is gfwd's alone, --listen all"
        )
    return ports


def run(job: Run, say: Say) -> Outcome:
    """Forward until SIGINT or SIGTERM. `say` gets a line for whatever the operator should know meanwhile."""
    _refuse_cpus(job)
    listen = listened_on(job.rules, job.listen)
    wanted = [
        Wanted(interface, interface in job.inputs, interface in job.outputs)
        for interface in dict.fromkeys((*job.inputs, *job.outputs))
    ]
    with Kernel() as kernel:
        found = candidates(kernel, wanted, job.workers, say)
        own = job.own or tuple(
            Prefix(address.family, address.value, ADDRESS_BITS[address.family])
            for candidate in found
            if candidate.rx
            for address, _ in kernel.addresses(candidate.link.index)
        )
        addresses = names.addresses(job.rules.collectors())
        names.refuse_own(job.rules.path, own, addresses)
        setting = _Setting(job, kernel, own, listen, addresses, say, is_whole=len(found) == len(wanted))
        try:
            return _forward(setting, found, copies=False)
        except NeedsCopies:
            return _forward(setting, found, copies=True)


def _refuse_cpus(job: Run) -> None:
    allowed = os.sched_getaffinity(0)
    if job.cpus and len(job.cpus) != job.workers:
        raise UsageError(f"--cpu: error: {len(job.cpus)} CPUs for {job.workers} workers; give one for each")
    for cpu in job.cpus:
        if cpu not in allowed:
            text = ", ".join(map(str, sorted(allowed)))
            raise UsageError(f"--cpu: error: there is no CPU {cpu} for gfwd; there are {text}")


@dataclass(frozen=True, slots=True)
class _Setting:
    """All that is known before a core is there."""

    job: Run
    kernel: Kernel
    own: tuple[Prefix, ...]
    listen: Ports
    addresses: Mapping[Collector, tuple[Address, ...]]
    say: Say
    is_whole: bool

    def destinations(self) -> dict[Address, list[Collector]]:
        """Each address of a collector, and the collectors that have it."""
        found: dict[Address, list[Collector]] = {}
        for collector, addresses in self.addresses.items():
            for address in addresses:
                found.setdefault(address, []).append(collector)
        return found


def _forward(setting: _Setting, found: Sequence[Candidate], *, copies: bool) -> Outcome:
    job, destinations = setting.job, setting.destinations()
    space = RuleSpace(job.rules)
    limits = Limits(
        rules=len(space.ranked),
        collectors=len(job.rules.collectors()),
        neighbours=len(destinations) + _MORE_NEIGHBOURS,
    )
    with Core(limits) as core:
        ports = open_ports(core, found, setting.say, copies=copies) if found else []
        _refuse_halves(ports, setting)
        workers = _workers(core, ports, job)
        forwarder = _Forwarder(setting, core, ports, space)
        forwarder.follow_routes()
        with signals.Signals() as heard, Threads(workers, job.cpus) as threads:
            forwarder.serve(threads, heard)
            threads.stop()
            forwarder.drain(workers)
        is_whole = setting.is_whole and len(ports) == len(found) and RunEnd.FAILED not in threads.ends()
        return forwarder.outcome(is_whole=is_whole)


def _refuse_halves(ports: Sequence[Port], setting: _Setting) -> None:
    if not any(port.rx for port in ports) or not any(port.tx for port in ports):
        way = "come in by" if not any(port.rx for port in ports) else "leave by"
        raise GfwdError(f"error: there is no port that datagrams could {way}")
    if not setting.own:
        names_in = " or ".join(str(port) for port in ports if port.rx)
        raise GfwdError(
            f"error: no address on {names_in}, so nothing can be for gfwd; give the interface one, or say which are "
            "gfwd's: --address 192.0.2.1"
        )


def _workers(core: Core, ports: Sequence[Port], job: Run) -> list[Worker]:
    """RX queues are dealt out in turn; each worker has its own TX queue on every port."""
    rx = [(port.number, queue) for port in ports for queue in range(port.rx)]
    if len(rx) < job.workers:
        raise UsageError(
            f"--workers: error: {job.workers} workers, and {len(rx)} RX queues in all; one needs one at least"
        )
    return [
        core.worker(rx[number :: job.workers], [(port.number, number) for port in ports if port.tx])
        for number in range(job.workers)
    ]


class _Forwarder:
    """A core at work: its plan follows the routes, its neighbours follow the kernel."""

    def __init__(self, setting: _Setting, core: Core, ports: Sequence[Port], space: RuleSpace) -> None:
        self._setting, self._core, self._ports, self._space = setting, core, ports, space
        self._say, self._kernel = setting.say, setting.kernel
        self._links = {port.link.index: port.link for port in ports}
        self._by_index = {port.link.index: port for port in ports}
        self._destinations = setting.destinations()
        self._ways = Ways(ports, core.limits.neighbours, setting.job.macs)
        self._found: dict[Address, Hop | None] = {}
        self._told: dict[int, tuple[bytes | None, NeighbourState]] = {}  # by slot: what the core knows
        self._neighbours = Neighbours(self._set_neighbour, self._say)

    # ---- the plan ----

    def follow_routes(self) -> None:
        """Find the ways to all collectors; where they are others than before, publish a plan that takes them."""
        found = self._ways.find(self._kernel.routes(), self._destinations)
        if found != self._found:
            self._warn_of_missing(found)
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

    def _warn_of_missing(self, found: Mapping[Address, Hop | None]) -> None:
        out = [port for port in self._ports if port.tx]
        for address, hop in found.items():
            if hop is None and (address not in self._found or self._found[address] is not None):
                collectors = ", ".join(map(str, self._destinations[address]))
                self._say(
                    f"collector {collectors}: warning: no route leaves by {' or '.join(map(str, out))}, so its copies "
                    f"are dropped (no_collector); mend it: ip route add {address} via GATEWAY "
                    f"dev {out[0].interface.name}"
                )

    # ---- neighbours ----

    def _want_neighbours(self) -> None:
        index = {port.number: port.link.index for port in self._ports}
        name = {port.number: str(port) for port in self._ports}
        now = time.monotonic()
        for (port, address), slot in self._ways.slots.items():
            mac = self._setting.job.macs.get(address)
            if mac is not None:
                self._neighbours.fix(slot, mac)
            else:
                self._neighbours.want(slot, name[port], address, KernelAsker(self._kernel, index[port]), now)

    def _set_neighbour(self, slot: int, mac: bytes | None, state: NeighbourState) -> None:
        self._told[slot] = mac, state
        self._core.set_neighbour(slot, mac, state)

    # ---- news ----

    def serve(self, threads: Threads, heard: signals.Signals) -> None:
        """Until a signal says stop, or no worker is left."""
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
                    self._print_status()
                threads.listen()
                now = time.monotonic()
                for change in self._kernel.changes():
                    self._take(change, now)
                self._neighbours.advance(now)

    def _take(self, change: Change, now: float) -> None:
        if isinstance(change, RoutesChanged):
            self.follow_routes()
        elif isinstance(change, LinkChange):
            self._link_changed(change)
        elif isinstance(change, Reread):
            self._links_reread(change)
        self._neighbours.kernel_changed(change, now)

    def _link_changed(self, change: LinkChange) -> None:
        link = change.link
        port, before = self._by_index.get(link.index), self._links.get(link.index)
        if port is None or before is None or before == link:
            return
        self._links[link.index] = link
        if change.is_gone:
            self._core.port_fail(port.number, "the interface is gone")
            self._say(f"{port}: error: the interface is gone; what should leave by it is dropped (port_failed)")
        elif not link.is_up:
            self._say(f"{port}: error: the interface is down; bring it up: ip link set dev {link.name} up")
        elif (link.is_up, link.has_carrier) != (before.is_up, before.has_carrier):
            self._say(f"{port}: the link is up" if link.has_carrier else f"{port}: warning: the link has no carrier")
        if (link.mac, link.mtu) != (before.mac, before.mtu) and not change.is_gone:
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
            try:
                self._core.port_close(port.number)
            except GfwdError as error:
                self._say(f"{port}: warning: {error}")

    def outcome(self, *, is_whole: bool) -> Outcome:
        ports = {port.number: port for port in self._ports}
        return Outcome(
            ledger_of(self._core, self._setting.job.rules, self._space),
            tuple(self._report(port) for port in self._ports),
            tuple(
                self._neighbour_report(slot, ports[number], address)
                for (number, address), slot in self._ways.slots.items()
            ),
            is_whole and all(self._core.port_error(port.number) is None for port in self._ports),
        )

    def _report(self, port: Port) -> PortReport:
        counts = self._core.xdp(port.number)
        error = self._core.port_error(port.number)
        return PortReport(str(port), port.mode, port.rx, port.tx, counts.ours, counts.passed, counts.lost, error)

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

    def _print_status(self) -> None:
        from gfwd.metrics.table import ledger_text

        print(ledger_text(ledger_of(self._core, self._setting.job.rules, self._space)), file=sys.stderr)
