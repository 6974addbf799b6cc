"""pcap and pcapng, read one frame at a time: a file of any size takes the same little memory, and a pipe is as good.

Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. What is broken is said in the words of the core's reader
(native/pcap_file.c), which cannot be asked: it takes Ethernet only, and puts every frame into a ring.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

if TYPE_CHECKING:  # a capture needs nothing of a gfwd that runs
    from gfwd.daemon.tap.verdict import Live

_FRAME_MOST: Final = 262_144  # bytes, as in libpcap and Wireshark
_BLOCK_MOST: Final = 1 << 24
_INTERFACES_MOST: Final = 4_096
_NS: Final = 1_000_000_000

_PCAP: Final = {  # the magic as it stands in the file → byte order, ns in a unit of time
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
_OTHERS: Final = {  # how files begin that people take for captures → what they are, and what to do
    b"\x1f\x8b": "compressed: gzip -dc FILE | gfwd inspect -",
    b"BZh": "compressed: bzip2 -dc FILE | gfwd inspect -",
    b"\xfd7zX": "compressed: xz -dc FILE | gfwd inspect -",
    b"\x28\xb5\x2f\xfd": "compressed: zstd -dc FILE | gfwd inspect -",
    b"snoo": "a capture of snoop: tshark -r FILE -F pcap -w OUT.pcap makes one of pcap",
    b"\x0c\xa5": "a file of nfdump's, which has flows that were received, and no datagrams",
}
_SECTION_TYPE: Final = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OBSOLETE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_ORDERS: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}  # byte-order magic
_OPTION_END, _TSRESOL, _TSOFFSET = 0, 9, 14
_MICROSECONDS: Final = 1_000_000


class Frame(NamedTuple):
    """time: ns since 1970. length: in bytes on the wire; data may have less, cut by the capture's snapshot length.

    live: None in captures.
    """

    time: int
    data: bytes
    length: int
    link_type: int
    live: "Live | None" = None


class _Interface(NamedTuple):
    link_type: int
    snaplen: int
    units: int  # of time in a second
    offset: int  # s


class _Broken(Exception):
    """What is wrong with the file."""


class CaptureFile:
    """An open capture, of which frames() gives all frames, once. problem: where and how it is broken, when that was
    met; whoever is given frames has been given all that stand before. offset: bytes read so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.problem: str | None = None
        self.offset = 0
        self._file = file
        self._block = 0  # where the record or block begins that is being read

    def frames(self) -> Iterator[Frame]:
        try:
            yield from self._frames()
        except _Broken as broken:
            self.problem = f"{broken} (at byte {self._block})"
        except OSError as error:
            self.problem = f"cannot be read: {error.strerror or error} (at byte {self._block})"

    def _frames(self) -> Iterator[Frame]:
        magic = self._file.read(4)
        self.offset = len(magic)
        if len(magic) < 4:
            raise _Broken("neither pcap nor pcapng: fewer than 4 bytes")
        if magic in _PCAP:
            yield from self._pcap(*_PCAP[magic])
        elif magic == _SECTION_TYPE:
            yield from self._pcapng()
        else:
            known = (f", {what}" for start, what in _OTHERS.items() if magic.startswith(start))
            raise _Broken(f"neither pcap nor pcapng: starts with {magic.hex(' ')}{next(known, '')}")

    def _take(self, n: int, what: str) -> bytes:
        data = self._file.read(n)
        self.offset += len(data)
        if len(data) < n:
            raise _Broken(f"the file ends inside a {what}")
        return data

    # ---- pcap ----

    def _pcap(self, order: str, unit: int) -> Iterator[Frame]:
        major, minor, *_, link_type = struct.unpack(order + "HHiIII", self._take(20, "file header"))
        if major != 2:
            raise _Broken(f"pcap version {major}.{minor}: only 2.x is known")
        link_type &= 0xFFFF  # above it: bits about frame check sequences
        record = struct.Struct(order + "IIII")
        while True:
            self._block = self.offset
            head = self._file.read(16)
            if not head:
                return
            self.offset += len(head)
            if len(head) < 16:
                raise _Broken("the file ends inside a record header")
            seconds, fraction, captured, length = record.unpack(head)
            if captured > _FRAME_MOST:
                raise _Broken(f"a record of {captured} bytes: no frame is longer than {_FRAME_MOST}")
            yield Frame(seconds * _NS + fraction * unit, self._take(captured, "record"), length, link_type)

    # ---- pcapng ----

    def _pcapng(self) -> Iterator[Frame]:
        order = self._section(self._take(4, "section header"))
        interfaces: list[_Interface] = []
        while True:
            self._block = self.offset
            head = self._file.read(8)
            if not head:
                return
            self.offset += len(head)
            if len(head) < 8:
                raise _Broken("the file ends inside a block header")
            if head[:4] == _SECTION_TYPE:  # the byte order of its length is not known yet
                order = self._section(head[4:])
                interfaces = []  # they belong to their section
                continue
            kind, length = struct.unpack(order + "II", head)
            if length < 12 or length % 4 or length > _BLOCK_MOST:
                raise _Broken(f"a block of {length} bytes")
            body = self._take(length - 12, "block")
            self._check_end(order, length)
            if kind == _INTERFACE:
                if len(interfaces) == _INTERFACES_MOST:
                    raise _Broken(f"more than {_INTERFACES_MOST} interfaces")
                interfaces.append(_interface(order, body))
            elif kind in (_ENHANCED, _SIMPLE, _OBSOLETE):
                yield _packet(order, kind, body, interfaces)

    def _section(self, raw_length: bytes) -> str:
        """The section's byte order."""
        head = self._take(16, "section header")
        order = _ORDERS.get(head[:4])
        if order is None:
            raise _Broken("a section header without its byte-order magic")
        (length,) = struct.unpack(order + "I", raw_length)
        major, minor = struct.unpack_from(order + "HH", head, 4)
        if length < 28 or length % 4 or length > _BLOCK_MOST:
            raise _Broken(f"a section header of {length} bytes")
        if major != 1:
            raise _Broken(f"pcapng version {major}.{minor}: only 1.x is known")
        self._take(length - 28, "section header")
        self._check_end(order, length)
        return order

    def _check_end(self, order: str, length: int) -> None:
        (again,) = struct.unpack(order + "I", self._take(4, "block"))
        if again != length:
            raise _Broken(f"a block whose two lengths differ: {length} and {again}")


def _interface(order: str, body: bytes) -> _Interface:
    if len(body) < 8:
        raise _Broken(f"an interface description of {len(body)} bytes")
    link_type, _, snaplen = struct.unpack_from(order + "HHI", body)
    units, offset, at = _MICROSECONDS, 0, 8
    while len(body) - at >= 4:
        code, length = struct.unpack_from(order + "HH", body, at)
        at += 4
        if code == _OPTION_END:
            break
        padded = length + 3 & ~3
        if padded > len(body) - at:
            raise _Broken("an option that is longer than its block")
        value = body[at : at + length]
        # A time that is not understood would put false stamps on everything: better none of it.
        if code == _TSRESOL:
            units = _units(value)
        elif code == _TSOFFSET:
            if length != 8:
                raise _Broken(f"an option (if_tsoffset) of {length} bytes")
            (offset,) = struct.unpack(order + "q", value)
        at += padded
    return _Interface(link_type, snaplen, units, offset)


def _units(value: bytes) -> int:
    """if_tsresol: a power of ten, or of two where the top bit is set."""
    if len(value) != 1:
        raise _Broken(f"an option (if_tsresol) of {len(value)} bytes")
    base, power, most = (2, value[0] & 0x7F, 63) if value[0] & 0x80 else (10, value[0], 19)
    if power > most:
        raise _Broken(f"a time resolution (if_tsresol) of 0x{value[0]:02x}")
    return int(base**power)


def _packet(order: str, kind: int, body: bytes, interfaces: list[_Interface]) -> Frame:
    head = 4 if kind == _SIMPLE else 20
    if len(body) < head:
        raise _Broken(f"a packet block of {len(body) + 12} bytes")
    if kind == _SIMPLE:  # of interface 0, and without a time; the original length, cut to the interface's bound
        at, high, low = 0, 0, 0
        (length,) = struct.unpack_from(order + "I", body)
        snaplen = interfaces[0].snaplen if interfaces else 0
        captured = min(length, snaplen or length)
    elif kind == _ENHANCED:
        at, high, low, captured, length = struct.unpack_from(order + "IIIII", body)
    else:
        at, _, high, low, captured, length = struct.unpack_from(order + "HHIIII", body)
    if at >= len(interfaces):
        raise _Broken(f"a packet of interface {at}, which is not described")
    if captured > len(body) - head:
        raise _Broken(f"a packet of {captured} bytes in a block with room for {len(body) - head}")
    if captured > _FRAME_MOST:
        raise _Broken(f"a packet of {captured} bytes: no frame is longer than {_FRAME_MOST}")
    its = interfaces[at]
    time = 0 if kind == _SIMPLE else (high << 32 | low) * _NS // its.units + its.offset * _NS
    return Frame(time, body[head : head + captured], length, its.link_type)
