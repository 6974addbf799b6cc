"""Datagrams cut into fragments, and mixed with each other as networks do it: doubled, out of order, some lost."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.frames import FRAGMENT, MORE_FRAGMENTS, checksum, fragment_header
from tests.oracle.twin import Datagram


def split(frame: bytes, ip_at: int, cuts: Sequence[int], ident: int) -> list[bytes]:
    """The fragments of a sound frame with an IP packet at its end.

    cuts: where the later ones begin, in units of 8 bytes of what can be cut: after the IPv4 header, or after the IPv6
    header (extension headers are cut off with the rest, so here it has none).
    """
    is_v4 = frame[ip_at] >> 4 == 4
    header_end = ip_at + (4 * (frame[ip_at] & 15) if is_v4 else 40)
    header, payload = frame[ip_at:header_end], frame[header_end:]
    starts = [0, *cuts]
    ends = [*cuts, (len(payload) + 7) // 8]
    pieces = []
    for start, end in zip(starts, ends, strict=True):
        part, more = payload[8 * start : 8 * end], 8 * end < len(payload)
        cut = _cut4(header, part, start, more, ident) if is_v4 else _cut6(header, part, start, more, ident)
        pieces.append(frame[:ip_at] + cut)
    return pieces


def _cut4(header: bytes, part: bytes, start: int, more: bool, ident: int) -> bytes:
    cut = bytearray(header)
    cut[2:4] = (len(header) + len(part)).to_bytes(2, "big")
    cut[4:6] = (ident & 0xFFFF).to_bytes(2, "big")
    cut[6:8] = (start | (MORE_FRAGMENTS if more else 0)).to_bytes(2, "big")
    cut[10:12] = bytes(2)
    cut[10:12] = checksum(bytes(cut)).to_bytes(2, "big")
    return bytes(cut) + part


def _cut6(header: bytes, part: bytes, start: int, more: bool, ident: int) -> bytes:
    cut = bytearray(header)
    cut[4:6] = (8 + len(part)).to_bytes(2, "big")
    cut[6] = FRAGMENT
    own = fragment_header(start, more, ident)
    return bytes(cut) + header[6:7] + own[1:] + part


class Stream:
    """Fragments that are on their way. Some streams have few identifications, so that datagrams share them."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._idents = rng.choice((1, 2, 8, 65_536))
        self._under_way: list[bytes] = []

    def send(self, datagram: Datagram) -> bool:
        """Cut a datagram; False: it cannot be, or too little of it is left to cut."""
        rng = self._rng
        begin = 20 if datagram.family == 4 else 40
        length = datagram.ip_length - (datagram.udp_at - datagram.ip_at)
        is_bare = datagram.udp_at - datagram.ip_at == begin or datagram.family == 4
        if datagram.fragment is not None or not is_bare or length <= 8:
            return False
        places = range(1, (length + 7) // 8)
        cuts = sorted(rng.sample(places, min(len(places), rng.choice((1, 1, 2, 3)))))
        whole = datagram.frame[: datagram.ip_at + datagram.ip_length]
        pieces = split(whole, datagram.ip_at, cuts, rng.randrange(self._idents))
        order = rng.random()
        if order < 0.3:
            rng.shuffle(pieces)
        elif order < 0.4:
            pieces.reverse()
        elif order < 0.5:
            pieces.append(rng.choice(pieces))
        elif order < 0.6:
            pieces.remove(rng.choice(pieces))
        if rng.random() < 0.3:  # among those of other datagrams
            for piece in pieces:
                self._under_way.insert(rng.randint(0, len(self._under_way)), piece)
        else:
            self._under_way += pieces
        return True

    def next(self) -> bytes | None:
        """The one that arrives next; None: none is under way."""
        return self._under_way.pop(0) if self._under_way else None
