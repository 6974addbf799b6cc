"""A core at work between interfaces: its plan follows the rules and the routes, its neighbours follow the kernel.

All of it happens in one thread (service.py), when something has come or is due. Workers forward in threads of their
own, and never wait for it.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gfwd.daemon.accounts import Accounts
from gfwd.daemon.course import Course, Setting
from gfwd.daemon.course_remarks import CourseRemarks
from gfwd.daemon.equals import Equals, in_use
from gfwd.daemon.health import Health, Way
from gfwd.daemon.links import Links
from gfwd.daemon.log.event import Event, Say
from gfwd.daemon.move import Move
from gfwd.daemon.neighbours import Neighbours
from gfwd.daemon.own import addresses_on
from gfwd.daemon.ports import Port
from gfwd.daemon.probe.prober import Prober
from gfwd.daemon.punts import Punts
from gfwd.daemon.report import HealthReport, HopReport, NeighbourReport, Report, WayReport, port_report
from gfwd.daemon.surroundings import Surroundings
from gfwd.daemon.tagged_wires import TaggedWires
from gfwd.daemon.tap.plans import Plans
from gfwd.daemon.ways import Goal, NextHop, Ways, goal_of, place_text, tags_of
from gfwd.errors import GfwdError
from gfwd.l2.kernel import AddressesChanged, Kernel, RoutesChanged
from gfwd.native.core import Core, NeighbourState, Worker
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.rules.model import Address, Collector, Family
from gfwd.rules.space import RuleSpace

_ROUTES_S = 1.0  # from one look at the routes to the next, however often they change


class Forwarder:
    """One core, and what keeps it right. `say` gets an event for whatever the operator should know.

    It forwards as soon as take() has said what. prober: makes the tries that collectors are checked by. wires: for
    neighbours in VLANs that the host has no interface for. plans: what is published, for those who look at datagrams.
    """

    def __init__(
        self,
        kernel: Kernel,
        core: Core,
        ports: Sequence[Port],
        workers: Sequence[Worker],
        say: Say,
        prober: Prober,
        wires: TaggedWires,
    ) -> None:
        self._kernel, self._core, self._ports, self._workers, self._say = kernel, core, ports, workers, say
        self._wires = wires
        self._links = Links(ports, core, say)
        self._by_number = {port.number: port for port in ports}
        self.plans = Plans(core)
        self._accounts = Accounts(core)
        self._ways = Ways(kernel, ports, core.limits.neighbours)
        self._course: Course | None = None
        self._redirected: object = None  # what the XDP programs were told last
        self._has_other_links = False  # than the plan in force was made for
        self._followed = -math.inf  # when the routes were last looked at …
        self._to_follow: float | None = None  # … and when they are to be looked at again
        self._move: Move | None = None  # to other addresses, once there are neighbours
        self._told: dict[int, tuple[bytes | None, NeighbourState]] = {}  # by slot: what the core knows
        self._neighbours = Neighbours(self._set_neighbour, self._say)
        self._punts = Punts(ports, self._neighbours, self._say)
        self._health = Health(prober, self._ways_of, self._say)
        self._equals = Equals(self._state_of, self._has_link)
        self._surroundings = Surroundings(kernel, ports, self._links, self._ways, workers[0].inject, wires)
        self._remarks = CourseRemarks(ports, self._links, self._ways, say)

    # ---- the plan ----

    def take(self, setting: Setting, space: RuleSpace) -> None:
        """Forward by this from now on. Raises GfwdError, and then goes on as before."""
        assignment = self._accounts.prepare(setting.rules, space)
        watched = self._health.prepare(setting.addresses, time.monotonic())
        destinations = setting.destinations()
        found = self._find(setting, destinations)
        self._enter(
            Course(
                setting=setting,
                space=space,
                assignment=assignment,
                destinations=destinations,
                found=found,
                left_out=self._left_out(found),
                down=watched.down(),
                senders=self._surroundings.senders(setting.own),
                askers=self._surroundings.askers(setting.own),
            )
        )
        self._move = None
        self._accounts.take(assignment)
        self._health.take(watched, setting.rules)

    def try_out(self, setting: Setting, space: RuleSpace) -> None:
        """Whether there is room for this; nothing is forwarded by it. Raises GfwdError where there is none."""
        self._accounts.prepare(setting.rules, space)
        self._find(setting, setting.destinations())  # slots for nothing are given back soon

    def move(self, addresses: Mapping[Collector, tuple[Address, ...]]) -> None:
        """Copies go to these addresses of the same collectors, as soon as the neighbours on the new ways have answered,
        or have had their time; by then they go where they went before. Raises GfwdError, and then tries again.
        """
        setting, now = self._now().setting, time.monotonic()
        if addresses == setting.addresses:
            self._move = None
        elif self._move is None or self._move.setting.addresses != addresses:
            self._move = Move(replace(setting, addresses=addresses), now, self._move)
            self._follow_move(now)

    def addresses(self) -> Mapping[Collector, tuple[Address, ...]]:
        """Those that copies go to now."""
        return self._now().setting.addresses

    def _follow_move(self, now: float) -> None:
        move = self._move
        if move is None or not move.is_due(now):
            return
        move.begin(now)
        course, setting = self._now(), move.setting
        destinations = setting.destinations()
        # The others' ways are followed anyhow, and a thousand take a second, each time that neighbours are looked at.
        known = {goal: course.found[goal] for goal in destinations if goal in course.found}
        new = [goal for goal in destinations if goal not in known]
        ways = known | self._find(setting, new)
        found = {goal: ways[goal] for goal in destinations}
        askers = self._surroundings.askers(setting.own)
        self._want_neighbours(replace(course, found={**course.found, **found}, askers=askers))
        # Of who stays where it is, a neighbour that is silent holds up nothing.
        before = course.setting.addresses
        moved = [(one, its) for one, its in setting.addresses.items() if its != before.get(one)]
        goals = {goal_of(one, address) for one, its in moved for address in its}
        asked = {hop.neighbour for goal in goals for hop in found[goal]} - self._ways.fixed(setting.macs)
        if move.waits(now, [self._state_of(slot) for slot in asked]):
            return
        left_out = self._left_out(found)
        self._enter(
            replace(course, setting=setting, destinations=destinations, found=found, left_out=left_out, askers=askers)
        )
        self._move = None

    def follow_routes(self) -> None:
        """Find the ways to all collectors, and gfwd's own addresses; where they, or the links, are others than before,
        publish a plan that takes them. Raises GfwdError, and then looks again in a while.
        """
        self._followed = time.monotonic()
        self._to_follow = self._followed + _ROUTES_S  # once more, where this fails
        course = self._now()
        setting = course.setting
        if setting.own_of:
            setting = replace(setting, own=addresses_on(self._kernel, setting.own_of))
        found = self._find(setting, course.destinations)
        after = replace(
            course,
            setting=setting,
            found=found,
            left_out=self._left_out(found),
            senders=self._surroundings.senders(setting.own),
            askers=self._surroundings.askers(setting.own),
        )
        if after != course or self._has_other_links:
            self._enter(after)
        self._has_other_links = False
        self._to_follow = None
        self._followed = time.monotonic()  # a thousand ways take a second, and neighbours want their share of the time

    def _find(self, setting: Setting, goals: Iterable[Goal]) -> dict[Goal, tuple[Hop, ...]]:
        return self._ways.find(goals, setting.macs, setting.gateways, setting.vlans)

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
        self._remarks.tell(before, course)
        self._release()

    def _apply(self, course: Course) -> None:
        """Neighbours are asked for first, so that few copies wait for them. Raises GfwdError, half done then."""
        self._want_neighbours(course)
        self.plans.publish(self._blueprint(course), course.setting.rules.path)
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
        slot_of, places = course.assignment.slot_of, course.setting.places()
        goals = [(one, one, addresses) for one, addresses in course.setting.addresses.items()]
        goals += [(place, one, addresses) for one in places for place, addresses in places[one].items()]
        return Blueprint(
            space=course.space,
            routes={
                goal: Route(slot_of(collector), course.ways(collector, addresses))
                for goal, collector, addresses in goals
            },
            ports=self._plan_ports(course),
            counters=course.assignment.rule_slots(),
            own=course.own(),
            listen=course.setting.listen,
            follow=course.setting.follow,
            exporters=course.setting.rules.exporters,
            down=course.down,
            places=places,
        )

    def _plan_ports(self, course: Course) -> tuple[PlanPort, ...]:
        """By the core's numbers: ports, and the host stacks behind them."""
        found: dict[int, PlanPort] = {}
        for port in self._ports:
            link = self._links.of(port)
            punts = not port.has_neighbours
            found[port.number] = PlanPort(
                mac=link.mac,
                tags=tags_of(course.setting.vlans.get(str(port))),
                mtu=link.mtu,
                punts=punts,
                punts_closed=punts and course.setting.icmp.port_unreachable,
                punts_too_big=port.is_in and course.setting.icmp.too_big,
                passes_to=port.host,
                out_only=not port.is_in,
                own=course.senders.get(port.number, ()),
            )
            if port.host is not None:
                found[port.host] = PlanPort(mac=link.mac, passes_to=port.number, out_only=True)
        return tuple(found[number] for number in sorted(found))

    # ---- neighbours ----

    def _want_neighbours(self, course: Course) -> None:
        now = time.monotonic()
        self._punts.follow(course.wires(), course.setting.own, course.setting.icmp, course.setting.rarp, now)
        # Slots that a reload made which was refused, or only tried, are not for it.
        its = course.neighbours()
        for hop, slot in self._ways.slots.items():
            if slot in its and hop.address not in course.setting.macs:
                place = self._place_of(hop)
                self._neighbours.want(slot, place, hop.address, course.askers[hop.port, hop.vlan], now)

    def _fix_neighbours(self, course: Course) -> None:
        """Behind all that may fail: a MAC that is not asked for is never taken on trial."""
        for hop, slot in self._ways.slots.items():
            mac = course.setting.macs.get(hop.address)
            if mac is not None:
                self._neighbours.fix(slot, mac)

    def _place_of(self, hop: NextHop) -> str:
        return place_text(self._by_number[hop.port], hop.vlan)

    def _state_of(self, slot: int) -> NeighbourState:
        """As the core knows it."""
        return self._told.get(slot, (None, NeighbourState.EMPTY))[1]

    def _set_neighbour(self, slot: int, mac: bytes | None, state: NeighbourState) -> None:
        self._told[slot] = mac, state
        self._core.set_neighbour(slot, mac, state)

    # ---- health ----

    def _ways_of(self, collector: Collector) -> tuple[Way, ...]:
        """The ways that its copies take: of its addresses of each family, that of the first that has one, or all."""
        course = self._now()
        neighbours = {slot: neighbour.address for neighbour, slot in self._ways.slots.items()}
        first: dict[Family, Address] = {}
        hops = course.ways(collector, course.setting.addresses[collector])
        for hop in hops:
            first.setdefault(hop.address.family, hop.address)
        has_all = course.setting.has_all(collector)
        return tuple(
            Way(hop.address, neighbours[hop.neighbour], self._state_of(hop.neighbour))
            for hop in hops
            if has_all or first[hop.address.family] == hop.address
        )

    def _follow_health(self, now: float) -> None:
        """Publish a plan without the collectors that are down, where they are others than before."""
        self._health.advance(now)
        before, down = self._now().down, self._health.down()
        if down != before:
            self._enter(replace(self._now(), down=down))
            self._health.tell(before)

    # ---- next hops as good as each other ----

    def _left_out(self, found: Mapping[Goal, tuple[Hop, ...]]) -> frozenset[int]:
        before = frozenset[int]() if self._course is None else self._course.left_out
        return self._equals.left_out(found.values(), before, time.monotonic())

    def _has_link(self, number: int) -> bool:
        link = self._links.of(self._by_number[number])
        return link.is_up and link.has_carrier

    def _follow_equals(self) -> None:
        """Publish a plan without the next hops that are out, where they are others than before."""
        course = self._now()
        left_out = self._left_out(course.found)
        if left_out != course.left_out:
            self._enter(replace(course, left_out=left_out))

    # ---- news ----

    def deadline(self) -> float | None:
        """When `advance` wants to be called next (time.monotonic()); None: not before something comes."""
        its = (self._neighbours, self._punts, self._ways, self._health, self._equals)
        move = None if self._move is None else self._move.deadline()
        deadlines = (self._to_follow, move, *(one.deadline() for one in its))
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
        elif any(isinstance(one, RoutesChanged | AddressesChanged) for one in changes) and self._to_follow is None:
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
                self._remarks.tell_what_is_missing(self._now())
            if news.carries_again:
                self._neighbours.port_came_up(news.port.number, now)
        for change in changes:
            self._neighbours.kernel_changed(change, now)
        for worker in self._workers:
            for record in worker.punted():
                self._punts.punted(record, now)
        for record in self._wires.taken():
            self._punts.punted(record, now)
        self._neighbours.advance(now)
        self._punts.advance(now)
        try:
            self._follow_move(now)
            self._follow_equals()
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
        used = self._now().neighbours()
        addresses = {str(one): tuple(map(str, found)) for one, found in self.addresses().items()}
        return Report(
            self._accounts.ledger(with_rules=with_rules).at(addresses),
            self._core.work(),
            tuple(port_report(self._core, port) for port in self._ports),
            tuple(self._neighbour_report(slot, hop) for hop, slot in self._ways.slots.items() if slot in used),
            self.health(),
            tuple(self._punts.counts()),
        )

    def health(self) -> tuple[HealthReport, ...]:
        """Of the collectors that are checked."""
        return self._health.report(time.monotonic())

    def ways(self) -> list[WayReport]:
        """The ways to all addresses of collectors."""
        neighbours = {slot: hop for hop, slot in self._ways.slots.items()}
        return [self._way_report(goal, hops, neighbours) for goal, hops in self._now().found.items()]

    def _way_report(self, goal: Goal, hops: Sequence[Hop], neighbours: Mapping[int, NextHop]) -> WayReport:
        course = self._now()
        used = in_use(hops, course.left_out)
        found = []
        for hop in hops:
            its = self._neighbour_report(hop.neighbour, neighbours[hop.neighbour])
            own = next((str(one) for one in course.senders[hop.egress] if one.family == goal.address.family), None)
            found.append(HopReport(*its, own=own, via=hop.via, weight=hop.weight, is_used=hop in used))
        return WayReport.of(str(goal.address), found, out=goal.out, vlan=goal.vlan)

    def _neighbour_report(self, slot: int, hop: NextHop) -> NeighbourReport:
        mac, state = self._told.get(slot, (None, NeighbourState.EMPTY))
        its_mac = None if mac is None else mac.hex(":")
        return NeighbourReport(str(hop.address), self._place_of(hop), its_mac, state.name.lower())

    def ready(self) -> Event:
        """What is forwarded from where to where."""
        return self._remarks.ready(self._now())
