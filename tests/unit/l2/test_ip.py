"""Ethernet, IP and ICMP as they stand in frames, against scapy, whole, cut and with every bit flipped."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import Dot1Q
from scapy.layers.l2 import Ether as ScapyEther
from scapy.packet import Raw

from gfwd.l2 import ethernet, icmp_message, ip
from gfwd.l2.checksum import checksum
from gfwd.l2.errors import FrameError
from gfwd.l2.ethernet import Ether
from gfwd.l2.icmp_message import Message
from gfwd.l2.ip import Packet
from gfwd.rules.model import Address
from tests.unit.l2.drawn import IPV4, IPV6, MACS, TAGS, cut, with_a_bit_flipped

MAC, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
FOUR, FOUR_TOO = Address(4, 0x0A000001), Address(4, 0x0A000002)
SIX, SIX_TOO = Address(6, 0xFD << 120 | 1), Address(6, 0xFD << 120 | 2)
ECHO4 = bytes(IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(type=8, id=7, seq=9) / Raw(b"abc"))
ECHO6 = bytes(IPv6(src="fd00::2", dst="fd00::1") / ICMPv6EchoRequest(id=7, seq=9, data=b"abc"))
ECHOES = {ethernet.IPV4: ECHO4, ethernet.IPV6: ECHO6}


# ---- Ethernet ----


@given(st.builds(Ether, MACS, MACS, st.integers(0, 0x80FF), st.binary(min_size=46, max_size=80), TAGS))
def test_frames_there_and_back(drawn):
    assert ethernet.parse(ethernet.build(drawn)) == drawn


def test_a_frame_as_scapy_builds_it():
    whole = bytes(ScapyEther(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / Dot1Q(vlan=100) / IP(ECHO4))
    found = ethernet.parse(whole)
    assert (found.destination, found.source, found.type) == (MAC, OTHER, ethernet.IPV4)
    assert (found.tags, found.payload) == (bytes.fromhex("81000064"), ECHO4)


def test_a_header_that_is_cut_and_a_third_tag():
    for frame in cut(MAC + OTHER + b"\x08\x00"):
        with pytest.raises(FrameError):
            ethernet.parse(frame)
    with pytest.raises(FrameError):
        ethernet.parse(MAC + OTHER + 3 * b"\x81\x00\x00\x01" + b"\x08\x00")


def test_who_is_a_single_host():
    assert [ethernet.is_single(mac) for mac in (MAC, bytes(6), ethernet.BROADCAST, b"\x33\x33\0\0\0\1")] == [
        True,
        False,
        False,
        False,
    ]


# ---- IP ----


@given(st.one_of(st.tuples(IPV4, IPV4), st.tuples(IPV6, IPV6)), st.integers(0, 255), st.binary(max_size=99), st.data())
def test_packets_there_and_back(ends, hops, payload, data):
    protocol = data.draw(st.sampled_from([ip.UDP, ip.ICMP, ip.ICMPV6, 59]))
    packet = Packet(ends[0], ends[1], protocol, payload, hops)
    found = ip.parse(ip.ETHERTYPES[packet.family], ip.build(packet) + b"padding")
    assert found == packet._replace(offset=ip.HEADER_BYTES[packet.family])


def test_headers_are_those_of_scapy():
    four = IP(ip.build(Packet(FOUR, FOUR_TOO, ip.UDP, bytes(8))))
    assert (four.src, four.dst, four.ttl, four.len, four.flags) == ("10.0.0.1", "10.0.0.2", 64, 28, "DF")
    whole = bytes(four)
    del four.chksum
    assert bytes(four) == whole
    six = IPv6(ip.build(Packet(SIX, SIX_TOO, ip.UDP, bytes(8), 255)))
    assert (six.src, six.dst, six.hlim, six.plen, six.nh) == ("fd00::1", "fd00::2", 255, 8, 17)


def test_options_and_extension_headers_are_stepped_over():
    four = ip.parse(ethernet.IPV4, bytes(IP(options=[IPOption_NOP()] * 3) / UDP() / b"xy"))
    assert (four.offset, four.protocol, four.payload[8:]) == (24, ip.UDP, b"xy")
    chain = IPv6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / UDP() / b"xy"
    six = ip.parse(ethernet.IPV6, bytes(chain))
    assert (six.offset, six.protocol, six.payload[8:]) == (64, ip.UDP, b"xy")


@pytest.mark.parametrize(
    ("ethertype", "data", "expected"),
    [
        (ethernet.IPV4, IP(flags="MF") / UDP(), (True, False)),
        (ethernet.IPV4, IP(frag=1) / UDP(), (True, True)),
        (ethernet.IPV4, IP() / UDP(), (False, False)),
        (ethernet.IPV6, IPv6() / IPv6ExtHdrFragment(m=1) / UDP(), (True, False)),
        (ethernet.IPV6, IPv6() / IPv6ExtHdrFragment(offset=1) / UDP(), (True, True)),
        (ethernet.IPV6, IPv6() / IPv6ExtHdrFragment() / UDP(), (False, False)),  # atomic (RFC 6946)
    ],
)
def test_fragments(ethertype, data, expected):
    found = ip.parse(ethertype, bytes(data))
    assert (found.is_fragment, found.is_later) == expected


def test_what_is_on_its_way_to_somebody_else_is_refused():
    with pytest.raises(FrameError):
        ip.parse(ethernet.IPV6, bytes(IPv6() / IPv6ExtHdrRouting(segleft=1) / UDP()))


@pytest.mark.parametrize(("ethertype", "whole"), ECHOES.items())
def test_a_packet_that_is_cut(ethertype, whole):
    for data in cut(whole):
        with pytest.raises(FrameError):
            ip.parse(ethertype, data)
        if len(data) >= 40:
            assert ip.parse(ethertype, data, is_whole=False).protocol in (ip.ICMP, ip.ICMPV6)
        else:
            with suppress(FrameError):
                ip.parse(ethertype, data, is_whole=False)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (FOUR, True),
        (SIX, True),
        (Address(4, 0), False),
        (Address(4, 0x7F000001), False),
        (Address(4, 0xE0000001), False),
        (Address(4, 0xFFFFFFFF), False),
        (Address(6, 0), False),
        (Address(6, 1), False),
        (Address(6, 0xFF02 << 112 | 1), False),
    ],
    ids=str,
)
def test_who_can_be_answered(address, expected):
    assert ip.is_host(address) is expected


# ---- ICMP ----


def test_echo_replies_are_those_of_scapy():
    for ethertype, whole in ECHOES.items():
        asked = ip.parse(ethertype, whole + b"padding")
        message = icmp_message.parse(asked)
        assert icmp_message.is_echo_request(asked.family, message)
        reply = ip.build(icmp_message.echo_reply(asked, message))
        four = IP(src="10.0.0.1", dst="10.0.0.2", id=0, flags="DF") / ICMP(type=0, id=7, seq=9) / Raw(b"abc")
        six = IPv6(src="fd00::1", dst="fd00::2", hlim=64) / ICMPv6EchoReply(id=7, seq=9, data=b"abc")
        assert reply == bytes(four if ethertype == ethernet.IPV4 else six)


@pytest.mark.parametrize(
    ("ethertype", "size", "most"),
    [
        (ethernet.IPV4, 1_400, 576),
        (ethernet.IPV6, 1_400, 1_280),
        (ethernet.IPV4, 5, 61),
        (ethernet.IPV6, 5, 101),
    ],
)
def test_errors_quote_as_much_as_there_is_room_for(ethertype, size, most):
    head = IP(src="10.0.0.2", dst="10.0.0.1") if ethertype == ethernet.IPV4 else IPv6(src="fd00::2", dst="fd00::1")
    whole = bytes(head / UDP(sport=1, dport=9) / bytes(size))
    about = ip.parse(ethertype, whole)
    for error, its in (
        (icmp_message.too_big(about, whole, 1_300), {4: (3, 4, 1_300), 6: (2, 0, 1_300)}),
        (icmp_message.port_unreachable(about, whole), {4: (3, 3, 0), 6: (1, 4, 0)}),
    ):
        data = ip.build(error)
        message = icmp_message.parse(ip.parse(ethertype, data))
        assert (message.type, message.code, int.from_bytes(message.rest)) == its[about.family]
        assert (error.source, error.destination) == (about.destination, about.source)
        assert whole.startswith(message.body)
        assert len(data) == most


@pytest.mark.parametrize(("ethertype", "whole"), ECHOES.items())
def test_every_bit_flipped_is_found(ethertype, whole):
    """A checksum covers all but IPv6's traffic class, flow label and hop limit; a length is found out, too."""
    understood = 0
    for data in with_a_bit_flipped(whole):
        with suppress(FrameError):
            icmp_message.parse(ip.parse(ethertype, data))
            understood += 1
    assert understood == (0 if ethertype == ethernet.IPV4 else 28 + 8)


@given(st.sampled_from(sorted(ECHOES)), st.binary(max_size=80), st.integers(0, 40), st.booleans())
def test_any_bytes_are_understood_or_refused(ethertype, tail, kept, is_whole):
    with suppress(FrameError):
        icmp_message.parse(ip.parse(ethertype, ECHOES[ethertype][:kept] + tail, is_whole=is_whole))


@given(st.binary(max_size=99))
def test_a_checksum_over_itself_is_zero(data):
    padded = data + b"\0" * (len(data) % 2)
    assert checksum(padded + checksum(padded).to_bytes(2)) == 0


def test_a_message_there_and_back():
    message = Message(3, 3, b"\1\2\3\4", b"body")
    for ends in ((FOUR, FOUR_TOO), (SIX, SIX_TOO)):
        assert icmp_message.parse(icmp_message.packet(message, *ends)) == message
