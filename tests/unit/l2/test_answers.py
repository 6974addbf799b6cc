"""What is answered on a port without a host stack, and what is not: bytes in, bytes out, in virtual time."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether

from gfwd.l2 import arp, hearing, nd, rarp
from gfwd.l2.answers import Answer, Answers, Kind
from gfwd.l2.complaint import Complaints
from gfwd.l2.errors import FrameError
from gfwd.l2.own import Act, OwnAddresses, Say, Send
from gfwd.rules.model import Address, Prefix
from tests.unit.l2.drawn import with_a_bit_flipped

OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
US, PEER, STRANGER = Address(4, 0x0A000001), Address(4, 0x0A000002), Address(4, 0x0A000009)
US6, PEER6 = Address(6, 0xFD << 120 | 1), Address(6, 0xFD << 120 | 2)
STATION, ITS_ADDRESS = bytes.fromhex("02000000000b"), Address(4, 0x0A00000B)
HEAD = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
PING = bytes(HEAD / IP(src=str(PEER), dst=str(US)) / ICMP(id=1, seq=2) / b"data")
PING6 = bytes(HEAD / IPv6(src=str(PEER6), dst=str(US6)) / ICMPv6EchoRequest(id=1, seq=2, data=b"data"))


class Place:
    """A port with an address of each family."""

    def __init__(self, echo: int = 100) -> None:
        self.own = OwnAddresses(lambda: 0.0)
        self.own.follow(OURS, [US, US6], 0)
        self.answers = Answers(OURS, self.own, echo, {STATION: ITS_ADDRESS})

    def answer(self, frame: bytes, now: float = 100) -> Answer | None:
        try:
            return self.answers.to(hearing.parse(frame), now)
        except FrameError:
            return None

    def until(self, end: float) -> list[Act]:
        acts = []
        while (deadline := self.own.deadline()) is not None and deadline <= end:
            acts += self.own.advance(deadline)
        return acts


@pytest.fixture
def place() -> Place:
    its = Place()
    its.until(50)
    return its


def test_ping_is_answered_to_who_has_asked(place):
    for ping in (PING, PING6):
        answer = place.answer(ping)
        assert answer is not None
        assert answer.kind is Kind.ECHO
        assert answer.frame is not None
        assert answer.frame.startswith(THEIRS + OURS)
        assert answer.frame[54 if ping is PING6 else 34] in (0, 129)


@pytest.mark.parametrize(
    "frame",
    [
        HEAD / IP(src=str(PEER), dst=str(STRANGER)) / ICMP(),
        HEAD / IP(src=str(PEER), dst="255.255.255.255") / ICMP(),
        HEAD / IP(src=str(PEER), dst="224.0.0.1") / ICMP(),
        HEAD / IP(src="224.0.0.1", dst=str(US)) / ICMP(),
        HEAD / IP(src="255.255.255.255", dst=str(US)) / ICMP(),
        HEAD / IP(src="0.0.0.0", dst=str(US)) / ICMP(),
        HEAD / IP(src="127.0.0.1", dst=str(US)) / ICMP(),
        HEAD / IP(src=str(US), dst=str(US)) / ICMP(),
        HEAD / IP(src=str(PEER), dst=str(US), flags="MF") / ICMP(),
        HEAD / IP(src=str(PEER), dst=str(US)) / ICMP(type=0),
        HEAD / IP(src=str(PEER), dst=str(US)) / ICMP(type=13),
        HEAD / IP(src=str(PEER), dst=str(US)) / ICMP(chksum=1),
        Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:02") / IP(src=str(PEER), dst=str(US)) / ICMP(),
        Ether(dst="02:00:00:00:00:01", src="03:00:00:00:00:02") / IP(src=str(PEER), dst=str(US)) / ICMP(),
        Ether(dst="02:00:00:00:00:07", src="02:00:00:00:00:02") / IP(src=str(PEER), dst=str(US)) / ICMP(),
        HEAD / IPv6(src=str(PEER6), dst="ff02::1") / ICMPv6EchoRequest(),
        HEAD / IPv6(src="ff02::1", dst=str(US6)) / ICMPv6EchoRequest(),
        HEAD / IPv6(src="::", dst=str(US6)) / ICMPv6EchoRequest(),
    ],
)
def test_what_no_host_answers(place, frame):
    assert place.answer(bytes(frame)) is None


def test_too_many_are_limited_and_it_is_known(place):
    answers = [place.answer(PING, 100) for _ in range(150)]
    assert [one is not None and one.frame is not None for one in answers] == [True] * 100 + [False] * 50
    later = place.answer(PING, 100.02)
    assert later is not None
    assert later.frame is not None


def test_questions_for_our_addresses(place):
    asked = arp.request(THEIRS, PEER, US, tags=b"\x81\0\0\7")
    assert place.answer(arp.build(asked)) == Answer(Kind.ARP, arp.build(arp.reply(asked, OURS)))
    solicited = nd.solicit(THEIRS, PEER6, US6, tags=b"\x81\0\0\7")
    assert place.answer(nd.build(solicited)) == Answer(Kind.ND, nd.build(nd.advertise(solicited, OURS)))
    assert place.answer(arp.build(arp.request(THEIRS, PEER, STRANGER))) is None
    assert place.answer(arp.build(arp.reply(asked, THEIRS))) is None
    assert place.answer(nd.build(nd.advertise(solicited, THEIRS))) is None
    assert place.answer(nd.build(nd.solicit(THEIRS, PEER6, PEER6))) is None
    assert place.answer(arp.build(arp.announcement(THEIRS, US))) is None


def test_while_it_is_not_sure_nobody_is_overridden():
    place = Place()
    solicited = nd.solicit(THEIRS, PEER6, US6)
    answer = place.answer(nd.build(solicited), 0)
    assert answer == Answer(Kind.ND, nd.build(nd.advertise(solicited, OURS, is_sure=False)))


def test_for_an_address_that_is_taken_there_is_no_answer():
    place = Place()
    for said in (arp.announcement(THEIRS, US).statement(), nd.announcement(THEIRS, US6).statement()):
        assert said is not None
        (taken,) = place.own.heard(said, 0.5)
        assert taken == Say("taken", said.address, THEIRS)
    for frame in (PING, PING6, arp.build(arp.request(THEIRS, PEER, US)), nd.build(nd.solicit(THEIRS, PEER6, US6))):
        assert place.answer(frame, 1) is None
    assert place.answer(rarp.build(rarp.request(STATION, STATION)), 1) is None  # there is no server to name
    acts = place.until(200)
    assert [act for act in acts if isinstance(act, Say)] == [Say("free", US6, None), Say("free", US, None)]
    assert place.answer(PING, 200) is not None


def test_our_other_ports_are_nobody_else():
    own = OwnAddresses(lambda: 0.0)
    own.follow(OURS, [US], 0, others=[OURS, THEIRS])
    said = arp.announcement(THEIRS, US).statement()
    assert said is not None
    assert own.heard(said, 0.5) == []


def test_a_new_mac_is_announced():
    own = OwnAddresses(lambda: 0.0)
    own.follow(OURS, [US], 0)
    own.advance(0)
    own.follow(THEIRS, [US], 10)
    assert own.advance(10) == [Send(arp.build(arp.probe(THEIRS, US)))]


def test_stations(place):
    asked = rarp.request(THEIRS, STATION)  # one may ask for another (RFC 903)
    assert place.answer(rarp.build(asked)) == Answer(Kind.RARP, rarp.build(rarp.reply(asked, OURS, US, ITS_ADDRESS)))
    assert place.answer(rarp.build(rarp.request(THEIRS, THEIRS))) is None
    assert place.answer(rarp.build(rarp.reply(asked, OURS, US, ITS_ADDRESS))) is None


@pytest.mark.parametrize("whole", [PING, PING6])
def test_every_bit_flipped_is_answered_or_not(whole):
    place = Place(echo=10_000)
    for frame in with_a_bit_flipped(whole):
        place.answer(frame)


@given(st.binary(max_size=99) | st.sampled_from([PING, PING6]), st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_raise_one_exception_only(head, tail, kept):
    place = Place()
    place.answer(head[:kept] + tail)
    with suppress(FrameError):
        Complaints().too_big(hearing.beginning(head[:kept] + tail), 1_400, 0)


# ---- what exporters are told ----


def complaints() -> Complaints:
    its = Complaints()
    its.follow((Prefix(4, 0x0A000000, 24), Prefix(6, US6.value, 128)))
    return its


def datagram(source: str = str(PEER), destination: str = str(US), ether: Ether = HEAD, **fields: Any) -> bytes:
    return bytes(ether / IP(src=source, dst=destination, **fields) / UDP() / bytes(1_400))[:128]


def test_each_exporter_is_told_now_and_then_and_all_of_them_not_too_often():
    its = complaints()
    told = [its.too_big(hearing.beginning(datagram()), 1_300, now / 10) for now in range(100)]
    assert sum(one is not None and one.packet is not None for one in told) == 3 + 9
    others = [its.too_big(hearing.beginning(datagram(f"10.1.{n // 250}.{n % 250 + 1}")), 1_300, 20) for n in range(500)]
    assert sum(one is not None and one.packet is not None for one in others) == 100


@pytest.mark.parametrize(
    "frame",
    [
        datagram(destination="10.0.0.255"),
        datagram(destination="10.0.0.0"),
        datagram(destination="10.0.1.1"),
        datagram(destination="224.0.0.1"),
        datagram(source="224.0.0.1"),
        datagram(source="255.255.255.255"),
        datagram(source="0.0.0.0"),
        datagram(source="127.0.0.1"),
        datagram(frag=7),
        datagram(ether=Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:02")),
        datagram(ether=Ether(dst="01:00:5e:00:00:01", src="02:00:00:00:00:02")),
        datagram(ether=Ether(dst="02:00:00:00:00:01", src="ff:00:00:00:00:02")),
        bytes(HEAD / IP(src=str(PEER), dst=str(US)) / ICMP(type=3, code=4) / bytes(40)),
        bytes(HEAD / IPv6(src=str(PEER6), dst="ff02::1") / UDP() / bytes(40)),
        bytes(HEAD / IPv6(src="::", dst=str(US6)) / UDP() / bytes(40)),
    ],
)
def test_of_what_nothing_may_be_said(frame):
    assert complaints().too_big(hearing.beginning(frame), 1_300, 0) is None


def test_a_first_fragment_may_be():
    complaint = complaints().too_big(hearing.beginning(datagram(flags="MF")), 1_300, 0)
    assert complaint is not None
    assert complaint.packet is not None
