"""Fragments of a capture put together: against a twin that keeps every byte by itself, scapy's cuts, and tshark."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from gfwd.daemon.capture import fragments
from gfwd.daemon.capture.datagrams import RAW, Datagram, Skipped, datagram
from gfwd.daemon.capture.file import Frame
from gfwd.daemon.capture.fragments import LASTS, Reassembly
from gfwd.daemon.capture.source import Capture
from gfwd.daemon.inspect import Inspect, Inspection
from tests import captures
from tests.frames import fragment_header
from tests.oracle import tshark

PAYLOAD = Random(815).randbytes(4_000)
SECOND = 10**9


def over_4(payload: bytes = PAYLOAD, ident: int = 7) -> Packet:
    return IP(src="10.2.2.3", dst="10.2.2.1", id=ident) / UDP(sport=50_000, dport=2055) / Raw(payload)


def over_6(payload: bytes = PAYLOAD, ident: int = 7) -> Packet:
    base = IPv6(src="2001:db8::3", dst="2001:db8::1")
    return base / IPv6ExtHdrFragment(id=ident) / UDP(sport=50_000, dport=2055) / Raw(payload)


def cut_4(payload: bytes = PAYLOAD, ident: int = 7) -> list[bytes]:
    return [bytes(one) for one in fragment(over_4(payload, ident), fragsize=1_200)]  # type: ignore[no-untyped-call]


def cut_6(payload: bytes = PAYLOAD, ident: int = 7) -> list[bytes]:
    return [bytes(one) for one in fragment6(over_6(payload, ident), 1_280)]  # type: ignore[no-untyped-call]


CUTS = pytest.mark.parametrize("pieces", [cut_4(), cut_6()], ids=["IPv4", "IPv6"])


def frame(data: bytes, time: int = 0, link_type: int = RAW) -> Frame:
    return Frame(time, data, len(data), link_type)


def payloads(its: Reassembly, pieces: list[bytes], *, is_end: bool = True) -> list[tuple[bytes, bool]]:
    """Payload, and whether it is cut."""
    found = [one for at, piece in enumerate(pieces) for one in its.take(frame(piece, at))]
    found += its.finish() if is_end else ()
    return [(one.datagram.payload, one.datagram.cut) for one in found]


# ---- what is put together ----


@CUTS
def test_in_any_order(pieces):
    for seed in range(20):
        those = Random(seed).sample(pieces, len(pieces))
        its = Reassembly()
        (found,) = [one for at, piece in enumerate(those) for one in its.take(frame(piece, at))]
        assert (found.datagram.payload, found.datagram.cut) == (PAYLOAD, False)
        assert (found.datagram.source_port, found.datagram.destination_port) == (50_000, 2055)
        assert ([one.data for one in found.frames], found.time) == (those, len(those) - 1)
        assert (its.whole, its.parts, its.skipped, len(its), its.bytes) == (1, len(pieces), {}, 0, 0)


def test_two_datagrams_at_once_are_told_apart():
    """By identification, by address, and by family."""
    mixed = [piece for pair in zip(cut_4(), cut_6(), strict=True) for piece in pair] + cut_4(b"x" * 3_000, 8)
    assert sorted(payloads(Reassembly(), mixed)) == sorted([(PAYLOAD, False)] * 2 + [(b"x" * 3_000, False)])


def test_extension_headers_behind_the_fragment_header_belong_to_the_first_one():
    """RFC 8200 §4.5: the first fragment's Next Header counts."""
    carried = bytes(IPv6ExtHdrDestOpt(nh=17)) + bytes(over_6())[48:]
    head = bytes(IPv6(src="2001:db8::3", dst="2001:db8::1", nh=44, plen=8 + 1_600))[:40]
    first = head + b"\x3c" + fragment_header(0, True, 7)[1:] + carried[:1_600]
    rest = carried[1_600:]
    last = head[:4] + (8 + len(rest)).to_bytes(2) + head[6:] + b"\x11" + fragment_header(200, False, 7)[1:] + rest
    for order in ([first, last], [last, first]):
        assert payloads(Reassembly(), order) == [(PAYLOAD, False)]


@CUTS
def test_what_came_twice_is_no_overlap(pieces):
    its = Reassembly()
    assert payloads(its, [pieces[0], *pieces]) == [(PAYLOAD, False)]
    assert its.skipped == {Skipped.DOUBLED: 1}


# ---- what is not whole ----


@CUTS
@pytest.mark.parametrize("missing", range(4))
def test_what_is_not_whole_is_as_it_would_be_without_the_others(pieces, missing):
    its = Reassembly()
    those = [piece for at, piece in enumerate(pieces) if at != missing]
    first = datagram(RAW, pieces[0])
    assert isinstance(first, Datagram) and first.cut
    found = payloads(its, those)
    assert found == ([] if missing == 0 else [(first.payload, True)])
    assert its.skipped == {Skipped.FRAGMENT: len(those) - len(found)}


@CUTS
def test_what_takes_too_long_is_given_up_in_time_of_the_capture(pieces):
    its = Reassembly()
    assert its.take(frame(pieces[0], SECOND)) == []
    assert its.take(frame(pieces[1], SECOND + LASTS)) == []
    (given_up,) = its.take(frame(pieces[2], SECOND + LASTS + 1))
    assert (given_up.time, given_up.datagram.cut) == (SECOND, True)
    assert its.skipped == {Skipped.FRAGMENT: 1}
    assert payloads(its, pieces[3:]) == []
    assert (its.skipped, its.crowded, its.bytes) == ({Skipped.FRAGMENT: 3}, 0, 0)


@CUTS
def test_time_that_jumps_back_ends_the_waiting_too(pieces):
    """As where one capture stands behind another: nothing of the first one belongs to the second one."""
    its = Reassembly()
    assert its.take(frame(pieces[0], 2 * LASTS)) == []
    (given_up,) = its.take(frame(pieces[1], LASTS - 1))
    assert (given_up.datagram.cut, len(its)) == (True, 1)


@CUTS
def test_fragments_that_the_capture_cut_make_nothing_whole(pieces):
    its = Reassembly()
    first, *later = pieces
    assert payloads(its, [first[:-1], *later]) == [(datagram(RAW, first[:-1]).payload, True)]  # type: ignore[union-attr]
    its = Reassembly()
    assert [is_cut for _, is_cut in payloads(its, [first, *later[:-1], later[-1][:-1]])] == [True]


def test_overlapping_fragments_spoil_all_of_their_datagram():
    """RFC 5722 §3: and what comes of it later, until nobody waits for it any more."""
    for cut, length in ((cut_4, 20), (cut_6, 48)):
        first, second, *rest = cut()
        lie = bytearray(second)
        lie[length] ^= 0xFF  # in the same place, but other bytes
        its = Reassembly()
        assert payloads(its, [first, bytes(lie), second, *rest], is_end=False) == []
        assert its.skipped == {Skipped.OVERLAP: 3 + len(rest)}
        assert len(its) == 1
        assert its.take(frame(bytes(over_4(b"x")), LASTS + SECOND))[0].datagram.payload == b"x"
        assert (len(its), its.bytes) == (0, 0)


def test_two_ends_contradict_each_other():
    *before, last = cut_4()
    lie = bytearray(last[:-8])
    lie[2:4] = len(lie).to_bytes(2)
    its = Reassembly()
    assert payloads(its, [bytes(lie), last, *before]) == []
    assert its.skipped == {Skipped.OVERLAP: 2 + len(before)}


def test_a_fragment_behind_the_end():
    behind = bytes(IP(src="10.2.2.3", dst="10.2.2.1", id=7, proto=17, flags="MF", frag=2) / Raw(bytes(16)))
    end = bytes(IP(src="10.2.2.3", dst="10.2.2.1", id=7, proto=17, frag=1) / Raw(bytes(8)))
    for order in ([end, behind], [behind, end]):
        its = Reassembly()
        assert payloads(its, order) == []
        assert its.skipped == {Skipped.OVERLAP: 2}


def test_a_packet_larger_than_ip_has_room_for():
    its = Reassembly()
    death = bytes(IP(src="10.2.2.3", dst="10.2.2.1", proto=17, frag=8_191) / Raw(bytes(1_400)))
    assert payloads(its, [death]) == []
    assert its.skipped == {Skipped.SHORT: 1}


# ---- bounds ----


def test_so_many_datagrams_and_no_more():
    its = Reassembly(datagrams=10)
    given_up = 0
    for ident in range(1_000):
        given_up += len(its.take(frame(cut_4(ident=ident)[0])))
        assert len(its) <= 10
    assert (given_up, its.crowded) == (990, 990)
    assert len(its.finish()) == 10


def test_so_many_bytes_and_no_more():
    """Also where fragments have 8 bytes each."""
    its = Reassembly(most_bytes=100_000)
    for ident in range(10):
        for place in range(1, 500):
            packet = IP(src="10.2.2.3", dst="10.2.2.1", id=ident, proto=17, flags="MF", frag=place) / Raw(bytes(8))
            assert not its.take(frame(bytes(packet)))
            assert its.bytes <= 100_000
    assert its.skipped[Skipped.FRAGMENT] > 4_000


# ---- against a stupid twin ----


@dataclass
class TwinDatagram:
    begin: int
    parts: list[tuple[int, bytes, bool]] = field(default_factory=list)
    is_spoilt: bool = False


class Twin:
    """Every byte in a dict of its own."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.those: dict[int, TwinDatagram] = {}
        self.skipped: Counter[Skipped] = Counter()
        self.found: list[tuple[int, bytes, bool]] = []

    def take(self, now: int, ident: int, at: int, data: bytes, more: bool) -> None:
        self.expire(now)
        its = self.those.setdefault(ident, TwinDatagram(now))
        if its.is_spoilt:
            self.skipped[Skipped.OVERLAP] += 1
        elif (at, data, more) in its.parts:
            self.skipped[Skipped.DOUBLED] += 1
        else:
            its.parts.append((at, data, more))
            self.look(ident, its)
        if len(self.those) > self.most:
            self.give_up()

    def expire(self, now: int) -> None:
        while self.those and abs(now - next(iter(self.those.values())).begin) > LASTS:
            self.give_up()

    def look(self, ident: int, its: TwinDatagram) -> None:
        have: dict[int, int] = {}
        n = sum(len(data) for _, data, _ in its.parts)
        for at, data, _ in its.parts:
            have |= {at + n: byte for n, byte in enumerate(data)}
        ends = [at + len(data) for at, data, more in its.parts if not more]
        if len(have) < n or len(ends) > 1 or (ends and max(have) >= ends[0]):
            its.is_spoilt = True
            self.skipped[Skipped.OVERLAP] += len(its.parts)
            its.parts = []
        elif ends and set(have) == set(range(ends[0])):
            self.found.append((ident, bytes(have[at] for at in range(ends[0])), False))
            del self.those[ident]

    def give_up(self) -> None:
        ident, its = next(iter(self.those.items()))
        del self.those[ident]
        for at, data, _ in its.parts:
            if at == 0:
                self.found.append((ident, data, True))
            else:
                self.skipped[Skipped.FRAGMENT] += 1


@st.composite
def arrivals(draw):
    """Time, ident, place, bytes, more: of a few datagrams, cut sensibly or not, mixed up."""
    sent = []
    for ident in range(draw(st.integers(1, 4))):
        blocks = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
        at = 0
        for n, size in enumerate(blocks):
            length = 8 * size - (draw(st.integers(0, 7)) if n == len(blocks) - 1 else 0)
            sent.append((ident, at, bytes([draw(st.integers(0, 3))]) * length, n < len(blocks) - 1))
            at += 8 * size
    for _ in range(draw(st.integers(0, 4))):
        size = draw(st.integers(1, 3))
        sent.append((draw(st.integers(0, 4)), 8 * draw(st.integers(0, 9)), bytes(8 * size), draw(st.booleans())))
    for _ in range(draw(st.integers(0, 3))):
        sent.append(draw(st.sampled_from(sent)))
    order = draw(st.permutations(sent)) if draw(st.booleans()) else sent
    now, timed = 0, []
    for one in order:
        now += draw(st.sampled_from([0, 1, LASTS // 2, LASTS, LASTS + 1, -LASTS // 2]))
        timed.append((now, *one))
    return timed


@given(sent=arrivals(), is_v4=st.booleans(), most=st.sampled_from([1, 2, 100]))
def test_as_the_twin_does_it(sent, is_v4, most):
    its, twin = Reassembly(datagrams=most), Twin(most)
    found = []
    for now, ident, place, part, more in sent:  # a UDP header is put before the first one
        at, data = (place + 8, part) if place else (0, b"\0\1\0\2" + bytes(4) + part)
        packet = raw(ident, at, data, more, is_v4=is_v4)
        if at == 0 and not more:  # a whole packet; IPv6 says even that in a fragment header (RFC 6946)
            twin.expire(now)
            *given_up, whole = its.take(frame(packet, now))
            assert (whole.datagram.payload, whole.datagram.cut) == (data[8:], False)
            found += given_up
            continue
        twin.take(now, ident, at, data, more)
        found += its.take(frame(packet, now))
    found += its.finish()
    while twin.those:
        twin.give_up()
    assert [(one.datagram.payload, one.datagram.cut) for one in found] == [(one[8:], cut) for _, one, cut in twin.found]
    assert its.skipped == twin.skipped
    assert its.bytes == 0


def raw(ident: int, at: int, data: bytes, more: bool, *, is_v4: bool) -> bytes:
    if is_v4:
        flags = "MF" if more else 0
        packet = IP(src="10.2.2.3", dst="10.2.2.1", id=ident, proto=17, flags=flags, frag=at // 8) / Raw(data)
        return bytes(packet)
    head = IPv6(src="2001:db8::3", dst="2001:db8::1", nh=44, plen=8 + len(data))
    return bytes(head)[:40] + b"\x11" + fragment_header(at // 8, more, ident)[1:] + data


# ---- tshark, and a capture as a whole ----


@pytest.mark.skipif(tshark.TSHARK is None, reason=tshark.WHY_NOT)
def test_as_tshark_does_it(tmp_path):
    """Datagrams of both families and many sizes, their fragments mixed up and some of them lost."""
    rng = Random(791)
    frames: list[bytes] = []
    for ident in range(60):
        size = rng.choice((1_500, 2_400, 4_000, 9_000))
        pieces = (cut_4 if rng.random() < 0.5 else cut_6)(rng.randbytes(size), ident)
        if rng.random() < 0.2:
            pieces.remove(rng.choice(pieces[1:]))
        if rng.random() < 0.5:
            rng.shuffle(pieces)
        frames += pieces if rng.random() < 0.7 else [pieces[0]]
    frames = [bytes(Ether(type=0x0800 if one[0] >> 4 == 4 else 0x86DD)) + one for one in frames]
    path = tmp_path / "in.pcap"
    path.write_bytes(captures.pcap_file([captures.Frame(at * 1_000, one, len(one)) for at, one in enumerate(frames)]))
    with Inspection(Inspect(), Capture(str(path))) as inspection:
        found = [one.datagram.payload.hex() for one in inspection.seen() if not one.datagram.cut]
    assert found == whole_payloads(path)
    assert 20 < len(found) < 60


def whole_payloads(path: Path) -> list[str]:
    """Of datagrams that were put together, in hexadecimal."""
    fields = ["-T", "fields", "-e", "udp.payload", "-Y", "ip.reassembled_in || ip.fragments || ipv6.fragments"]
    command = [tshark.TSHARK or "tshark", "-n", "-r", str(path), "-o", "udp.check_checksum:FALSE", *fields]
    done = subprocess.run(command, capture_output=True, timeout=tshark.SECONDS, check=True, text=True)
    return [line for line in done.stdout.splitlines() if line]


def test_all_of_its_frames_are_written(tmp_path):
    pieces = [bytes(Ether(type=0x0800)) + one for one in cut_4()]
    path, output = tmp_path / "in.pcap", tmp_path / "out.pcap"
    path.write_bytes(captures.pcap_file([captures.Frame(at * 1_000, one, len(one)) for at, one in enumerate(pieces)]))
    with Inspection(Inspect(output=str(output)), Capture(str(path))) as inspection:
        (seen,) = inspection.seen()
    assert (seen.time, seen.datagram.payload) == ((len(pieces) - 1) * 1_000, PAYLOAD)
    assert inspection.notes() == [f"{path}: note: 1 datagram put together from {len(pieces)} fragments"]
    with Inspection(Inspect(), Capture(str(output))) as inspection:
        assert [one.datagram.payload for one in inspection.seen()] == [PAYLOAD]


def test_the_bounds_are_what_the_documentation_says():
    assert (fragments.DATAGRAMS_MOST, fragments.BYTES_MOST, LASTS) == (4_096, 32 << 20, 30 * SECOND)
