"""The twin's packets that are not just readdressed: translated (RFC 7915), cut into fragments, or both.

Each packet is put together from nothing. What can be divided is taken off the front piece by piece, and IPv4 header
checksums are computed over the whole header, as are UDP checksums that the exporter left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.oracle import sums
from tests.oracle.sums import number, put_u16, u16

FRAGMENTS_AT_MOST = 64
NEVER_TOO_BIG = 1260
OFFSET_AT_MOST = 0xFFF8  # bytes
UDP, FRAGMENT = 17, 44
HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS = 0, 43, 60
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000


@dataclass(frozen=True)
class Change:
    """How a packet leaves: with these addresses and this TTL or hop limit; UDP ports: None: its own."""

    family: int
    source: int
    destination: int
    source_port: int | None
    port: int | None
    ttl: int
    is_own: bool  # the source is gfwd's


@dataclass(frozen=True)
class Piece:
    """A part of a datagram that came as a fragment. payload_at: behind the header that says so."""

    offset: int
    more: bool
    ident: int
    payload_at: int


@dataclass(frozen=True)
class Packet:
    """An IP packet with a UDP datagram in it, or with the first fragment of one, and where that begins; udp_at None:
    with a later fragment.
    """

    data: bytes
    udp_at: int | None

    @property
    def family(self) -> int:
        return self.data[0] >> 4

    @property
    def piece(self) -> Piece | None:
        """None: it is no fragment."""
        if self.family == 4:
            field = u16(self.data, 6)
            found = Piece(
                8 * (field & 0x1FFF), bool(field & MORE_FRAGMENTS), u16(self.data, 4), 4 * (self.data[0] & 15)
            )
            return found if found.offset or found.more else None
        at = 40
        for kind, header in self._extension_headers():
            at += len(header)
            if kind == FRAGMENT:
                field = u16(header, 2)
                if field & 0xFFF9:
                    return Piece(field & 0xFFF8, bool(field & 1), number(header, 4, 4), at)
        return None

    @property
    def payload_at(self) -> int:
        """Where what can be divided begins, when nothing but UDP goes on."""
        if self.udp_at is not None:
            return self.udp_at
        assert self.piece is not None
        return self.piece.payload_at

    def lacks_checksum(self, change: Change) -> bool:
        """Whether it must have one that nobody can make: the rest of what it is over is in other packets."""
        is_first = self.udp_at is not None and self.piece is not None
        return is_first and (self.family, change.family) == (4, 6) and u16(self.data, self.payload_at + 6) == 0

    def cannot_leave(self, change: Change, mtu: int) -> bool:
        """Whether it is too long for a link with this MTU (0: there is none), and must not be cut."""
        if mtu == 0:
            return False
        if self.family == 6 and change.family == 4:
            size = 20 + len(self.data) - self.payload_at
            return self.piece is None and NEVER_TOO_BIG < size > mtu
        if self.family == 4 and change.family == 4:
            return len(self.data) > mtu and bool(u16(self.data, 6) & DONT_FRAGMENT)
        return len(self.data) > mtu and not change.is_own

    def takes_ident(self, change: Change, packets: list[bytes] | None) -> bool:
        """Whether one of gfwd's own identifications goes with it."""
        is_translated = self.family == 6 and change.family == 4
        is_new = change.is_own and self.piece is None
        return packets is not None and is_new and (len(packets) > 1 or is_translated)

    def leaves_as(self, change: Change, mtu: int, ident: int) -> list[bytes] | None:
        """The packets that leave; None: it is too long. ident: gfwd's own, where it needs one."""
        segment = self.data[self.payload_at :] if self.udp_at is None else self._segment(change, self.udp_at)
        if self.piece is not None:
            ident = self.piece.ident
        if change.family == 4 and self.family == 6:
            return self._translated_to_4(change, segment, mtu, ident)
        if change.family == 4:
            return self._cut_4(change, segment, mtu, ident & 0xFFFF if change.is_own else u16(self.data, 4))
        if self.family == 4:
            return fragments_6(self._head_6(change), UDP, segment, mtu, ident, piece=self.piece)
        return self._cut_6(change, segment, mtu, ident)

    # ---- UDP ----

    def _addresses(self) -> bytes:
        return self.data[12:20] if self.family == 4 else self.data[8:40]

    def _segment(self, change: Change, udp_at: int) -> bytes:
        """From the UDP header to the end of the packet."""
        segment = bytearray(self.data[udp_at:])
        size = 4 if change.family == 4 else 16
        addresses = change.source.to_bytes(size, "big") + change.destination.to_bytes(size, "big")
        if change.source_port is not None:
            put_u16(segment, 0, change.source_port)
        if change.port is not None:
            put_u16(segment, 2, change.port)
        old = u16(self.data, udp_at + 6)
        if old != 0:
            before = self._addresses() + self.data[udp_at : udp_at + 4]
            put_u16(segment, 6, sums.updated_udp_checksum(old, before, addresses + bytes(segment[:4])))
        elif change.family == 6:
            datagram = bytes(segment[: u16(segment, 4)])
            covered = addresses + bytes((0, UDP)) + datagram[4:6] + datagram + bytes(len(datagram) % 2)
            put_u16(segment, 6, 0xFFFF - sums.ones_complement_sum(covered) or 0xFFFF)
        return bytes(segment)

    # ---- to IPv4 ----

    def _translated_to_4(self, change: Change, segment: bytes, mtu: int, ident: int) -> list[bytes] | None:
        head = bytearray(20)
        head[0] = 0x45
        head[1] = u16(self.data, 0) >> 4 & 0xFF
        put_u16(head, 4, ident & 0xFFFF)
        put_u16(head, 6, DONT_FRAGMENT if self.piece is None and 20 + len(segment) > NEVER_TOO_BIG else 0)
        head[9] = UDP
        return fragments_4(_readdressed_4(head, change), b"", b"", segment, mtu, self.piece)

    def _cut_4(self, change: Change, segment: bytes, mtu: int, ident: int) -> list[bytes] | None:
        head = bytearray(self.data[:20])
        put_u16(head, 4, ident)
        options = self.data[20 : self.payload_at]
        return fragments_4(_readdressed_4(head, change), options, copied_options(options), segment, mtu, self.piece)

    # ---- to IPv6 ----

    def _head_6(self, change: Change) -> bytes:
        """The fixed header but for its length and what follows."""
        first = 6 << 28 | self.data[1] << 20
        if self.family == 6:
            first = number(self.data, 0, 4)
        addresses = change.source.to_bytes(16, "big") + change.destination.to_bytes(16, "big")
        return first.to_bytes(4, "big") + bytes((0, 0, 0, change.ttl)) + addresses

    def _cut_6(self, change: Change, segment: bytes, mtu: int, ident: int) -> list[bytes] | None:
        headers = list(self._extension_headers())
        kinds = [kind for kind, _ in headers]
        if self.piece is not None:
            kept = len(kinds) - 1  # its own fragment header is the last
            behind = []
        elif FRAGMENT in kinds:
            kept = kinds.index(FRAGMENT)
            behind = headers[kept + 1 :]
        else:
            kept = max((at + 1 for at, kind in enumerate(kinds) if kind in (HOP_BY_HOP, ROUTING)), default=0)
            behind = headers[kept:]
        first, payload = chained(behind, UDP, segment)
        at_least = 0 if self.udp_at is None else len(payload) - len(segment) + 8
        return fragments_6(self._head_6(change), first, payload, mtu, ident, headers[:kept], at_least, self.piece)

    def _extension_headers(self) -> Iterator[tuple[int, bytes]]:
        kind, at = self.data[6], 40
        while kind in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS):
            size = 8 if kind == FRAGMENT else 8 + 8 * self.data[at + 1]
            yield kind, self.data[at : at + size]
            if kind == FRAGMENT and u16(self.data, at + 2) & 0xFFF9:
                return
            kind, at = self.data[at], at + size


def _readdressed_4(head: bytearray, change: Change) -> bytes:
    head[8] = change.ttl
    head[12:20] = change.source.to_bytes(4, "big") + change.destination.to_bytes(4, "big")
    return bytes(head)


def chained(headers: list[tuple[int, bytes]], last: int, payload: bytes) -> tuple[int, bytes]:
    """Extension headers before a payload of type `last`: the first type, and all the bytes."""
    for kind, header in reversed(headers):
        payload = bytes((last,)) + header[1:] + payload
        last = kind
    return last, payload


def copied_options(options: bytes) -> bytes:
    """Those with the copied flag (RFC 791 §3.1), up to one that cannot be stepped over, filled up to whole words."""
    found, at = b"", 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        if at + 1 >= len(options) or not 2 <= options[at + 1] <= len(options) - at:
            break
        option = options[at : at + options[at + 1]]
        found += option if option[0] & 0x80 else b""
        at += len(option)
    return found + bytes(-len(found) % 4)


def divided(payload: bytes, first: int, later: int, piece: Piece | None) -> list[bytes] | None:
    """Parts of a payload, of which the first packet holds so many bytes, and each other one so many; None: too many, or
    one would stand beyond the longest datagram.
    """
    if min(first, later) < 8:
        return None
    parts, room = [], first
    while len(payload) > room:
        parts.append(payload[: room // 8 * 8])
        payload, room = payload[room // 8 * 8 :], later
    parts.append(payload)
    last_at = (0 if piece is None else piece.offset) + sum(map(len, parts[:-1]))
    return parts if len(parts) <= FRAGMENTS_AT_MOST and last_at <= OFFSET_AT_MOST else None


def fragments_4(
    head: bytes, options: bytes, later_options: bytes, payload: bytes, mtu: int, piece: Piece | None
) -> list[bytes] | None:
    """RFC 791 §3.2. head: without options; its flags are kept. piece: of its datagram that the payload is."""
    parts: list[bytes] | None = [payload]
    if mtu and 20 + len(options) + len(payload) > mtu:
        parts = divided(payload, mtu - 20 - len(options), mtu - 20 - len(later_options), piece)
    if parts is None:
        return None
    packets, offset = [], 0 if piece is None else piece.offset
    for at, part in enumerate(parts):
        packet = bytearray(head + (options if at == 0 else later_options))
        more = MORE_FRAGMENTS if at + 1 < len(parts) or (piece is not None and piece.more) else 0
        packet[0] = 0x40 | len(packet) // 4
        put_u16(packet, 2, len(packet) + len(part))
        put_u16(packet, 6, u16(head, 6) & 0xC000 | more | offset // 8)
        put_u16(packet, 10, sums.ipv4_header_checksum(bytes(packet)))
        packets.append(bytes(packet) + part)
        offset += len(part)
    return packets


def fragments_6(
    head: bytes,
    protocol: int,
    payload: bytes,
    mtu: int,
    ident: int,
    kept: list[tuple[int, bytes]] | None = None,
    first_at_least: int = 0,
    piece: Piece | None = None,
) -> list[bytes] | None:
    """RFC 8200 §4.5. protocol: of the payload. kept: extension headers of every fragment. first_at_least: bytes of the
    payload that the first one must have. piece: of its datagram that the payload is.
    """
    kept = kept or []
    before = 40 + sum(len(header) for _, header in kept)
    fits = not mtu or before + (0 if piece is None else 8) + len(payload) <= mtu
    if fits and piece is None:
        return [_packet_6(head, *chained(kept, protocol, payload))]
    parts = [payload] if fits else divided(payload, mtu - before - 8, mtu - before - 8, piece)
    if parts is None or (not fits and len(parts[0]) < first_at_least):
        return None
    packets, offset = [], 0 if piece is None else piece.offset
    for at, part in enumerate(parts):
        field = offset | (at + 1 < len(parts) or (piece is not None and piece.more))
        fragment = bytes((protocol, 0)) + field.to_bytes(2, "big") + ident.to_bytes(4, "big")
        packets.append(_packet_6(head, *chained([*kept, (FRAGMENT, fragment)], protocol, part)))
        offset += len(part)
    return packets


def _packet_6(head: bytes, protocol: int, payload: bytes) -> bytes:
    return head[:4] + len(payload).to_bytes(2, "big") + bytes((protocol,)) + head[7:] + payload
