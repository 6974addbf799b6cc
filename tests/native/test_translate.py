"""Translated packets and fragments byte by byte, written by hand from RFC 791, 7915 and 8200; and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address

import pytest

from gfwd.native.core import Limits, NeighbourState
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules import classic
from gfwd.rules.model import Address, Options
from gfwd.rules.space import RuleSpace
from tests.cores import Rig, balances, mac, with_options

OUT_MAC = bytes.fromhex("020000000002")
OWN = Address(4, int(IPv4Address("10.1.0.1"))), Address(6, int(IPv6Address("fd01::1")))
FOUR, SIX = Address(4, int(IPv4Address("10.1.0.2"))), Address(6, int(IPv6Address("fd01::2")))
IDENT = 0x89ABCDEF
ETHERNET = "020000000001 020000000e01"
LEFT = mac(0).hex() + OUT_MAC.hex()

UDP_ABCD = "9c40 0202 000c"  # from port 40,000 to 514, 12 bytes
FROM_4 = f"{ETHERNET} 0800  45b8 0020 1234 0000 4011 9bde c0000202 0a000001  {UDP_ABCD} 0000 61626364"
FROM_6 = f"""{ETHERNET} 86dd  6b812345 000c 1140 20010db8000000000000000000000002 fd000000000000000000000000000001
    {UDP_ABCD} 7210 61626364"""


class Bed:
    """One collector, its addresses, and a core whose port 1 has this MTU; the source is gfwd's own, or kept."""

    def __init__(self, *addresses: Address, own: bool, mtu: int = 0, tags: bytes | None = None) -> None:
        ruleset = classic.parse("* 514 flow.example.net A", "hand.rules")
        ruleset = with_options(ruleset, {"flow.example.net": Options(own_source=True)} if own else {})
        (collector,) = ruleset.collectors()
        hops = tuple(Hop(address, 1, 0, tags) for address in addresses)
        ports = PlanPort(punts_too_big=True), PlanPort(mac=OUT_MAC, mtu=mtu, own=OWN)
        space = RuleSpace(ruleset)
        self.rig = Rig(Limits(rules=1, collectors=1, neighbours=1), [0, 0], [2_048], seeds=(1, IDENT))
        self.core = self.rig.core
        self.core.set_neighbour(0, mac(0), NeighbourState.READY)
        self.core.publish(compile_plan(Blueprint(space=space, routes={collector: Route(0, hops)}, ports=ports)))

    def close(self) -> None:
        assert balances(self.core, 1)
        self.rig.core.close()

    def forward(self, *frames: str) -> list[str]:
        """What leaves, in hexadecimal digits."""
        for frame in frames:
            assert self.core.arrive(0, bytes.fromhex(frame))
        while self.rig.worker.step():
            pass
        return [frame.hex() for frame in self.rig.left(1)]

    @property
    def drops(self) -> dict[str, int]:
        return {cause: n for cause, n in self.core.collectors(1)[0].drops.items() if n}


def digits(text: str) -> str:
    return bytes.fromhex(text).hex()


def test_to_ipv6_without_a_checksum() -> None:
    """RFC 7915 §4.1: type of service, no flow label, TTL less one; §4.5: the checksum that the exporter left out."""
    with closing(Bed(SIX, own=True)) as bed:
        left = f"""{LEFT} 86dd  6b800000 000c 113f fd010000000000000000000000000001 fd010000000000000000000000000002
            {UDP_ABCD} a2c6 61626364"""
        assert bed.forward(FROM_4) == [digits(left)]


def test_to_ipv4() -> None:
    """RFC 7915 §5.1: traffic class, a new identification, no flags as it is short, hop limit less one."""
    with closing(Bed(FOUR, own=True)) as bed:
        left = f"{LEFT} 0800  45b8 0020 cdef 0000 3f11 9921 0a010001 0a010002  {UDP_ABCD} 88c8 61626364"
        again = left.replace("cdef", "cdf0").replace("9921", "9920")
        assert bed.forward(FROM_6, FROM_6) == [digits(left), digits(again)]


def test_who_has_both_families_gets_each_at_its_own() -> None:
    with closing(Bed(FOUR, SIX, own=False)) as bed:
        four, six = bed.forward(FROM_4, FROM_6)
        assert four[24:68] == digits("0800 45b8 0020 1234 0000 3f11 9cdc c0000202 0a010002")
        assert six[24:112] == digits(
            "86dd 6b812345 000c 113f 20010db8000000000000000000000002 fd010000000000000000000000000002 9c40"
        )
        assert bed.drops == {}


def test_a_kept_address_has_no_other_family() -> None:
    with closing(Bed(SIX, own=False)) as bed:
        assert bed.forward(FROM_4) == []
        assert bed.drops == {"family_mismatch": 1}


LONG = f"""{ETHERNET} 0800  47b8 0038 1234 0000 4011 fabd c0000202 0a000001 94040000 07040400
    9c40 0202 001c 0000 {"5a" * 20}"""


def test_ipv4_fragments() -> None:
    """RFC 791 §3.2: router alert (0x94) is in each, record route (7) in the first; offsets count eight bytes."""
    with closing(Bed(FOUR, own=False, mtu=36)) as bed:
        first = f"{LEFT} 0800  47b8 0024 1234 2000 3f11 dbcf c0000202 0a010002 94040000 07040400  9c40 0202 001c 0000"
        second = f"{LEFT} 0800  46b8 0020 1234 2001 3f11 e7d6 c0000202 0a010002 94040000  {'5a' * 8}"
        third = f"{LEFT} 0800  46b8 0024 1234 0002 3f11 07d2 c0000202 0a010002 94040000  {'5a' * 12}"
        assert bed.forward(LONG) == [digits(first), digits(second), digits(third)]
        sent = bed.core.collectors(1)[0]
        assert (sent.wanted, sent.sent, sent.sent_bytes) == (1, 1, 14 + 56)
        assert bed.core.work().fragments_made == 3
        assert bed.core.frames().forwarded == 1


def test_ipv6_fragments() -> None:
    """RFC 8200 §4.5, of a packet that gfwd sends itself."""
    with closing(Bed(SIX, own=True, mtu=56)) as bed:
        addresses = "fd010000000000000000000000000001 fd010000000000000000000000000002"
        first = f"{LEFT} 86dd  6b800000 0010 2c3f {addresses} 1100 0001 89abcdef  9c40 0202 0014 1929"
        second = f"{LEFT} 86dd  6b800000 0010 2c3f {addresses} 1100 0009 89abcdef  6162636461626364"
        third = f"{LEFT} 86dd  6b800000 000c 2c3f {addresses} 1100 0010 89abcdef  61626364"
        frame = (
            f"{ETHERNET} 0800  45b8 0028 1234 0000 4011 9bd6 c0000202 0a000001  9c40 0202 0014 0000 {'61626364' * 3}"
        )
        assert bed.forward(frame) == [digits(first), digits(second), digits(third)]


def test_what_must_not_be_cut_is_told_to_python() -> None:
    """DF; and a kept IPv6 source. Python gets the frame, and how long its packet may be; it is dropped all the same."""
    dont = FROM_4.replace("1234 0000 4011 9bde", "1234 4000 4011 5bde")
    with closing(Bed(FOUR, SIX, own=False, mtu=31)) as bed:
        assert bed.forward(dont, FROM_6) == []
        assert bed.drops == {"too_big": 2}
        told = bed.rig.punted()
        assert [(one.frame, one.mtu, one.port) for one in told] == [
            (bytes.fromhex(dont), 31, 0),
            (bytes.fromhex(FROM_6), 31, 0),
        ]
        assert bed.core.frames().punted == 0


def test_the_mtu_that_is_told_is_for_packets_of_ipv6() -> None:
    """RFC 7915 §5.2: IPv6's header is 20 bytes longer. A long packet gets DF, and no fragments."""
    payload = 1_300
    addresses = "20010db8000000000000000000000002 fd000000000000000000000000000001"
    head = f"{ETHERNET} 86dd  60000000 {payload + 8:04x} 1140 {addresses}"
    frame = f"{head} 9c40 0202 {payload + 8:04x} 1234 {'00' * payload}"
    with closing(Bed(FOUR, own=True, mtu=1_300)) as bed:
        assert bed.forward(frame) == []
        (told,) = bed.rig.punted()
        assert (told.mtu, len(told.frame)) == (1_320, 1_280)


@pytest.mark.parametrize("addresses", [[FOUR], [SIX]])
def test_tags_of_a_collector(addresses: Sequence[Address]) -> None:
    tags = bytes.fromhex("88a80064 81000007")
    with closing(Bed(*addresses, own=True, tags=tags)) as bed:
        (left,) = bed.forward(FROM_4)
        assert left.startswith(LEFT + tags.hex() + ("0800" if addresses == [FOUR] else "86dd"))
