"""Ways: by gateways that the operator names, before what the host's routes say; by a port, and in a VLAN."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.config.port_name import PortName
from gfwd.daemon.ports import Port
from gfwd.daemon.ways import Goal, NextHop, Ways
from gfwd.l2.kernel import Link
from gfwd.l2.routes import Route, gateway_for
from gfwd.plan.blueprint import Hop
from gfwd.rules.fields import parse_prefix
from gfwd.rules.model import Address, Prefix
from tests.unit.rules.universe import addresses, lies_in, prefixes

LEFT, RIGHT = 1, 2
ROUTES = (
    Route(parse_prefix("10.1.0.0/24"), None, LEFT, 0),
    Route(parse_prefix("10.2.0.0/24"), None, RIGHT, 0),
    Route(parse_prefix("0.0.0.0/0"), Address(4, 0x0A010001), LEFT, 0),
)
FAR, NEAR = Address(4, 0xC0000209), Address(4, 0x0A010009)
GATEWAY = Address(4, 0x0A0200FE)


class Router:
    def __init__(self, routes: tuple[Route, ...] = ROUTES, links: tuple[Link, ...] = ()) -> None:
        self._routes, self._links = routes, links

    def links(self) -> tuple[Link, ...]:
        return self._links

    def routes_to(self, destination: Address, interfaces: Collection[int]) -> tuple[Route, ...]:
        return tuple(
            route for route in self._routes if lies_in(destination, route.destination) and route.interface in interfaces
        )


def port(index: int) -> Port:
    link = Link(index, f"e{index}", bytes(6), 1_500, is_up=True, has_carrier=True)
    return Port(
        number=index, name=PortName("xdp", f"e{index}"), link=link, is_in=False, is_out=True, rx=0, tx=1, mode="native"
    )


@pytest.fixture
def ways() -> Ways:
    return Ways(Router(), [port(LEFT), port(RIGHT)], slots=8)


def hop(ways: Ways, to: Address, gateways: dict[Prefix, Address]) -> NextHop | None:
    found = ways.find([Goal(to)], (), gateways)[Goal(to)]
    return {slot: its for its, slot in ways.slots.items()}[found[0].neighbour] if found else None


def test_a_gateway_goes_before_the_routes(ways: Ways) -> None:
    assert hop(ways, FAR, {}) == NextHop(LEFT, Address(4, 0x0A010001))
    assert hop(ways, FAR, {parse_prefix("192.0.2.0/24"): GATEWAY}) == NextHop(RIGHT, GATEWAY)
    assert hop(ways, NEAR, {parse_prefix("192.0.2.0/24"): GATEWAY}) == NextHop(LEFT, NEAR)
    assert hop(ways, NEAR, {parse_prefix("10.1.0.9"): GATEWAY}) == NextHop(RIGHT, GATEWAY)


@given(st.dictionaries(prefixes(), st.sampled_from((GATEWAY, NEAR, FAR))))
def test_the_longest_prefix_says(gateways: dict[Prefix, Address]) -> None:
    for address in addresses():
        around = sorted((prefix.length, prefix) for prefix in gateways if lies_in(address, prefix))
        assert gateway_for(address, gateways) == (gateways[around[-1][1]] if around else None)


# ---- ports and VLANs ----

TAGGED = 7
VLAN_LINK = Link(TAGGED, "e1.100", bytes(6), 1_500, is_up=True, has_carrier=True, vlan=100, parent=LEFT)
EQUAL = (
    Route(parse_prefix("192.0.2.0/24"), NEAR, LEFT, 0),
    Route(parse_prefix("192.0.2.0/24"), GATEWAY, RIGHT, 0, 3),
)


def hops(goal: Goal, *routes: Route, links: tuple[Link, ...] = (), **vlans: int) -> dict[NextHop, Hop]:
    ways = Ways(Router(routes, links), [port(LEFT), port(RIGHT)], slots=8)
    found = ways.find([goal], (), {}, {f"xdp:{name}": number for name, number in vlans.items()})[goal]
    neighbours = {slot: its for its, slot in ways.slots.items()}
    return {neighbours[hop.neighbour]: hop for hop in found}


def test_equal_routes_are_several_ways() -> None:
    found = hops(Goal(FAR), *EQUAL)
    assert {hop: its.weight for hop, its in found.items()} == {NextHop(LEFT, NEAR): 1, NextHop(RIGHT, GATEWAY): 3}
    assert [its.via for its in found.values()] == ["10.1.0.9 xdp:e1", "10.2.0.254 xdp:e2"]
    assert [its.tags for its in found.values()] == [None, None]


def test_a_port_by_name_has_only_its_own_routes() -> None:
    better = Route(parse_prefix("192.0.2.9"), NEAR, LEFT, 0)
    assert hops(Goal(FAR, "xdp:e2"), *EQUAL, better).keys() == {NextHop(RIGHT, GATEWAY)}
    assert hops(Goal(FAR, "xdp:e2"), better) == {}


def test_a_route_by_a_vlans_interface_leaves_by_the_port_beneath_with_its_tag() -> None:
    by_vlan = Route(parse_prefix("192.0.2.0/24"), NEAR, TAGGED, 0)
    (found,) = hops(Goal(FAR), by_vlan, links=(VLAN_LINK,)).items()
    assert found[0] == NextHop(LEFT, NEAR, 100) and found[1].tags == b"\x81\x00\x00\x64"
    assert hops(Goal(FAR), by_vlan) == {}  # an interface that stands on none of ours


def test_a_collectors_vlan_and_a_ports() -> None:
    by_base = Route(parse_prefix("192.0.2.0/24"), NEAR, LEFT, 0)
    (found,) = hops(Goal(FAR, vlan=5), by_base, links=(VLAN_LINK,)).items()
    assert found[0] == NextHop(LEFT, NEAR, 5) and found[1].tags == b"\x81\x00\x00\x05"
    (found,) = hops(Goal(FAR), by_base, e1=5).items()  # the port has the tag
    assert found[0] == NextHop(LEFT, NEAR, 5) and found[1].tags is None
    (found,) = hops(Goal(FAR, vlan=6), by_base, e1=5).items()
    assert found[0] == NextHop(LEFT, NEAR, 6) and found[1].tags == b"\x81\x00\x00\x06"
    # Where the host has an interface for the VLAN, its routes count, and not those beneath.
    assert hops(Goal(FAR, vlan=100), by_base, links=(VLAN_LINK,)) == {}
