"""FreeBSD's tables: interfaces, their addresses, routes and neighbours, and the news of them.

The tables come by sysctl(3), all of one at a time; routes are asked for one by one (routing_socket.py). The news only
say which table to look at again. Of ARP there are none at all, so neighbours are also looked at once a second, and soon
after a question.

The kernel has no request to resolve a neighbour. For IPv4 we send the ARP request ourselves (bpf(4)), in the kernel's
name: it takes the answer as its own, and the entry's new time to live shows that there was one. For IPv6 a packet to
the neighbour makes the kernel do what it does for every packet (RFC 4861 §7.3).
"""

import ctypes
import errno
import os
import select
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fcntl import ioctl
from functools import cache
from struct import Struct, pack
from typing import Any, Final, NamedTuple

from gfwd.errors import GfwdError
from gfwd.l2 import arp, rtsock
from gfwd.l2.kernel import (
    AddressesChanged,
    Change,
    EntryState,
    InterfaceAddress,
    Kernel,
    Link,
    LinkChange,
    NeighbourChange,
    RoutesChanged,
    in_plain_words,
    sender,
)
from gfwd.l2.neighbour import Timing
from gfwd.l2.routes import Route
from gfwd.l2.routing_socket import RoutingSocket, Table
from gfwd.rules.model import Address, Prefix

_AF_ROUTE = 17  # sys/socket.h
_CTL_NET = 4  # sys/sysctl.h
_NET_RT_FLAGS = 2  # sys/socket.h
_NET_RT_IFLIST = 3
_IFF_UP = 0x1  # net/if.h
_LINK_STATE_DOWN = 1
_BIOCSETIF = 0x8020426C  # net/bpf.h
_BIOCSHDRCMPLT = 0x80044275
_SIOCGNBRINFO_IN6 = 0xC038694E  # netinet6/in6_var.h
_SIOCGETVLAN = 0xC020693A  # net/if_vlan_var.h: SIOCGIFGENERIC
_8021Q = 0x8100
_MAC_BYTES = 6
_LINK_LOCAL: Final = Prefix(6, 0xFE80 << 112, 10)  # RFC 4291 §2.5.6

_VLANREQ: Final = Struct("16sHH")  # struct vlanreq: parent, number, type of the tag
_NBRINFO: Final = Struct("16s16sqiii4x")  # struct in6_nbrinfo: interface, address, asked, is router, state, expire
_ND_STATES: Final = {  # netinet6/nd6.h
    -2: EntryState.DELETED,  # ND6_LLINFO_NOSTATE
    0: EntryState.ASKED,  # ND6_LLINFO_INCOMPLETE
    1: EntryState.CONFIRMED,  # ND6_LLINFO_REACHABLE
    2: EntryState.STALE,  # ND6_LLINFO_STALE
    3: EntryState.PROBED,  # ND6_LLINFO_DELAY
    4: EntryState.PROBED,  # ND6_LLINFO_PROBE
}
_IS_GONE: Final = {errno.EINVAL, errno.ENXIO}  # of an entry, or of its interface
_ECHO_REQUEST: Final = bytes((128, 0, 0, 0, 0, 0, 0, 0))  # RFC 4443 §4.1; the kernel fills in the checksum

_LOOK_MS = 1_000  # from one look at the neighbours to the next
_SOON_MS = 20  # while a question is open …
_SOON_MOST = 10  # … but at least so many times as long as a look takes
_SOON_S = 1.0  # after that, the usual look is often enough
_EVERY_SO_OFTEN, _SOON = 1, 2  # the timers' numbers


class _Key(NamedTuple):
    interface: int
    address: Address


class _Entry(NamedTuple):
    """An entry of a neighbour table. expire: changes whenever the neighbour has answered; 0 where that is not known."""

    mac: bytes | None
    state: EntryState
    expire: int


class FreeBSDKernel(Kernel):
    """The tables of this system, or of the jail with a network stack of its own."""

    @in_plain_words()
    def __init__(self) -> None:
        self._routing = RoutingSocket()
        self._ipv6 = _ipv6()
        self._bell = select.kqueue()
        self._bell.control([select.kevent(self._routing, select.KQ_FILTER_READ, select.KQ_EV_ADD)], 0)
        self._ring(_EVERY_SO_OFTEN, _LOOK_MS, select.KQ_EV_ADD)
        self._found: list[Change] = []
        self._open: dict[_Key, float] = {}  # questions, and when they were asked
        self._asked: dict[_Key, _Entry] = {}  # entries as they were at the last question for each
        self._look_s = 0.0  # what the last look at the neighbours took
        self._links = {link.index: link for link in self.links()}
        self._entries = self._table()

    def close(self) -> None:
        self._bell.close()
        self._routing.close()
        if self._ipv6 is not None:
            self._ipv6.close()

    # ---- tables ----

    @in_plain_words()
    def links(self) -> tuple[Link, ...]:
        found = tuple(_link(message) for message in _interfaces() if isinstance(message, rtsock.Interface))
        return _with_vlans(found)

    @in_plain_words()
    def addresses(self, index: int) -> tuple[InterfaceAddress, ...]:
        return tuple(
            InterfaceAddress(message.address, message.length)
            for message in _interfaces(index)
            if isinstance(message, rtsock.InterfaceAddress) and message.address is not None
        )

    def routes_to(self, destination: Address, interfaces: Collection[int]) -> tuple[Route, ...]:
        """The kernel names the one route that it would take, by whichever interface.

        One of a link alone is on every link that speaks IPv6; asked for it without a link, the kernel knows no route.
        """
        if destination.family == 6 and destination.is_link_local:
            return tuple(Route(_LINK_LOCAL, None, index, 0) for index in interfaces if self._speaks_ipv6(index))
        answer = self._routing.route(destination) if interfaces else None
        if self._routing.heard:
            self._look_soon()  # the news have been read, and ring no more
        if answer is None or answer.index not in interfaces or answer.destination is None:
            return ()
        if answer.flags & (rtsock.RTF_REJECT | rtsock.RTF_BLACKHOLE):
            return ()
        return (Route(answer.destination, answer.gateway, answer.index, 0),)

    def _speaks_ipv6(self, index: int) -> bool:
        return any(own.family == 6 and own.is_link_local for own, _ in self.addresses(index))

    @in_plain_words()
    def neighbours(self) -> tuple[NeighbourChange, ...]:
        return tuple(_change(key, entry) for key, entry in self._table().items())

    def _table(self) -> dict[_Key, _Entry]:
        """Both neighbour tables. Raises OSError."""
        found: dict[_Key, _Entry] = {}
        for number, family in rtsock.FAMILIES.items():
            for message in rtsock.messages(_sysctl(_CTL_NET, _AF_ROUTE, 0, number, _NET_RT_FLAGS, rtsock.RTF_LLDATA)):
                if isinstance(message, rtsock.Route) and message.destination is not None:
                    key = _Key(message.index, Address(family, message.destination.value))
                    found[key] = self._entry(key, message)
        return found

    def _entry(self, key: _Key, message: rtsock.Route) -> _Entry:
        mac = message.mac or None
        if message.flags & rtsock.RTF_STATIC:
            return _Entry(mac, EntryState.FIXED, 0)
        if key.address.family == 6 and self._ipv6 is not None:
            return _Entry(mac, _nd_state(self._ipv6, key), 0)
        # How long ago it was confirmed, the table does not say.
        return _Entry(mac, EntryState.ASKED if mac is None else EntryState.STALE, message.expire)

    # ---- neighbours ----

    def timing(self, address: Address) -> Timing:
        """For IPv4, a question is one frame of ours, which may get lost."""
        return Timing() if address.family == 4 else super().timing(address)

    @in_plain_words()
    def ask(self, index: int, address: Address) -> NeighbourChange | None:
        key = _Key(index, address)
        known = self._entries.get(key)
        before = None if known is None else _change(key, known)
        if known is not None and known.state is EntryState.FIXED:
            return before
        if known is not None and (address.family, known.state) == (6, EntryState.CONFIRMED):
            # The kernel has heard of it within the last half minute, and will not ask again before that is over.
            self._found.append(_change(key, known))
        if not (self._ask_arp(index, address) if address.family == 4 else _send_echo(index, address)):
            return _change(key, _Entry(None, EntryState.FAILED, 0))
        self._open[key] = time.monotonic()
        self._look_soon()
        return None if known is None or self._is_silent(key, known) else before

    def _is_silent(self, key: _Key, known: _Entry) -> bool:
        """Whether it has not answered the question before: the kernel keeps one that is gone for 20 minutes."""
        is_silent = known.expire != 0 and self._asked.get(key) == known
        self._asked[key] = known
        return is_silent

    def _ask_arp(self, index: int, address: Address) -> bool:
        """False: there is no asking there, as without an IPv4 address, or where it is not Ethernet. Raises GfwdError
        where nobody can be asked.
        """
        link = self._links.get(index)
        own = sender(self.addresses(index), address)
        if own is None or link is None or len(link.mac) != _MAC_BYTES:
            return False
        frame = arp.build(arp.request(link.mac, own, address))
        with _needed("/dev/bpf"):
            number = os.open("/dev/bpf", os.O_WRONLY | os.O_CLOEXEC)
        with open(number, "wb", buffering=0) as wire:
            try:
                ioctl(wire, _BIOCSHDRCMPLT, pack("I", 1))  # the frame's header is whole
                ioctl(wire, _BIOCSETIF, pack("16s16x", link.name.encode()))  # struct ifreq
                wire.write(frame)
            except OSError as error:
                return _is_lost(error)
        return True

    # ---- news ----

    def fileno(self) -> int:
        number: int = self._bell.fileno()
        return number

    @in_plain_words()
    def changes(self) -> list[Change]:
        """Where a look fails, what was heard and found stays for the next."""
        timers = {event.ident for event in self._bell.control(None, 4, 0) if event.filter == select.KQ_FILTER_TIMER}
        self._routing.listen()
        heard = self._routing.heard
        if Table.LINKS in heard or _EVERY_SO_OFTEN in timers:
            self._look_at_links()
        if Table.NEIGHBOURS in heard or timers:
            self._look_at_neighbours()
        found, self._found, self._routing.heard = self._found, [], Table.NONE
        has_links = any(isinstance(change, LinkChange) for change in found)
        if Table.ROUTES in heard or has_links:
            found.append(RoutesChanged())
        if Table.ADDRESSES in heard or has_links:
            found.append(AddressesChanged())
        return found

    def _look_at_links(self) -> None:
        before, self._links = self._links, {link.index: link for link in self.links()}
        for index, link in self._links.items():
            if link != before.get(index):
                self._found.append(LinkChange(link, is_gone=False))
        for index in before.keys() - self._links.keys():
            self._found.append(LinkChange(_as_gone(before[index]), is_gone=True))

    def _look_at_neighbours(self) -> None:
        started = time.monotonic()
        before, self._entries = self._entries, self._table()
        for key, entry in self._entries.items():
            was = before.get(key)
            if entry != was:
                # Its time to live is new: it has just answered.
                is_confirmed = entry.state is EntryState.STALE and (was is not None or key in self._open)
                self._found.append(_change(key, entry._replace(state=EntryState.CONFIRMED) if is_confirmed else entry))
                self._open.pop(key, None)
        for key in before.keys() - self._entries.keys():
            # The kernel deletes an entry that it has asked for in vain.
            was_asked = before[key].state in (EntryState.ASKED, EntryState.PROBED)
            state = EntryState.FAILED if was_asked else EntryState.DELETED
            self._found.append(_change(key, _Entry(None, state, 0)))
            self._asked.pop(key, None)
        now = time.monotonic()
        self._look_s = now - started
        self._open = {key: asked for key, asked in self._open.items() if now - asked < _SOON_S}
        if self._open:
            self._look_soon()

    def _look_soon(self) -> None:
        milliseconds = max(_SOON_MS, int(1_000 * _SOON_MOST * self._look_s))
        self._ring(_SOON, milliseconds, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)

    def _ring(self, timer: int, milliseconds: int, flags: int) -> None:
        self._bell.control([select.kevent(timer, select.KQ_FILTER_TIMER, flags, data=milliseconds)], 0)


# ---- the kernel's words ----


@cache
def _c_sysctl() -> Any:
    call = ctypes.CDLL(None, use_errno=True).sysctl
    size = ctypes.POINTER(ctypes.c_size_t)
    call.argtypes = (
        ctypes.POINTER(ctypes.c_int),
        ctypes.c_uint,
        ctypes.c_void_p,
        size,
        ctypes.c_void_p,
        ctypes.c_size_t,
    )
    return call


def _sysctl(*name: int) -> bytes:
    """A table. Raises OSError."""
    mib = (ctypes.c_int * len(name))(*name)
    size = ctypes.c_size_t(0)
    while True:
        # Asked without a buffer, the kernel says how much there is, and a little more; by then it may be more yet.
        _check(_c_sysctl()(mib, len(name), None, ctypes.byref(size), None, 0))
        table = ctypes.create_string_buffer(size.value)
        try:
            _check(_c_sysctl()(mib, len(name), table, ctypes.byref(size), None, 0))
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
        else:
            return table.raw[: size.value]


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _interfaces(index: int = 0) -> Iterator[rtsock.Message]:
    """All (0) or one of them, each followed by its addresses."""
    return rtsock.messages(_sysctl(_CTL_NET, _AF_ROUTE, 0, 0, _NET_RT_IFLIST, index))


def _ipv6() -> socket.socket | None:
    """To ask for the states of IPv6's neighbours; None: this kernel has no IPv6, and so no such neighbours."""
    try:
        return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            raise
    return None


def _nd_state(ipv6: socket.socket, key: _Key) -> EntryState:
    """Raises OSError."""
    try:
        name, octets = socket.if_indextoname(key.interface).encode(), key.address.value.to_bytes(16)
        answer = ioctl(ipv6, _SIOCGNBRINFO_IN6, _NBRINFO.pack(name, octets, 0, 0, 0, 0))
    except OSError as error:
        if error.errno not in _IS_GONE:
            raise
        return EntryState.DELETED  # since we have read the table
    return _ND_STATES.get(_NBRINFO.unpack(answer)[4], EntryState.PROBED)


def _link(message: rtsock.Interface) -> Link:
    is_up = bool(message.flags & _IFF_UP)
    # What cannot tell (a pipe, a tunnel) has a link state that is not known.
    return Link(
        message.index, message.name, message.mac, message.mtu, is_up, is_up and message.link_state != _LINK_STATE_DOWN
    )


def _with_vlans(links: Sequence[Link]) -> tuple[Link, ...]:
    """Those that are a VLAN's know it; routing messages do not say so. Raises OSError."""
    indexes = {link.name: link.index for link in links}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        return tuple(_with_vlan(link, asking, indexes) for link in links)


def _with_vlan(link: Link, asking: socket.socket, indexes: Mapping[str, int]) -> Link:
    answer = ctypes.create_string_buffer(_VLANREQ.size)
    try:
        # struct ifreq: a name, and where the answer is to be.
        ioctl(asking, _SIOCGETVLAN, pack("16sQ8x", link.name.encode(), ctypes.addressof(answer)))
    except OSError:  # it is none
        return link
    parent, number, kind = _VLANREQ.unpack(answer.raw)
    index = indexes.get(parent.rstrip(b"\0").decode("ascii", "replace"))
    return link if index is None or kind not in (0, _8021Q) else replace(link, vlan=number, parent=index)


def _as_gone(link: Link) -> Link:
    return replace(link, is_up=False, has_carrier=False)


def _change(key: _Key, entry: _Entry) -> NeighbourChange:
    return NeighbourChange(key.interface, key.address, entry.mac, entry.state)


# ---- questions ----


def _send_echo(index: int, address: Address) -> bool:
    """The interface counts where the address is of the link only. False: there is no asking there. Raises GfwdError
    where nobody can be asked.
    """
    with _needed("ICMPv6"):
        ping = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    with ping:
        ping.setblocking(False)
        try:
            ping.sendto(_ECHO_REQUEST, (str(address), 0, 0, index if address.is_link_local else 0))
        except PermissionError as error:
            raise GfwdError(
                f"neighbours: error: {error.strerror}: a firewall keeps back what asks for IPv6 neighbours; let "
                "ICMPv6 echo requests out"
            ) from error
        except OSError as error:
            return _is_lost(error)
    return True


@contextmanager
def _needed(name: str) -> Iterator[None]:
    """For opening what every question needs. Raises GfwdError."""
    try:
        yield
    except OSError as error:
        mend = "; run it as root" if isinstance(error, PermissionError) else ""
        raise GfwdError(f"neighbours: error: {name}: {error.strerror}{mend}") from error


def _is_lost(error: OSError) -> bool:
    """Whether the question only found no room, and so is lost like one on the wire."""
    return error.errno in (errno.ENOBUFS, errno.EAGAIN)
