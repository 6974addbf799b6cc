"""Ways by gateways that the operator names, before what the host's routes say."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.config.port_name import PortName
from gfwd.daemon.ports import Port
from gfwd.daemon.ways import NextHop, Ways
from gfwd.l2.kernel import Link
from gfwd.l2.routes import Route, gateway_for
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
    def routes_to(self, destination: Address, interfaces: Collection[int]) -> tuple[Route, ...]:
        return tuple(
            route for route in ROUTES if lies_in(destination, route.destination) and route.interface in interfaces
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
    found = ways.find([to], (), gateways)[to]
    return None if found is None else {slot: its for its, slot in ways.slots.items()}[found.neighbour]


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
