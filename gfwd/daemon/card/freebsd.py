"""A card on FreeBSD: its capabilities, its flags, and promiscuous mode.

Capabilities bear the words that ifconfig(8) takes. They are bits: a request says how all of them are to be. A driver
may refuse it, also halfway, or switch off what cannot be without another (TSO without checksums), or switch in pairs.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from typing import IO, Final

from gfwd.daemon.card.system import JOINED, UNFINISHED, Feature, Offload
from gfwd.daemon.ports import Wanted

FOLDER = Path("/var/run/gfwd")  # rc(8) empties /var/run when the system starts
NETMAP_WAITS_FOR_UP = True  # nm_kr_tryget(), and no signal ends it

_SIOCSIFFLAGS = 0x80206910  # sys/sockio.h
_SIOCGIFFLAGS = 0xC0206911
_SIOCSIFCAP = 0x8020691E
_SIOCGIFCAP = 0xC020691F
_SIOCGIFDATA = 0x8020692C
_BIOCPROMISC = 0x20004269  # net/bpf.h
_BIOCSETIF = 0x8020426C
_IFF_UP = 0x1  # net/if.h

_NAME: Final = struct.Struct("=16s16x")  # struct ifreq: the name alone,
_FLAGS: Final = struct.Struct("=16sHH12x")  # … with flags, their lower half first,
_CAPABILITIES: Final = struct.Struct("=16sII8x")  # … with capabilities: what there is (or is to be), and what is on,
_POINTER: Final = struct.Struct("=16sQ8x")  # … with the address of what the kernel is to fill in
_DATA: Final = struct.Struct("=128xQ16x")  # struct if_data: ifi_epoch

_BITS: Final = {
    "rxcsum": 0x1,  # IFCAP_*
    "txcsum": 0x2,
    "rxcsum6": 0x20_0000,
    "txcsum6": 0x40_0000,
    "tso4": 0x100,
    "tso6": 0x200,
    "lro": 0x400,
    "vlanhwtag": 0x10,
    "vlanhwcsum": 0x80,
    "vlanhwtso": 0x4_0000,
}
"""By ifconfig's words. What needs another one stands after it."""

OFFLOADS = (
    Offload("rxcsum", ("rxcsum", "rxcsum6"), UNFINISHED),
    Offload("txcsum", ("txcsum", "txcsum6", "vlanhwcsum"), "netmap drops what the host sends without a checksum"),
    Offload("tso", ("tso4", "tso6", "vlanhwtso"), "netmap drops what the host sends to be cut into packets"),
    Offload("lro", ("lro",), JOINED),
    Offload(
        "vlanhwtag",
        ("vlanhwtag",),
        "gfwd does not see the VLAN tags of frames that come in, and what the host sends to a VLAN leaves without one",
    ),
)


def unwanted(wanted: Wanted) -> tuple[Offload, ...]:
    """What netmap hands over is what is on the wire, and what the host sends through it must be whole. AF_XDP is
    Linux's.
    """
    return OFFLOADS if wanted.name.kind != "xdp" else ()


# ---- capabilities ----


def features(interface: str) -> dict[str, Feature]:
    """Those of _BITS that the interface has. What is asked for is at work, or has been refused. Raises OSError."""
    with kernel_socket() as kernel:
        there, on = capabilities(kernel, interface)
    return {
        name: Feature(is_on=bool(on & bit), is_asked=bool(on & bit), can_change=True)
        for name, bit in _BITS.items()
        if there & bit
    }


def set_features(interface: str, wish: Mapping[str, bool]) -> None:
    """All in one request, since many a card is reset by each; then, one by one, what has not come of it: of what
    depends on each other, a driver may want the one before the other. Raises OSError, the last one, when all is tried.
    """
    refused: OSError | None = None
    with kernel_socket() as kernel:
        with suppress(OSError):
            _request(kernel, interface, wish)
        on = [name for name in _BITS if wish.get(name) is True]
        off = [name for name in reversed(_BITS) if wish.get(name) is False]
        for name in (*off, *on):
            try:
                _request(kernel, interface, {name: wish[name]})
            except OSError as error:
                refused = error
    if refused is not None:
        raise refused


def command(interface: str, features: Iterable[str], *, on: bool) -> str:
    return " ".join(["ifconfig", interface, *(name if on else f"-{name}" for name in features)])


def _request(kernel: socket.socket, interface: str, wish: Mapping[str, bool]) -> None:
    there, on = capabilities(kernel, interface)
    wanted = on
    for name, is_wanted in wish.items():
        bit = _BITS.get(name, 0)
        wanted = wanted | bit if is_wanted else wanted & ~bit
    wanted &= there
    if wanted != on & there:
        ioctl(kernel, _SIOCSIFCAP, _CAPABILITIES.pack(interface.encode(), wanted, 0))


def capabilities(kernel: socket.socket, interface: str) -> tuple[int, int]:
    """What there is, and what is on, as the kernel's bits. Raises OSError."""
    answer: bytes = ioctl(kernel, _SIOCGIFCAP, _CAPABILITIES.pack(interface.encode(), 0, 0))
    _, there, on = _CAPABILITIES.unpack(answer)
    return there, on


# ---- flags ----


def is_up(interface: str) -> bool:
    """Raises OSError."""
    with kernel_socket() as kernel:
        return bool(_flags(kernel, interface) & _IFF_UP)


def set_up(interface: str, on: bool) -> None:
    """Raises OSError."""
    with kernel_socket() as kernel:
        flags = _flags(kernel, interface)
        flags = flags | _IFF_UP if on else flags & ~_IFF_UP
        ioctl(kernel, _SIOCSIFFLAGS, _FLAGS.pack(interface.encode(), flags & 0xFFFF, flags >> 16))


def promiscuous(interface: str) -> IO[bytes]:
    """A BPF device wants it so (bpf(4)): the kernel counts those that do, and a device closes with its process. What
    `ifconfig promisc` sets would be one flag for all, and would stay. Open for writing only, no frame comes here.
    Raises OSError.
    """
    member = os.fdopen(os.open("/dev/bpf", os.O_WRONLY), "wb", buffering=0)
    try:
        ioctl(member, _BIOCSETIF, _NAME.pack(interface.encode()))
        ioctl(member, _BIOCPROMISC)
    except OSError:
        member.close()
        raise
    return member


def _flags(kernel: socket.socket, interface: str) -> int:
    answer: bytes = ioctl(kernel, _SIOCGIFFLAGS, _FLAGS.pack(interface.encode(), 0, 0))
    _, low, high = _FLAGS.unpack(answer)
    return int(low | high << 16)


# ---- which one it is ----


def identity(interface: str) -> int:
    """The second of the system's uptime in which it came to be; its number is given to the next one when it is gone.
    Raises OSError.
    """
    data = ctypes.create_string_buffer(_DATA.size)
    with kernel_socket() as kernel:
        ioctl(kernel, _SIOCGIFDATA, _POINTER.pack(interface.encode(), ctypes.addressof(data)))
    (epoch,) = _DATA.unpack(data.raw)
    return int(epoch)


def stack() -> int:
    """A jail may have a network stack of its own (vnet), and does not know its number. Each stack has had its lo0 from
    its beginning; where that has got another name, stacks are not told apart.
    """
    with suppress(OSError):
        return identity("lo0")
    return 0


def kernel_socket() -> socket.socket:
    """To ask by. Of AF_UNIX, since a jail, or a kernel, may be without IPv4."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
