"""Routes, and the next hop that they give an address: the longest prefix wins, then the lowest metric."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from gfwd.rules.model import ADDRESS_BITS, Address, Prefix


class Route(NamedTuple):
    """Where addresses within `destination` go. interface: its index. metric: lower is better.

    A gateway of None: they are on the link themselves. The gateway of an IPv4 route may have an IPv6 address.
    """

    destination: Prefix
    gateway: Address | None
    interface: int
    metric: int


class NextHop(NamedTuple):
    """The neighbour that gets the frame, and the index of the interface that it leaves by."""

    interface: int
    address: Address


def gateway_for(destination: Address, gateways: Mapping[Prefix, Address]) -> Address | None:
    """The gateway that is named for the longest prefix around the destination; None: none is."""
    host = Prefix(destination.family, destination.value, ADDRESS_BITS[destination.family])
    named = [prefix for prefix in gateways if prefix.holds(host)]
    return gateways[max(named, key=lambda prefix: prefix.length)] if named else None


def next_hop(routes: Iterable[Route], destination: Address, interfaces: Collection[int]) -> NextHop | None:
    """The way to `destination` by one of these interfaces, by the first of equal routes; None: there is none."""
    host = Prefix(destination.family, destination.value, ADDRESS_BITS[destination.family])
    ways = (route for route in routes if route.interface in interfaces and route.destination.holds(host))
    best = min(ways, key=lambda route: (-route.destination.length, route.metric), default=None)
    return None if best is None else NextHop(best.interface, best.gateway or destination)
