"""The canonical text of the frozen objects, and the rank of rules."""

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.rules.model import (
    ALL_PORTS,
    Address,
    Collector,
    Group,
    Options,
    Ports,
    Prefix,
    Rule,
    RuleSet,
    address_text,
    common_ports,
    each_once,
    holds_port,
    merge_ports,
    ports_text,
)

NINE = 0x20010DB8 << 96 | 9


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        (Prefix(4, 0x0A020203, 32), "10.2.2.3"),
        (Prefix(4, 0x0A000000, 8), "10.0.0.0/8"),
        (Prefix(4, 0, 0), "0.0.0.0/0"),
        (Prefix(6, NINE, 128), "2001:db8::9"),
        (Prefix(6, 0x20010DB80001 << 80, 48), "2001:db8:1::/48"),
        (Prefix(6, 0, 0), "::/0"),
    ],
)
def test_prefix_text(prefix: Prefix, text: str) -> None:
    assert str(prefix) == text


@given(st.one_of(st.integers(0, 2**128 - 1), st.integers(0, 2**33), st.sampled_from(range(128)).map(lambda n: 1 << n)))
def test_ipv6_text_is_rfc_5952(value: int) -> None:
    if value >> 32 != 0xFFFF:  # IPv4-mapped, which ipaddress writes in hexadecimal
        assert address_text(6, value) == str(ipaddress.IPv6Address(value))


@pytest.mark.parametrize(
    ("collector", "text"),
    [
        (Collector("10.2.2.6", None, Address(4, 0x0A020206)), "10.2.2.6"),
        (Collector("10.2.2.6", 9995, Address(4, 0x0A020206)), "10.2.2.6:9995"),
        (Collector("2001:db8::9", None, Address(6, NINE)), "2001:db8::9"),
        (Collector("2001:db8::9", 2055, Address(6, NINE)), "[2001:db8::9]:2055"),
        (Collector("flow.example.net", 9995, None), "flow.example.net:9995"),
    ],
)
def test_collector_text(collector: Collector, text: str) -> None:
    assert str(collector) == text


def test_prefix_knows_its_addresses() -> None:
    prefix = Prefix(4, 0x0A000000, 8)
    assert (prefix.last, prefix.size) == (0x0AFFFFFF, 1 << 24)
    assert prefix.holds(prefix) and prefix.holds(Prefix(4, 0x0A020203, 32))
    assert not prefix.holds(Prefix(4, 0x0B000000, 32))
    assert not prefix.holds(Prefix(4, 0, 0))
    assert not Prefix(4, 0, 0).holds(Prefix(6, 0, 128))
    assert [str(half) for half in prefix.halves()] == ["10.0.0.0/9", "10.128.0.0/9"]
    assert [str(half) for half in Prefix(6, 0, 0).halves()] == ["::/1", "8000::/1"]


def test_collectors_that_can_get_a_copy() -> None:
    four, six = Collector("10.2.2.6", None, Address(4, 0x0A020206)), Collector("2001:db8::9", None, Address(6, NINE))
    name = Collector("flow.example.net", None, None)
    rule = Rule(None, ALL_PORTS, (four, six, name), "A", 1)
    assert (rule.collectors_for(4), rule.collectors_for(6)) == ((four, name), (six, name))
    assert rule.can_send()
    assert not Rule(Prefix(4, 0, 0), ALL_PORTS, (six,), "A", 1).can_send()


@pytest.mark.parametrize(
    ("ports", "text"), [(ALL_PORTS, "*"), (((514, 514),), "514"), (((1, 2), (9995, 9999)), "1-2,9995-9999")]
)
def test_ports_text(ports: Ports, text: str) -> None:
    assert ports_text(ports) == text


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=1))
def test_merged_ports_are_the_same_ports(pairs: list[tuple[int, int]]) -> None:
    ranges = [(first, first + more) for first, more in pairs]
    merged = merge_ports(ranges)
    assert {p for a, b in merged for p in range(a, b + 1)} == {p for a, b in ranges for p in range(a, b + 1)}
    assert all(left[1] + 1 < right[0] for left, right in pairwise(merged))


PORT_SETS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=4).map(
    lambda pairs: merge_ports((first, first + more) for first, more in pairs)
)


@given(PORT_SETS, PORT_SETS)
def test_common_ports(one: Ports, other: Ports) -> None:
    common = common_ports(one, other)
    assert common == merge_ports(common)
    for port in range(40):
        assert holds_port(common, port) == (holds_port(one, port) and holds_port(other, port))
        assert holds_port(one, port) == any(first <= port <= last for first, last in one)


def test_rank_is_priority_then_later_line() -> None:
    order = [None, "B", "A", "Z", "B", None, "A"]
    rules = tuple(Rule(None, ALL_PORTS, (), priority, line) for line, priority in enumerate(order, 1))
    assert [rule.line for rule in RuleSet("x", rules).ranked()] == [7, 3, 5, 2, 4, 6, 1]


def test_once_whatever_the_name() -> None:
    six = Collector("10.2.2.6", 9995, Address(4, 0x0A020206))
    flow = six._replace(name="flow", options=Options(ttl=3, backup=(six._replace(name="spare"),)))
    other = flow._replace(name="other", options=Options(ttl=3, backup=(six,)))
    farm = Group("farm", "flow", (six, flow))
    barn = Group("barn", "flow", (six._replace(name="six"), other))
    assert each_once([six, flow, six._replace(name="x"), farm, other, barn, six]) == (six, flow, farm)
    assert each_once([flow, flow._replace(options=None), flow.alone()]) == (
        flow,
        flow._replace(options=None),
        flow.alone(),
    )


def test_who_steps_in_has_no_backups() -> None:
    six = Collector("10.2.2.6", 9995, Address(4, 0x0A020206), "six")
    flow = six._replace(name="flow", options=Options(ttl=3, backup=(six,)))
    assert flow.alone() == flow._replace(options=Options(ttl=3))
    assert flow._replace(options=Options(backup=(six,))).alone() == six._replace(name="flow")
    assert six.alone() is six
