"""Copies of one datagram: who gets them, with the addresses that names turned out to have, and what a gfwd that runs
knows.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.daemon.explain import Copy, Live, Sender, sender
from gfwd.daemon.report import HealthReport, HopReport, WayReport
from gfwd.daemon.ways import Goal
from gfwd.native.core import DROP_CAUSES
from gfwd.rules.classic import parse
from gfwd.rules.explain import Explanation, explain
from gfwd.rules.model import (
    ALL_PORTS,
    Address,
    Balance,
    Check,
    Collector,
    Group,
    Options,
    Receiver,
    Rule,
    each_collector,
)

FOUR, SIX = Address(4, 0x0A020228), Address(6, (0x20010DB8 << 96) + 0x28)
HOST4, HOST6 = Address(4, 0x0A020203), Address(6, (0x20010DB8 << 96) + 3)


def copy(
    source: str, host: Address, answer: tuple[Address, ...] | str, port: str = "", live: Live | None = None
) -> Copy:
    told = explain(parse(f"{source} 514 flow.example.net{port} A", "x").ranked(), host, 514)
    (collector,) = told.applying[0].collectors
    (one,) = Sender({collector: answer}, live=live).copies(told)
    return one


@pytest.mark.parametrize(
    ("source", "host", "answer", "address", "drop"),
    [
        ("*", HOST4, (FOUR, SIX), FOUR, None),
        ("*", HOST6, (FOUR, SIX), SIX, None),  # docs/packets.md: that of the datagram's own family
        ("::/0", HOST6, (FOUR, SIX), SIX, None),
        ("*", HOST6, (SIX,), SIX, None),
        ("0.0.0.0/0", HOST4, (SIX,), SIX, "family_mismatch"),
        ("*", HOST4, "Name or service not known", None, "no_collector"),
    ],
)
def test_the_address_that_a_copy_goes_to(source, host, answer, address, drop):
    one = copy(source, host, answer)
    assert (one.address, one.drop, one.port) == (address, drop, 514)
    assert one.drop is None or one.drop in DROP_CAUSES
    assert (one.why is None) == (one.drop is None)


def test_the_collectors_own_port():
    assert copy("*", HOST4, (FOUR,), ":9995").port == 9995


def test_without_a_rule_there_is_no_copy():
    told = explain(parse("* 514 10.2.2.40 A", "x").ranked(), HOST4, 515)
    assert sender([told], (), None).copies(told) == []


# ---- a gfwd that runs ----


def way(
    address: Address, next_hop: str | None = "10.2.2.254", state: str = "ready", own: str | None = None
) -> dict[Goal, WayReport]:
    if next_hop is None:
        return {Goal(address): WayReport(str(address), None, None, None, None)}
    return {Goal(address): WayReport(str(address), next_hop, "xdp:out0", "02:00:00:00:00:01", state, own)}


def test_what_only_a_running_gfwd_knows_is_left_out():
    assert "way" not in copy("*", HOST4, (FOUR,)).as_json()
    told = copy("*", HOST4, (FOUR,), live=Live(way(FOUR), {})).as_json()
    assert told["way"] == way(FOUR)[Goal(FOUR)].as_json() and "health" not in told


def test_a_running_gfwd_may_know_better():
    def drop(ways: dict[Goal, WayReport], *answer: Address) -> str | None:
        its = copy("*", HOST4, answer or (FOUR,), live=Live(ways, {}))
        assert (its.why is None) == (its.drop is None)
        return its.drop

    assert drop(way(FOUR)) is None
    assert drop(way(FOUR, state="failed")) == "neighbour_failed"
    assert drop({}) == "not_loaded"
    assert drop(way(FOUR, None)) == "no_collector"
    # The plan has only addresses that there is a way to.
    other = Address(4, 1)
    assert drop({**way(other, None), **way(FOUR)}, other, FOUR) is None


@pytest.mark.parametrize("own", ["192.0.2.1", None])
def test_own_source(own):
    its = Collector("10.2.2.40", None, FOUR, "flow", Options(own_source=True))
    told = explain((Rule(None, ALL_PORTS, (its,), "A", 1),), HOST4, 514)
    (one,) = sender([told], (), Live(way(FOUR, own=own), {})).copies(told)
    assert (one.own, one.drop) == (own, "no_collector" if own is None else None)
    (one,) = sender([told], (SIX, FOUR), None).copies(told)
    assert (one.own, one.drop) == (str(FOUR), None)
    (one,) = sender([told], (), None).copies(told)
    assert (one.own, one.drop) == (None, None)


def test_of_next_hops_only_those_count_that_gfwd_has_an_address_by():
    """As the plan has it: the others get nothing of a collector that is to have gfwd's own."""

    def hop(port: str, own: str | None) -> HopReport:
        return HopReport("10.2.2.254", port, None, "ready", own, f"10.2.2.254 {port}", 1, True)

    its = Collector("10.2.2.40", None, FOUR, "flow", Options(own_source=True))
    hops = [hop("xdp:out0", None), hop("xdp:out1", "192.0.2.1")]
    found = {Goal(FOUR): WayReport.of(str(FOUR), hops, out=None, vlan=None)}
    for last in range(32):
        told = explain((Rule(None, ALL_PORTS, (its,), "A", 1),), Address(4, 0x0A020200 + last), 514)
        (one,) = Sender({its: (FOUR,)}, live=Live(found, {})).copies(told)
        assert (one.own, one.drop, one.way and one.way.port, one.equals) == ("192.0.2.1", None, "xdp:out1", ())


# ---- who is down ----


def collector(name: str, last: int, *backup: Collector) -> Collector:
    address = Address(4, 0x0A020200 + last)
    return Collector(str(address), None, address, name, Options(backup=backup, check=Check("icmp")))


BACKUP = collector("backup", 9)
A, B = collector("a", 1), collector("b", 2, BACKUP)


def explained(*receivers: Receiver, host: Address = HOST4) -> Explanation:
    return explain((Rule(None, ALL_PORTS, receivers, "A", 1),), host, 514)


def live(*down: str, ways: bool = True) -> Live:
    its = [A, B, BACKUP]
    found = {key: value for one in its if one.address for key, value in way(one.address).items()}
    reports = (HealthReport(str(one), "icmp", "down" if str(one) in down else "up", 35, "x", None) for one in its)
    return Live(found if ways else {}, {one.collector: one for one in reports})


@pytest.mark.parametrize(
    ("receivers", "down", "expected"),
    [
        ((A,), (), ["a"]),
        ((A,), ("a",), ["a no_collector"]),
        ((A, B), ("b",), ["a", "backup for b"]),
        ((A, B), ("b", "backup"), ["a", "b no_collector"]),
        ((B, BACKUP), ("b",), ["backup for b"]),  # which would get two otherwise
        ((Group("g", "round-robin", (A, B)),), (), ["a or", "b or"]),
        ((Group("g", "round-robin", (A, B)),), ("b",), ["a or", "backup or for b"]),
        ((Group("g", "round-robin", (A, B)),), ("a",), ["b"]),
        ((Group("g", "flow", (A, B)),), (), ["a or", "b or"]),
        ((Group("g", "exporter", (A, B)),), ("a",), ["b"]),
        ((Group("g", "round-robin", (A, B)),), ("a", "b", "backup"), ["a or no_collector", "b or no_collector"]),
    ],
)
def test_who_gets_copies_while_some_are_down(receivers, down, expected):
    told = explained(*receivers)
    its = sender([told], (), live(*down))
    words = [
        (str(one.collector), "or" if one.one_of else None, one.instead_of and f"for {one.instead_of}", one.drop)
        for one in its.copies(told)
    ]
    assert [" ".join(filter(None, some)) for some in words] == expected
    names = {str(one) for one in each_collector(receivers)}
    assert {one.collector for one in its.health_of_down(told)} == names & set(down)


def test_what_has_no_way_is_not_said_to_be_down():
    told = explained(A)
    (one,) = sender([told], (), live(ways=False)).copies(told)
    assert one.drop == "not_loaded" and one.health is not None


BALANCES: st.SearchStrategy[Balance] = st.sampled_from(("exporter", "flow", "round-robin"))
GROUPS = st.builds(Group, st.sampled_from("gh"), BALANCES, st.sampled_from([(A, B), (B, A), (A, BACKUP)]))
RECEIVERS = st.lists(GROUPS | st.sampled_from([A, B, BACKUP]), min_size=1, max_size=4, unique=True)


@given(RECEIVERS, st.sets(st.sampled_from(["a", "b", "backup"])), st.integers(0, 1 << 32), st.integers(0, 65535))
def test_of_a_group_one_gets_each_datagram(receivers, down, host, source_port):
    """With the source port, nothing is open but whose turn it is; and it is one of those that are named without."""
    told = explained(*receivers)
    told = told._replace(source=Address(4, host & 0xFFFFFFFF))
    its = sender([told], (), live(*down))
    without, certain = its.copies(told), its.copies(told, source_port)
    assert {one.group.balance for one in certain if one.one_of and one.group} <= {"round-robin"}
    places = {(str(one.collector), one.group) for one in without}
    assert {(str(one.collector), one.group) for one in certain} <= places
    assert not any(str(one.collector) in down and one.drop is None for one in without)
