"""ICMP messages as they stand in packets: echo, and what is wrong with a datagram. RFC 792, RFC 1191 §4, RFC 4443.

icmp.py has echo as raw sockets have it.
"""

from typing import Any, Final, NamedTuple

from construct import Bytes, ConstructError, GreedyBytes, Int8ub, Int16ub, Struct

from gfwd.l2 import ip
from gfwd.l2.checksum import checksum, pseudo_header
from gfwd.l2.errors import FrameError
from gfwd.l2.ip import Packet
from gfwd.rules.model import Address, Family

PROTOCOLS: Final[dict[Family, int]] = {4: ip.ICMP, 6: ip.ICMPV6}

_MESSAGE = Struct("type" / Int8ub, "code" / Int8ub, "checksum" / Int16ub, "rest" / Bytes(4), "body" / GreedyBytes)
_HEADER_BYTES = 8
_ECHO_REQUEST: Final[dict[Family, int]] = {4: 8, 6: 128}
_ECHO_REPLY: Final[dict[Family, int]] = {4: 0, 6: 129}
_PORT_UNREACHABLE: Final[dict[Family, tuple[int, int]]] = {4: (3, 3), 6: (1, 4)}
_TOO_BIG: Final[dict[Family, tuple[int, int]]] = {4: (3, 4), 6: (2, 0)}
_PACKET_MOST: Final[dict[Family, int]] = {4: 576, 6: 1280}  # bytes that an error may have: RFC 1812 §4.3.2.3, RFC 4443


class Message(NamedTuple):
    """A message. rest: the 4 bytes behind the checksum, which mean something else in each type."""

    type: int
    code: int
    rest: bytes
    body: bytes


def parse(packet: Packet) -> Message:
    """The message that a packet carries. Raises FrameError where it is none, is cut, or its checksum is wrong."""
    if packet.protocol != PROTOCOLS[packet.family] or packet.is_fragment:
        raise FrameError("no whole ICMP message")
    try:
        found: Any = _MESSAGE.parse(packet.payload)
    except ConstructError as error:
        raise FrameError("no whole ICMP header") from error
    if checksum(_covered(packet.source, packet.destination, packet.payload)):
        raise FrameError("a wrong ICMP checksum")
    return Message(found.type, found.code, found.rest, found.body)


def packet(message: Message, source: Address, destination: Address, hops: int = 64) -> Packet:
    """The packet that carries a message, with its checksum."""
    fields = message._asdict() | {"checksum": 0}
    covered = _covered(source, destination, _MESSAGE.build(fields))
    payload: bytes = _MESSAGE.build(fields | {"checksum": checksum(covered)})
    return Packet(source, destination, PROTOCOLS[source.family], payload, hops)


def is_echo_request(family: Family, message: Message) -> bool:
    return (message.type, message.code) == (_ECHO_REQUEST[family], 0)


def echo_reply(asked: Packet, message: Message) -> Packet:
    """The reply to an echo request: the same identifier, number and data, from whom it was for."""
    reply = message._replace(type=_ECHO_REPLY[asked.family])
    return packet(reply, asked.destination, asked.source)


def port_unreachable(about: Packet, whole: bytes) -> Packet:
    """Nobody listens there. whole: the packet that it is about as it came, or how it begins."""
    kind, code = _PORT_UNREACHABLE[about.family]
    return _error(Message(kind, code, bytes(4), whole), about)


def too_big(about: Packet, whole: bytes, mtu: int) -> Packet:
    """It does not fit where it is to go: `mtu` bytes of IP do. whole: as for port_unreachable()."""
    kind, code = _TOO_BIG[about.family]
    rest = mtu.to_bytes(4) if about.family == 6 else min(mtu, 0xFFFF).to_bytes(4)
    return _error(Message(kind, code, rest, whole), about)


def _error(message: Message, about: Packet) -> Packet:
    """From whom the packet was for, to whom sent it, with as much of it as there is room for."""
    room = _PACKET_MOST[about.family] - ip.HEADER_BYTES[about.family] - _HEADER_BYTES
    return packet(message._replace(body=message.body[:room]), about.destination, about.source)


def _covered(source: Address, destination: Address, message: bytes) -> bytes:
    """What the checksum is taken of."""
    if source.family == 4:
        return message
    return pseudo_header(source, destination, ip.ICMPV6, len(message)) + message
