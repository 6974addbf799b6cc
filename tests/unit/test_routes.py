"""The next hop, against a twin that knows prefixes only as lists of bits."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from gfwd.l2.routes import NextHop, Route, next_hops
from gfwd.rules.model import ADDRESS_BITS, Address, Family, Prefix

GATEWAY, OTHER = Address(4, 0x0A000001), Address(4, 0x0A000002)
HOST = Address(4, 0xC0000205)


def prefix(text: str) -> Prefix:
    network = ip_network(text)
    return Prefix(network.version, int(network.network_address), network.prefixlen)


DEFAULT = Route(prefix("0.0.0.0/0"), GATEWAY, 1, 0)


def test_no_route_no_way():
    assert next_hops([], HOST, {1}) == ()
    assert next_hops([Route(prefix("10.0.0.0/8"), None, 1, 0)], HOST, {1}) == ()
    assert next_hops([Route(prefix("::/0"), None, 1, 0)], HOST, {1}) == ()


def test_through_a_gateway_and_on_the_link():
    assert next_hops([DEFAULT], HOST, {1}) == (NextHop(1, GATEWAY),)
    assert next_hops([DEFAULT, Route(prefix("192.0.2.0/24"), None, 1, 0)], HOST, {1}) == (NextHop(1, HOST),)


def test_a_gateway_of_the_other_family():
    gateway = Address(6, 0xFE80 << 112 | 1)
    assert next_hops([Route(prefix("0.0.0.0/0"), gateway, 3, 0)], HOST, {3}) == (NextHop(3, gateway),)


def test_only_these_interfaces():
    by_another = Route(prefix("192.0.2.0/24"), OTHER, 2, 0)
    assert next_hops([by_another, DEFAULT], HOST, {1}) == (NextHop(1, GATEWAY),)
    assert next_hops([by_another, DEFAULT], HOST, {1, 2}) == (NextHop(2, OTHER),)
    assert next_hops([by_another, DEFAULT], HOST, ()) == ()


def test_the_lowest_metric_then_all_that_are_equal():
    worse, equal = Route(DEFAULT.destination, OTHER, 1, 100), Route(DEFAULT.destination, OTHER, 1, 0, 3)
    assert next_hops([worse, DEFAULT, equal, equal], HOST, {1}) == (NextHop(1, GATEWAY), NextHop(1, OTHER, 3))
    assert next_hops([worse, DEFAULT], HOST, {1}) == (NextHop(1, GATEWAY),)


def test_who_is_on_the_link_is_behind_one_interface():
    on_link, by_gateway = Route(DEFAULT.destination, None, 2, 0), Route(DEFAULT.destination, OTHER, 1, 0)
    assert next_hops([on_link, DEFAULT, by_gateway], HOST, {1, 2}) == (NextHop(2, HOST),)
    assert next_hops([DEFAULT, on_link, by_gateway], HOST, {1, 2}) == (NextHop(1, GATEWAY), NextHop(1, OTHER))


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
    return Route(
        destination,
        draw(st.none() | addresses),
        draw(st.integers(1, 3)),
        draw(st.integers(0, 1)),
        draw(st.integers(1, 3)),
    )


def bits(family: Family, value: int, length: int) -> str:
    return format(value, f"0{ADDRESS_BITS[family]}b")[:length]


def twin(routes: list[Route], destination: Address, interfaces: set[int]) -> list[NextHop]:
    best: Route | None = None
    equal: list[Route] = []
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
            best, equal = route, []
        if (around.length, route.metric) == (best.destination.length, best.metric):
            equal.append(route)
    if best is None:
        return []
    if best.gateway is None:
        return [NextHop(best.interface, destination)]
    found: list[NextHop] = []
    for route in equal:
        if route.gateway is not None and (route.interface, route.gateway) not in [hop[:2] for hop in found]:
            found.append(NextHop(route.interface, route.gateway, route.weight))
    return found


@given(st.lists(drawn_routes(), max_size=12), addresses, st.sets(st.integers(1, 3)))
def test_against_the_twin(routes, destination, interfaces):
    assert list(next_hops(routes, destination, interfaces)) == twin(routes, destination, interfaces)
