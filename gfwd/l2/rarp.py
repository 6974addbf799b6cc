"""RARP (RFC 903): a station asks which address it has. The frames are ARP's, with another EtherType and operations."""

from typing import Any, Final

from construct import ConstructError

from gfwd.l2 import arp, ethernet
from gfwd.l2.arp import Arp
from gfwd.l2.errors import FrameError
from gfwd.rules.model import Address

REQUEST: Final = 3
REPLY: Final = 4

_FRAME = arp.layout(ethernet.RARP, (REQUEST, REPLY))


def parse(frame: bytes) -> Arp:
    """A frame's meaning; what follows behind it is padding. Raises FrameError on anything else, and on a cut frame."""
    try:
        found: Any = _FRAME.parse(frame)
    except ConstructError as error:
        raise FrameError("no whole RARP request or reply for IPv4 over Ethernet") from error
    return arp.from_layout(found)


def build(rarp: Arp) -> bytes:
    """The frame, padded to the 60 bytes that Ethernet wants at least."""
    frame: bytes = _FRAME.build(arp.to_layout(rarp))
    return ethernet.padded(frame)


def request(mac: bytes, about: bytes) -> Arp:
    """Which address has the station `about`? It mostly asks for itself."""
    return Arp(ethernet.BROADCAST, mac, REQUEST, mac, arp.NOWHERE, about, arp.NOWHERE)


def reply(asked: Arp, mac: bytes, server: Address, address: Address) -> Arp:
    """The answer: the station that was asked about has `address`. server: our own address. It goes to who has asked."""
    return Arp(asked.source, mac, REPLY, mac, server, asked.target_mac, address, asked.tags)
