"""The ways from gfwd to its collectors: which port a copy leaves by, in which VLAN, and the neighbour that gets it.

Where several routes to a collector are equal, it has several ways. Neighbours have slots in the core. One that is on
some way keeps its slot, so that its MAC outlives a change of routes; one that is on none any more gives it back.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from gfwd.daemon.ports import Port
from gfwd.errors import GfwdError
from gfwd.l2.kernel import Link
from gfwd.l2.routes import Route, gateway_for, next_hops
from gfwd.plan.blueprint import Hop
from gfwd.rules.model import Address, Collector, Prefix

_KEPT_S = 5.0
_VLAN_TYPE = b"\x81\x00"  # IEEE 802.1Q


class NextHop(NamedTuple):
    """A neighbour behind a port of the core, in a VLAN; vlan: None: its frames have no tag."""

    port: int
    address: Address
    vlan: int | None = None


class Goal(NamedTuple):
    """An address that copies are to come to. out: the port that they leave by, by its name; vlan: the VLAN that they
    leave in; None: as the routes, and the port, say.
    """

    address: Address
    out: str | None = None
    vlan: int | None = None

    def __str__(self) -> str:
        by = f" by {self.out}" if self.out else ""
        return f"{self.address}{by}{f' in VLAN {self.vlan}' if self.vlan else ''}"


def goal_of(collector: Collector, address: Address) -> Goal:
    """Where the copies for one of its addresses go."""
    options = collector.options
    return Goal(address) if options is None else Goal(address, options.out, options.vlan)


class Router(Protocol):
    """Somebody who knows the interfaces and the routes (l2.kernel.Kernel)."""

    def links(self) -> tuple[Link, ...]: ...

    def routes_to(self, destination: Address, interfaces: Collection[int]) -> tuple[Route, ...]: ...


def no_way_by(ports: Iterable[object], gateway: Address | None = None) -> str:
    """What comes of it that a collector has no way by any of these, for people. gateway: that is named before it."""
    to = f" to its gateway {gateway} ([gateways])" if gateway else ""
    return f"no route{to} leaves by {' or '.join(map(str, ports))}, so its copies are dropped (no_collector)"


def tags_of(vlan: int | None) -> bytes:
    """The tag of frames in a VLAN, as it stands in them; none without one."""
    return b"" if vlan is None else _VLAN_TYPE + vlan.to_bytes(2, "big")


def place_text(port: object, vlan: int | None) -> str:
    """A place where neighbours are, for people."""
    return str(port) if vlan is None else f"{port} vlan {vlan}"


class Ways:
    """slots: how many the core has."""

    def __init__(self, router: Router, ports: Sequence[Port], slots: int) -> None:
        self._router = router
        self._room = slots
        self._out = [port for port in ports if port.is_out]
        self._free = deque(range(slots))
        self.slots: dict[NextHop, int] = {}
        self.stacked: dict[tuple[int, int], Link] = {}  # by port and number: VLANs that the host has on the ports
        self._unused: dict[NextHop, float] = {}  # since when

    def find(
        self,
        goals: Iterable[Goal],
        fixed: Collection[Address],
        gateways: Mapping[Prefix, Address],
        vlans: Mapping[str, int] | None = None,
    ) -> dict[Goal, tuple[Hop, ...]]:
        """The ways to each; none: no route leaves by a port of ours. Raises GfwdError where slots run out.

        fixed: neighbours whose MACs are named, so that nobody need ask for them. gateways: go before the host's routes.
        vlans: of ports, by their names.
        """
        self._look_at_vlans()
        its = vlans or {}
        return {goal: tuple(self._ways(goal, fixed, gateways, its)) for goal in goals}

    def fixed(self, macs: Collection[Address]) -> frozenset[int]:
        """The slots of neighbours that are not asked for."""
        return frozenset(slot for hop, slot in self.slots.items() if hop.address in macs)

    def release(self, found: Mapping[Goal, tuple[Hop, ...]], now: float) -> list[int]:
        """Give back the slots that have been on none of these ways for a while: what waits for such a neighbour may
        still find it, and a way that comes back finds its neighbour known. Each is long in a queue before it is given
        away anew.
        """
        used = {hop.neighbour for hops in found.values() for hop in hops}
        self._unused = {hop: self._unused.get(hop, now) for hop, slot in self.slots.items() if slot not in used}
        released = [self.slots.pop(hop) for hop, since in self._unused.items() if now - since >= _KEPT_S]
        self._unused = {hop: since for hop, since in self._unused.items() if hop in self.slots}
        self._free.extend(released)
        return released

    def deadline(self) -> float | None:
        """When `release` has something to give back; None: never, as it stands."""
        return min(self._unused.values()) + _KEPT_S if self._unused else None

    def _look_at_vlans(self) -> None:
        numbers = {port.link.index: port.number for port in self._out if not port.is_bare}
        self.stacked = {
            (numbers[link.parent], link.vlan): link
            for link in self._router.links()
            if link.vlan is not None and link.parent in numbers
        }

    def _ways(
        self, goal: Goal, fixed: Collection[Address], gateways: Mapping[Prefix, Address], vlans: Mapping[str, int]
    ) -> Iterator[Hop]:
        out = [port for port in self._out if goal.out in (None, str(port))]
        names = {port.number: str(port) for port in out}
        for hop, weight in self._next_hops(goal, out, fixed, gateways, vlans):
            slot = self.slots.get(hop)
            if slot is None:
                if not self._free:
                    raise GfwdError(
                        f"error: more than {self._room:,} next hops, which a gfwd that runs cannot have; restart it"
                    )
                slot = self.slots[hop] = self._free.popleft()
            name = names[hop.port]
            # Where the port has this tag for all that leaves there, the copy need not bring it.
            tags = None if hop.vlan == vlans.get(name) else tags_of(hop.vlan)
            yield Hop(goal.address, hop.port, slot, tags, f"{hop.address} {place_text(name, hop.vlan)}", weight)

    def _next_hops(
        self,
        goal: Goal,
        out: Sequence[Port],
        fixed: Collection[Address],
        gateways: Mapping[Prefix, Address],
        vlans: Mapping[str, int],
    ) -> list[tuple[NextHop, int]]:
        """Each with its weight."""
        leads_to = gateway_for(goal.address, gateways) or goal.address
        vlan_of = {port.number: goal.vlan or vlans.get(str(port)) for port in out}
        places = self._places(out, vlan_of)
        routes = self._router.routes_to(leads_to, list(places))
        found = [
            (NextHop(places[hop.interface][0], hop.address, places[hop.interface][1]), hop.weight)
            for hop in next_hops(routes, leads_to, places)
        ]
        # Whoever names its MAC says that it is on the wire, and needs no route to say so. With several, which one?
        if not found and leads_to in fixed and len(out) == 1:
            found = [(NextHop(out[0].number, leads_to, vlan_of[out[0].number]), 1)]
        # Of a pipe or a VALE switch the host has no routes: who is there, is there at once.
        bare = [port.number for port in out if port.is_bare]
        if not found and len(bare) == 1:
            found = [(NextHop(bare[0], leads_to, vlan_of[bare[0]]), 1)]
        return found

    def _places(self, out: Iterable[Port], vlan_of: Mapping[int, int | None]) -> dict[int, tuple[int, int | None]]:
        """Interfaces whose routes count: the port that each is, or stands on, and the VLAN that it leads to."""
        found: dict[int, tuple[int, int | None]] = {}
        for port in out:
            if port.is_bare:
                continue
            number, wanted = port.number, vlan_of[port.number]
            its = {vlan: link.index for (on, vlan), link in self.stacked.items() if on == number}
            if wanted is None:
                found |= {port.link.index: (number, None), **{index: (number, vlan) for vlan, index in its.items()}}
            else:
                found[its.get(wanted, port.link.index)] = number, wanted
        return found
