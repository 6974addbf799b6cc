"""Questions to /dev/netmap that change nothing (net/netmap.h): does it open, its API, the rings of a card.

Whether somebody has the rings, or the driver knows netmap, it does not say: who wants to know must take the card.
"""

import ctypes
import errno
import os
import struct
from fcntl import ioctl
from typing import Final

from gfwd.daemon.doctor.facts import Rings

_DEVICE = "/dev/netmap"
_API = 14
_NIOCCTRL = 0xC0586997  # _IOWR('i', 151, struct nmreq_header), the same on Linux and FreeBSD
_PORT_INFO_GET = 2
_HEADER: Final = struct.Struct("=HHI64sQQ")  # struct nmreq_header: version, request, zero, name, options, body
_INFO: Final = struct.Struct("=QIIHHHHHHHH")  # struct nmreq_port_info_get; see Rings


def open_error() -> int:
    """The errno of opening the device, 0 where that works."""
    try:
        os.close(os.open(_DEVICE, os.O_RDWR))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def speaks_api() -> bool:
    """Whether it takes requests of our version; asked about no port, it tells of its memory."""
    try:
        _info("")
    except OSError:
        return False
    return True


def rings(interface: str) -> Rings:
    """What a card would have in netmap mode. Raises OSError."""
    _, tx_slots, rx_slots, tx, rx, *_ = _info(interface)
    return Rings(rx, tx, rx_slots, tx_slots)


def _info(name: str) -> tuple[int, ...]:
    body = ctypes.create_string_buffer(_INFO.size)
    header = _HEADER.pack(_API, _PORT_INFO_GET, 0, name.encode(), 0, ctypes.addressof(body))
    device = os.open(_DEVICE, os.O_RDWR)
    try:
        ioctl(device, _NIOCCTRL, header)
    finally:
        os.close(device)
    return _INFO.unpack(body.raw)
