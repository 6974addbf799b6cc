"""An interface of this host: up or down, and whose frames it takes."""

import socket
import struct
from fcntl import ioctl
from typing import Final

_SIOCGIFFLAGS = 0x8913  # linux/sockios.h
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1  # linux/if.h
_SOL_PACKET = 263  # linux/socket.h
_PACKET_ADD_MEMBERSHIP = 1  # linux/if_packet.h
_PACKET_MR_PROMISC = 1

_FLAGS: Final = struct.Struct("16sH22x")  # struct ifreq
_MEMBERSHIP: Final = struct.Struct("iHH8s")  # struct packet_mreq: interface, kind, an address that plays no part


def is_up(name: str) -> bool:
    """Whether it is to be up (a link may have no carrier nevertheless). Raises OSError."""
    return bool(_flags(name) & _IFF_UP)


def set_up(name: str, on: bool) -> None:
    """Bring it up, or down. Raises OSError."""
    flags = _flags(name)
    _ask(_SIOCSIFFLAGS, name, flags | _IFF_UP if on else flags & ~_IFF_UP)


def promiscuous(name: str) -> socket.socket:
    """It takes frames to any MAC address while this socket is open, also where others want the same. Raises OSError."""
    member = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # of protocol 0: no frame comes here
    try:
        membership = _MEMBERSHIP.pack(socket.if_nametoindex(name), _PACKET_MR_PROMISC, 0, b"")
        member.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
    except OSError:
        member.close()
        raise
    return member


def _flags(name: str) -> int:
    return _ask(_SIOCGIFFLAGS, name, 0)


def _ask(what: int, name: str, flags: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        answer: bytes = ioctl(kernel, what, _FLAGS.pack(name.encode(), flags))
    return int(_FLAGS.unpack(answer)[1])
