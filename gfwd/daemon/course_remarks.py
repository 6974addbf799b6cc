"""What the operator is told of a course: where it differs from the one before it."""

from collections.abc import Sequence

from gfwd.daemon import advice
from gfwd.daemon.course import Course
from gfwd.daemon.links import Links
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Event, Say
from gfwd.daemon.port_remarks import PortRemarks
from gfwd.daemon.ports import Port
from gfwd.daemon.ways import Goal, Ways, no_way_by, place_text
from gfwd.l2.routes import gateway_for
from gfwd.rules.model import ports_text


class CourseRemarks:
    """ways: that courses go by. links: of the ports, as they are now."""

    def __init__(self, ports: Sequence[Port], links: Links, ways: Ways, say: Say) -> None:
        self._ports, self._links, self._ways, self._say = ports, links, ways, say
        self._by_number = {port.number: port for port in ports}
        self._port_remarks = PortRemarks(say)

    def tell(self, before: Course | None, now: Course) -> None:
        """before: None: it is the first."""
        self._tell_of_ways(before, now)
        self._tell_of_senders(before, now)
        self._tell_of_equals(frozenset() if before is None else before.left_out, now.left_out)
        used = {hop.egress for hops in now.found.values() for hop in hops}
        self._port_remarks.tell([(port, self._links.of(port)) for port in self._ports], used, self._ways)
        if before is not None and before.setting.own_of and now.setting.own_of:
            self._tell_of_own(before, now)

    def tell_what_is_missing(self, now: Course) -> None:
        """Which collectors have no way."""
        for goal, hops in now.found.items():
            if not hops:
                self._tell_of_missing(goal, now)

    def ready(self, now: Course) -> Event:
        """What is forwarded from where to where."""

        def text(ports: Sequence[Port]) -> str:
            return ", ".join(f"{port} ({port.mode}{f', {port.rx} queues' if port.rx > 1 else ''})" for port in ports)

        own, listen = list(map(str, now.setting.own)), ports_text(now.setting.listen)
        into = text([port for port in self._ports if port.is_in])
        out = text([port for port in self._ports if port.is_out])
        return events.FORWARDING(
            f"forwarding from {into} to {out}: what is for {', '.join(own)}, port {listen}", own=own, listen=listen
        )

    def _tell_of_ways(self, before: Course | None, now: Course) -> None:
        """Which collectors have lost their way, or never had one, and which have found it again."""
        then = {} if before is None else before.found
        for goal, hops in now.found.items():
            if not hops and then.get(goal, True):
                self._tell_of_missing(goal, now)
            elif hops and then.get(goal, hops) == ():
                names, port = now.names_of(goal), str(self._by_number[hops[0].egress])
                address = str(goal.address)
                self._say(
                    events.COLLECTOR_HAS_WAY(
                        f"collector {names}: a route leaves by {port}", collector=names, address=address, port=port
                    )
                )

    def _tell_of_missing(self, goal: Goal, now: Course) -> None:
        address = goal.address
        out = [port for port in self._ports if port.is_out and goal.out in (None, str(port))]
        up = [port for port in out if self._links.of(port).is_up]
        gateway = gateway_for(address, now.setting.gateways)
        mend = f"; mend it: {advice.reach(address, gateway, up[0].link.name)}" if up else ""
        names = now.names_of(goal)
        self._say(
            events.COLLECTOR_NO_WAY(
                f"collector {names}: warning: {no_way_by(out or [goal.out], gateway)}{mend}",
                collector=names,
                address=str(address),
            )
        )

    def _tell_of_senders(self, before: Course | None, now: Course) -> None:
        known = [] if before is None else before.without_sender()
        for collector, address, number in now.without_sender():
            if (collector, address, number) not in known:
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

    def _tell_of_equals(self, before: frozenset[int], left_out: frozenset[int]) -> None:
        for hop, slot in self._ways.slots.items():
            if slot not in left_out ^ before:
                continue
            address, port = str(hop.address), place_text(self._by_number[hop.port], hop.vlan)
            if slot in left_out:
                text = f"next hop {address} on {port}: what went by it goes by its equals, while there are any"
                self._say(events.NEXT_HOP_OUT(text, neighbour=address, port=port))
            else:
                text = f"next hop {address} on {port}: it has again what went by it"
                self._say(events.NEXT_HOP_BACK(text, neighbour=address, port=port))

    def _tell_of_own(self, before: Course, now: Course) -> None:
        own = now.setting.own
        if set(own) != set(before.setting.own):
            texts = list(map(str, own))
            are = f"gfwd's own addresses are now {', '.join(texts)}"
            none = "no address is left on the ports that exporters send to, so nothing is for gfwd until there is one"
            self._say(events.OWN_CHANGED(are if own else none, own=texts))
