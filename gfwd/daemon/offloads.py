"""What a card does to frames by itself, and how to stop it: the features of an interface (ethtool(8)).

They bear the kernel's own names, those that `ethtool -k` shows and `ethtool -K` takes. The kernel numbers them anew in
every version, and says how; drivers have no part in that. A request sets any number of them at once, so that the card
is reset once at most. Being on is one thing, being asked for another: what needs a feature that is off goes off with
it, is still asked for, and comes back with it.
"""

import ctypes
import socket
import struct
from collections.abc import Iterable, Mapping
from fcntl import ioctl
from typing import Final, NamedTuple

_SIOCETHTOOL = 0x8946  # linux/sockios.h
_ETHTOOL_GSTRINGS = 0x1B  # linux/ethtool.h
_ETHTOOL_GSSET_INFO = 0x37
_ETHTOOL_GFEATURES = 0x3A
_ETHTOOL_SFEATURES = 0x3B
_ETH_SS_FEATURES = 4
_ETH_GSTRING_LEN = 32
_BLOCK_BITS = 32

_HEAD: Final = struct.Struct("=II")  # command, and how many blocks follow
_SSET_INFO: Final = struct.Struct("=IIQI")  # struct ethtool_sset_info: command, reserved, mask of sets, size of the set
_STRINGS: Final = struct.Struct("=III")  # struct ethtool_gstrings: command, set, how many
_GET_BLOCK: Final = struct.Struct("=IIII")  # struct ethtool_get_features_block: available, requested, active, never
_SET_BLOCK: Final = struct.Struct("=II")  # struct ethtool_set_features_block: valid, requested


class Feature(NamedTuple):
    """is_on: at work. is_asked: it is to be on where it can be. can_change: the driver leaves the choice to us."""

    is_on: bool
    is_asked: bool
    can_change: bool


class Offload(NamedTuple):
    """Features that are one thing to people. word: what ethtool calls it. means: what comes of it for a forwarder."""

    word: str
    features: tuple[str, ...]
    means: str


RX_CHECKSUM = Offload("rx-checksumming", ("rx-checksum",), "frames may come with checksums that nobody has finished")
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
GRO = Offload("gro", ("rx-gro",), "frames are joined to longer ones before gfwd sees them")
LRO = Offload("lro", ("rx-lro", "rx-gro-hw"), GRO.means)
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


def words(features: Iterable[str]) -> str:
    """What people call them, together."""
    called = {name: offload.word for offload in OFFLOADS for name in offload.features}
    return ", ".join(dict.fromkeys(called.get(name, name) for name in features))


def features(interface: str) -> dict[str, Feature]:
    """All that the kernel has a name for, of an interface of this network namespace. Raises OSError."""
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
    """Ask for features, or no longer; what the interface lacks, or cannot change, stays as it is. Raises OSError.

    What came of it, features() says.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        names = _names(kernel, interface)
        valid, requested = [0] * _blocks(names), [0] * _blocks(names)
        for number, name in enumerate(names):
            block, bit = divmod(number, _BLOCK_BITS)
            valid[block] |= (name in wish) << bit
            requested[block] |= wish.get(name, False) << bit
        blocks = b"".join(map(_SET_BLOCK.pack, valid, requested))
        _call(kernel, interface, _HEAD.pack(_ETHTOOL_SFEATURES, len(valid)) + blocks)


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
