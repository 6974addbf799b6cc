"""A frame of any common link type → the UDP datagram in it, or a fragment of one, or the reason why there is none.

Link types: https://www.tcpdump.org/linktypes.html. MPLS: RFC 3032. IPv4: RFC 791; IPv6 and its extension headers: RFC
8200; UDP: RFC 768. All lengths are checked against the frame; checksums are not, since captures are full of unfinished
ones.
"""

from enum import StrEnum
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Final, NamedTuple

NULL, ETHERNET, RAW, LOOP, LINUX_COOKED, IPV4, IPV6, LINUX_COOKED_2 = 0, 1, 101, 108, 113, 228, 229, 276
_RAW_ELSEWHERE: Final = (12, 14)  # what raw IP is called in files of OpenBSD and others

_TAGS: Final = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_IPV4_TYPE, _IPV6_TYPE = b"\x08\x00", b"\x86\xdd"
_LABELS: Final = (b"\x88\x47", b"\x88\x48")  # MPLS (RFC 3032 §5, RFC 5332)
_LABEL_BYTES: Final = 4
_LAST_LABEL: Final = 0x01  # a bit of a label's third byte
_UDP: Final = 17
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51  # counts its length in other units
_EXTENSIONS: Final = (0, 43, 60, _FRAGMENT, _AUTHENTICATION)
_UDP_HEADER: Final = 8
_MORE, _PLACE = 0x2000, 0x1FFF  # of IPv4: more fragments, and where this one stands, in units of 8 bytes
_MORE_6, _PLACE_6 = 0x0001, 0xFFF8  # of IPv6; the place is in bytes
_PACKET_MOST: Final = 65_535  # bytes that an IP packet carries
_ADDRESSES_KEPT: Final = 65_536


class Skipped(StrEnum):
    """Why a frame has no datagram to look into; what it says can stand behind a number of frames."""

    LINK = "of a link type that is not known"
    NOT_UDP = "without UDP"
    FRAGMENT = "with a later fragment of a datagram that is not whole"
    OVERLAP = "with fragments that overlap or contradict each other"
    DOUBLED = "with a fragment that came twice"
    SHORT = "cut or broken before their payload"


class Datagram(NamedTuple):
    """Addresses as bytes, 4 or 16. cut: the payload is not all that was sent: a first fragment, or cut at capture."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    payload: bytes
    cut: bool


class Fragment(NamedTuple):
    """A part of what an IP packet carries. key: what all parts of one packet have in common, and no other one of that
    time has: source, destination, identification (RFC 791 §3.2, RFC 8200 §4.5). header: the protocol, or the IPv6
    header, that the packet begins with. at: where the part stands, in bytes. more: parts follow. is_whole: the frame
    holds all of it, and it has a length that others can stand behind.
    """

    key: tuple[bytes, bytes, bytes]
    header: int
    at: int
    more: bool
    data: bytes
    is_whole: bool


@lru_cache(maxsize=_ADDRESSES_KEPT)
def address_text(address: bytes) -> str:
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)


def datagram(link_type: int, frame: bytes) -> Datagram | Skipped:
    """What a frame says that stands alone: a first fragment is a datagram as far as it goes."""
    found = read(link_type, frame)
    return alone(found) if isinstance(found, Fragment) else found


def read(link_type: int, frame: bytes) -> Datagram | Fragment | Skipped:
    if link_type == ETHERNET:
        return _typed(frame, 12)
    if link_type == LINUX_COOKED:
        return _typed(frame, 14)
    if link_type == LINUX_COOKED_2:
        return _by_type(frame[:2], frame, 20)
    if link_type in (RAW, IPV4, IPV6, *_RAW_ELSEWHERE):
        return _packet(frame, 0)
    if link_type in (NULL, LOOP):
        return _packet(frame, 4)  # its address family has other numbers on other systems: the packet says it too
    return Skipped.LINK


def alone(fragment: Fragment) -> Datagram | Skipped:
    """A fragment of which nothing else is here: the first one is a datagram that is cut."""
    if fragment.at:
        return Skipped.FRAGMENT
    found = together(fragment.key, fragment.header, fragment.data)
    return found._replace(cut=True) if isinstance(found, Datagram) else found


def together(key: tuple[bytes, bytes, bytes], header: int, data: bytes) -> Datagram | Skipped:
    """What a packet carries that came in fragments. header: as its first fragment says it."""
    source, destination, _ = key
    if len(source) == 4:
        found: Datagram | Fragment | Skipped = _udp(data, 0, len(data), source, destination)
    else:
        found = _behind_ipv6(header, data, 0, len(data), source, destination)
    return Skipped.FRAGMENT if isinstance(found, Fragment) else found  # fragments of fragments, which nobody sends


def _typed(frame: bytes, at: int) -> Datagram | Fragment | Skipped:
    """What stands behind an EtherType at `at`, and behind VLAN tags."""
    while frame[at : at + 2] in _TAGS:
        at += 4
    return _by_type(frame[at : at + 2], frame, at + 2)


def _by_type(ether_type: bytes, frame: bytes, at: int) -> Datagram | Fragment | Skipped:
    if ether_type == _IPV4_TYPE:
        return _ipv4(frame, at)
    if ether_type == _IPV6_TYPE:
        return _ipv6(frame, at)
    if ether_type in _LABELS:
        return _labelled(frame, at)
    return Skipped.NOT_UDP if len(frame) >= at else Skipped.SHORT


def _labelled(frame: bytes, at: int) -> Datagram | Fragment | Skipped:
    """Labels do not say what stands behind them: an IP packet says it itself."""
    is_last = False
    while not is_last:
        if len(frame) < at + _LABEL_BYTES:
            return Skipped.SHORT
        is_last = bool(frame[at + 2] & _LAST_LABEL)
        at += _LABEL_BYTES
    return _packet(frame, at)


def _packet(frame: bytes, at: int) -> Datagram | Fragment | Skipped:
    version = frame[at] >> 4 if at < len(frame) else None
    if version == 4:
        return _ipv4(frame, at)
    if version == 6:
        return _ipv6(frame, at)
    return Skipped.SHORT if version is None else Skipped.NOT_UDP


def _ipv4(frame: bytes, at: int) -> Datagram | Fragment | Skipped:
    if len(frame) < at + 20:
        return Skipped.SHORT
    header = (frame[at] & 0x0F) * 4
    if frame[at] >> 4 != 4 or header < 20:
        return Skipped.SHORT
    if frame[at + 9] != _UDP:
        return Skipped.NOT_UDP
    # A total length of 0 is what segmentation offload leaves behind.
    end = at + int.from_bytes(frame[at + 2 : at + 4]) if frame[at + 2] or frame[at + 3] else len(frame)
    source, destination = frame[at + 12 : at + 16], frame[at + 16 : at + 20]
    place = int.from_bytes(frame[at + 6 : at + 8])
    if place & (_MORE | _PLACE):
        key = source, destination, frame[at + 4 : at + 6]
        return _fragment(key, _UDP, 8 * (place & _PLACE), bool(place & _MORE), frame, at + header, end)
    return _udp(frame, at + header, end, source, destination)


def _ipv6(frame: bytes, at: int) -> Datagram | Fragment | Skipped:
    if len(frame) < at + 40 or frame[at] >> 4 != 6:
        return Skipped.SHORT
    length = int.from_bytes(frame[at + 4 : at + 6])
    end = at + 40 + length if length else len(frame)  # 0: a jumbogram (RFC 2675), or offload
    return _behind_ipv6(frame[at + 6], frame, at + 40, end, frame[at + 8 : at + 24], frame[at + 24 : at + 40])


def _behind_ipv6(
    header: int, frame: bytes, at: int, end: int, source: bytes, destination: bytes
) -> Datagram | Fragment | Skipped:
    """What stands behind an IPv6 header. header: the next one, at `at`."""
    while header in _EXTENSIONS:  # each has 8 bytes or more
        if len(frame) < at + 8:
            return Skipped.SHORT
        if header == _FRAGMENT:
            place = int.from_bytes(frame[at + 2 : at + 4])
            if place & (_MORE_6 | _PLACE_6):  # else all of it is here (RFC 6946)
                key = source, destination, frame[at + 4 : at + 8]
                return _fragment(key, frame[at], place & _PLACE_6, bool(place & _MORE_6), frame, at + 8, end)
            size = 8
        elif header == _AUTHENTICATION:
            size = (frame[at + 1] + 2) * 4
        else:
            size = (frame[at + 1] + 1) * 8
        header, at = frame[at], at + size
    return _udp(frame, at, end, source, destination) if header == _UDP else Skipped.NOT_UDP


def _fragment(
    key: tuple[bytes, bytes, bytes], header: int, place: int, more: bool, frame: bytes, at: int, end: int
) -> Fragment | Skipped:
    data, length = frame[at:end], end - at
    if not data or place + length > _PACKET_MOST:
        return Skipped.SHORT
    return Fragment(key, header, place, more, data, len(data) == length and not (more and length % 8))


def _udp(frame: bytes, at: int, end: int, source: bytes, destination: bytes) -> Datagram | Skipped:
    """end: of the IP packet, where it says so; what follows in the frame is padding."""
    if len(frame) < at + _UDP_HEADER or end < at + _UDP_HEADER:
        return Skipped.SHORT
    length = int.from_bytes(frame[at + 4 : at + 6])
    if 0 < length < _UDP_HEADER:
        return Skipped.SHORT
    stop = at + length if length else end  # 0: a jumbogram
    payload = frame[at + _UDP_HEADER : min(stop, end)]
    return Datagram(
        source,
        int.from_bytes(frame[at : at + 2]),
        destination,
        int.from_bytes(frame[at + 2 : at + 4]),
        payload,
        len(payload) < stop - at - _UDP_HEADER,
    )
