"""Captures as inspect reads them: all that the core's reader takes, read alike; and the other link types."""

from __future__ import annotations

import io
import re
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback
from scapy.packet import Packet, Raw
from scapy.utils import RawPcapReader

from gfwd.daemon.capture import datagrams
from gfwd.daemon.capture.datagrams import Datagram, Skipped, datagram
from gfwd.daemon.capture.file import CaptureFile, Frame
from gfwd.daemon.capture.writer import CaptureWriter
from tests import captures
from tests.captures import Capture
from tests.unit.test_pcap import TEXTS

# A link type is refused by the core, and here only where a frame has one that is not known.
ALL = [capture for capture in captures.all_captures() if capture.error != "link_type"]


def read(data: bytes) -> tuple[list[Frame], str | None]:
    file = CaptureFile(io.BytesIO(data))
    return [*file.frames()], file.problem


@pytest.mark.parametrize("capture", ALL, ids=lambda capture: capture.name)
def test_reads_what_the_core_reads(capture: Capture):
    frames, problem = read(capture.data)
    assert [(one.time, one.data, one.length) for one in frames] == [
        (one.time, one.data, one.length) for one in capture.frames
    ]
    if capture.error is None:
        assert problem is None
    else:
        assert problem is not None
        said = re.fullmatch(r"(.*) \(at byte (\d+)\)", problem)
        assert said is not None
        assert int(said[2]) == capture.offset
        assert re.fullmatch(TEXTS[capture.error], said[1]), said[1]


@given(data=st.data())
def test_any_bytes_end(data):
    """No other exception than its own, and never more frames than there is room for."""
    whole = data.draw(st.sampled_from([capture.data[:5_000] for capture in ALL]))
    at = data.draw(st.integers(0, max(len(whole) - 1, 0)))
    frames, _ = read(whole[:at] + data.draw(st.binary(max_size=40)) + whole[at:][data.draw(st.integers(0, 40)) :])
    assert 16 * len(frames) <= len(whole) + 40


def test_a_writer_keeps_all_of_a_frame(tmp_path):
    frames = [Frame(1_700_000_000_123_456_789, b"abc", 77, 101), Frame(0, b"", 0, 101), Frame(5, b"x", 1, 1)]
    path = tmp_path / "out.pcap"
    with path.open("wb") as file:
        writer = CaptureWriter(file)
        for one in frames:
            writer.put(one)
        writer.finish()
    assert (writer.written, writer.left_out) == (2, 1)
    assert read(path.read_bytes()) == (frames[:2], None)
    with RawPcapReader(str(path)) as reader:
        assert (reader.linktype, reader.nano) == (101, True)


def test_a_writer_of_nothing_writes_a_capture():
    file = io.BytesIO()
    CaptureWriter(file).finish()
    assert read(file.getvalue()) == ([], None)


# ---- link types ----

PAYLOAD = b"payload of a datagram"
OVER_4 = IP(src="10.2.2.3", dst="10.2.2.1") / UDP(sport=50_000, dport=2055) / Raw(PAYLOAD)
OVER_6 = IPv6(src="2001:db8::3", dst="2001:db8::1") / UDP(sport=50_000, dport=2055) / Raw(PAYLOAD)
WAYS: list[tuple[str, int, Packet]] = [
    ("Ethernet", datagrams.ETHERNET, Ether()),
    ("VLAN", datagrams.ETHERNET, Ether() / Dot1Q(vlan=30)),
    ("QinQ", datagrams.ETHERNET, Ether() / Dot1AD(vlan=30) / Dot1Q(vlan=31)),
    ("Linux cooked", datagrams.LINUX_COOKED, CookedLinux()),
    ("Linux cooked, VLAN", datagrams.LINUX_COOKED, CookedLinux(proto=0x8100) / Dot1Q(vlan=30)),
    ("Linux cooked 2", datagrams.LINUX_COOKED_2, CookedLinuxV2()),
    ("null", datagrams.NULL, Loopback()),
    ("loop", datagrams.LOOP, Loopback()),
]


@pytest.mark.parametrize("packet", [OVER_4, OVER_6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(("link_type", "link"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_every_link_type(link_type, link, packet):
    check(datagram(link_type, bytes(link / packet) + b"trailer"), packet)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("packet", [OVER_4, OVER_6], ids=["IPv4", "IPv6"])
def test_behind_mpls_labels(packet, n):
    """As inside a provider's network; what is cut among the labels is no datagram, whatever they are."""
    labels = b"".join(struct.pack(">I", (16 + at) << 12 | (at == n - 1) << 8 | 64) for at in range(n))
    frame = bytes(12) + b"\x88\x47" + labels + bytes(packet)
    check(datagram(datagrams.ETHERNET, frame), packet)
    for end in range(14, 14 + len(labels)):
        assert datagram(datagrams.ETHERNET, frame[:end]) is Skipped.SHORT


@pytest.mark.parametrize("link_type", [12, 14, datagrams.RAW])
@pytest.mark.parametrize("packet", [OVER_4, OVER_6], ids=["IPv4", "IPv6"])
def test_raw_ip(link_type, packet):
    check(datagram(link_type, bytes(packet)), packet)


def check(found: Datagram | Skipped, packet: Packet) -> None:
    source, destination = (ip_address(address).packed for address in (packet.src, packet.dst))
    assert found == Datagram(source, 50_000, destination, 2055, PAYLOAD, False)


def test_extension_headers_and_fragments():
    base, udp = IPv6(src="2001:db8::3", dst="2001:db8::1"), UDP(sport=50_000, dport=2055) / Raw(PAYLOAD)
    check(datagram(101, bytes(base / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / udp)), OVER_6)
    first = datagram(101, bytes(base / IPv6ExtHdrFragment(nh=17, m=1) / udp))
    assert isinstance(first, Datagram) and first.cut
    assert datagram(101, bytes(base / IPv6ExtHdrFragment(nh=17, offset=5) / udp)) is Skipped.FRAGMENT
    four = IP(src="10.2.2.3", dst="10.2.2.1", flags="MF") / udp
    first = datagram(101, bytes(four))
    assert isinstance(first, Datagram) and first.cut
    assert datagram(101, bytes(IP(frag=3, proto=17) / Raw(bytes(40)))) is Skipped.FRAGMENT


@pytest.mark.parametrize("link_type", [1, 101, 113, 276, 0])
@pytest.mark.parametrize("packet", [OVER_4, OVER_6], ids=["IPv4", "IPv6"])
def test_cut_anywhere(link_type, packet):
    """A part of a payload is given as such; less than that is counted."""
    link = next((way[2] for way in WAYS if way[1] == link_type), None)
    frame = bytes(packet if link is None else link / packet)
    for size in range(len(frame)):
        found = datagram(link_type, frame[:size])
        if size < len(frame) - len(PAYLOAD):
            assert found in (Skipped.SHORT, Skipped.NOT_UDP), size
        else:
            assert isinstance(found, Datagram) and found.cut, size
            assert found.payload == PAYLOAD[: len(PAYLOAD) - (len(frame) - size)]


def test_what_is_no_datagram():
    assert datagram(1, bytes(Ether(type=0x0806) / Raw(bytes(28)))) is Skipped.NOT_UDP
    assert datagram(1, bytes(Ether() / IP(proto=6) / Raw(bytes(40)))) is Skipped.NOT_UDP
    assert datagram(189, bytes(60)) is Skipped.LINK
    assert datagram(101, b"\x99" * 60) is Skipped.NOT_UDP
    lies = bytearray(bytes(OVER_4))
    lies[24:26] = struct.pack(">H", 7)  # a UDP length that has no room for its own header
    assert datagram(101, bytes(lies)) is Skipped.SHORT


@given(link_type=st.sampled_from([0, 1, 12, 101, 108, 113, 276]), frame=st.binary(max_size=120))
def test_any_bytes_as_a_frame(link_type, frame):
    found = datagram(link_type, frame)
    assert isinstance(found, Skipped) or len(found.payload) <= len(frame)
