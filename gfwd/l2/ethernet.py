"""Ethernet headers: who a frame is from and for, its VLAN tags, and what is in it.

VLAN tags are kept as they stand in the frame, none to two of them: an answer leaves with the tags of its question.
"""

from typing import Any, Final, NamedTuple

from construct import Bytes, ConstructError, GreedyBytes, GreedyRange, Int16ub, OneOf, RawCopy, Struct

from gfwd.l2.errors import FrameError

BROADCAST: Final = b"\xff" * 6
IPV4: Final = 0x0800
ARP: Final = 0x0806
RARP: Final = 0x8035
IPV6: Final = 0x86DD

GROUP_BIT: Final = 0x01
"""Of a MAC's first byte: it is no single host's (IEEE 802)."""

_LEAST_BYTES = 60  # of a frame, without its CRC
_TAGS_MOST_BYTES = 8
_TAG_TYPES = (0x8100, 0x88A8, 0x9100)

_TAG = Struct("type" / OneOf(Int16ub, _TAG_TYPES), "control" / Int16ub)
HEADER: Final = Struct(
    "destination" / Bytes(6),
    "source" / Bytes(6),
    "tags" / RawCopy(GreedyRange(_TAG)),
)
"""All before the EtherType."""
_FRAME = Struct("header" / HEADER, "type" / Int16ub, "payload" / GreedyBytes)


class Ether(NamedTuple):
    """A frame. MACs have 6 bytes; tags: the VLAN tags, 0, 4 or 8 bytes as they stand in the frame. type: EtherType."""

    destination: bytes
    source: bytes
    type: int
    payload: bytes
    tags: bytes = b""

    @property
    def is_from_one(self) -> bool:
        """Whether its source is the MAC of a single host, as that of every frame should be."""
        return is_single(self.source)


def is_single(mac: bytes) -> bool:
    """Whether a MAC is that of a single host: no group's, and not all zeros."""
    return any(mac) and not mac[0] & GROUP_BIT


def parse(frame: bytes) -> Ether:
    """A frame's parts; the payload may have padding behind it. Raises FrameError where it is cut, or has more tags."""
    try:
        found: Any = _FRAME.parse(frame)
    except ConstructError as error:
        raise FrameError("no whole Ethernet header") from error
    header = found.header
    refuse_tags(header.tags.data)
    return Ether(header.destination, header.source, found.type, found.payload, header.tags.data)


def build(ether: Ether) -> bytes:
    """The frame, padded to the 60 bytes that Ethernet wants at least."""
    header = {"destination": ether.destination, "source": ether.source, "tags": {"data": ether.tags}}
    frame: bytes = _FRAME.build({"header": header, "type": ether.type, "payload": ether.payload})
    return padded(frame)


def padded(frame: bytes) -> bytes:
    return frame.ljust(_LEAST_BYTES, b"\0")


def refuse_tags(tags: bytes) -> None:
    """Raises FrameError where a frame has more tags than gfwd looks behind."""
    if len(tags) > _TAGS_MOST_BYTES:
        raise FrameError("more than 2 VLAN tags")
