"""A core at work between interfaces: its plan follows the rules and the routes, its neighbours follow the kernel.

All of it happens in one thread (service.py), when something has come or is due. Workers forward in threads of their
own, and never wait for it.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gfwd.config.model import IcmpSetting
from gfwd.daemon import advice
from gfwd.daemon.accounts import Accounts
from gfwd.daemon.course import Course, Setting
from gfwd.daemon.health import Health, Way
from gfwd.daemon.links import Links
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Event, Say
from gfwd.daemon.neighbours import Asker, KernelAsker, Neighbours
from gfwd.daemon.ports import Port
from gfwd.daemon.probe.prober import Prober
from gfwd.daemon.punts import Punts
from gfwd.daemon.report import HealthReport, NeighbourReport, Report, WayReport, port_report
from gfwd.daemon.ways import Ways, no_way_by
from gfwd.daemon.wire import WireAsker
from gfwd.errors import GfwdError
from gfwd.l2.kernel import InterfaceAddress, Kernel, RoutesChanged
from gfwd.native.core import Core, NeighbourState, Worker
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules.model import ADDRESS_BITS, Address, Collector, Family, Prefix, ports_text
from gfwd.rules.space import RuleSpace

_ROUTES_S = 1.0  # from one look at the routes to the next, however often they change


class Forwarder:
    """One core, and what keeps it right. `say` gets an event for whatever the operator should know.

    It forwards as soon as take() has said what. prober: makes the tries that collectors are checked by.
    """

    def __init__(
        self,
        kernel: Kernel,
        core: Core,
        ports: Sequence[Port],
        workers: Sequence[Worker],
        say: Say,
        prober: Prober,
    ) -> None:
        self._kernel, self._core, self._ports, self._workers, self._say = kernel, core, ports, workers, say
        self._links = Links(ports, core, say)
        self._by_number = {port.number: port for port in ports}
        self._accounts = Accounts(core)
        self._ways = Ways(kernel, ports, core.limits.neighbours)
        self._course: Course | None = None
        self._redirected: object = None  # what the XDP programs were told last
        self._has_other_links = False  # than the plan in force was made for
        self._followed = -math.inf  # when the routes were last looked at …
        self._to_follow: float | None = None  # … and when they are to be looked at again
        self._told: dict[int, tuple[bytes | None, NeighbourState]] = {}  # by slot: what the core knows
        self._neighbours = Neighbours(self._set_neighbour, self._say)
        self._punts = Punts(ports, self._neighbours, self._say)
        self._health = Health(prober, self._ways_of, self._say)

    # ---- the plan ----

    def take(self, setting: Setting, space: RuleSpace) -> None:
        """Forward by this from now on. Raises GfwdError, and then goes on as before."""
        assignment = self._accounts.prepare(setting.rules, space)
        watched = self._health.prepare(setting.addresses, time.monotonic())
        destinations = setting.destinations()
        found = self._ways.find(destinations, setting.macs, setting.gateways)
        self._enter(
            Course(
                setting=setting,
                space=space,
                assignment=assignment,
                destinations=destinations,
                found=found,
                down=watched.down(),
                senders={port.number: self._senders(port, setting.own) for port in self._ports if port.is_out},
                askers={port.number: self._asker(port, setting.own) for port in self._ports},
            )
        )
        self._accounts.take(assignment)
        self._health.take(watched, setting.rules)

    def try_out(self, setting: Setting, space: RuleSpace) -> None:
        """Whether there is room for this; nothing is forwarded by it. Raises GfwdError where there is none."""
        self._accounts.prepare(setting.rules, space)
        self._ways.find(setting.destinations(), setting.macs, setting.gateways)  # slots for nothing are given back soon

    def follow_routes(self) -> None:
        """Find the ways to all collectors; where they, or the links, are others than before, publish a plan that takes
        them. Raises GfwdError, and then looks again in a while.
        """
        self._followed = time.monotonic()
        self._to_follow = self._followed + _ROUTES_S  # once more, where this fails
        course = self._now()
        found = self._ways.find(course.destinations, course.setting.macs, course.setting.gateways)
        if found != course.found or self._has_other_links:
            self._enter(replace(course, found=found))
        self._has_other_links = False
        self._to_follow = None

    def _now(self) -> Course:
        assert self._course is not None, "take() comes first"
        return self._course

    def _enter(self, course: Course) -> None:
        """Raises GfwdError, and then all is as before."""
        before = self._course
        try:
            self._apply(course)
        except GfwdError:
            if before is not None:
                self._redirected = None
                self._apply(before)
            raise
        self._course = course
        self._tell_of_ways({} if before is None else before.found)
        self._tell_of_senders([] if before is None else before.without_sender())
        self._release()

    def _apply(self, course: Course) -> None:
        """Neighbours are asked for first, so that few copies wait for them. Raises GfwdError, half done then."""
        self._want_neighbours(course)
        self._core.publish(compile_plan(self._blueprint(course)))
        self._redirect(course)
        self._fix_neighbours(course)

    def _redirect(self, course: Course) -> None:
        """Tell the XDP programs what is ours, where that is something else than before."""
        ours = course.setting.own, course.setting.listen, self._links.macs()
        if ours == self._redirected:
            return
        self._redirected = ours
        for port in self._ports:
            if port.name.kind == "xdp" and port.rx:
                self._core.xdp_redirect(port.number)

    def _release(self) -> None:
        for slot in self._ways.release(self._now().found, time.monotonic()):
            # Nothing goes there any more; what still waits for it is let go.
            self._neighbours.forget(slot)
            self._core.set_neighbour(slot, None, NeighbourState.FAILED)
            self._told.pop(slot, None)

    def _blueprint(self, course: Course) -> Blueprint:
        slot_of = course.assignment.slot_of
        return Blueprint(
            space=course.space,
            routes={
                collector: Route(slot_of(collector), tuple(filter(None, map(course.found.get, addresses))))
                for collector, addresses in course.setting.addresses.items()
            },
            ports=self._plan_ports(course.senders, course.setting.icmp),
            counters=course.assignment.rule_slots(),
            own=course.own(),
            listen=course.setting.listen,
            exporters=course.setting.rules.exporters,
            down=course.down,
        )

    def _plan_ports(self, senders: Mapping[int, tuple[Address, ...]], icmp: IcmpSetting) -> tuple[PlanPort, ...]:
        """By the core's numbers: ports, and the host stacks behind them."""
        found: dict[int, PlanPort] = {}
        for port in self._ports:
            link = self._links.of(port)
            punts = not port.has_neighbours
            found[port.number] = PlanPort(
                mac=link.mac,
                mtu=link.mtu,
                punts=punts,
                punts_closed=punts and icmp.port_unreachable,
                punts_too_big=port.is_in and icmp.too_big,
                passes_to=port.host,
                out_only=not port.is_in,
                own=senders.get(port.number, ()),
            )
            if port.host is not None:
                found[port.host] = PlanPort(mac=link.mac, passes_to=port.number, out_only=True)
        return tuple(found[number] for number in sorted(found))

    def _tell_of_ways(self, before: Mapping[Address, Hop | None]) -> None:
        """Which collectors have lost their way, or never had one, and which have found it again."""
        for address, hop in self._now().found.items():
            if hop is None and (address not in before or before[address] is not None):
                self._tell_of_missing(address)
            elif hop is not None and before.get(address, hop) is None:
                names, port = self._names_of(address), str(self._by_number[hop.egress])
                self._say(
                    events.COLLECTOR_HAS_WAY(
                        f"collector {names}: a route leaves by {port}", collector=names, address=str(address), port=port
                    )
                )

    def _senders(self, port: Port, own: Sequence[Prefix]) -> tuple[Address, ...]:
        """What copies may leave with, first where exporters send to: that is whom collectors know."""
        ours = [Address(one.family, one.value) for one in own if one.size == 1]
        if port.is_bare:
            return tuple(ours)
        there = [its.address for its in self._kernel.addresses(port.link.index) if not its.address.is_link_local]
        return tuple(sorted(there, key=lambda address: address not in ours))

    def _tell_of_senders(self, before: Sequence[tuple[Collector, Address, int]]) -> None:
        for collector, address, number in self._now().without_sender():
            if (collector, address, number) not in before:
                port = self._by_number[number]
                self._say(
                    events.COLLECTOR_NO_SOURCE(
                        f'collector {collector}: warning: source = "own", and {port} has no IPv{address.family} '
                        "address, so its copies are dropped (no_collector); mend it: give the interface one, and "
                        "reload",
                        collector=str(collector),
                        port=str(port),
                    )
                )

    def _tell_what_is_missing(self) -> None:
        for address, hop in self._now().found.items():
            if hop is None:
                self._tell_of_missing(address)

    def _tell_of_missing(self, address: Address) -> None:
        out = [port for port in self._ports if port.is_out]
        up = [port for port in out if self._links.of(port).is_up]
        mend = f"; mend it: {advice.add_route(address, up[0].link.name)}" if up else ""
        names = self._names_of(address)
        self._say(
            events.COLLECTOR_NO_WAY(
                f"collector {names}: warning: {no_way_by(out)}{mend}", collector=names, address=str(address)
            )
        )

    def _names_of(self, address: Address) -> str:
        return ", ".join(map(str, self._now().destinations[address]))

    # ---- neighbours ----

    def _want_neighbours(self, course: Course) -> None:
        now = time.monotonic()
        self._punts.follow(course.wires(), course.setting.own, course.setting.icmp, course.setting.rarp, now)
        for (number, address), slot in self._ways.slots.items():
            if address not in course.setting.macs:
                self._neighbours.want(slot, str(self._by_number[number]), address, course.askers[number], now)

    def _fix_neighbours(self, course: Course) -> None:
        """Behind all that may fail: a MAC that is not asked for is never taken on trial."""
        for (_, address), slot in self._ways.slots.items():
            mac = course.setting.macs.get(address)
            if mac is not None:
                self._neighbours.fix(slot, mac)

    def _asker(self, port: Port, own: Sequence[Prefix]) -> Asker:
        if port.has_neighbours:
            return KernelAsker(self._kernel, port.link.index)
        given = [
            InterfaceAddress(Address(one.family, one.value), ADDRESS_BITS[one.family]) for one in own if one.size == 1
        ]
        if not port.is_bare:
            alone = self._of_no_kernel(given) if port.is_in else []
            given = [*self._kernel.addresses(port.link.index), *alone]
        return WireAsker(
            inject=self._workers[0].inject,
            port=port.number,
            mac=port.link.mac,
            addresses=given,
        )

    def _of_no_kernel(self, given: Sequence[InterfaceAddress]) -> list[InterfaceAddress]:
        """Own addresses that gfwd alone has: nobody else would answer for them."""
        routed = [port.link.index for port in self._ports if not port.is_bare]
        theirs = {its.address for index in routed for its in self._kernel.addresses(index)}
        return [its for its in given if its.address not in theirs]

    def _set_neighbour(self, slot: int, mac: bytes | None, state: NeighbourState) -> None:
        self._told[slot] = mac, state
        self._core.set_neighbour(slot, mac, state)

    # ---- health ----

    def _ways_of(self, collector: Collector) -> tuple[Way, ...]:
        """The ways that its copies take: of its addresses of each family, that of the first that has one."""
        course = self._now()
        neighbours = {slot: neighbour.address for neighbour, slot in self._ways.slots.items()}
        first: dict[Family, Way] = {}
        for hop in filter(None, map(course.found.get, course.setting.addresses[collector])):
            _, state = self._told.get(hop.neighbour, (None, NeighbourState.EMPTY))
            first.setdefault(hop.address.family, Way(hop.address, neighbours[hop.neighbour], state))
        return tuple(first.values())

    def _follow_health(self, now: float) -> None:
        """Publish a plan without the collectors that are down, where they are others than before."""
        self._health.advance(now)
        before, down = self._now().down, self._health.down()
        if down != before:
            self._enter(replace(self._now(), down=down))
            self._health.tell(before)

    # ---- news ----

    def deadline(self) -> float | None:
        """When `advance` wants to be called next (time.monotonic()); None: not before something comes."""
        deadlines = (
            self._neighbours.deadline(),
            self._punts.deadline(),
            self._to_follow,
            self._ways.deadline(),
            self._health.deadline(),
        )
        return min((when for when in deadlines if when is not None), default=None)

    def advance(self) -> None:
        """Do what has come from the kernel and the workers, and what is due. Raises GfwdError where the kernel's tables
        cannot be read; what was missed comes with the next look.
        """
        changes = self._kernel.changes()
        now = time.monotonic()
        links = self._links.take(changes)
        if links:
            self._to_follow = now
            self._has_other_links |= any(news.is_of_frames for news in links)
        elif any(isinstance(change, RoutesChanged) for change in changes) and self._to_follow is None:
            self._to_follow = max(now, self._followed + _ROUTES_S)
        trouble: GfwdError | None = None
        if self._to_follow is not None and self._to_follow <= now:
            # Before anything is said of a link, so that who hears of it can rely on its routes.
            try:
                self.follow_routes()
            except GfwdError as error:
                trouble = error  # the rest of what has come must not be lost for it
        for news in links:
            self._links.tell(news)
            if news.came_up:
                self._tell_what_is_missing()
        for change in changes:
            self._neighbours.kernel_changed(change, now)
        for worker in self._workers:
            for record in worker.punted():
                self._punts.punted(record, now)
        self._neighbours.advance(now)
        self._punts.advance(now)
        try:
            self._follow_health(now)
        except GfwdError as error:
            trouble = error
        self._release()
        if trouble is not None:
            raise trouble

    # ---- how it stands ----

    def exporters(self) -> int:
        """How many exporters are told apart; one that two workers saw counts twice."""
        return self._core.exporter_entries() - len(self._workers)

    def report(self, *, with_rules: bool = True) -> Report:
        """How it stands now."""
        used = {hop.neighbour for hop in self._now().found.values() if hop is not None}
        return Report(
            self._accounts.ledger(with_rules=with_rules),
            self._core.work(),
            tuple(port_report(self._core, port) for port in self._ports),
            tuple(
                self._neighbour_report(slot, self._by_number[number], address)
                for (number, address), slot in self._ways.slots.items()
                if slot in used
            ),
            self.health(),
            tuple(self._punts.counts()),
        )

    def health(self) -> tuple[HealthReport, ...]:
        """Of the collectors that are checked."""
        return self._health.report(time.monotonic())

    def ways(self) -> list[WayReport]:
        """The ways to all addresses of collectors."""
        hops = {slot: hop for hop, slot in self._ways.slots.items()}
        course = self._now()
        found = []
        for address, hop in course.found.items():
            if hop is None:
                found.append(WayReport(str(address), None, None, None, None, None))
                continue
            neighbour = hops[hop.neighbour]
            its = self._neighbour_report(hop.neighbour, self._by_number[neighbour.port], neighbour.address)
            own = next((str(one) for one in course.senders[hop.egress] if one.family == address.family), None)
            found.append(WayReport(str(address), its.address, its.port, its.mac, its.state, own))
        return found

    def _neighbour_report(self, slot: int, port: Port, address: Address) -> NeighbourReport:
        mac, state = self._told.get(slot, (None, NeighbourState.EMPTY))
        return NeighbourReport(str(address), str(port), None if mac is None else mac.hex(":"), state.name.lower())

    # ---- words ----

    def ready(self) -> Event:
        """What is forwarded from where to where."""

        def text(ports: Sequence[Port]) -> str:
            return ", ".join(f"{port} ({port.mode}{f', {port.rx} queues' if port.rx > 1 else ''})" for port in ports)

        setting = self._now().setting
        own, listen = list(map(str, setting.own)), ports_text(setting.listen)
        into, out = (
            text([port for port in self._ports if port.is_in]),
            text([port for port in self._ports if port.is_out]),
        )
        return events.FORWARDING(
            f"forwarding from {into} to {out}: what is for {', '.join(own)}, port {listen}", own=own, listen=listen
        )
