"""Frames that the core hands to Python: to the neighbours what they say of themselves, to the wire what answers them,
and to exporters, where the operator wants it, what became of their datagrams.
"""

import random as system_random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from gfwd.config.model import IcmpSetting
from gfwd.daemon import icmp_socket
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.daemon.neighbours import Neighbours
from gfwd.daemon.place import vlan_of
from gfwd.daemon.ports import Port
from gfwd.daemon.report import AnswerReport
from gfwd.daemon.ways import place_text
from gfwd.daemon.wire import Result, Wire, WireAsker
from gfwd.l2 import arp, ethernet, hearing, ip, nd
from gfwd.l2.answers import Kind
from gfwd.l2.complaint import Complaint, Complaints
from gfwd.l2.errors import FrameError
from gfwd.l2.ethernet import Ether
from gfwd.l2.hearing import Datagram
from gfwd.native.core import Record
from gfwd.rules.model import Address, Prefix


class Punts:
    """neighbours: hear what is said of them. `now` is the same clock everywhere, in seconds. random: see Claim."""

    def __init__(
        self,
        ports: Iterable[Port],
        neighbours: Neighbours,
        say: Say,
        random: Callable[[], float] = system_random.random,
    ) -> None:
        self._ports = {port.number: port for port in ports}
        self._neighbours, self._say, self._random = neighbours, say, random
        self._wires: dict[tuple[int, int | None], Wire] = {}  # by port and VLAN
        self._complaints = Complaints()
        self._counts: defaultdict[int, Counter[tuple[Kind, Result]]] = defaultdict(Counter)  # of answers, by port
        self._is_refused = False  # the host sends none

    def follow(
        self,
        askers: Iterable[WireAsker],
        own: Sequence[Prefix],
        icmp: IcmpSetting,
        rarp: Mapping[bytes, Address],
        now: float,
    ) -> None:
        """What there is to answer by: the ports without a host stack, with the addresses that we have there, and all
        destination addresses that are ours. rarp: addresses of stations, by MAC.
        """
        self._complaints.follow(own)
        there = {(asker.port, asker.place.vlan): asker for asker in askers}
        macs = [asker.mac for asker in there.values()]
        for gone in self._wires.keys() - there.keys():
            del self._wires[gone]
        for at, asker in there.items():
            if at not in self._wires:
                name, counts = place_text(self._ports[asker.port], asker.place.vlan), self._counts[asker.port]
                self._wires[at] = Wire(asker, name, counts, self._say, self._random)
            self._wires[at].follow(asker, macs, icmp.echo, rarp, now)

    def deadline(self) -> float | None:
        """When `advance` wants to be called; None: never, as it stands."""
        deadlines = (wire.deadline() for wire in self._wires.values())
        return min((when for when in deadlines if when is not None), default=None)

    def advance(self, now: float) -> None:
        """Do what is due by now."""
        for wire in self._wires.values():
            wire.advance(now)

    def punted(self, record: Record, now: float) -> None:
        """A frame from the core. What is broken, or for somebody else, is let be."""
        try:
            if record.mtu:
                self._too_big(record, now)
            else:
                self._heard(record, now)
        except FrameError:
            return

    def counts(self) -> list[AnswerReport]:
        """All answers that were due since the start, those of a port's VLANs with its own."""
        return sorted(
            AnswerReport(str(self._ports[number]), kind.value, result, n)
            for number, counts in self._counts.items()
            for (kind, result), n in counts.items()
        )

    def _heard(self, record: Record, now: float) -> None:
        """Raises FrameError."""
        vlan = vlan_of(ethernet.parse(record.frame).tags)
        wire = self._wire(record.port, vlan)
        if wire is None or not wire.is_for(record.frame):
            return
        heard = hearing.parse(record.frame)
        if isinstance(heard, Datagram):
            self._complain(record.port, Kind.PORT_UNREACHABLE, heard, self._complaints.port_unreachable(heard, now))
            return
        is_there = wire.asker.place.vlan == vlan  # of neighbours, and of whose address it is, another VLAN says nothing
        if is_there and isinstance(heard, arp.Arp | nd.Neighbour) and (said := heard.statement()) is not None:
            self._neighbours.heard(wire.asker, said, now)
        wire.heard(heard, now, is_there=is_there)

    # ---- what exporters are told ----

    def _too_big(self, record: Record, now: float) -> None:
        """Raises FrameError."""
        about = hearing.beginning(record.frame)
        self._complain(record.port, Kind.TOO_BIG, about, self._complaints.too_big(about, record.mtu, now))

    def _complain(self, number: int, kind: Kind, about: Datagram, complaint: Complaint | None) -> None:
        if complaint is None:
            return
        wire = self._wire(number, vlan_of(about.ether.tags))
        if wire is None:
            self._have_the_host_send(number, complaint)
        elif complaint.packet is None:
            wire.counts[kind, "limited"] += 1
        else:
            its = about.ether
            frame = Ether(its.source, wire.asker.mac, its.type, ip.build(complaint.packet), its.tags)
            wire.send(kind, ethernet.build(frame))

    def _have_the_host_send(self, number: int, complaint: Complaint) -> None:
        if complaint.packet is None:
            self._counts[number][Kind.TOO_BIG, "limited"] += 1
            return
        port = self._ports[number]
        try:
            icmp_socket.send(complaint.packet, port.link.index)
        except OSError as error:
            self._counts[number][Kind.TOO_BIG, "lost"] += 1
            if not self._is_refused:
                why = error.strerror or str(error)
                text = f"{port}: warning: exporters cannot be told that datagrams are too big: {why}"
                self._say(events.ICMP_NOT_SENT(text, port=str(port)))
            self._is_refused = True
        else:
            self._counts[number][Kind.TOO_BIG, "sent"] += 1
            self._is_refused = False

    def _wire(self, port: int, vlan: int | None) -> Wire | None:
        """Where there is no host stack, also for a VLAN in which no collector is."""
        return self._wires.get((port, vlan)) or self._wires.get((port, None))
