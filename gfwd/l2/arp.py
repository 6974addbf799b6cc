"""ARP over Ethernet for IPv4 (RFC 826): the frames, and those that we send. RARP's are of the same make (rarp.py).

VLAN tags are kept as they stand in the frame, none to two of them: a reply leaves with the tags of its request.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from construct import Bytes, Const, ConstructError, Int8ub, Int16ub, Int32ub, OneOf, Struct

from gfwd.l2 import ethernet
from gfwd.l2.errors import FrameError
from gfwd.l2.statement import Statement
from gfwd.rules.model import Address

BROADCAST: Final = ethernet.BROADCAST
REQUEST: Final = 1
REPLY: Final = 2

_NOBODY = bytes(6)  # the target MAC of a request: what is asked for
NOWHERE: Final = Address(4, 0)
"""The sender of a probe, who has no address yet (RFC 5227 §1.1)."""


def layout(ethertype: int, operations: Collection[int]) -> Any:
    """The construct of a whole frame."""
    return Struct(
        "header" / ethernet.HEADER,
        Const(ethertype, Int16ub),
        Const(1, Int16ub),  # ar$hrd: Ethernet
        Const(0x0800, Int16ub),  # ar$pro: IPv4
        Const(6, Int8ub),  # ar$hln
        Const(4, Int8ub),  # ar$pln
        "operation" / OneOf(Int16ub, operations),  # ar$op
        "sender_mac" / Bytes(6),  # ar$sha
        "sender" / Int32ub,  # ar$spa
        "target_mac" / Bytes(6),  # ar$tha
        "target" / Int32ub,  # ar$tpa
    )


_FRAME = layout(ethernet.ARP, (REQUEST, REPLY))


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

    def statement(self) -> Statement | None:
        """What its sender says of itself; None: nothing, as a probe does, whose sender has no address yet, and RARP."""
        if self.sender == NOWHERE or self.operation not in (REQUEST, REPLY):
            return None
        # A gratuitous one is about its sender alone, whichever operation it names (RFC 5227 §3).
        is_answer = self.operation == REPLY and self.target != self.sender
        return Statement(
            self.sender, self.sender_mac, self.destination, self.source, self.target if is_answer else None
        )


def parse(frame: bytes) -> Arp:
    """A frame's meaning; what follows behind it is padding. Raises FrameError on anything else, and on a cut frame."""
    try:
        found: Any = _FRAME.parse(frame)
    except ConstructError as error:
        raise FrameError("no whole ARP request or reply for IPv4 over Ethernet") from error
    return from_layout(found)


def build(arp: Arp) -> bytes:
    """The frame, padded to the 60 bytes that Ethernet wants at least."""
    frame: bytes = _FRAME.build(to_layout(arp))
    return ethernet.padded(frame)


def from_layout(found: Any) -> Arp:
    """What was read by layout(). Raises FrameError where there are too many tags."""
    header = found.header
    ethernet.refuse_tags(header.tags.data)
    return Arp(
        header.destination,
        header.source,
        found.operation,
        found.sender_mac,
        Address(4, found.sender),
        found.target_mac,
        Address(4, found.target),
        header.tags.data,
    )


def to_layout(arp: Arp) -> dict[str, Any]:
    """What layout() builds from."""
    header = {"destination": arp.destination, "source": arp.source, "tags": {"data": arp.tags}}
    return arp._asdict() | {"header": header, "sender": arp.sender.value, "target": arp.target.value}


def request(mac: bytes, sender: Address, target: Address, *, to: bytes = BROADCAST, tags: bytes = b"") -> Arp:
    """Who has `target`? Asked by `sender`, which has `mac`, of everyone, or of the one that had it last (`to`)."""
    return Arp(to, mac, REQUEST, mac, sender, _NOBODY, target, tags)


def reply(asked: Arp, mac: bytes) -> Arp:
    """The answer to a request: `mac` has the address. It goes to the sender that the request names, by its tags."""
    return Arp(asked.sender_mac, mac, REPLY, mac, asked.target, asked.sender_mac, asked.sender, asked.tags)


def probe(mac: bytes, address: Address, tags: bytes = b"") -> Arp:
    """Has anybody this address, which we mean to have? (RFC 5227 §2.1.1) It changes nobody's table."""
    return request(mac, NOWHERE, address, tags=tags)


def announcement(mac: bytes, address: Address, tags: bytes = b"") -> Arp:
    """We have this address (RFC 5227 §2.3): a request for it, from itself."""
    return request(mac, address, address, tags=tags)
