"""A card on Linux: its features (ethtool(8)), its flags, and promiscuous mode.

Features bear the kernel's own names, those that `ethtool -k` shows and `ethtool -K` takes. The kernel numbers them anew
in every version, and says how; drivers have no part in that. A request sets any number of them at once, so that the
card is reset once at most. Being on is one thing, being asked for another: what needs a feature that is off goes off
with it, is still asked for, and comes back with it.
"""

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from typing import Final

from gfwd.daemon.card.system import JOINED, UNFINISHED, Feature, Offload
from gfwd.daemon.ports import Wanted

FOLDER = Path("/run/gfwd")
NETMAP_WAITS_FOR_UP = False

_SIOCGIFFLAGS = 0x8913  # linux/sockios.h
_SIOCSIFFLAGS = 0x8914
_SIOCETHTOOL = 0x8946
_ETHTOOL_GSTRINGS = 0x1B  # linux/ethtool.h
_ETHTOOL_GSSET_INFO = 0x37
_ETHTOOL_GFEATURES = 0x3A
_ETHTOOL_SFEATURES = 0x3B
_ETH_SS_FEATURES = 4
_ETH_GSTRING_LEN = 32
_BLOCK_BITS = 32
_IFF_UP = 0x1  # linux/if.h
_SOL_PACKET = 263  # linux/socket.h
_PACKET_ADD_MEMBERSHIP = 1  # linux/if_packet.h
_PACKET_MR_PROMISC = 1
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h

_HEAD: Final = struct.Struct("=II")  # command, and how many blocks follow
_SSET_INFO: Final = struct.Struct("=IIQI")  # struct ethtool_sset_info: command, reserved, mask of sets, size of the set
_STRINGS: Final = struct.Struct("=III")  # struct ethtool_gstrings: command, set, how many
_GET_BLOCK: Final = struct.Struct("=IIII")  # struct ethtool_get_features_block: available, requested, active, never
_SET_BLOCK: Final = struct.Struct("=II")  # struct ethtool_set_features_block: valid, requested
_FLAGS: Final = struct.Struct("16sH22x")  # struct ifreq
_MEMBERSHIP: Final = struct.Struct("iHH8s")  # struct packet_mreq: interface, kind, an address that plays no part

RX_CHECKSUM = Offload("rx-checksumming", ("rx-checksum",), UNFINISHED)
TX_CHECKSUM = Offload(
    "tx-checksumming",
    ("tx-checksum-ipv4", "tx-checksum-ip-generic", "tx-checksum-ipv6", "tx-checksum-sctp"),
    "what the host sends leaves with wrong checksums",
)
TSO = Offload(
    "tso",
    (
        "tx-tcp-segmentation",
        "tx-tcp-ecn-segmentation",
        "tx-tcp-mangleid-segmentation",
        "tx-tcp6-segmentation",
        "tx-tcp-accecn-segmentation",
    ),
    "what the host sends may be too long for the wire",
)
GSO = Offload(
    "gso", ("tx-generic-segmentation", "tx-udp-segmentation", "tx-sctp-segmentation", "tx-gso-list"), TSO.means
)
GRO = Offload("gro", ("rx-gro",), JOINED)
LRO = Offload("lro", ("rx-lro", "rx-gro-hw"), JOINED)
RX_VLAN = Offload(
    "rx-vlan-offload",
    ("rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"),
    "gfwd does not see the VLAN tags of frames that come in",
)
TX_VLAN = Offload(
    "tx-vlan-offload",
    ("tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"),
    "what the host sends to a VLAN leaves without its tag",
)
OFFLOADS = (RX_CHECKSUM, TX_CHECKSUM, TSO, GSO, GRO, LRO, RX_VLAN, TX_VLAN)


def unwanted(wanted: Wanted) -> tuple[Offload, ...]:
    """What netmap hands over is what is on the wire, and what the host sends through it must be whole. Beside AF_XDP
    the host goes on using the card as ever; but a native XDP program sees no tag that the card has taken off, and
    drivers refuse it where frames are joined.
    """
    if wanted.name.kind != "xdp":
        return OFFLOADS
    return (LRO, RX_VLAN) if wanted.is_in else (LRO,)


# ---- features ----


def features(interface: str) -> dict[str, Feature]:
    """All that the kernel has a name for. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        names = _names(kernel, interface)
        blocks = _blocks(names)
        answer = _call(kernel, interface, _HEAD.pack(_ETHTOOL_GFEATURES, blocks) + bytes(_GET_BLOCK.size * blocks))
    found = [*_GET_BLOCK.iter_unpack(answer[_HEAD.size :])]

    def feature(number: int) -> Feature:
        block, bit = divmod(number, _BLOCK_BITS)
        available, requested, active, never = (word >> bit & 1 for word in found[block])
        return Feature(is_on=bool(active), is_asked=bool(requested), can_change=bool(available and not never))

    return {name: feature(number) for number, name in enumerate(names) if name}


def set_features(interface: str, wish: Mapping[str, bool]) -> None:
    """Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        names = _names(kernel, interface)
        valid, requested = [0] * _blocks(names), [0] * _blocks(names)
        for number, name in enumerate(names):
            block, bit = divmod(number, _BLOCK_BITS)
            valid[block] |= (name in wish) << bit
            requested[block] |= wish.get(name, False) << bit
        blocks = b"".join(map(_SET_BLOCK.pack, valid, requested))
        _call(kernel, interface, _HEAD.pack(_ETHTOOL_SFEATURES, len(valid)) + blocks)


def command(interface: str, features: Iterable[str], *, on: bool) -> str:
    return " ".join(["ethtool -K", interface, *(f"{name} {'on' if on else 'off'}" for name in features)])


def _names(kernel: socket.socket, interface: str) -> list[str]:
    """By number. How many there are is asked first: the kernel writes them all, whatever room there is."""
    info = _call(kernel, interface, _SSET_INFO.pack(_ETHTOOL_GSSET_INFO, 0, 1 << _ETH_SS_FEATURES, 0))
    *_, count = _SSET_INFO.unpack(info)
    strings = _STRINGS.pack(_ETHTOOL_GSTRINGS, _ETH_SS_FEATURES, count) + bytes(_ETH_GSTRING_LEN * count)
    answer = _call(kernel, interface, strings)[_STRINGS.size :]
    names = (answer[start : start + _ETH_GSTRING_LEN] for start in range(0, len(answer), _ETH_GSTRING_LEN))
    return [name.partition(b"\0")[0].decode("ascii") for name in names]


def _blocks(names: list[str]) -> int:
    return -(-len(names) // _BLOCK_BITS)


def _call(kernel: socket.socket, interface: str, request: bytes) -> bytes:
    """The kernel writes its answer over the request."""
    its = ctypes.create_string_buffer(request, len(request))
    ioctl(kernel, _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), ctypes.addressof(its)))  # struct ifreq
    return its.raw


# ---- flags ----


def is_up(interface: str) -> bool:
    """Raises OSError."""
    return bool(_flags(interface) & _IFF_UP)


def set_up(interface: str, on: bool) -> None:
    """Raises OSError."""
    flags = _flags(interface)
    _ask(_SIOCSIFFLAGS, interface, flags | _IFF_UP if on else flags & ~_IFF_UP)


def promiscuous(interface: str) -> socket.socket:
    """This socket is a member of those that want it so. Raises OSError."""
    member = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # of protocol 0: no frame comes here
    try:
        membership = _MEMBERSHIP.pack(socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0, b"")
        member.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
    except OSError:
        member.close()
        raise
    return member


def _flags(interface: str) -> int:
    return _ask(_SIOCGIFFLAGS, interface, 0)


def _ask(what: int, interface: str, flags: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        answer: bytes = ioctl(kernel, what, _FLAGS.pack(interface.encode(), flags))
    return int(_FLAGS.unpack(answer)[1])


# ---- which one it is ----


def identity(interface: str) -> int:
    """Its number, which is not given to another one. Raises OSError."""
    return socket.if_nametoindex(interface)


def stack() -> int:
    """The network namespace. Its cookie is never given twice, the number of its inode, all that kernels before 5.14
    have, may be that of one which is gone.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything, suppress(OSError):
        return int.from_bytes(anything.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
    return os.stat("/proc/thread-self/ns/net").st_ino
