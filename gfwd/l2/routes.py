"""Routes, and the next hops that they give an address: the longest prefix wins, then the lowest metric."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from gfwd.rules.model import ADDRESS_BITS, Address, Prefix


class Route(NamedTuple):
    """Where addresses within `destination` go. interface: its index. metric: lower is better. weight: of one that
    stands beside others of its destination and metric.

    A gateway of None: they are on the link themselves. The gateway of an IPv4 route may have an IPv6 address.
    """

    destination: Prefix
    gateway: Address | None
    interface: int
    metric: int
    weight: int = 1


class NextHop(NamedTuple):
    """The neighbour that gets the frame, and the index of the interface that it leaves by; weight: beside others."""

    interface: int
    address: Address
    weight: int = 1


def gateway_for(destination: Address, gateways: Mapping[Prefix, Address]) -> Address | None:
    """The gateway that is named for the longest prefix around the destination; None: none is."""
    host = Prefix(destination.family, destination.value, ADDRESS_BITS[destination.family])
    named = [prefix for prefix in gateways if prefix.holds(host)]
    return gateways[max(named, key=lambda prefix: prefix.length)] if named else None


def next_hops(routes: Iterable[Route], destination: Address, interfaces: Collection[int]) -> tuple[NextHop, ...]:
    """The ways to `destination` by these interfaces, one for each of several equal routes; none: there is none.

    Who is on the link is behind one interface, and equal routes do not say which: the first counts.
    """
    host = Prefix(destination.family, destination.value, ADDRESS_BITS[destination.family])
    ways = [route for route in routes if route.interface in interfaces and route.destination.holds(host)]
    if not ways:
        return ()
    first = min(ways, key=_order)
    if first.gateway is None:
        return (NextHop(first.interface, destination),)
    weights: dict[tuple[int, Address], int] = {}
    for route in ways:
        if _order(route) == _order(first) and route.gateway is not None:
            weights.setdefault((route.interface, route.gateway), route.weight)
    return tuple(NextHop(interface, gateway, weight) for (interface, gateway), weight in weights.items())


def _order(route: Route) -> tuple[int, int]:
    return -route.destination.length, route.metric
