"""IPv6 neighbour discovery (RFC 4861): solicitations and advertisements of neighbours, and those that we send.

All else of it (routers, redirects) is not for us. What §7.1 has a host discard is no frame of this kind.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from construct import Bytes, ConstructError, GreedyRange, Int8ub, Int32ub, Rebuild, Struct, Terminated, len_, this

from gfwd.l2 import ethernet, icmp_message, ip
from gfwd.l2.errors import FrameError
from gfwd.l2.ethernet import Ether
from gfwd.l2.icmp_message import Message
from gfwd.l2.statement import Statement
from gfwd.rules.model import Address

SOLICITATION: Final = 135
ADVERTISEMENT: Final = 136
UNSPECIFIED: Final = Address(6, 0)
"""The sender of a solicitation who has no address yet (RFC 4862 §5.4.2)."""
ALL_NODES: Final = Address(6, 0xFF02 << 112 | 1)

_HOPS = 255  # nobody forwards that, so what has it is from this link (§3.1, §11.2)
_SOLICITED_NODE = 0xFF02 << 112 | 0x1FF << 24  # RFC 4291 §2.7.1
_SOURCE_MAC, _TARGET_MAC = 1, 2  # options (§4.6.1)
_ROUTER, _SOLICITED, _OVERRIDE = 0x80000000, 0x40000000, 0x20000000

_OPTION = Struct(
    "type" / Int8ub,
    "units" / Rebuild(Int8ub, (len_(this.data) + 2) // 8),  # of 8 bytes
    "data" / Bytes(lambda its: 8 * its.units - 2),  # none of 0 units: it has less than no bytes
)
_BODY = Struct("target" / Bytes(16), "options" / GreedyRange(_OPTION), Terminated)
_FLAGS = Struct("flags" / Int32ub)


class Neighbour(NamedTuple):
    """A solicitation or an advertisement.

    destination, source: MACs, 6 bytes; receiver, sender: addresses. mac: the link-layer address that it names, the
    sender's or the target's; None: none. is_solicited, is_override, is_router: flags, of an advertisement only.
    tags: as in Ether.
    """

    kind: int
    destination: bytes
    source: bytes
    receiver: Address
    sender: Address
    target: Address
    mac: bytes | None
    is_solicited: bool = False
    is_override: bool = False
    is_router: bool = False
    tags: bytes = b""

    def statement(self) -> Statement | None:
        """What it says of an address; None: nothing, as a solicitation does that names no MAC."""
        if self.kind == ADVERTISEMENT:
            asked_by = self.receiver if self.is_solicited else None
            return Statement(self.target, self.mac, self.destination, self.source, asked_by)
        if self.mac is None or self.sender == UNSPECIFIED:
            return None
        return Statement(self.sender, self.mac, self.destination, self.source)


def solicited_node(address: Address) -> Address:
    """The group that whoever has this address listens to."""
    return Address(6, _SOLICITED_NODE | address.value & 0xFFFFFF)


def group_mac(group: Address) -> bytes:
    """The MAC of a multicast address (RFC 2464 §7)."""
    return b"\x33\x33" + (group.value & 0xFFFFFFFF).to_bytes(4)


def link_local(mac: bytes) -> Address:
    """The address that a port with this MAC has on its link (RFC 4291, appendix A; RFC 2464 §5)."""
    identifier = bytes((mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:]))
    return Address(6, 0xFE80 << 112 | int.from_bytes(identifier))


def parse(ether: Ether) -> Neighbour:
    """A frame's meaning. Raises FrameError on anything else, and on all that §7.1 has a host discard."""
    packet = ip.parse(ether.type, ether.payload)
    if packet.family != 6:
        raise FrameError("not IPv6")
    message = icmp_message.parse(packet)
    if message.type not in (SOLICITATION, ADVERTISEMENT) or message.code:
        raise FrameError(f"ICMPv6 type {message.type}, code {message.code}, which is no neighbour's")
    if packet.hops != _HOPS:
        raise FrameError("a neighbour's message that may come from further away")
    try:
        body: Any = _BODY.parse(message.body)
    except ConstructError as error:
        raise FrameError("a neighbour's message that is cut off, or an option of no length") from error
    target = Address(6, int.from_bytes(body.target))
    if ip.is_multicast(target) or target == UNSPECIFIED:
        raise FrameError("a neighbour's message about no neighbour")
    is_solicitation = message.type == SOLICITATION
    mac = _mac(body.options, _SOURCE_MAC if is_solicitation else _TARGET_MAC)
    flags = 0 if is_solicitation else int.from_bytes(message.rest)
    found = Neighbour(
        message.type,
        ether.destination,
        ether.source,
        packet.destination,
        packet.source,
        target,
        mac,
        bool(flags & _SOLICITED),
        bool(flags & _OVERRIDE),
        bool(flags & _ROUTER),
        ether.tags,
    )
    _refuse(found)
    return found


def build(neighbour: Neighbour) -> bytes:
    """The frame."""
    its = neighbour
    is_solicitation = its.kind == SOLICITATION
    flags = its.is_router * _ROUTER | its.is_solicited * _SOLICITED | its.is_override * _OVERRIDE
    kind = _SOURCE_MAC if is_solicitation else _TARGET_MAC
    options = [] if its.mac is None else [{"type": kind, "data": its.mac}]
    body: bytes = _BODY.build({"target": its.target.value.to_bytes(16), "options": options})
    message = Message(its.kind, 0, _FLAGS.build({"flags": flags}), body)
    packet = icmp_message.packet(message, its.sender, its.receiver, _HOPS)
    return ethernet.build(Ether(its.destination, its.source, ethernet.IPV6, ip.build(packet), its.tags))


def solicit(mac: bytes, sender: Address, target: Address, *, to: bytes | None = None, tags: bytes = b"") -> Neighbour:
    """Who has `target`? Asked by `sender`, which has `mac`, of its group, or of the one that had it last (`to`)."""
    group = solicited_node(target)
    if to is not None:
        return Neighbour(SOLICITATION, to, mac, target, sender, target, mac, tags=tags)
    return Neighbour(SOLICITATION, group_mac(group), mac, group, sender, target, mac, tags=tags)


def advertise(asked: Neighbour, mac: bytes, *, is_sure: bool = True) -> Neighbour:
    """The answer to a solicitation: `mac` has the address (§7.2.4). Who has no address yet is answered by all nodes.

    is_sure: False where it may yet turn out that somebody else has it: then it overrides nobody (RFC 4429 §3.3).
    """
    if asked.sender == UNSPECIFIED:
        answer = announcement(mac, asked.target, asked.tags)
        return answer._replace(is_override=is_sure)
    to = asked.mac or asked.source
    return Neighbour(
        ADVERTISEMENT, to, mac, asked.sender, asked.target, asked.target, mac, True, is_sure, tags=asked.tags
    )


def probe(mac: bytes, address: Address, tags: bytes = b"") -> Neighbour:
    """Has anybody this address, which we mean to have? (RFC 4862 §5.4.2)"""
    return solicit(mac, UNSPECIFIED, address, tags=tags)._replace(mac=None)


def announcement(mac: bytes, address: Address, tags: bytes = b"") -> Neighbour:
    """We have this address (RFC 4861 §7.2.6)."""
    return Neighbour(
        ADVERTISEMENT, group_mac(ALL_NODES), mac, ALL_NODES, address, address, mac, is_override=True, tags=tags
    )


def _mac(options: Iterable[Any], kind: int) -> bytes | None:
    """The first of its kind. Raises FrameError where it is none of Ethernet's."""
    data = next((option.data for option in options if option.type == kind), None)
    if data is not None and len(data) != 6:
        raise FrameError("a link-layer address that is not Ethernet's")
    return data


def _refuse(found: Neighbour) -> None:
    """What contradicts itself (§7.1.1, §7.1.2), or has no single sender (RFC 4291 §2.7). Raises FrameError."""
    if ip.is_multicast(found.sender):
        raise FrameError("a neighbour's message from a group")
    is_probe = found.kind == SOLICITATION and found.sender == UNSPECIFIED
    if is_probe and (found.mac is not None or found.receiver != solicited_node(found.target)):
        raise FrameError("a probe for an address that is none")
    if found.kind == ADVERTISEMENT and found.is_solicited and ip.is_multicast(found.receiver):
        raise FrameError("an answer to nobody's question")
