"""What FreeBSD tells of itself. Nothing is changed, and what it does not tell stays unknown."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from fcntl import ioctl
from typing import Final

from gfwd.daemon.card import freebsd as card
from gfwd.daemon.doctor.facts import Interface, Program
from gfwd.l2.kernel import InterfaceAddress, Link

_SIOCGIFGROUP = 0xC0286988  # sys/sockio.h
_IFCAP_NETMAP = 0x100000  # net/if.h
_NAME_BYTES = 16

_GROUPS: Final = struct.Struct("@16sIP8x")  # struct ifgroupreq: name, length of what follows, where

# Of the groups that an interface is in, those of interfaces that are made of others (the names of their cloners).
_MADE_OF_OTHERS = ("lagg", "vlan", "bridge", "carp")

_SETTINGS = ("admode", "buf_num", "buf_size", "ring_num", "ring_size")


class FreeBSDHost:
    """The host, or the jail, that this process is in."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def interface(self, link: Link, addresses: Iterable[InterfaceAddress]) -> Interface:
        can = does = None
        with suppress(OSError), card.kernel_socket() as kernel:
            can, does = card.capabilities(kernel, link.name)
        groups = _groups(link.name)
        return Interface(
            link=link,
            addresses=tuple(addresses),
            kind=next((kind for kind in _MADE_OF_OTHERS if kind in groups), ""),
            has_native_netmap=None if can is None else bool(can & _IFCAP_NETMAP),
            in_netmap_mode=None if does is None else bool(does & _IFCAP_NETMAP),  # native mode only
        )

    def xdp(self) -> None:
        return None

    def netmap_settings(self) -> dict[str, int]:
        """Of dev.netmap those that matter; without netmap, none."""
        asked = {name: self._sysctl(f"dev.netmap.{name}") for name in _SETTINGS}
        return {name: value for name, value in asked.items() if value is not None}

    def netmap_users(self) -> tuple[Program, ...]:
        return ()  # who has a card's rings is known of the card itself

    def bpf_errno(self) -> int:
        try:
            os.close(os.open("/dev/bpf", os.O_WRONLY))
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _sysctl(self, name: str) -> int | None:
        """sysctlbyname(3), for a number."""
        value = ctypes.c_int()
        size = ctypes.c_size_t(ctypes.sizeof(value))
        failed = self._libc.sysctlbyname(
            name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)
        )
        return None if failed else value.value


def _groups(name: str) -> tuple[str, ...]:
    """Asked twice: how many there are, and which."""
    with suppress(OSError), card.kernel_socket() as kernel:
        _, length, _ = _GROUPS.unpack(ioctl(kernel, _SIOCGIFGROUP, _GROUPS.pack(name.encode(), 0, 0)))
        names = ctypes.create_string_buffer(length)
        ioctl(kernel, _SIOCGIFGROUP, _GROUPS.pack(name.encode(), length, ctypes.addressof(names)))
        its = (names.raw[start : start + _NAME_BYTES] for start in range(0, length, _NAME_BYTES))
        return tuple(group.partition(b"\0")[0].decode("ascii", "replace") for group in its)
    return ()
