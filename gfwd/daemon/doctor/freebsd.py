"""What FreeBSD tells of itself. Nothing is changed, and what it does not tell stays unknown."""

import ctypes
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from fcntl import ioctl
from typing import Final

from gfwd.daemon.doctor.facts import Interface, Program
from gfwd.l2.kernel import InterfaceAddress, Link

_SIOCGIFCAP = 0xC020691F  # sys/sockio.h
_SIOCGIFGROUP = 0xC0286988
_IFCAP_NETMAP = 0x100000  # net/if.h
_NAME_BYTES = 16

_CAPABILITIES: Final = struct.Struct("=16sII8x")  # struct ifreq: name, what it can, what it does
_GROUPS: Final = struct.Struct("@16sIP8x")  # struct ifgroupreq: name, length of what follows, where

# Of the groups that an interface is in, those of interfaces that are made of others (the names of their cloners).
_MADE_OF_OTHERS = ("lagg", "vlan", "bridge", "carp")

_SETTINGS = ("admode", "buf_num", "buf_size", "ring_num", "ring_size")


class FreeBSDHost:
    """The host, or the jail, that this process is in."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def interface(self, link: Link, addresses: Iterable[InterfaceAddress]) -> Interface:
        can, does = _capabilities(link.name)
        groups = _groups(link.name)
        return Interface(
            link=link,
            addresses=tuple(addresses),
            kind=next((kind for kind in _MADE_OF_OTHERS if kind in groups), ""),
            has_native_netmap=None if can is None else bool(can & _IFCAP_NETMAP),
            in_netmap_mode=None if does is None else bool(does & _IFCAP_NETMAP),
        )

    def xdp(self) -> None:
        return None

    def netmap_settings(self) -> dict[str, int]:
        """Of dev.netmap those that matter; without netmap, none."""
        asked = {name: self._sysctl(f"dev.netmap.{name}") for name in _SETTINGS}
        return {name: value for name, value in asked.items() if value is not None}

    def netmap_users(self) -> tuple[Program, ...]:
        return ()  # who has a card's rings is known of the card itself

    def _sysctl(self, name: str) -> int | None:
        """sysctlbyname(3), for a number."""
        value = ctypes.c_int()
        size = ctypes.c_size_t(ctypes.sizeof(value))
        failed = self._libc.sysctlbyname(
            name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)
        )
        return None if failed else value.value


def _capabilities(name: str) -> tuple[int | None, int | None]:
    """What it can do, and what it does. In native netmap mode it does so."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        _, can, does = _CAPABILITIES.unpack(ioctl(kernel, _SIOCGIFCAP, _CAPABILITIES.pack(name.encode(), 0, 0)))
        return can, does
    return None, None


def _groups(name: str) -> tuple[str, ...]:
    """Asked twice: how many there are, and which."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        _, length, _ = _GROUPS.unpack(ioctl(kernel, _SIOCGIFGROUP, _GROUPS.pack(name.encode(), 0, 0)))
        names = ctypes.create_string_buffer(length)
        ioctl(kernel, _SIOCGIFGROUP, _GROUPS.pack(name.encode(), length, ctypes.addressof(names)))
        its = (names.raw[start : start + _NAME_BYTES] for start in range(0, length, _NAME_BYTES))
        return tuple(group.partition(b"\0")[0].decode("ascii", "replace") for group in its)
    return ()
