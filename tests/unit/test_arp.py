"""The ARP codec against the bytes of RFC 826, and against bytes that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.l2 import arp
from gfwd.l2.errors import FrameError
from gfwd.rules.model import Address

OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SENDER, TARGET = Address(4, 0x0A000001), Address(4, 0x0A000002)
TAG, SECOND_TAG = bytes.fromhex("81000064"), bytes.fromhex("88a80007")
REQUEST = bytes.fromhex(
    "ffffffffffff 020000000001 0806"
    "0001 0800 06 04 0001"  # Ethernet, IPv4, their lengths, request
    "020000000001 0a000001"
    "000000000000 0a000002"
)
REPLY = bytes.fromhex(
    "020000000001 020000000002 0806"
    "0001 0800 06 04 0002"
    "020000000002 0a000002"
    "020000000001 0a000001"
)  # fmt: skip

macs = st.binary(min_size=6, max_size=6)
addresses = st.builds(Address, st.just(4), st.integers(0, 0xFFFFFFFF))
tags = st.lists(st.tuples(st.sampled_from([b"\x81\x00", b"\x88\xa8", b"\x91\x00"]), st.binary(min_size=2, max_size=2)))
arps = st.builds(
    arp.Arp,
    macs,
    macs,
    st.sampled_from([arp.REQUEST, arp.REPLY]),
    macs,
    addresses,
    macs,
    addresses,
    tags.map(lambda drawn: b"".join(map(b"".join, drawn[:2]))),
)


def tagged(frame: bytes, tags: bytes) -> bytes:
    return frame[:12] + tags + frame[12:]


def test_a_request_is_that_of_the_rfc():
    assert arp.build(arp.request(OURS, SENDER, TARGET)) == REQUEST + bytes(18)


def test_a_probe_is_a_request_to_one():
    frame = arp.build(arp.request(OURS, SENDER, TARGET, to=THEIRS))
    assert frame == THEIRS + REQUEST[6:] + bytes(18)


def test_a_reply_is_that_of_the_rfc():
    assert arp.build(arp.reply(arp.parse(REQUEST), THEIRS)) == REPLY + bytes(18)


@pytest.mark.parametrize("tags", [TAG, TAG + SECOND_TAG])
def test_a_reply_goes_back_by_the_tags_of_its_request(tags):
    asked = arp.parse(tagged(REQUEST, tags))
    assert asked.tags == tags
    assert arp.build(arp.reply(asked, THEIRS)).startswith(tagged(REPLY, tags))


def test_the_fields():
    assert arp.parse(REPLY) == arp.Arp(OURS, THEIRS, arp.REPLY, THEIRS, TARGET, OURS, SENDER, b"")


def test_what_follows_is_padding():
    assert arp.parse(REPLY + b"anything at all") == arp.parse(REPLY)


@pytest.mark.parametrize("frame", [REQUEST, tagged(REQUEST, TAG), tagged(REQUEST, TAG + SECOND_TAG)])
def test_a_frame_that_is_cut_is_refused_at_every_length(frame):
    for length in range(len(frame)):
        with pytest.raises(FrameError):
            arp.parse(frame[:length])


def test_a_third_tag_is_refused():
    with pytest.raises(FrameError):
        arp.parse(tagged(REQUEST, 3 * TAG))


def test_every_other_ethertype_is_refused():
    for ethertype in range(0x10000):
        if ethertype != 0x0806:
            with pytest.raises(FrameError):
                arp.parse(REQUEST[:12] + ethertype.to_bytes(2) + REQUEST[14:])


@pytest.mark.parametrize(
    ("offset", "value"),
    [(14, "0006"), (16, "86dd"), (18, "08"), (19, "10"), (20, "0000"), (20, "0003"), (20, "0100")],
    ids=["hardware", "protocol", "hardware length", "protocol length", "no operation", "RARP", "swapped"],
)
def test_every_other_kind_of_arp_is_refused(offset, value):
    field = bytes.fromhex(value)
    with pytest.raises(FrameError):
        arp.parse(REQUEST[:offset] + field + REQUEST[offset + len(field) :])


@given(arps)
def test_there_and_back(drawn):
    frame = arp.build(drawn)
    assert len(frame) >= 60
    assert arp.parse(frame) == drawn


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: REQUEST[:14] + tail))
def test_any_bytes_are_an_arp_frame_or_refused(frame):
    try:
        found = arp.parse(frame)
    except FrameError:
        return
    assert arp.build(found)[: len(frame)] == frame[:60] or frame.startswith(arp.build(found)[:42])
