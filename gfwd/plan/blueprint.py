"""What a plan is made from: the rule space, and everything that the rules do not say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gfwd.plan.taps import Tap
from gfwd.rules.model import ALL_PORTS, EVERY_EXPORTER, Address, Collector, Exporters, Family, Ports, Prefix
from gfwd.rules.space import RuleSpace

EVERY_ADDRESS: tuple[Prefix, ...] = (Prefix(4, 0, 0), Prefix(6, 0, 0))
"""Own addresses of a gfwd that takes every datagram it sees, as replay does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPort:
    """A port of the core, by its place: port 0 comes first.

    mac: source MAC of what leaves here, 6 bytes. keep_tags: VLAN tags stay, whichever port a frame came in by.
    tags: the tags of what leaves here otherwise, 0, 4 or 8 bytes as they stand in the frame. mtu: longest IP packet
    that leaves here, 0 for no limit. punts: no host stack behind it, so ARP, RARP, ND and ICMP go to Python.
    punts_closed: so does UDP for us that nobody listens to. punts_too_big: so does the beginning of what came in here
    and was too big to leave. passes_to: the port that gets what is not ours, as it came. out_only: nothing that comes
    in there is ours. own: gfwd's own addresses there; copies may leave with the first of their family.
    """

    mac: bytes = bytes(6)
    keep_tags: bool = False
    tags: bytes = b""
    mtu: int = 0
    punts: bool = False
    punts_closed: bool = False
    punts_too_big: bool = False
    passes_to: int | None = None
    out_only: bool = False
    own: tuple[Address, ...] = ()

    def own_of(self, family: Family) -> Address | None:
        """The source of copies that are to leave with one of gfwd's own; None: it has none of this family here."""
        return next((one for one in self.own if one.family == family), None)


class Hop(NamedTuple):
    """One address of a collector, and a way there: the port to leave by, and the neighbour slot of the next hop.

    tags: VLAN tags to leave with, 0, 4 or 8 bytes as they stand in the frame; None: the port's. via: what the next hop
    is called, which is the same on every gfwd and after each start; it is told by that from others to the same address.
    weight: of these, it gets so many parts for each one of a next hop that has weight 1.
    """

    address: Address
    egress: int
    neighbour: int
    tags: bytes | None = None
    via: str = ""
    weight: int = 1


class Route(NamedTuple):
    """A collector: its counter slot, and the ways to its addresses in order of preference; none when its name has none.

    Where several routes to an address are equal, it has several hops, one after the other.
    """

    counter: int
    hops: tuple[Hop, ...]

    def hops_for(self, family: Family | None) -> tuple[Hop, ...]:
        """To the first address of this family, else the first of all: a copy of the other family is counted as such."""
        same = (hop.address for hop in self.hops if hop.address.family == family)
        address = next(same, self.hops[0].address if self.hops else None)
        return tuple(hop for hop in self.hops if hop.address == address)


def stand_in(collector: Collector, down: Collection[Collector]) -> Collector | None:
    """Who gets the copies of a collector that is down: the first of its backups that is not; None: nobody."""
    backups = () if collector.options is None else collector.options.backup
    return next((backup for backup in backups if backup not in down), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """All that a plan holds.

    routes: every collector that copies may go to. counters: each rule's slot, by its rank; None: the rank is the slot.
    own: destination addresses that are ours. listen: UDP ports that are ours. exporters: how many datagrams they may
    send (whom the rules deny is in the space). down: collectors that are; see stand_in(). places: of collectors that
    stand for several (places.py), each of which has a route, too. follow: UDP ports on which sequence numbers are
    followed. taps: who looks at datagrams.
    """

    space: RuleSpace
    routes: Mapping[Collector, Route]
    ports: tuple[PlanPort, ...]
    counters: Sequence[int] | None = None
    own: tuple[Prefix, ...] = EVERY_ADDRESS
    listen: Ports = ALL_PORTS
    exporters: Exporters = EVERY_EXPORTER
    down: frozenset[Collector] = frozenset()
    places: Mapping[Collector, Mapping[Collector, tuple[Address, ...]]] = field(default_factory=dict)
    follow: Ports = ()
    taps: Sequence[Tap] = ()
