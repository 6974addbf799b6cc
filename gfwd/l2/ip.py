"""IP packets as they stand in frames: IPv4 (RFC 791) and IPv6 with its extension headers (RFC 8200)."""

from typing import Any, Final, NamedTuple

from construct import (
    BitsInteger,
    BitStruct,
    Byte,
    Bytes,
    Const,
    ConstructError,
    GreedyBytes,
    Int8ub,
    Int16ub,
    Int32ub,
    Nibble,
    Struct,
)

from gfwd.l2 import ethernet
from gfwd.l2.checksum import checksum
from gfwd.l2.errors import FrameError
from gfwd.rules.model import Address, Family

ICMP: Final = 1
UDP: Final = 17
ICMPV6: Final = 58

ETHERTYPES: Final[dict[Family, int]] = {4: ethernet.IPV4, 6: ethernet.IPV6}
HEADER_BYTES: Final[dict[Family, int]] = {4: 20, 6: 40}
"""Without options, or extension headers."""

_FAMILIES: Final[dict[int, Family]] = {ethernet.IPV4: 4, ethernet.IPV6: 6}
_HOPS = 64  # of what we send (the Assigned Numbers' default TTL)
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS = 0, 43, 44, 60
_OFFSET_AND_MORE = 0x3FFF  # of IPv4's flags and offset
_OFFSET = 0x1FFF
_OFFSET_AND_MORE6 = 0xFFF9
_OFFSET6 = 0xFFF8

_IPV4 = Struct(
    "first" / BitStruct("version" / Const(4, Nibble), "words" / Nibble),
    "service" / Byte,
    "length" / Int16ub,
    "identification" / Int16ub,
    "fragment" / Int16ub,
    "hops" / Int8ub,
    "protocol" / Int8ub,
    "checksum" / Int16ub,
    "source" / Int32ub,
    "destination" / Int32ub,
)
_IPV6 = Struct(
    "first" / BitStruct("version" / Const(6, Nibble), "rest" / BitsInteger(28)),
    "length" / Int16ub,
    "protocol" / Int8ub,
    "hops" / Int8ub,
    "source" / Bytes(16),
    "destination" / Bytes(16),
    "payload" / GreedyBytes,
)
_EXTENSION = Struct("next" / Int8ub, "length" / Int8ub, "field" / Int16ub, "rest" / Bytes(4))


class Packet(NamedTuple):
    """A packet. hops: TTL or hop limit. protocol: of the payload, behind extension headers. offset: where the payload
    begins, bytes. is_fragment: it is only a part of a packet; is_later: and not the first.
    """

    source: Address
    destination: Address
    protocol: int
    payload: bytes
    hops: int = _HOPS
    offset: int = 0
    is_fragment: bool = False
    is_later: bool = False

    @property
    def family(self) -> Family:
        return self.source.family


def is_multicast(address: Address) -> bool:
    """224.0.0.0/4 (RFC 5771), ff00::/8 (RFC 4291 §2.7)."""
    return address.value >> 28 == 0xE if address.family == 4 else address.value >> 120 == 0xFF


def is_host(source: Address) -> bool:
    """Whether a packet's source is some single host, who can be answered (RFC 1122 §3.2.1.3, RFC 1812 §5.3.7)."""
    if source.family == 6:
        return not is_multicast(source) and source.value > 1  # neither unspecified nor the loopback
    return 0 < source.value >> 24 < 0xE0 and source.value >> 24 != 127


def parse(ethertype: int, data: bytes, *, is_whole: bool = True) -> Packet:
    """The packet that a frame of this EtherType carries; what follows behind it is padding.

    is_whole: False where only its beginning is at hand. Raises FrameError.
    """
    family = _FAMILIES.get(ethertype)
    if family is None:
        raise FrameError(f"EtherType {ethertype:#06x}, which is not IP")
    try:
        return _ipv4(data, is_whole) if family == 4 else _ipv6(data, is_whole)
    except ConstructError as error:
        raise FrameError(f"no whole header of IPv{family}") from error


def build(packet: Packet) -> bytes:
    """The packet, without options or extension headers. Of IPv4, it says that it is not to be fragmented."""
    if packet.family == 4:
        fields = {
            "first": {"words": 5},
            "service": 0,
            "length": HEADER_BYTES[4] + len(packet.payload),
            "identification": 0,  # which means nothing in what is never fragmented (RFC 6864 §4.1)
            "fragment": 0x4000,
            "hops": packet.hops,
            "protocol": packet.protocol,
            "checksum": 0,
            "source": packet.source.value,
            "destination": packet.destination.value,
        }
        header: bytes = _IPV4.build(fields | {"checksum": checksum(_IPV4.build(fields))})
        return header + packet.payload
    whole: bytes = _IPV6.build(
        {
            "first": {"rest": 0},
            "length": len(packet.payload),
            "protocol": packet.protocol,
            "hops": packet.hops,
            "source": packet.source.value.to_bytes(16),
            "destination": packet.destination.value.to_bytes(16),
            "payload": packet.payload,
        }
    )
    return whole


def _ipv4(data: bytes, is_whole: bool) -> Packet:
    head: Any = _IPV4.parse(data)
    header_bytes = 4 * head.first.words
    if header_bytes < HEADER_BYTES[4] or header_bytes > head.length or header_bytes > len(data):
        raise FrameError("an IPv4 header whose length cannot be")
    if is_whole and head.length > len(data):
        raise FrameError("an IPv4 packet that is cut off")
    if checksum(data[:header_bytes]):
        raise FrameError("a wrong IPv4 header checksum")
    return Packet(
        Address(4, head.source),
        Address(4, head.destination),
        head.protocol,
        data[header_bytes : head.length],
        head.hops,
        header_bytes,
        bool(head.fragment & _OFFSET_AND_MORE),
        bool(head.fragment & _OFFSET),
    )


def _ipv6(data: bytes, is_whole: bool) -> Packet:
    head: Any = _IPV6.parse(data)
    if is_whole and head.length > len(head.payload):
        raise FrameError("an IPv6 packet that is cut off")
    payload = head.payload[: head.length]
    protocol, at, fragment = head.protocol, 0, 0
    while protocol in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS) and not fragment & _OFFSET6:
        extension: Any = _EXTENSION.parse(payload[at:])  # 8 bytes at least, so every round goes on
        if protocol == _ROUTING and extension.field & 0xFF:
            raise FrameError("an IPv6 packet on its way to somebody else")
        if protocol == _FRAGMENT:
            fragment = extension.field & _OFFSET_AND_MORE6
        at += 8 if protocol == _FRAGMENT else 8 + 8 * extension.length
        protocol = extension.next
    if at > len(payload):
        raise FrameError("extension headers that are cut off")
    return Packet(
        Address(6, int.from_bytes(head.source)),
        Address(6, int.from_bytes(head.destination)),
        protocol,
        payload[at:],
        head.hops,
        HEADER_BYTES[6] + at,
        bool(fragment),
        bool(fragment & _OFFSET6),
    )
