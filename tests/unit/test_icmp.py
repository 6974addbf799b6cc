"""Echo requests and replies, against another implementation, whole, cut and with trailing bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest
from scapy.packet import Raw

from gfwd.l2 import icmp
from gfwd.l2.errors import FrameError
from gfwd.l2.icmp import Echo

ECHO = Echo(0x1234, 0xFFFE)
REPLY4 = bytes(IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(type=0, id=0x1234, seq=0xFFFE))
REPLY6 = bytes(ICMPv6EchoReply(id=0x1234, seq=0xFFFE))


def test_requests_as_scapy_reads_them():
    four = icmp.request(4, ECHO)
    assert four == bytes(ICMP(type=8, id=0x1234, seq=0xFFFE))
    six = ICMPv6EchoRequest(icmp.request(6, ECHO))
    assert (six.type, six.code, six.id, six.seq) == (128, 0, 0x1234, 0xFFFE)


@pytest.mark.parametrize("trailing", [b"", b"x", b"trailing bytes"])
def test_replies(trailing):
    four = bytes(IP(REPLY4[:20]) / ICMP(type=0, id=0x1234, seq=0xFFFE) / Raw(trailing))
    assert icmp.reply(4, four) == icmp.reply(6, REPLY6 + trailing) == ECHO


@pytest.mark.parametrize(
    ("family", "data"),
    [
        (4, bytes(IP() / ICMP(type=8, id=0x1234))),  # the request itself, as one on the loopback sees it
        (4, bytes(IP() / ICMP(type=3, code=1))),
        (4, REPLY4[:-1] + b"\0"),
        (6, bytes(ICMPv6EchoRequest(id=1))),
        (6, REPLY6[:1] + b"\1" + REPLY6[2:]),
    ],
)
def test_what_is_no_reply(family, data):
    with pytest.raises(FrameError):
        icmp.reply(family, data)


@pytest.mark.parametrize(("family", "whole"), [(4, REPLY4), (6, REPLY6)])
def test_cut(family, whole):
    for end in range(len(whole)):
        with pytest.raises(FrameError):
            icmp.reply(family, whole[:end])


@given(st.sampled_from([4, 6]), st.binary(max_size=120))
def test_any_bytes(family, data):
    with suppress(FrameError):
        icmp.reply(family, data)
