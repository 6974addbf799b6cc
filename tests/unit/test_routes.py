"""The next hop, against a twin that knows prefixes only as lists of bits."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from gfwd.l2.routes import NextHop, Route, next_hop
from gfwd.rules.model import ADDRESS_BITS, Address, Family, Prefix

GATEWAY, OTHER = Address(4, 0x0A000001), Address(4, 0x0A000002)
HOST = Address(4, 0xC0000205)


def prefix(text: str) -> Prefix:
    network = ip_network(text)
    return Prefix(network.version, int(network.network_address), network.prefixlen)


DEFAULT = Route(prefix("0.0.0.0/0"), GATEWAY, 1, 0)


def test_no_route_no_way():
    assert next_hop([], HOST, {1}) is None
    assert next_hop([Route(prefix("10.0.0.0/8"), None, 1, 0)], HOST, {1}) is None
    assert next_hop([Route(prefix("::/0"), None, 1, 0)], HOST, {1}) is None


def test_through_a_gateway_and_on_the_link():
    assert next_hop([DEFAULT], HOST, {1}) == NextHop(1, GATEWAY)
    assert next_hop([DEFAULT, Route(prefix("192.0.2.0/24"), None, 1, 0)], HOST, {1}) == NextHop(1, HOST)


def test_a_gateway_of_the_other_family():
    gateway = Address(6, 0xFE80 << 112 | 1)
    assert next_hop([Route(prefix("0.0.0.0/0"), gateway, 3, 0)], HOST, {3}) == NextHop(3, gateway)


def test_only_these_interfaces():
    by_another = Route(prefix("192.0.2.0/24"), OTHER, 2, 0)
    assert next_hop([by_another, DEFAULT], HOST, {1}) == NextHop(1, GATEWAY)
    assert next_hop([by_another, DEFAULT], HOST, {1, 2}) == NextHop(2, OTHER)
    assert next_hop([by_another, DEFAULT], HOST, ()) is None


def test_the_lowest_metric_then_the_first():
    routes = [Route(DEFAULT.destination, OTHER, 1, 100), DEFAULT, Route(DEFAULT.destination, OTHER, 1, 0)]
    assert next_hop(routes, HOST, {1}) == NextHop(1, GATEWAY)
    assert next_hop(list(reversed(routes)), HOST, {1}) == NextHop(1, OTHER)


# Few bits, so that prefixes often lie around each other.
values = {4: st.integers(0, 7).map(lambda n: n << 29), 6: st.integers(0, 7).map(lambda n: n << 125)}
families = st.sampled_from([4, 6])
addresses = families.flatmap(lambda family: st.builds(Address, st.just(family), values[family]))


@st.composite
def drawn_routes(draw):
    family: Family = draw(families)
    length = draw(st.integers(0, 3))
    host_bits = ADDRESS_BITS[family] - length
    destination = Prefix(family, draw(values[family]) >> host_bits << host_bits, length)
    return Route(destination, draw(st.none() | addresses), draw(st.integers(1, 3)), draw(st.integers(0, 2)))


def bits(family: Family, value: int, length: int) -> str:
    return format(value, f"0{ADDRESS_BITS[family]}b")[:length]


def twin(routes: list[Route], destination: Address, interfaces: set[int]) -> NextHop | None:
    best = None
    for route in routes:
        around = route.destination
        if around.family != destination.family or route.interface not in interfaces:
            continue
        if bits(*destination, around.length) != bits(*around):
            continue
        if (
            best is None
            or around.length > best.destination.length
            or (around.length == best.destination.length and route.metric < best.metric)
        ):
            best = route
    if best is None:
        return None
    return NextHop(best.interface, destination if best.gateway is None else best.gateway)


@given(st.lists(drawn_routes(), max_size=12), addresses, st.sets(st.integers(1, 3)))
def test_against_the_twin(routes, destination, interfaces):
    assert next_hop(routes, destination, interfaces) == twin(routes, destination, interfaces)
