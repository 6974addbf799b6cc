"""What Linux tells of itself. Nothing is changed, and what it does not tell stays unknown."""

import ctypes
import os
import re
import resource
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fcntl import ioctl
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from gfwd.daemon.doctor import xdp_features
from gfwd.daemon.doctor.facts import Interface, Program, Queues, Xdp
from gfwd.errors import GfwdError
from gfwd.l2.kernel import InterfaceAddress, Link

_PARAMETERS = Path("/sys/module/netmap/parameters")
_CONF = Path("/proc/sys/net/ipv4/conf")

_DUMPS_MOST = 5

_SIOCETHTOOL = 0x8946  # linux/sockios.h
_ETHTOOL_GDRVINFO = 0x03  # linux/ethtool.h
_ETHTOOL_GCHANNELS = 0x3C
_DRVINFO: Final = struct.Struct("=I32s160x")  # struct ethtool_drvinfo: command, driver
_CHANNELS: Final = struct.Struct("=9I")  # struct ethtool_channels: command, most of each kind, how many of each kind

# A program that is attached in this way → the word by which ip(8) takes it off.
_XDP_MODES = {
    "IFLA_XDP_DRV_PROG_ID": "xdpdrv",
    "IFLA_XDP_SKB_PROG_ID": "xdpgeneric",
    "IFLA_XDP_HW_PROG_ID": "xdpoffload",
}

# Each capability that AF_XDP takes, and the one that comprises it (linux/capability.h).
_NEEDED = {"CAP_NET_ADMIN": (12, 12), "CAP_NET_RAW": (13, 13), "CAP_PERFMON": (38, 21), "CAP_BPF": (39, 21)}
_BOUNDLESS = (14, 24)  # CAP_IPC_LOCK, which no limit holds for, and CAP_SYS_RESOURCE, which raises it
_AF_XDP = 44


class LinuxHost:
    """The network namespace that the calling thread is in. Its interfaces are read when one is asked for."""

    @cached_property
    def _links(self) -> dict[int, Any]:
        return {int(message["index"]): message for message in _links()}

    @cached_property
    def _names(self) -> dict[int, str]:
        return {index: str(message.get("IFLA_IFNAME")) for index, message in self._links.items()}

    def interface(self, link: Link, addresses: Iterable[InterfaceAddress]) -> Interface:
        message = self._links.get(link.index)
        kind = _kind(message)
        features = xdp_features.of(link.index)
        return Interface(
            link=link,
            addresses=tuple(addresses),
            kind=kind,
            lower=self._lower(link.index),
            driver=_driver(link.name),
            queues=_queues(link.name),
            xdp_mode=_xdp_mode(message),
            xdp_holder=_xdp_holder(message),
            has_native_xdp=None if features is None else xdp_features.can_forward(features),
            other_end=self._beneath(message) if kind == "veth" else None,
            rp_filter=max(_rp_filter("all"), _rp_filter(link.name)),
        )

    def xdp(self) -> Xdp:
        return Xdp(
            kernel=_version(os.uname().release), has_sockets=_has_sockets(), missing=_missing(), lockable=_lockable()
        )

    def netmap_settings(self) -> dict[str, int]:
        found = {}
        for path in _PARAMETERS.glob("*"):
            with suppress(OSError, ValueError):
                found[path.name] = int(path.read_text("ascii"))
        return found

    def netmap_users(self) -> tuple[Program, ...]:
        return tuple(dict.fromkeys(_program(file) for file in _open_files("/dev/netmap")))

    def bpf_errno(self) -> int:
        return 0

    def _lower(self, index: int) -> tuple[str, ...]:
        members = [self._names[number] for number, its in self._links.items() if its.get("IFLA_MASTER") == index]
        message = self._links.get(index)
        beneath = None if _kind(message) == "veth" else self._beneath(message)
        return tuple(members or ([beneath] if beneath else []))

    def _beneath(self, message: Any) -> str | None:
        """What IFLA_LINK names, where that is an interface of this namespace."""
        if message is None or message.get("IFLA_LINK_NETNSID") is not None:
            return None
        return self._names.get(message.get("IFLA_LINK") or -1)


def _links() -> list[Any]:
    """All that rtnetlink says of interfaces. A table that changed while it was read is read again."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkDumpInterrupted

    with IPRoute() as kernel:
        for _ in range(_DUMPS_MOST):
            with suppress(NetlinkDumpInterrupted):
                return list(kernel.get_links())
    raise GfwdError("interfaces: error: they change faster than they can be read")


# ---- an interface ----


def _kind(message: Any) -> str:
    info = None if message is None else message.get("IFLA_LINKINFO")
    return str((info.get("IFLA_INFO_KIND") if info else None) or "")


def _xdp_mode(message: Any) -> str:
    its = None if message is None else message.get("IFLA_XDP")
    return next((mode for name, mode in _XDP_MODES.items() if its and its.get(name)), "")


def _xdp_holder(message: Any) -> Program | None:
    """Who has attached the program by a bpf_link, which goes with the process; None: nobody, or nobody that we see."""
    its = None if message is None else message.get("IFLA_XDP")
    number = its.get("IFLA_XDP_PROG_ID") if its else None
    if number is None:
        return None
    line = f"prog_id:\t{number}"
    for file in _open_files("anon_inode:bpf_link", "anon_inode:bpf-link"):
        with suppress(OSError):
            if line in (file.parents[1] / "fdinfo" / file.name).read_text("ascii", "replace").splitlines():
                return _program(file)
    return None


def _driver(name: str) -> str:
    answer = _ethtool(name, _DRVINFO.pack(_ETHTOOL_GDRVINFO, b""))
    return "" if answer is None else _DRVINFO.unpack(answer)[1].partition(b"\0")[0].decode("ascii", "replace")


def _queues(name: str) -> Queues:
    """Who has nothing to say about them has one of each."""
    answer = _ethtool(name, _CHANNELS.pack(_ETHTOOL_GCHANNELS, *bytes(8)))
    if answer is None:
        return Queues()
    *_, rx, tx, _, both = _CHANNELS.unpack(answer)
    return Queues(rx, tx, both)


def _ethtool(name: str, request: bytes) -> bytes | None:
    """The kernel writes its answer over the request; None: it has none."""
    its = ctypes.create_string_buffer(request, len(request))
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        ioctl(kernel, _SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(its)))  # struct ifreq
        return its.raw
    return None


def _rp_filter(name: str) -> int:
    with suppress(OSError, ValueError):
        return int((_CONF / name / "rp_filter").read_text("ascii"))
    return 0


# ---- what this process may ----


def _version(release: str) -> tuple[int, int]:
    """6.1.0-18-amd64 → (6, 1)."""
    major, minor, *_ = *map(int, re.findall(r"\d+", release)), 0, 0
    return major, minor


def _has_sockets() -> bool:
    try:
        socket.socket(_AF_XDP, socket.SOCK_RAW).close()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _missing() -> tuple[str, ...]:
    held = _capabilities()
    return tuple(name for name, either in _NEEDED.items() if not any(held >> bit & 1 for bit in either))


def _lockable() -> int | None:
    if any(_capabilities() >> bit & 1 for bit in _BOUNDLESS):
        return None
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)  # as far as gfwd raises it for itself
    return None if most == resource.RLIM_INFINITY else most


def _capabilities() -> int:
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)


# ---- other programs ----


def _open_files(*targets: str) -> Iterator[Path]:
    """/proc/PID/fd/NUMBER of all that is open of this; what other users have open only root gets to see."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours to look at
            for file in (process / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(file) in targets:
                        yield file


def _program(file: Path) -> Program:
    process = file.parents[1]
    name = "a program"
    with suppress(OSError):
        name = (process / "comm").read_text("utf-8", "replace").strip()
    return Program(name, int(process.name))
