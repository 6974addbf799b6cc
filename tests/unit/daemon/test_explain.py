"""Copies of one datagram, with the addresses that names turned out to have."""

from dataclasses import replace

import pytest

from gfwd.daemon.explain import Copy, copies
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
    known = {"next_hop", "mac", "health"}
    assert not known & one.as_json().keys()
    told = replace(one, next_hop=FOUR, mac=bytes(6), health="up").as_json()
    assert {name: told[name] for name in known} == {
        "next_hop": "10.2.2.40", "mac": "00:00:00:00:00:00", "health": "up",
    }  # fmt: skip
