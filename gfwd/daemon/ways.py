"""The ways from gfwd to its collectors: which port a copy leaves by, and the neighbour that gets it.

Neighbours have slots in the core. One that is on some way keeps its slot, so that its MAC outlives a change of routes;
one that is on none any more gives it back.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from gfwd.daemon.ports import Port
from gfwd.l2.routes import Route, next_hop
from gfwd.plan.blueprint import Hop
from gfwd.rules.model import Address


class NextHop(NamedTuple):
    """A neighbour behind a port of the core."""

    port: int
    address: Address


class Router(Protocol):
    """Somebody who knows the routes (l2.kernel.Kernel)."""

    def routes_to(self, destination: Address, index: int) -> tuple[Route, ...]: ...


def no_way_by(ports: Iterable[object]) -> str:
    """What comes of it that a collector has no way by any of these, for people."""
    return f"no route leaves by {' or '.join(map(str, ports))}, so its copies are dropped (no_collector)"


class Ways:
    """slots: how many the core has. fixed: MACs by configuration, of neighbours that are not asked for."""

    def __init__(self, router: Router, ports: Sequence[Port], slots: int, fixed: Collection[Address]) -> None:
        self._router = router
        self._out = {port.link.index: port.number for port in ports if port.is_out}
        self._routed = [port.link.index for port in ports if port.is_out and not port.is_bare]
        self._bare = [port.number for port in ports if port.is_out and port.is_bare]
        self._fixed = fixed
        self._free = deque(range(slots))
        self.slots: dict[NextHop, int] = {}

    def find(self, destinations: Iterable[Address]) -> dict[Address, Hop | None]:
        """The way to each; None: no route leaves by a port of ours, or there is no slot left for the neighbour."""
        return {destination: self._way(destination) for destination in destinations}

    def release(self, found: Mapping[Address, Hop | None]) -> list[int]:
        """Give back the slots that are on none of these ways; each is long in a queue before it is given away anew."""
        used = {hop.neighbour for hop in found.values() if hop is not None}
        unused = [hop for hop, slot in self.slots.items() if slot not in used]
        released = [self.slots.pop(hop) for hop in unused]
        self._free.extend(released)
        return released

    def _way(self, destination: Address) -> Hop | None:
        hop = self._next_hop(destination)
        if hop is None:
            return None
        slot = self.slots.get(hop)
        if slot is None:
            if not self._free:
                return None
            slot = self.slots[hop] = self._free.popleft()
        return Hop(destination, hop.port, slot)

    def _next_hop(self, destination: Address) -> NextHop | None:
        routes = [route for index in self._routed for route in self._router.routes_to(destination, index)]
        hop = next_hop(routes, destination, self._out)
        if hop is not None:
            return NextHop(self._out[hop.interface], hop.address)
        # Whoever names its MAC says that it is on the wire, and needs no route to say so. With several, which one?
        if destination in self._fixed and len(self._out) == 1:
            return NextHop(next(iter(self._out.values())), destination)
        # Of a pipe or a VALE switch the host has no routes: who is there, is there at once.
        return NextHop(self._bare[0], destination) if len(self._bare) == 1 else None
