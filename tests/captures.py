"""Capture files for tests, made on the spot: sound ones of every kind, and broken ones.

Each comes with what a reader must do: the frames that it hands out, then no error, or an error of one kind at the byte
offset of the record or block that is broken (0 for the file's own header). Frames before the broken place are handed
out. The formats are those of draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.

What a reader is expected to be strict and lenient about, where the formats leave it open:

- The longest frame is 262,144 bytes, as in libpcap and Wireshark. A record longer than the file's snapshot length, but
  not than that, is read: Solaris and some appliances write such files, and nothing is unsafe about them.
- Any interface that is not Ethernet is refused where it is described, whether frames came in by it or not.
- A simple packet block has no time: its stamp is 0. Finer stamps than nanoseconds are rounded down.
- The "modified" pcap format (magic 0xa1b2cd34) has not been written for decades, and is refused like any unknown magic.
- Unknown blocks, and options that nothing depends on, are stepped over. A block that says it is longer than any that
  somebody would write (16 MiB) is broken, even where the file ends before that shows.
- A captured length is first held against its block ("bad_block"), then against the longest frame ("too_long").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.frames import datagram

Order = Literal["<", ">"]
ErrorKind = Literal[
    "not_a_capture",  # no magic that we know: empty, text, another format
    "version",
    "truncated",  # the file ends within a header, record or block
    "link_type",  # not Ethernet
    "too_long",  # a frame longer than any that is read
    "bad_block",  # a pcapng block whose lengths contradict each other
    "bad_option",
    "unknown_interface",
]

MAGIC = {"us": 0xA1B2C3D4, "ns": 0xA1B23C4D}
LONGEST_FRAME = 262144
ETHERNET, RAW_IP, LINUX_COOKED = 1, 101, 113
SECTION, INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET, NAMES, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 4, 6
STATISTICS, CUSTOM, SECRETS, UNKNOWN = 5, 0x0BAD, 10, 0x80001234
OPTION_END, OPTION_COMMENT, IF_NAME, IF_TSRESOL, IF_TSOFFSET = 0, 1, 2, 9, 14
BEGIN = 1_700_000_000  # seconds


@dataclass(frozen=True)
class Frame:
    """A captured frame: its time in ns since 1970, the bytes that were kept, and its length on the wire."""

    time: int
    data: bytes
    length: int


@dataclass(frozen=True)
class Capture:
    """A file, and what a reader must make of it."""

    name: str
    data: bytes
    frames: tuple[Frame, ...]
    error: ErrorKind | None = None
    offset: int | None = None


def sample_frames() -> tuple[Frame, ...]:
    """Three sound datagrams of lengths 60, 113 and 102: one in need of padding in pcapng; stamps of whole µs."""
    own4, own6 = 0x0A020201, 0x20010DB8000100000000000000000001
    datas = (
        datagram(4, own4 + 2, own4, (50000, 2055), bytes(18)),
        datagram(6, own6 + 2, own6, (50001, 514), b"<34>1 - a line of syslog, of odd length, as it comes."[:51]),
        datagram(4, own4 + 4, own4, (50002, 9996), bytes(range(56)), [(0x8100, 30)]),
    )
    return tuple(Frame(BEGIN * 10**9 + at * 1_000_001_000, data, len(data)) for at, data in enumerate(datas))


def all_captures() -> list[Capture]:
    """Every capture of this module; names are unique."""
    return [*sound_pcaps(), *broken_pcaps(), *sound_pcapngs(), *broken_pcapngs(), *no_captures()]


# -- pcap -------------------------------------------------------------------------------------------------------------


def pcap_header(
    order: Order = "<",
    resolution: str = "us",
    *,
    magic: int | None = None,
    major: int = 2,
    snaplen: int = LONGEST_FRAME,
    link_type: int = ETHERNET,
) -> bytes:
    """The file's header."""
    return struct.pack(order + "IHHiIII", magic or MAGIC[resolution], major, 4, 0, 0, snaplen, link_type)


def pcap_record(frame: Frame, order: Order = "<", resolution: str = "us", *, captured: int | None = None) -> bytes:
    """A record; its captured length may lie."""
    second, ns = divmod(frame.time, 10**9)
    fraction = ns if resolution == "ns" else ns // 1000
    size = len(frame.data) if captured is None else captured
    return struct.pack(order + "IIII", second, fraction, size, frame.length) + frame.data


def pcap_file(frames: Sequence[Frame], order: Order = "<", resolution: str = "us") -> bytes:
    """A whole sound file."""
    return pcap_header(order, resolution) + b"".join(pcap_record(frame, order, resolution) for frame in frames)


def sound_pcaps() -> Iterator[Capture]:
    """Both byte orders, both resolutions, and what is odd but right."""
    frames = sample_frames()
    finer = tuple(Frame(frame.time + 789, frame.data, frame.length) for frame in frames)
    yield Capture("pcap little-endian µs", pcap_file(frames), frames)
    yield Capture("pcap big-endian µs", pcap_file(frames, ">"), frames)
    yield Capture("pcap little-endian ns", pcap_file(finer, "<", "ns"), finer)
    yield Capture("pcap big-endian ns", pcap_file(finer, ">", "ns"), finer)
    yield Capture("pcap without records", pcap_header(), ())
    snapped = (Frame(frames[0].time, frames[0].data[:40], 60), Frame(frames[1].time, b"", 113), frames[2])
    yield Capture("pcap with frames cut at capture", pcap_file(snapped), snapped)
    short = pcap_header(snaplen=68) + b"".join(pcap_record(frame) for frame in frames)
    yield Capture("pcap with records beyond its snapshot length", short, frames)
    longest = Frame(frames[0].time, bytes(LONGEST_FRAME), LONGEST_FRAME)
    yield Capture("pcap with the longest frame", pcap_file([longest, frames[0]]), (longest, frames[0]))
    late = Frame((2**32 - 1) * 10**9 + 999_999_000, frames[0].data, 60)
    yield Capture("pcap from the year 2106", pcap_file([late]), (late,))


def broken_pcaps() -> Iterator[Capture]:
    """Files that are pcap, but not all the way."""
    frames = sample_frames()
    whole = pcap_file(frames)
    last = len(whole) - len(pcap_record(frames[2]))
    for size in (4, 23):
        yield Capture(f"pcap cut at byte {size}, in its header", whole[:size], (), "truncated", 0)
    yield Capture("pcap cut in a record's header", whole[: last + 15], frames[:2], "truncated", last)
    yield Capture("pcap cut after a record's header", whole[: last + 16], frames[:2], "truncated", last)
    yield Capture("pcap cut in a record's body", whole[:-1], frames[:2], "truncated", last)
    for link_type, name in ((RAW_IP, "raw IP"), (LINUX_COOKED, "Linux cooked")):
        data = pcap_header(link_type=link_type) + whole[24:]
        yield Capture(f"pcap of {name}", data, (), "link_type", 0)
    for captured in (LONGEST_FRAME + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF):
        data = pcap_file(frames[:2]) + pcap_record(frames[2], captured=captured) + bytes(300000)
        yield Capture(f"pcap with a captured length of {captured:#x}", data, frames[:2], "too_long", last)
    yield Capture("pcap of version 3", pcap_header(major=3) + whole[24:], (), "version", 0)


def no_captures() -> Iterator[Capture]:
    """Files that are no captures at all, or of a kind that is not read."""
    frames = sample_frames()
    modified = pcap_header(magic=0xA1B2CD34)
    modified += b"".join(pcap_record(frame)[:16] + bytes(8) + frame.data for frame in frames)
    yield Capture("modified pcap", modified, (), "not_a_capture", 0)
    yield Capture("empty file", b"", (), "not_a_capture", 0)
    yield Capture("three bytes of a magic", pcap_header()[:3], (), "not_a_capture", 0)
    yield Capture("text file", b"# source  dst port  collectors  priority\n" * 3, (), "not_a_capture", 0)
    yield Capture("gzip", bytes.fromhex("1f8b0800000000000003") + bytes(64), (), "not_a_capture", 0)
    yield Capture("zeros", bytes(100), (), "not_a_capture", 0)


# -- pcapng -----------------------------------------------------------------------------------------------------------


def block(
    kind: int, body: bytes, order: Order = "<", *, length: int | None = None, trailing: int | None = None
) -> bytes:
    """A block around its body; the two lengths may lie."""
    body += bytes(-len(body) % 4)
    size = 12 + len(body) if length is None else length
    return (
        struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size if trailing is None else trailing)
    )


def option(code: int, value: bytes, order: Order = "<", *, length: int | None = None) -> bytes:
    """An option, padded; its length may lie."""
    size = len(value) if length is None else length
    return struct.pack(order + "HH", code, size) + value + bytes(-len(value) % 4)


def section(
    order: Order = "<", *, length: int = -1, major: int = 1, byte_order: int = 0x1A2B3C4D, options: bytes = b""
) -> bytes:
    """A section header block."""
    return block(SECTION, struct.pack(order + "IHHq", byte_order, major, 0, length) + options, order)


def interface(
    order: Order = "<", options: bytes = b"", *, link_type: int = ETHERNET, snaplen: int = LONGEST_FRAME
) -> bytes:
    """An interface description block."""
    return block(INTERFACE, struct.pack(order + "HHI", link_type, 0, snaplen) + options, order)


def enhanced(
    frame: Frame,
    order: Order = "<",
    *,
    at: int = 0,
    stamp: int | None = None,
    options: bytes = b"",
    captured: int | None = None,
) -> bytes:
    """An enhanced packet block of interface `at`; the stamp is in its units, µs of frame.time unless given."""
    stamp = frame.time // 1000 if stamp is None else stamp
    size = len(frame.data) if captured is None else captured
    head = struct.pack(order + "IIIII", at, stamp >> 32, stamp & 0xFFFFFFFF, size, frame.length)
    return block(ENHANCED_PACKET, head + frame.data + bytes(-len(frame.data) % 4) + options, order)


def simple(frame: Frame, order: Order = "<") -> bytes:
    """A simple packet block: of interface 0, without a time."""
    return block(SIMPLE_PACKET, struct.pack(order + "I", frame.length) + frame.data, order)


def obsolete(frame: Frame, order: Order = "<", *, at: int = 0) -> bytes:
    """A packet block, as written before enhanced ones."""
    stamp = frame.time // 1000
    numbers = (at, 0, stamp >> 32, stamp & 0xFFFFFFFF, len(frame.data), frame.length)
    return block(OBSOLETE_PACKET, struct.pack(order + "HHIIII", *numbers) + frame.data, order)


def pcapng_file(frames: Sequence[Frame], order: Order = "<") -> bytes:
    """A whole sound file of one section with one interface."""
    return section(order) + interface(order) + b"".join(enhanced(frame, order) for frame in frames)


def sound_pcapngs() -> Iterator[Capture]:
    """Both byte orders, sections, interfaces, every kind of packet block, and blocks to step over."""
    frames = sample_frames()
    yield Capture("pcapng little-endian", pcapng_file(frames), frames)
    yield Capture("pcapng big-endian", pcapng_file(frames, ">"), frames)
    yield Capture("pcapng without packets", section() + interface(), ())
    yield Capture("pcapng without interfaces", section(), ())
    both = pcapng_file(frames) + pcapng_file(frames, ">") + pcapng_file(frames)
    yield Capture("pcapng of three sections in both byte orders", both, frames * 3)
    body = interface() + enhanced(frames[0])
    sized = section(length=len(body)) + body + section(length=len(body)) + body
    yield Capture("pcapng of sections that tell their length", sized, (frames[0],) * 2)
    yield Capture("pcapng with obsolete packet blocks", section() + interface() + obsolete(frames[0]), frames[:1])
    timeless = Frame(0, frames[1].data, frames[1].length)
    yield Capture("pcapng with a simple packet block", section() + interface() + simple(timeless), (timeless,))
    cut = Frame(0, frames[1].data[:70], frames[1].length)
    short = section() + interface(snaplen=70) + simple(cut)
    yield Capture("pcapng with a simple packet block cut at capture", short, (cut,))
    unlimited = section() + interface(snaplen=0) + simple(timeless) + enhanced(frames[0])
    yield Capture("pcapng without a snapshot length", unlimited, (timeless, frames[0]))
    yield Capture("pcapng with other blocks and options", _chatty(frames), frames)
    yield from _stamped(frames[0])


def _chatty(frames: Sequence[Frame]) -> bytes:
    """Everything that a reader has to step over."""
    comment = option(OPTION_COMMENT, b"hello") + option(OPTION_END, b"")
    parts = [
        section(options=comment),
        block(NAMES, struct.pack("<HH", 0, 0)),
        interface(options=option(IF_NAME, b"eth0") + comment),
        interface(options=option(IF_NAME, b"eth1")),  # options may end with the block
        enhanced(frames[0], options=comment),
        block(UNKNOWN, bytes(1000)),
        block(UNKNOWN + 1, b""),
        enhanced(frames[1], at=1, options=option(OPTION_COMMENT, b"")),
        block(CUSTOM, struct.pack("<I", 32473) + bytes(8)),
        block(SECRETS, struct.pack("<II", 0x544C534B, 0)),
        enhanced(frames[2]),
        block(STATISTICS, bytes(12)),
    ]
    return b"".join(parts)


def _stamped(frame: Frame) -> Iterator[Capture]:
    """Resolutions and offsets of time stamps, and interfaces that differ in them."""
    second = BEGIN
    cases: list[tuple[str, bytes, int, int]] = [
        ("10^-9", option(IF_TSRESOL, b"\x09"), second * 10**9 + 123456789, second * 10**9 + 123456789),
        ("10^-6", option(IF_TSRESOL, b"\x06"), second * 10**6 + 7, second * 10**9 + 7000),
        ("10^-3", option(IF_TSRESOL, b"\x03"), second * 1000 + 7, second * 10**9 + 7_000_000),
        ("10^0", option(IF_TSRESOL, b"\x00"), second, second * 10**9),
        ("10^-12", option(IF_TSRESOL, b"\x0c"), 5 * 10**12 + 1999, 5 * 10**9 + 1),
        ("2^-10", option(IF_TSRESOL, b"\x8a"), (second << 10) + 512, second * 10**9 + 500_000_000),
        ("2^-32", option(IF_TSRESOL, b"\xa0"), (second << 32) + 2**32 - 1, second * 10**9 + 999_999_999),
        ("2^-63", option(IF_TSRESOL, b"\xbf"), 2**64 - 1, 1_999_999_999),
        ("10^-6 from 1 h after 1970", option(IF_TSOFFSET, struct.pack("<q", 3600)), 42, 3600 * 10**9 + 42000),
        (
            "10^-9 back by a day",
            option(IF_TSRESOL, b"\x09") + option(IF_TSOFFSET, struct.pack("<q", -86400)),
            second * 10**9 + 5,
            (second - 86400) * 10**9 + 5,
        ),
    ]
    blocks = [section()]
    stamped = []
    for at, (name, options, stamp, time) in enumerate(cases):
        expected = Frame(time, frame.data, frame.length)
        alone = section() + interface(options=options) + enhanced(expected, stamp=stamp)
        yield Capture(f"pcapng with stamps of {name}", alone, (expected,))
        blocks += [interface(options=options), enhanced(expected, at=at, stamp=stamp)]
        stamped.append(expected)
    yield Capture("pcapng of interfaces with different stamps", b"".join(blocks), tuple(stamped))


def broken_pcapngs() -> Iterator[Capture]:
    """One sound packet, then a block that is broken in one way, then a sound packet that must not be reached."""
    frames = sample_frames()
    start = pcapng_file(frames[:1])
    for name, bad, error in _broken_blocks(frames[1]):
        yield Capture(f"pcapng with {name}", start + bad + enhanced(frames[2]), frames[:1], error, len(start))
    whole = pcapng_file(frames)
    last = len(whole) - len(enhanced(frames[2]))
    for size in (1, 7, 8, 27, len(whole) - last - 4, len(whole) - last - 1):
        name = f"pcapng cut after {size} bytes of a block"
        yield Capture(name, whole[: last + size], frames[:2], "truncated", last)
    for size in (4, 8, 27):
        yield Capture(f"pcapng cut at byte {size}, in its header", whole[:size], (), "truncated", 0)
    yield Capture("pcapng that begins with an interface", interface() + whole, (), "not_a_capture", 0)
    yield Capture("pcapng of an unknown byte order", section(byte_order=0x11223344), (), "bad_block", 0)
    yield Capture("pcapng of version 2", section(major=2) + interface(), (), "version", 0)
    unheard = section() + enhanced(frames[0])
    yield Capture("pcapng with a packet before any interface", unheard, (), "unknown_interface", len(section()))
    forgotten = start + section(">") + enhanced(frames[0], ">")
    where = len(start) + len(section())
    yield Capture("pcapng whose second section has no interface", forgotten, frames[:1], "unknown_interface", where)


def _broken_blocks(frame: Frame) -> list[tuple[str, bytes, ErrorKind]]:
    good = enhanced(frame)
    huge = block(UNKNOWN, bytes(8), length=0xFFFFFFFC)
    overrun = option(OPTION_COMMENT, b"four", length=400)
    return [
        ("a trailing length that differs", block(UNKNOWN, bytes(8), trailing=24), "bad_block"),
        ("a length of 0", block(UNKNOWN, b"", length=0), "bad_block"),
        ("a length of 8", block(UNKNOWN, b"", length=8), "bad_block"),
        ("a length that is no multiple of 4", block(UNKNOWN, bytes(8), length=18), "bad_block"),
        ("a length of nearly 4 GiB", huge, "bad_block"),
        ("a packet longer than its block", enhanced(frame, captured=len(frame.data) + 4), "bad_block"),
        ("a captured length of 0x80000000", enhanced(frame, captured=0x80000000), "bad_block"),
        ("a captured length of 0xffffffff", enhanced(frame, captured=0xFFFFFFFF), "bad_block"),
        ("a packet block without room for its numbers", block(ENHANCED_PACKET, bytes(16)), "bad_block"),
        ("an obsolete packet block without room", block(OBSOLETE_PACKET, bytes(16)), "bad_block"),
        ("an interface block without room", block(INTERFACE, bytes(4)), "bad_block"),
        ("a section block without room", block(SECTION, struct.pack("<I", 0x1A2B3C4D)), "bad_block"),
        ("an obsolete packet of no interface", obsolete(frame, at=1), "unknown_interface"),
        ("a packet of an interface not described", enhanced(frame, at=1), "unknown_interface"),
        ("a packet of interface 0xffffffff", enhanced(frame, at=0xFFFFFFFF), "unknown_interface"),
        ("an option longer than its block", interface(options=overrun), "bad_option"),
        ("half an option", interface(options=b"\2\0\1"), "bad_option"),
        ("a resolution without a value", interface(options=option(IF_TSRESOL, b"")), "bad_option"),
        ("an offset of 4 bytes", interface(options=option(IF_TSOFFSET, bytes(4))), "bad_option"),
        ("a resolution of 10^-20", interface(options=option(IF_TSRESOL, b"\x14")), "bad_option"),
        ("a resolution of 2^-64", interface(options=option(IF_TSRESOL, b"\xc0")), "bad_option"),
        ("a resolution of 2^-127", interface(options=option(IF_TSRESOL, b"\xff")), "bad_option"),
        ("an interface of raw IP", interface(link_type=RAW_IP), "link_type"),
        ("an interface of Linux cooked", interface(link_type=LINUX_COOKED), "link_type"),
        ("a frame longer than any", enhanced(Frame(0, bytes(LONGEST_FRAME + 4), LONGEST_FRAME + 4)), "too_long"),
        ("a trailing length of 0", good[:-4] + bytes(4), "bad_block"),
    ]
