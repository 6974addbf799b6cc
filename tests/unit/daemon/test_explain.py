"""Copies of one datagram, with the addresses that names turned out to have."""

import pytest

from gfwd.daemon.explain import Copy, copies, in_health, on_their_ways
from gfwd.daemon.report import HealthReport, WayReport
from gfwd.native.core import DROP_CAUSES
from gfwd.rules.classic import parse
from gfwd.rules.explain import explain
from gfwd.rules.model import Address

FOUR, SIX = Address(4, 0x0A020228), Address(6, (0x20010DB8 << 96) + 0x28)
HOST4, HOST6 = Address(4, 0x0A020203), Address(6, (0x20010DB8 << 96) + 3)


def copy(source: str, host: Address, answer: tuple[Address, ...] | str, port: str = "") -> Copy:
    told = explain(parse(f"{source} 514 flow.example.net{port} A", "x").ranked(), host, 514)
    assert told.winner
    (one,) = copies(told, {told.winner.collectors[0]: answer})
    return one


@pytest.mark.parametrize(
    ("source", "host", "answer", "address", "drop"),
    [
        ("*", HOST4, (FOUR, SIX), FOUR, None),
        ("*", HOST6, (FOUR, SIX), FOUR, "family_mismatch"),  # docs/packets.md: IPv4 for any source
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
    assert copies(explain(parse("* 514 10.2.2.40 A", "x").ranked(), HOST4, 515), {}) == []


def test_what_only_a_running_gfwd_knows_is_left_out():
    one = copy("*", HOST4, (FOUR,))
    assert "way" not in one.as_json()
    way = WayReport(str(FOUR), "10.2.2.254", "xdp:out0", "02:00:00:00:00:01", "ready")
    assert on_their_ways([one], {str(FOUR): way})[0].as_json()["way"] == way._asdict()


@pytest.mark.parametrize(
    ("state", "instead", "drop"),
    [("up", None, None), ("unknown", None, None), ("down", None, "no_collector"), ("down", "flow2", "replaced")],
)
def test_the_health_of_its_collector(state, instead, drop):
    one = copy("*", HOST4, (FOUR,))
    health = HealthReport("flow.example.net", "icmp", state, 35, "no answer", instead)
    (told,) = in_health([one], {"flow.example.net": health})
    assert (told.drop, told.as_json()["health"]) == (drop, health._asdict())
    assert (told.why is None) == (drop is None)
    assert in_health([one], {"other": health}) == [one]


def test_what_has_no_way_is_not_said_to_be_down():
    one = on_their_ways([copy("*", HOST4, (FOUR,))], {})[0]
    health = HealthReport("flow.example.net", "icmp", "down", 35, "no answer", None)
    assert in_health([one], {"flow.example.net": health})[0].drop == "not_loaded"


def test_a_running_gfwd_may_know_better():
    one = copy("*", HOST4, (FOUR,))
    assert on_their_ways([one], {})[0].drop == "not_loaded"
    nowhere = WayReport(str(FOUR), None, None, None, None)
    assert on_their_ways([one], {str(FOUR): nowhere})[0].drop == "no_collector"
