"""FreeBSD's tables: interfaces, their addresses, routes and neighbours, and the news of them.

The tables come by sysctl(3), all of one at a time; routes are asked for one by one through a routing socket (route(4)).
That socket's news only say which table to look at again. Of ARP it says nothing at all, so neighbours are also looked
at once a second, and soon after a question.

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
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fcntl import ioctl
from itertools import count
from struct import Struct, pack
from typing import Final, NamedTuple

from gfwd.errors import GfwdError
from gfwd.l2 import arp, rtsock
from gfwd.l2.kernel import (
    Change,
    EntryState,
    InterfaceAddress,
    Kernel,
    Link,
    LinkChange,
    NeighbourChange,
    RoutesChanged,
    sender,
)
from gfwd.l2.routes import Route
from gfwd.rules.model import Address

_AF_ROUTE = 17  # sys/socket.h
_SO_RERROR = 0x20000  # sys/socket.h: news that found no room show as ENOBUFS (from 13.1 on)
_CTL_NET = 4  # sys/sysctl.h
_NET_RT_FLAGS = 2  # sys/socket.h
_NET_RT_IFLIST = 3
_IFF_UP = 0x1  # net/if.h
_LINK_STATE_DOWN = 1
_BIOCSETIF = 0x8020426C  # net/bpf.h
_BIOCSHDRCMPLT = 0x80044275
_SIOCGNBRINFO_IN6 = 0xC038694E  # netinet6/in6_var.h
_MAC_BYTES = 6

_NBRINFO: Final = Struct("16s16sqiii4x")  # struct in6_nbrinfo: interface, address, asked, is router, state, expire
_ND_STATES: Final = {  # netinet6/nd6.h
    -2: EntryState.DELETED,  # ND6_LLINFO_NOSTATE
    0: EntryState.ASKED,  # ND6_LLINFO_INCOMPLETE
    1: EntryState.CONFIRMED,  # ND6_LLINFO_REACHABLE
    2: EntryState.STALE,  # ND6_LLINFO_STALE
    3: EntryState.PROBED,  # ND6_LLINFO_DELAY
    4: EntryState.PROBED,  # ND6_LLINFO_PROBE
}
_OF_ROUTES: Final = {rtsock.ADD, rtsock.DELETE, rtsock.CHANGE, rtsock.NEWADDR, rtsock.DELADDR}
_ECHO_REQUEST: Final = bytes((128, 0, 0, 0, 0, 0, 0, 0))  # RFC 4443 §4.1; the kernel fills in the checksum

_LOOK_MS = 1_000  # from one look at the neighbours to the next
_SOON_MS = 20  # while a question is open
_SOON_S = 1.0  # after that, the usual look is often enough
_EVERY_SO_OFTEN, _SOON = 1, 2  # the timers' numbers
_READ_BYTES = 65_536
_READS_MOST = 256
_ANSWER_S = 1.0

_libc = ctypes.CDLL(None, use_errno=True)


class _Key(NamedTuple):
    interface: int
    address: Address


class _Entry(NamedTuple):
    """An entry of a neighbour table. expire: changes whenever the neighbour has answered."""

    mac: bytes | None
    state: EntryState
    expire: int


class FreeBSDKernel(Kernel):
    """The tables of this system, or of the jail with a network stack of its own."""

    def __init__(self) -> None:
        self._seq = count(1)
        self._news = socket.socket(_AF_ROUTE, socket.SOCK_RAW, 0)
        self._news.setblocking(False)
        with suppress(OSError):
            self._news.setsockopt(socket.SOL_SOCKET, _SO_RERROR, 1)
        self._bell = select.kqueue()
        self._bell.control([select.kevent(self._news, select.KQ_FILTER_READ, select.KQ_EV_ADD)], 0)
        self._ring(_EVERY_SO_OFTEN, _LOOK_MS, select.KQ_EV_ADD)
        self._found: list[Change] = []
        self._open: dict[_Key, float] = {}  # questions, and when they were asked
        self._links = {link.index: link for link in self.links()}
        self._entries = _table()

    def close(self) -> None:
        self._bell.close()
        self._news.close()

    # ---- tables ----

    def links(self) -> tuple[Link, ...]:
        return tuple(_link(message) for message in _interfaces() if isinstance(message, rtsock.Interface))

    def addresses(self, index: int) -> tuple[InterfaceAddress, ...]:
        return tuple(
            InterfaceAddress(message.address, message.length)
            for message in _interfaces(index)
            if isinstance(message, rtsock.InterfaceAddress) and message.address is not None
        )

    def routes_to(self, destination: Address, index: int) -> tuple[Route, ...]:
        """The kernel names the one route that it would take, by whichever interface."""
        answer = self._route(destination)
        if answer is None or answer.index != index or answer.destination is None:
            return ()
        if answer.flags & (rtsock.RTF_REJECT | rtsock.RTF_BLACKHOLE):
            return ()
        return (Route(answer.destination, answer.gateway, index, 0),)

    def neighbours(self) -> tuple[NeighbourChange, ...]:
        return tuple(_change(key, entry) for key, entry in _table().items())

    def _route(self, destination: Address) -> rtsock.Route | None:
        seq = next(self._seq)
        with socket.socket(_AF_ROUTE, socket.SOCK_RAW, 0) as question:
            question.settimeout(_ANSWER_S)
            try:
                question.send(rtsock.get(destination, seq))
                while True:  # it hears all other news too
                    for message in rtsock.messages(question.recv(_READ_BYTES)):
                        if isinstance(message, rtsock.Route) and (message.pid, message.seq) == (os.getpid(), seq):
                            return message
            except OSError:  # ESRCH: there is no route
                return None

    # ---- neighbours ----

    def ask(self, index: int, address: Address) -> NeighbourChange | None:
        key = _Key(index, address)
        known = self._entries.get(key)
        before = None if known is None else _change(key, known)
        if known is not None and known.state is EntryState.FIXED:
            return before
        if known is not None and (address.family, known.state) == (6, EntryState.CONFIRMED):
            # The kernel has heard of it within the last half minute, and will not ask again before that is over.
            self._found.append(_change(key, known))
        try:
            was_asked = self._ask_arp(index, address) if address.family == 4 else _send_echo(index, address)
        except PermissionError as error:
            raise GfwdError(f"neighbours: error: {error.strerror}; run it as root") from error
        except OSError:
            was_asked = False
        if not was_asked:
            return _change(key, _Entry(None, EntryState.FAILED, 0))
        self._open[key] = time.monotonic()
        self._ring(_SOON, _SOON_MS, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)
        return before

    def _ask_arp(self, index: int, address: Address) -> bool:
        """False: the interface has no IPv4 address, or is not Ethernet. Raises OSError."""
        link = self._links.get(index)
        own = sender(self.addresses(index), address)
        if own is None or link is None or len(link.mac) != _MAC_BYTES:
            return False
        frame = arp.build(arp.request(link.mac, own, address))
        with open("/dev/bpf", "wb", buffering=0) as wire:
            ioctl(wire, _BIOCSHDRCMPLT, pack("I", 1))  # the frame's header is whole
            ioctl(wire, _BIOCSETIF, pack("16s16x", link.name.encode()))  # struct ifreq
            wire.write(frame)
        return True

    # ---- news ----

    def fileno(self) -> int:
        number: int = self._bell.fileno()
        return number

    def changes(self) -> list[Change]:
        timers = {event.ident for event in self._bell.control(None, 4, 0) if event.filter == select.KQ_FILTER_TIMER}
        links, neighbours, routes = self._heard()
        if links or _EVERY_SO_OFTEN in timers:
            self._look_at_links()
        if neighbours or timers:
            self._look_at_neighbours()
        found, self._found = self._found, []
        if routes or any(isinstance(change, LinkChange) for change in found):
            found.append(RoutesChanged())
        return found

    def _heard(self) -> tuple[bool, bool, bool]:
        """Whether news speak of links, of neighbours, of routes."""
        links = neighbours = routes = False
        for _ in range(_READS_MOST):
            try:
                data = self._news.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return True, True, True
            for message in rtsock.messages(data):
                is_entry = isinstance(message, rtsock.Route) and bool(message.flags & rtsock.RTF_LLDATA)
                neighbours |= is_entry
                links |= message.type in (rtsock.IFINFO, rtsock.IFANNOUNCE)
                routes |= not is_entry and message.type in _OF_ROUTES
        return links, neighbours, routes

    def _look_at_links(self) -> None:
        before, self._links = self._links, {link.index: link for link in self.links()}
        for index, link in self._links.items():
            if link != before.get(index):
                self._found.append(LinkChange(link, is_gone=False))
        for index in before.keys() - self._links.keys():
            self._found.append(LinkChange(_as_gone(before[index]), is_gone=True))

    def _look_at_neighbours(self) -> None:
        before, self._entries = self._entries, _table()
        for key, entry in self._entries.items():
            was = before.get(key)
            if entry != was:
                # Its time to live is new: it has just answered.
                is_confirmed = entry.state is EntryState.STALE and (was is not None or key in self._open)
                self._found.append(_change(key, entry._replace(state=EntryState.CONFIRMED) if is_confirmed else entry))
                self._open.pop(key, None)
        for key in before.keys() - self._entries.keys():
            self._found.append(_change(key, _Entry(None, EntryState.DELETED, 0)))
        now = time.monotonic()
        self._open = {key: asked for key, asked in self._open.items() if now - asked < _SOON_S}
        if self._open:
            self._ring(_SOON, _SOON_MS, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)

    def _ring(self, timer: int, milliseconds: int, flags: int) -> None:
        self._bell.control([select.kevent(timer, select.KQ_FILTER_TIMER, flags, data=milliseconds)], 0)


# ---- the kernel's words ----


def _sysctl(*name: int) -> bytes:
    """A table. Raises OSError."""
    mib = (ctypes.c_int * len(name))(*name)
    size = ctypes.c_size_t(0)
    while True:
        # Asked without a buffer, the kernel says how much there is, and a little more; by then it may be more yet.
        _check(_libc.sysctl(mib, len(name), None, ctypes.byref(size), None, 0))
        table = ctypes.create_string_buffer(size.value)
        try:
            _check(_libc.sysctl(mib, len(name), table, ctypes.byref(size), None, 0))
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


def _table() -> dict[_Key, _Entry]:
    """Both neighbour tables."""
    found: dict[_Key, _Entry] = {}
    for number, family in rtsock.FAMILIES.items():
        for message in rtsock.messages(_sysctl(_CTL_NET, _AF_ROUTE, 0, number, _NET_RT_FLAGS, rtsock.RTF_LLDATA)):
            if isinstance(message, rtsock.Route) and message.destination is not None:
                key = _Key(message.index, Address(family, message.destination.value))
                found[key] = _entry(key, message)
    return found


def _entry(key: _Key, message: rtsock.Route) -> _Entry:
    mac = message.mac or None
    if message.flags & rtsock.RTF_STATIC:
        return _Entry(mac, EntryState.FIXED, 0)
    if key.address.family == 6:
        return _Entry(mac, _nd_state(key), 0)
    # How long ago it was confirmed, the table does not say.
    return _Entry(mac, EntryState.ASKED if mac is None else EntryState.STALE, message.expire)


def _nd_state(key: _Key) -> EntryState:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as kernel, suppress(OSError):
        name, octets = socket.if_indextoname(key.interface).encode(), key.address.value.to_bytes(16)
        answer = ioctl(kernel, _SIOCGNBRINFO_IN6, _NBRINFO.pack(name, octets, 0, 0, 0, 0))
        return _ND_STATES.get(_NBRINFO.unpack(answer)[4], EntryState.PROBED)
    return EntryState.DELETED  # it is gone since we have read the table


def _link(message: rtsock.Interface) -> Link:
    is_up = bool(message.flags & _IFF_UP)
    # What cannot tell (a pipe, a tunnel) has a link state that is not known.
    return Link(
        message.index, message.name, message.mac, message.mtu, is_up, is_up and message.link_state != _LINK_STATE_DOWN
    )


def _as_gone(link: Link) -> Link:
    return replace(link, is_up=False, has_carrier=False)


def _change(key: _Key, entry: _Entry) -> NeighbourChange:
    return NeighbourChange(key.interface, key.address, entry.mac, entry.state)


def _send_echo(index: int, address: Address) -> bool:
    """Raises OSError. The interface counts where the address is of the link only."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as ping:
        ping.setblocking(False)
        ping.sendto(_ECHO_REQUEST, (str(address), 0, 0, index if address.value >> 118 == 0xFE80 >> 6 else 0))
    return True
