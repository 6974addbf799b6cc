"""Echo requests and replies (ping): ICMP for IPv4 (RFC 792), ICMP for IPv6 (RFC 4443 §4), as raw sockets have them.

A raw socket for IPv4 gives the IP header too, and the host does not look at ICMP's checksum before; one for IPv6 gives
ICMP alone, and has the checksum made and looked at by the host (RFC 3542 §3.1).
"""

import struct
from typing import Final, NamedTuple

from gfwd.l2.checksum import checksum
from gfwd.l2.errors import FrameError
from gfwd.rules.model import Family

_HEADER = struct.Struct(">BBHHH")  # type, code, checksum, identifier, sequence number
_REQUEST: Final[dict[Family, int]] = {4: 8, 6: 128}
_REPLY: Final[dict[Family, int]] = {4: 0, 6: 129}


class Echo(NamedTuple):
    """What makes a reply one to a certain request; both have 16 bits."""

    identifier: int
    sequence: int


def request(family: Family, echo: Echo) -> bytes:
    """What a raw socket of this family is to send."""
    message = _HEADER.pack(_REQUEST[family], 0, 0, *echo)
    return message if family == 6 else _HEADER.pack(_REQUEST[family], 0, checksum(message), *echo)


def reply(family: Family, data: bytes) -> Echo:
    """What a raw socket of this family has received. Raises FrameError where it is no sound echo reply."""
    message = data if family == 6 else data[(data[0] & 15) * 4 :] if data else b""
    if len(message) < _HEADER.size:
        raise FrameError("cut off before the end of the ICMP header")
    kind, code, _, identifier, sequence = _HEADER.unpack_from(message)
    if (kind, code) != (_REPLY[family], 0):
        raise FrameError(f"ICMP type {kind}, code {code}, which is no echo reply")
    if family == 4 and checksum(message) != 0:
        raise FrameError("a wrong ICMP checksum")
    return Echo(identifier, sequence)
