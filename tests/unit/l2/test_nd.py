"""Neighbour discovery against scapy, against RFC 4861 §7.1, and against bytes that are none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import Ether
from scapy.utils6 import in6_getnsma, in6_getnsmac

from gfwd.l2 import ethernet, nd
from gfwd.l2.errors import FrameError
from gfwd.l2.nd import Neighbour
from gfwd.l2.statement import Statement
from gfwd.rules.model import Address
from tests.unit.l2.drawn import HOSTS, IPV6, TAGS, cut, with_a_bit_flipped

OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
US, PEER = nd.link_local(OURS), Address(6, 0xFD << 120 | 2)
SOLICITATION = bytes.fromhex(
    "3333ff000002 020000000001 86dd"
    "60000000 0020 3a ff fe80000000000000000000fffe000001 ff0200000000000000000001ff000002"
    "87 00 7d17 00000000 fd000000000000000000000000000002"
    "01 01 020000000001"
)
HEAD = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")


def text(mac: bytes) -> str:
    return mac.hex(":")


def parse(frame: bytes) -> Neighbour:
    return nd.parse(ethernet.parse(frame))


def test_a_solicitation_is_that_of_the_rfc():
    assert nd.build(nd.solicit(OURS, US, PEER)) == SOLICITATION
    assert parse(SOLICITATION) == nd.solicit(OURS, US, PEER)


def test_the_link_local_address_is_that_of_the_rfc():
    """RFC 2464 §4: 34-56-78-9A-BC-DE has the identifier 36-56-78-FF-FE-9A-BC-DE."""
    assert str(nd.link_local(bytes.fromhex("3456789abcde"))) == "fe80::3656:78ff:fe9a:bcde"


def test_groups_are_those_of_scapy():
    packed = PEER.value.to_bytes(16)
    group = nd.solicited_node(PEER)
    assert group.value.to_bytes(16) == in6_getnsma(packed)
    assert text(nd.group_mac(group)) == in6_getnsmac(in6_getnsma(packed))


@pytest.mark.parametrize("is_sure", [True, False])
def test_an_advertisement_as_scapy_reads_it(is_sure):
    asked = nd.solicit(THEIRS, nd.link_local(THEIRS), PEER)
    frame = Ether(nd.build(nd.advertise(asked, OURS, is_sure=is_sure)))
    assert (frame.dst, frame.src) == (text(THEIRS), text(OURS))
    assert (frame[IPv6].hlim, frame[IPv6].src, frame[IPv6].dst) == (255, str(PEER), str(asked.sender))
    its = frame[ICMPv6ND_NA]
    assert (its.tgt, its.R, its.S, its.O) == (str(PEER), 0, 1, int(is_sure))
    assert its[ICMPv6NDOptDstLLAddr].lladdr == text(OURS)
    whole = bytes(frame)
    del frame[ICMPv6ND_NA].cksum
    assert bytes(frame) == whole  # scapy's checksum is the same


def test_who_probes_is_answered_by_all_nodes():
    """RFC 4861 §7.2.4: nobody asked whom an answer could be for, so it is not solicited."""
    answer = nd.advertise(nd.probe(THEIRS, PEER), OURS)
    assert answer == nd.announcement(OURS, PEER)
    assert (answer.receiver, answer.is_solicited) == (nd.ALL_NODES, False)
    assert text(answer.destination) == "33:33:00:00:00:01"


def test_what_scapy_builds_is_understood():
    frame = HEAD / IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NA(tgt=str(PEER), R=1, S=1, O=0)
    bare = parse(bytes(frame))
    assert (bare.mac, bare.is_router, bare.is_solicited, bare.is_override) == (None, True, True, False)
    assert bare.statement() == Statement(PEER, None, OURS, THEIRS, US)
    options = ICMPv6NDOptMTU() / ICMPv6NDOptDstLLAddr(lladdr=text(THEIRS))
    assert parse(bytes(frame / options)).mac == THEIRS  # what is not known is stepped over
    question = HEAD / IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NS(tgt=str(US))
    assert parse(bytes(question)).statement() is None
    assert parse(bytes(question / ICMPv6NDOptSrcLLAddr(lladdr=text(THEIRS)))).statement() == Statement(
        PEER, THEIRS, OURS, THEIRS
    )


@pytest.mark.parametrize(
    "inner",
    [
        IPv6(src=str(PEER), dst=str(US), hlim=254) / ICMPv6ND_NA(tgt=str(PEER)),
        IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NA(tgt=str(PEER), code=1),
        IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NA(tgt=str(PEER), cksum=1),
        IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NA(tgt="ff02::1"),
        IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NS(tgt="ff02::1"),
        IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NS(tgt="::"),
        IPv6(src=str(PEER), dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=str(PEER), S=1),
        IPv6(src="::", dst=str(US), hlim=255) / ICMPv6ND_NS(tgt=str(US)),
        IPv6(src="::", dst=str(nd.solicited_node(US)), hlim=255)
        / ICMPv6ND_NS(tgt=str(US))
        / ICMPv6NDOptSrcLLAddr(lladdr=text(THEIRS)),
        IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NS(tgt=str(US)) / (b"\1\0" + bytes(6)),
        IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NS(tgt=str(US)) / (b"\1\2" + bytes(6)),
        IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_NS(tgt=str(US)) / (b"\1\2" + bytes(14)),
        IPv6(src=str(PEER), dst=str(US), hlim=255) / ICMPv6ND_RS(),
    ],
    ids=[
        "from further away",
        "code",
        "checksum",
        "multicast target, NA",
        "multicast target, NS",
        "no target",
        "solicited by all",
        "probe to one",
        "probe with a MAC",
        "option of no length",
        "option cut off",
        "MAC of 14 bytes",
        "a router's",
    ],
)
def test_what_a_host_discards(inner):
    with pytest.raises(FrameError):
        parse(bytes(HEAD / inner))


def test_behind_an_extension_header():
    frame = HEAD / IPv6(src=str(PEER), dst=str(US), hlim=255) / IPv6ExtHdrHopByHop() / ICMPv6ND_NA(tgt=str(PEER))
    assert parse(bytes(frame)).target == PEER


def test_a_frame_that_is_cut_is_refused_at_every_length():
    for frame in cut(SOLICITATION):
        with pytest.raises(FrameError):
            parse(frame)


@pytest.mark.parametrize("trailing", [b"x", bytes(20), b"anything at all"])
def test_what_follows_is_padding(trailing):
    assert parse(SOLICITATION + trailing) == parse(SOLICITATION)


def test_every_bit_flipped_is_refused_or_another_frame():
    """Behind the Ethernet header a checksum finds each of them, but in what it does not cover."""
    understood = 0
    for frame in with_a_bit_flipped(SOLICITATION):
        with suppress(FrameError):
            parse(frame)
            understood += 1
    assert understood == 6 * 16 + 28  # the MACs, traffic class and flow label; another hop limit is refused


neighbours = st.builds(
    lambda macs, target, tags: nd.solicit(macs[0], nd.link_local(macs[0]), target, tags=tags),
    st.tuples(HOSTS, HOSTS),
    IPV6.filter(lambda address: address.value >> 120 != 0xFF and address.value),
    TAGS,
)


@given(neighbours, HOSTS, st.sampled_from(["asked", "answered", "probed", "announced"]))
def test_there_and_back(asked, mac, form):
    built = {
        "asked": asked,
        "answered": nd.advertise(asked, mac),
        "probed": nd.probe(mac, asked.target, asked.tags),
        "announced": nd.announcement(mac, asked.target, asked.tags),
    }[form]
    assert parse(nd.build(built)) == built


@given(st.binary(max_size=120) | st.binary(max_size=90).map(lambda tail: SOLICITATION[:20] + tail))
def test_any_bytes_are_understood_or_refused(frame):
    with suppress(FrameError):
        parse(frame)


def test_a_group_says_and_asks_nothing():
    """An answer to it would be for many."""
    for frame in (nd.solicit(THEIRS, PEER, US), nd.advertise(nd.solicit(OURS, US, PEER), THEIRS)):
        assert parse(nd.build(frame)) == frame
        with pytest.raises(FrameError):
            parse(nd.build(frame._replace(sender=nd.ALL_NODES)))
