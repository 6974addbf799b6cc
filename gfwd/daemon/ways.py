"""The ways from gfwd to its collectors: which port a copy leaves by, and the neighbour that gets it.

Neighbours have slots in the core. One that is on some way keeps its slot, so that its MAC outlives a change of routes;
one that is on none any more gives it back.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from gfwd.daemon.ports import Port
from gfwd.errors import GfwdError
from gfwd.l2.routes import Route, gateway_for, next_hop
from gfwd.plan.blueprint import Hop
from gfwd.rules.model import Address, Prefix

_KEPT_S = 5.0


class NextHop(NamedTuple):
    """A neighbour behind a port of the core."""

    port: int
    address: Address


class Router(Protocol):
    """Somebody who knows the routes (l2.kernel.Kernel)."""

    def routes_to(self, destination: Address, interfaces: Collection[int]) -> tuple[Route, ...]: ...


def no_way_by(ports: Iterable[object]) -> str:
    """What comes of it that a collector has no way by any of these, for people."""
    return f"no route leaves by {' or '.join(map(str, ports))}, so its copies are dropped (no_collector)"


class Ways:
    """slots: how many the core has."""

    def __init__(self, router: Router, ports: Sequence[Port], slots: int) -> None:
        self._router = router
        self._room = slots
        self._out = {port.link.index: port.number for port in ports if port.is_out}
        self._routed = [port.link.index for port in ports if port.is_out and not port.is_bare]
        self._bare = [port.number for port in ports if port.is_out and port.is_bare]
        self._free = deque(range(slots))
        self.slots: dict[NextHop, int] = {}
        self._unused: dict[NextHop, float] = {}  # since when

    def find(
        self, destinations: Iterable[Address], fixed: Collection[Address], gateways: Mapping[Prefix, Address]
    ) -> dict[Address, Hop | None]:
        """The way to each; None: no route leaves by a port of ours. Raises GfwdError where slots run out.

        fixed: neighbours whose MACs are named, so that nobody need ask for them. gateways: go before the host's routes.
        """
        return {
            destination: self._way(destination, gateway_for(destination, gateways) or destination, fixed)
            for destination in destinations
        }

    def release(self, found: Mapping[Address, Hop | None], now: float) -> list[int]:
        """Give back the slots that have been on none of these ways for a while: what waits for such a neighbour may
        still find it, and a way that comes back finds its neighbour known. Each is long in a queue before it is given
        away anew.
        """
        used = {hop.neighbour for hop in found.values() if hop is not None}
        self._unused = {hop: self._unused.get(hop, now) for hop, slot in self.slots.items() if slot not in used}
        released = [self.slots.pop(hop) for hop, since in self._unused.items() if now - since >= _KEPT_S]
        self._unused = {hop: since for hop, since in self._unused.items() if hop in self.slots}
        self._free.extend(released)
        return released

    def deadline(self) -> float | None:
        """When `release` has something to give back; None: never, as it stands."""
        return min(self._unused.values()) + _KEPT_S if self._unused else None

    def _way(self, destination: Address, goal: Address, fixed: Collection[Address]) -> Hop | None:
        """goal: what the next hop leads to."""
        hop = self._next_hop(goal, fixed)
        if hop is None:
            return None
        slot = self.slots.get(hop)
        if slot is None:
            if not self._free:
                raise GfwdError(
                    f"error: more than {self._room:,} next hops, which a gfwd that runs cannot have; restart it"
                )
            slot = self.slots[hop] = self._free.popleft()
        return Hop(destination, hop.port, slot)

    def _next_hop(self, destination: Address, fixed: Collection[Address]) -> NextHop | None:
        hop = next_hop(self._router.routes_to(destination, self._routed), destination, self._out)
        if hop is not None:
            return NextHop(self._out[hop.interface], hop.address)
        # Whoever names its MAC says that it is on the wire, and needs no route to say so. With several, which one?
        if destination in fixed and len(self._out) == 1:
            return NextHop(next(iter(self._out.values())), destination)
        # Of a pipe or a VALE switch the host has no routes: who is there, is there at once.
        return NextHop(self._bare[0], destination) if len(self._bare) == 1 else None
