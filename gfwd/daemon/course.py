"""What a core is to do: what the operator has set, and all that comes of it as things are now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gfwd.config.model import USUAL_ICMP, IcmpSetting
from gfwd.daemon.accounts import Assignment
from gfwd.daemon.neighbours import Asker
from gfwd.daemon.wire import WireAsker
from gfwd.plan.blueprint import Hop
from gfwd.rules.model import ADDRESS_BITS, Address, Collector, Ports, Prefix, RuleSet
from gfwd.rules.space import RuleSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is to be forwarded where.

    own: destination addresses that are ours. addresses: those of each collector. macs: of neighbours that are not to be
    asked for. gateways: before prefixes that collectors are in. icmp: what is said by it. rarp: addresses of stations.
    """

    rules: RuleSet
    own: tuple[Prefix, ...]
    listen: Ports
    addresses: Mapping[Collector, tuple[Address, ...]]
    macs: Mapping[Address, bytes]
    gateways: Mapping[Prefix, Address]
    icmp: IcmpSetting = USUAL_ICMP
    rarp: Mapping[bytes, Address] = field(default_factory=dict)

    def destinations(self) -> dict[Address, list[Collector]]:
        """Each address of a collector, and the collectors that have it."""
        found: dict[Address, list[Collector]] = {}
        for collector, addresses in self.addresses.items():
            for address in addresses:
                found.setdefault(address, []).append(collector)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """All that a plan is made of, except for the ports. destinations: each address of a collector, and whose it is.

    found: the way to each. down: collectors that their checks say are down. senders: gfwd's own addresses on each port
    that copies leave by, which they may leave with. askers: for the neighbours behind each port.
    """

    setting: Setting
    space: RuleSpace
    assignment: Assignment
    destinations: Mapping[Address, Sequence[Collector]]
    found: Mapping[Address, Hop | None]
    down: frozenset[Collector]
    senders: Mapping[int, tuple[Address, ...]]
    askers: Mapping[int, Asker]

    def wires(self) -> list[WireAsker]:
        """The ports without a host stack."""
        return [asker for asker in self.askers.values() if isinstance(asker, WireAsker)]

    def own(self) -> tuple[Prefix, ...]:
        """All destination addresses that are ours: those that neighbours answer to, too."""
        link_locals = (Prefix(6, wire.link_local.value, ADDRESS_BITS[6]) for wire in self.wires())
        return tuple(dict.fromkeys((*self.setting.own, *link_locals)))

    def without_sender(self) -> list[tuple[Collector, Address, int]]:
        """Collectors that are to get gfwd's own source address where it has none, at whichever of their addresses; that
        address, the port's number.
        """
        found = []
        for collector, addresses in self.setting.addresses.items():
            if collector.options is None or not collector.options.own_source:
                continue
            ways = [(address, hop.egress) for address in addresses if (hop := self.found.get(address)) is not None]
            if not any(own.family == address.family for address, port in ways for own in self.senders[port]):
                found += [(collector, address, port) for address, port in ways]
        return found
