"""The RARP codec against the bytes of RFC 903, and against bytes that are none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.l2 import arp, rarp
from gfwd.l2.arp import Arp
from gfwd.l2.errors import FrameError
from gfwd.rules.model import Address
from tests.unit.l2.drawn import IPV4, MACS, TAGS, cut, with_a_bit_flipped

STATION, OURS = bytes.fromhex("02000000000b"), bytes.fromhex("020000000001")
SERVER, ADDRESS = Address(4, 0x0A000001), Address(4, 0x0A00000B)
REQUEST = bytes.fromhex(
    "ffffffffffff 02000000000b 8035"
    "0001 0800 06 04 0003"  # Ethernet, IPv4, their lengths, request reverse
    "02000000000b 00000000"
    "02000000000b 00000000"
)
REPLY = bytes.fromhex("02000000000b 020000000001 8035 0001 0800 06 04 0004 020000000001 0a000001 02000000000b 0a00000b")


def test_both_are_those_of_the_rfc():
    assert rarp.build(rarp.request(STATION, STATION)) == REQUEST + bytes(18)
    assert rarp.build(rarp.reply(rarp.parse(REQUEST), OURS, SERVER, ADDRESS)) == REPLY + bytes(18)
    assert rarp.parse(REPLY + b"padding") == Arp(STATION, OURS, rarp.REPLY, OURS, SERVER, STATION, ADDRESS)


def test_it_says_nothing_of_who_is_where():
    assert rarp.parse(REPLY).statement() is None


def test_arp_is_no_rarp_nor_the_other_way_round():
    with pytest.raises(FrameError):
        rarp.parse(arp.build(arp.request(OURS, SERVER, ADDRESS)))
    with pytest.raises(FrameError):
        arp.parse(REQUEST)
    for operation in (0, 1, 2, 5):
        with pytest.raises(FrameError):
            rarp.parse(REQUEST[:20] + operation.to_bytes(2) + REQUEST[22:])


def test_a_frame_that_is_cut_is_refused_at_every_length():
    for frame in cut(REQUEST):
        with pytest.raises(FrameError):
            rarp.parse(frame)


def test_every_bit_flipped_is_refused_or_another_frame():
    for frame in with_a_bit_flipped(REPLY):
        with suppress(FrameError):
            assert rarp.build(rarp.parse(frame)).startswith(frame)


@given(st.builds(Arp, MACS, MACS, st.sampled_from([rarp.REQUEST, rarp.REPLY]), MACS, IPV4, MACS, IPV4, TAGS))
def test_there_and_back(drawn):
    assert rarp.parse(rarp.build(drawn)) == drawn


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: REQUEST[:14] + tail))
def test_any_bytes_are_understood_or_refused(frame):
    with suppress(FrameError):
        rarp.parse(frame)
