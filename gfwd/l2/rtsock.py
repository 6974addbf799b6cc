"""FreeBSD's routing messages: what a routing socket says, and what sysctl(3) answers, which is made of the same.

route(4), rtentry(9); layouts from net/route.h, net/if.h and net/if_dl.h of FreeBSD 13 to 15, with longs of 64 bits.
No I/O. The bytes are the kernel's own; where they end early all the same, what follows is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from gfwd.rules.model import Address, Family, Prefix

ADD: Final = 0x1
DELETE: Final = 0x2
CHANGE: Final = 0x3
GET: Final = 0x4
NEWADDR: Final = 0xC
DELADDR: Final = 0xD
IFINFO: Final = 0xE
IFANNOUNCE: Final = 0x11

RTF_UP: Final = 0x1
RTF_GATEWAY: Final = 0x2
RTF_HOST: Final = 0x4
RTF_REJECT: Final = 0x8
RTF_LLDATA: Final = 0x400
RTF_STATIC: Final = 0x800
RTF_BLACKHOLE: Final = 0x1000

FAMILIES: Final[dict[int, Family]] = {2: 4, 28: 6}  # AF_INET, AF_INET6 as FreeBSD has them
_FAMILY_NUMBERS: Final = {family: number for number, family in FAMILIES.items()}
_BYTES: Final[dict[Family, int]] = {4: 4, 6: 16}
_AF_LINK = 18
_VERSION = 5

# Which socket addresses follow a header, and their order (rtm_addrs).
_DST, _GATEWAY, _NETMASK, _IFP, _IFA = 0x1, 0x2, 0x4, 0x10, 0x20

_START: Final = Struct("=HBB")  # of all: length, version, type
_ROUTE: Final = Struct("=HBBHHiiiiiiQQQQQ80x")  # struct rt_msghdr; the last is rmx_expire
_INTERFACE: Final = Struct("=HBBiiH2x4xBxHI")  # struct if_msghdr, up to the MTU in its struct if_data
_INTERFACE_DATA = 16  # where struct if_data begins
_ADDRESS: Final = Struct("=HBBiiH2xi")  # struct ifa_msghdr
_LINK: Final = Struct("=BBHBBBB")  # struct sockaddr_dl: length, family, index, type, lengths of name, MAC, selector
_INET: Final = Struct("=BBH4s8x")  # struct sockaddr_in
_INET6: Final = Struct("=BBHI16sI")  # struct sockaddr_in6


@dataclass(frozen=True, slots=True)
class Route:
    """A route, or (RTF_LLDATA) an entry of a neighbour table. flags: RTF_…

    index: its interface's. gateway: None where that is a link; mac: of a neighbour, b"" where it has not answered.
    expire: when an entry is to go, in seconds of uptime; 0: never. pid, seq: whose question this answers. error: the
    errno that is the answer; 0: none.
    """

    type: int
    index: int
    flags: int
    pid: int
    seq: int
    error: int
    expire: int
    destination: Prefix | None
    gateway: Address | None
    mac: bytes


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface. flags: IFF_… link_state: 0 unknown, 1 down, 2 up (net/if.h). mtu: bytes."""

    type: int
    index: int
    flags: int
    link_state: int
    mtu: int
    name: str
    mac: bytes


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of an interface, with its network's length; None: of another family than IP's."""

    type: int
    index: int
    address: Address | None
    length: int


@dataclass(frozen=True, slots=True)
class Other:
    """Whatever else there is."""

    type: int


Message = Route | Interface | InterfaceAddress | Other


def messages(data: bytes) -> Iterator[Message]:
    """All in a buffer, one after the other."""
    at = 0
    while at + _START.size <= len(data):
        length, version, kind = _START.unpack_from(data, at)
        if length < _START.size or at + length > len(data):
            return
        # A kernel that speaks another version says other things in other places.
        yield _message(kind, data[at : at + length]) if version == _VERSION else Other(kind)
        at += length


def get(destination: Address, seq: int) -> bytes:
    """The question for the route to an address; the kernel answers it with a GET of the same pid and seq."""
    number, octets = _FAMILY_NUMBERS[destination.family], destination.value.to_bytes(_BYTES[destination.family])
    if destination.family == 4:
        to = _INET.pack(_INET.size, number, 0, octets)
    else:
        to = _INET6.pack(_INET6.size, number, 0, 0, octets, 0).ljust(_aligned(_INET6.size), b"\0")
    flags = RTF_UP | RTF_GATEWAY | RTF_HOST
    # With an interface's address asked for (RTA_IFP), its index comes with the answer.
    head = _ROUTE.pack(_ROUTE.size + len(to), _VERSION, GET, 0, 0, flags, _DST | _IFP, 0, seq, *[0] * 7)
    return head + to


def _message(kind: int, message: bytes) -> Message:
    if kind in (ADD, DELETE, CHANGE, GET) and len(message) >= _ROUTE.size:
        _, _, _, index, _, flags, which, pid, seq, error, _, _, _, _, _, expire = _ROUTE.unpack_from(message)
        its = _addresses(which, message[_ROUTE.size :])
        gateway = its.get(_GATEWAY, b"")
        destination = _prefix(its.get(_DST, b""), its.get(_NETMASK), is_host=bool(flags & (RTF_HOST | RTF_LLDATA)))
        mac = _name_and_mac(gateway)[1]
        return Route(kind, index, flags, pid, seq, error, expire, destination, _address(gateway), mac)
    if kind == IFINFO and len(message) >= _INTERFACE.size:
        _, _, _, which, flags, index, state, data_length, mtu = _INTERFACE.unpack_from(message)
        its = _addresses(which, message[_INTERFACE_DATA + data_length :])
        return Interface(kind, index, flags, state, mtu, *_name_and_mac(its.get(_IFP, b"")))
    if kind in (NEWADDR, DELADDR) and len(message) >= _ADDRESS.size:
        _, _, _, which, _, index, _ = _ADDRESS.unpack_from(message)
        its = _addresses(which, message[_ADDRESS.size :])
        prefix = _prefix(its.get(_IFA, b""), its.get(_NETMASK), is_host=_NETMASK not in its)
        return InterfaceAddress(kind, index, _address(its.get(_IFA, b"")), prefix.length if prefix else 0)
    return Other(kind)


# ---- socket addresses ----


def _aligned(length: int) -> int:
    """Each starts at a multiple of a long (SA_SIZE of net/route.h)."""
    return -(-length // 8) * 8


def _addresses(which: int, data: bytes) -> dict[int, bytes]:
    """By their bit."""
    found = {}
    for bit in (1 << number for number in range(8)):
        if which & bit and data:
            length = data[0]
            found[bit] = data[:length]
            data = data[_aligned(length) or 8 :]
    return found


def _address(its: bytes) -> Address | None:
    number = its[1] if len(its) > 1 else 0
    if number == _FAMILY_NUMBERS[4] and len(its) >= 8:
        return Address(4, int.from_bytes(its[4:8]))
    if number == _FAMILY_NUMBERS[6] and len(its) >= 24:
        return Address(6, _without_scope(int.from_bytes(its[8:24])))
    return None


def _without_scope(value: int) -> int:
    """In a link-local address, the kernel keeps the interface's index in bytes that the wire has zero there."""
    is_link_local = value >> 118 == 0xFE80 >> 6
    return value & ~(0xFFFF << 96) if is_link_local else value


def _prefix(its: bytes, mask: bytes | None, *, is_host: bool) -> Prefix | None:
    """The mask's own family says nothing, and it may end where only zeros follow."""
    address = _address(its)
    if address is None:
        return None
    start, end, bits = (4, 8, 32) if address.family == 4 else (8, 24, 128)
    length = bits if is_host else int.from_bytes((mask or b"")[start:end]).bit_count()
    return Prefix(address.family, address.value >> bits - length << bits - length, length)


def _name_and_mac(its: bytes) -> tuple[str, bytes]:
    """Of a struct sockaddr_dl."""
    if len(its) < _LINK.size or its[1] != _AF_LINK:
        return "", b""
    *_, name_length, mac_length, _ = _LINK.unpack_from(its)
    names, macs = its[_LINK.size :][:name_length], its[_LINK.size + name_length :][:mac_length]
    return names.decode("ascii", "replace"), macs
