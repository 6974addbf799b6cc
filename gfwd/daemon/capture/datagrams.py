"""A frame of any common link type → the UDP datagram in it, or the reason why there is none.

Link types: https://www.tcpdump.org/linktypes.html. IPv4: RFC 791; IPv6 and its extension headers: RFC 8200; UDP: RFC
768. All lengths are checked against the frame; checksums are not, since captures are full of unfinished ones.
"""

from enum import StrEnum
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Final, NamedTuple

NULL, ETHERNET, RAW, LOOP, LINUX_COOKED, IPV4, IPV6, LINUX_COOKED_2 = 0, 1, 101, 108, 113, 228, 229, 276
_RAW_ELSEWHERE: Final = (12, 14)  # what raw IP is called in files of OpenBSD and others

_TAGS: Final = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_IPV4_TYPE, _IPV6_TYPE = b"\x08\x00", b"\x86\xdd"
_UDP: Final = 17
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51  # counts its length in other units
_EXTENSIONS: Final = (0, 43, 60, _FRAGMENT, _AUTHENTICATION)
_UDP_HEADER: Final = 8
_ADDRESSES_KEPT: Final = 65_536


class Skipped(StrEnum):
    """Why a frame has no datagram to look into; what it says can stand behind a number of frames."""

    LINK = "of a link type that is not known"
    NOT_UDP = "without UDP"
    FRAGMENT = "with a later fragment"
    SHORT = "cut or broken before their payload"


class Datagram(NamedTuple):
    """Addresses as bytes, 4 or 16. cut: the payload is not all that was sent: a first fragment, or cut at capture."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    payload: bytes
    cut: bool


@lru_cache(maxsize=_ADDRESSES_KEPT)
def address_text(address: bytes) -> str:
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)


def datagram(link_type: int, frame: bytes) -> Datagram | Skipped:
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


def _typed(frame: bytes, at: int) -> Datagram | Skipped:
    """What stands behind an EtherType at `at`, and behind VLAN tags."""
    while frame[at : at + 2] in _TAGS:
        at += 4
    return _by_type(frame[at : at + 2], frame, at + 2)


def _by_type(ether_type: bytes, frame: bytes, at: int) -> Datagram | Skipped:
    if ether_type == _IPV4_TYPE:
        return _ipv4(frame, at)
    if ether_type == _IPV6_TYPE:
        return _ipv6(frame, at)
    return Skipped.NOT_UDP if len(frame) >= at else Skipped.SHORT


def _packet(frame: bytes, at: int) -> Datagram | Skipped:
    version = frame[at] >> 4 if at < len(frame) else None
    if version == 4:
        return _ipv4(frame, at)
    if version == 6:
        return _ipv6(frame, at)
    return Skipped.SHORT if version is None else Skipped.NOT_UDP


def _ipv4(frame: bytes, at: int) -> Datagram | Skipped:
    if len(frame) < at + 20:
        return Skipped.SHORT
    header = (frame[at] & 0x0F) * 4
    if frame[at] >> 4 != 4 or header < 20:
        return Skipped.SHORT
    if frame[at + 9] != _UDP:
        return Skipped.NOT_UDP
    fragment = int.from_bytes(frame[at + 6 : at + 8])
    if fragment & 0x1FFF:
        return Skipped.FRAGMENT
    # A total length of 0 is what segmentation offload leaves behind.
    end = at + int.from_bytes(frame[at + 2 : at + 4]) if frame[at + 2] or frame[at + 3] else len(frame)
    is_first = bool(fragment & 0x2000)
    return _udp(frame, at + header, end, frame[at + 12 : at + 16], frame[at + 16 : at + 20], is_first)


def _ipv6(frame: bytes, at: int) -> Datagram | Skipped:
    if len(frame) < at + 40 or frame[at] >> 4 != 6:
        return Skipped.SHORT
    length = int.from_bytes(frame[at + 4 : at + 6])
    end = at + 40 + length if length else len(frame)  # 0: a jumbogram (RFC 2675), or offload
    header, here, is_first = frame[at + 6], at + 40, False
    while header in _EXTENSIONS:  # each has 8 bytes or more
        if len(frame) < here + 8:
            return Skipped.SHORT
        if header == _FRAGMENT:
            fragment = int.from_bytes(frame[here + 2 : here + 4])
            if fragment & 0xFFF8:
                return Skipped.FRAGMENT
            is_first = is_first or bool(fragment & 1)
            size = 8
        elif header == _AUTHENTICATION:
            size = (frame[here + 1] + 2) * 4
        else:
            size = (frame[here + 1] + 1) * 8
        header, here = frame[here], here + size
    if header != _UDP:
        return Skipped.NOT_UDP
    return _udp(frame, here, end, frame[at + 8 : at + 24], frame[at + 24 : at + 40], is_first)


def _udp(frame: bytes, at: int, end: int, source: bytes, destination: bytes, is_first: bool) -> Datagram | Skipped:
    """end: of the IP packet, where it says so; what follows in the frame is padding. is_first: of several fragments."""
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
        is_first or len(payload) < stop - at - _UDP_HEADER,
    )
