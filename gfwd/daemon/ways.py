"""The ways from gfwd to its collectors: which port a copy leaves by, and the neighbour that gets it.

Neighbours have slots in the core. A slot, once given away, stays with its neighbour, so that MACs outlive a change of
routes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gfwd.daemon.interfaces import Port
from gfwd.l2.routes import Route, next_hop
from gfwd.plan.blueprint import Hop
from gfwd.rules.model import Address


class Neighbour(NamedTuple):
    """A next hop, behind a port of the core."""

    port: int
    address: Address


class Ways:
    """slots: how many the core has. fixed: MACs by configuration, of neighbours that need not be looked for."""

    def __init__(self, ports: Sequence[Port], slots: int, fixed: Mapping[Address, bytes]) -> None:
        self._out = {port.link.index: port.number for port in ports if port.tx}
        self._fixed = fixed
        self._free = iter(range(slots))
        self.slots: dict[Neighbour, int] = {}

    def find(self, routes: Sequence[Route], destinations: Iterable[Address]) -> dict[Address, Hop | None]:
        """The way to each; None: no route leaves by a port of ours."""
        return {destination: self._way(routes, destination) for destination in destinations}

    def _way(self, routes: Sequence[Route], destination: Address) -> Hop | None:
        hop = next_hop(routes, destination, self._out)
        if hop is not None:
            neighbour = Neighbour(self._out[hop.interface], hop.address)
        elif destination in self._fixed:
            # Whoever knows its MAC says that it is on the wire, and needs no route to say so.
            neighbour = Neighbour(next(iter(self._out.values())), destination)
        else:
            return None
        slot = self.slots.get(neighbour)
        if slot is None:
            slot = next(self._free, None)
            if slot is None:
                return None
            self.slots[neighbour] = slot
        return Hop(destination, neighbour.port, slot)
