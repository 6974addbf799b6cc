"""What a core is to do: what the operator has set, and all that comes of it as things are now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gfwd.config.model import USUAL_ICMP, IcmpSetting
from gfwd.config.port_name import PortName
from gfwd.daemon.accounts import Assignment
from gfwd.daemon.equals import in_use
from gfwd.daemon.neighbours import Asker
from gfwd.daemon.ways import Goal, goal_of
from gfwd.daemon.wire import WireAsker
from gfwd.dns.choice import resolve_of
from gfwd.plan.blueprint import Hop
from gfwd.plan.places import Places, places_of
from gfwd.rules.model import ADDRESS_BITS, Address, Collector, Ports, Prefix, Resolve, RuleSet
from gfwd.rules.space import RuleSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is to be forwarded where.

    own: destination addresses that are ours. own_of: the ports whose addresses these are, as they come and go; none:
    the operator has named them. addresses: those of each collector; none: its name has none yet. macs: of neighbours
    that are not to be asked for. gateways: before prefixes that collectors are in. vlans: of ports, by their names.
    icmp: what is said by it. rarp: addresses of stations. resolve: which addresses get copies, for collectors that do
    not say it.
    follow: UDP ports on which sequence numbers are followed.
    """

    rules: RuleSet
    own: tuple[Prefix, ...]
    listen: Ports
    addresses: Mapping[Collector, tuple[Address, ...]]
    macs: Mapping[Address, bytes]
    gateways: Mapping[Prefix, Address]
    vlans: Mapping[str, int] = field(default_factory=dict)
    own_of: tuple[PortName, ...] = ()
    icmp: IcmpSetting = USUAL_ICMP
    rarp: Mapping[bytes, Address] = field(default_factory=dict)
    resolve: Resolve = "first"
    follow: Ports = ()

    def has_all(self, collector: Collector) -> bool:
        """Whether all addresses of a collector get copies, and not the first that there is a way to."""
        return resolve_of(collector, self.resolve) == "all"

    def places(self) -> Places:
        """Of collectors that stand for several."""
        several = {one: found for one, found in self.addresses.items() if len(found) > 1 and self.has_all(one)}
        return {one: places_of(one, found) for one, found in several.items()}

    def destinations(self) -> dict[Goal, list[Collector]]:
        """Each place that copies are to come to, and the collectors that are there."""
        found: dict[Goal, list[Collector]] = {}
        for collector, addresses in self.addresses.items():
            for address in addresses:
                found.setdefault(goal_of(collector, address), []).append(collector)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """All that a plan is made of, except for the ports. destinations: see Setting.destinations().

    found: the ways to each. left_out: neighbour slots that nothing goes to while there are others as good (equals.py).
    down: collectors that their checks say are down. senders: gfwd's own addresses on each port that copies leave by,
    which they may leave with. askers: for the neighbours behind each port, by its number and the VLAN.
    """

    setting: Setting
    space: RuleSpace
    assignment: Assignment
    destinations: Mapping[Goal, Sequence[Collector]]
    found: Mapping[Goal, tuple[Hop, ...]]
    left_out: frozenset[int]
    down: frozenset[Collector]
    senders: Mapping[int, tuple[Address, ...]]
    askers: Mapping[tuple[int, int | None], Asker]

    def ways(self, collector: Collector, addresses: Iterable[Address]) -> tuple[Hop, ...]:
        """To these of its addresses, one after the other, without those that are left out."""
        return tuple(
            hop
            for address in addresses
            for hop in in_use(self.found.get(goal_of(collector, address), ()), self.left_out)
        )

    def names_of(self, goal: Goal) -> str:
        """Of the collectors there."""
        return ", ".join(map(str, self.destinations[goal]))

    def neighbours(self) -> set[int]:
        """Slots of the next hops on all ways."""
        return {hop.neighbour for hops in self.found.values() for hop in hops}

    def wires(self) -> list[WireAsker]:
        """The ports without a host stack, and VLANs that it knows nothing of."""
        return [asker for asker in self.askers.values() if isinstance(asker, WireAsker)]

    def own(self) -> tuple[Prefix, ...]:
        """All destination addresses that are ours: those that neighbours answer to, too."""
        bare = (wire for wire in self.wires() if wire.place.vlan is None)
        link_locals = (Prefix(6, wire.link_local.value, ADDRESS_BITS[6]) for wire in bare)
        return tuple(dict.fromkeys((*self.setting.own, *link_locals)))

    def without_sender(self) -> list[tuple[Collector, Address, int]]:
        """Collectors that are to get gfwd's own source address where it has none, at whichever of their addresses; that
        address, the port's number.
        """
        found = []
        for collector, addresses in self.setting.addresses.items():
            if collector.options is None or not collector.options.own_source:
                continue
            goals = {address: self.found.get(goal_of(collector, address), ()) for address in addresses}
            ways = dict.fromkeys((address, hop.egress) for address, hops in goals.items() for hop in hops)
            if not any(own.family == address.family for address, port in ways for own in self.senders[port]):
                found += [(collector, address, port) for address, port in ways]
        return found
