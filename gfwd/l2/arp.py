"""ARP over Ethernet for IPv4 (RFC 826): the frames, and those that we send.

VLAN tags are kept as they stand in the frame, none to two of them: a reply leaves with the tags of its request.
"""

from typing import Any, Final, NamedTuple

from construct import Bytes, Const, ConstructError, GreedyRange, Int8ub, Int16ub, Int32ub, OneOf, RawCopy, Struct

from gfwd.l2.errors import FrameError
from gfwd.rules.model import Address

BROADCAST: Final = b"\xff" * 6
REQUEST: Final = 1
REPLY: Final = 2

_NOBODY = bytes(6)  # the target MAC of a request: what is asked for
_LEAST_BYTES = 60  # of an Ethernet frame, without its CRC
_TAGS_MOST = 2
_TAG_TYPES = (0x8100, 0x88A8, 0x9100)

_TAG = Struct("type" / OneOf(Int16ub, _TAG_TYPES), "control" / Int16ub)
_FRAME = Struct(
    "destination" / Bytes(6),
    "source" / Bytes(6),
    "tags" / RawCopy(GreedyRange(_TAG)),
    Const(0x0806, Int16ub),  # EtherType
    Const(1, Int16ub),  # ar$hrd: Ethernet
    Const(0x0800, Int16ub),  # ar$pro: IPv4
    Const(6, Int8ub),  # ar$hln
    Const(4, Int8ub),  # ar$pln
    "operation" / OneOf(Int16ub, (REQUEST, REPLY)),  # ar$op
    "sender_mac" / Bytes(6),  # ar$sha
    "sender" / Int32ub,  # ar$spa
    "target_mac" / Bytes(6),  # ar$tha
    "target" / Int32ub,  # ar$tpa
)


class Arp(NamedTuple):
    """An ARP frame. MACs have 6 bytes; tags: the VLAN tags, 0, 4 or 8 bytes as they stand in the frame."""

    destination: bytes
    source: bytes
    operation: int
    sender_mac: bytes
    sender: Address
    target_mac: bytes
    target: Address
    tags: bytes = b""


def parse(frame: bytes) -> Arp:
    """A frame's meaning; what follows behind it is padding. Raises FrameError on anything else, and on a cut frame."""
    try:
        found: Any = _FRAME.parse(frame)
    except ConstructError as error:
        raise FrameError("no whole ARP request or reply for IPv4 over Ethernet") from error
    if len(found.tags.value) > _TAGS_MOST:
        raise FrameError(f"more than {_TAGS_MOST} VLAN tags")
    return Arp(
        found.destination,
        found.source,
        found.operation,
        found.sender_mac,
        Address(4, found.sender),
        found.target_mac,
        Address(4, found.target),
        found.tags.data,
    )


def build(arp: Arp) -> bytes:
    """The frame, padded to the 60 bytes that Ethernet wants at least."""
    fields = arp._asdict() | {
        "tags": {"data": arp.tags},
        "sender": arp.sender.value,
        "target": arp.target.value,
    }
    frame: bytes = _FRAME.build(fields)
    return frame.ljust(_LEAST_BYTES, b"\0")


def request(mac: bytes, sender: Address, target: Address, *, to: bytes = BROADCAST, tags: bytes = b"") -> Arp:
    """Who has `target`? Asked by `sender`, which has `mac`, of everyone, or of the one that had it last (`to`)."""
    return Arp(to, mac, REQUEST, mac, sender, _NOBODY, target, tags)


def reply(asked: Arp, mac: bytes) -> Arp:
    """The answer to a request: `mac` has the address. It goes to the sender that the request names, by its tags."""
    return Arp(asked.sender_mac, mac, REPLY, mac, asked.target, asked.sender_mac, asked.sender, asked.tags)
