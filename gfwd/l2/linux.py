"""Linux's tables: interfaces, their addresses, routes and neighbours, and the news of them (rtnetlink(7)).

Questions and news have a socket each. pyroute2 asks the questions, and waits for their answers; the news come by a
plain socket that never blocks, and pyroute2 only decodes them. It is imported late: it brings some 200 modules with it.
"""

import errno
import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from gfwd.errors import GfwdError
from gfwd.l2.kernel import (
    AddressesChanged,
    Change,
    EntryState,
    InterfaceAddress,
    Kernel,
    Link,
    LinkChange,
    NeighbourChange,
    Reread,
    RoutesChanged,
    in_plain_words,
)
from gfwd.l2.routes import Route
from gfwd.rules.model import Address, Family, Prefix

_FAMILIES: Final[dict[int, Family]] = {socket.AF_INET: 4, socket.AF_INET6: 6}
_FAMILY_NUMBERS: Final = {family: number for number, family in _FAMILIES.items()}

# linux/if.h, linux/neighbour.h, linux/rtnetlink.h
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
_NUD_INCOMPLETE = 0x01
_NUD_REACHABLE = 0x02
_NUD_STALE = 0x04
_NUD_DELAY = 0x08
_NUD_PROBE = 0x10
_NUD_FAILED = 0x20
_NUD_NOARP = 0x40
_NUD_PERMANENT = 0x80
_NTF_USE = 0x01
_RTM_F_CLONED = 0x200
_RTM_F_FIB_MATCH = 0x2000  # the route as it was written, not what it comes to for this destination
_RTN_UNICAST = 1
_RTNH_F_DEAD = 1
_RT_TABLE_MAIN = 254
_8021Q = 0x8100  # linux/if_ether.h
# RTMGRP_LINK, _NEIGH, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE
_GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400

_READ_BYTES = 65_536
_READS_MOST = 256  # at once, so that a flood of news does not keep the caller
_DRAIN_MOST = 16_384
_DUMPS_MOST = 5

_ENTRY_STATES = {
    _NUD_INCOMPLETE: EntryState.ASKED,
    _NUD_REACHABLE: EntryState.CONFIRMED,
    _NUD_STALE: EntryState.STALE,
    _NUD_DELAY: EntryState.PROBED,
    _NUD_PROBE: EntryState.PROBED,
    _NUD_FAILED: EntryState.FAILED,
    _NUD_NOARP: EntryState.FIXED,
    _NUD_PERMANENT: EntryState.FIXED,
}


class LinuxKernel(Kernel):
    """The tables of the network namespace that the calling thread is in.

    news_bytes: what the kernel keeps of news that nobody has read yet.
    """

    @in_plain_words()
    def __init__(self, news_bytes: int = 1 << 20) -> None:
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
        from pyroute2.netlink.rtnl.marshal import MarshalRtnl

        self._refusal, self._interrupted = NetlinkError, NetlinkDumpInterrupted
        self._decode: Callable[[bytes], Iterable[Any]] = MarshalRtnl().parse
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._news = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._news.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, news_bytes)
        self._news.bind((0, _GROUPS))
        self._requests = IPRoute()
        self._links = {link.index: link for link in self.links()}

    def close(self) -> None:
        self._news.close()
        self._requests.close()

    # ---- tables ----

    @in_plain_words()
    def links(self) -> tuple[Link, ...]:
        return tuple(_link(message) for message in self._dump(self._requests.get_links))

    @in_plain_words()
    def addresses(self, index: int) -> tuple[InterfaceAddress, ...]:
        return tuple(
            # Where the link has another end with an address of its own (IFA_ADDRESS), ours is IFA_LOCAL.
            InterfaceAddress(
                _address(message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")), int(message["prefixlen"])
            )
            for message in self._dump(self._requests.get_addr, index=index)
            if message["family"] in _FAMILIES
        )

    def routes_to(self, destination: Address, interfaces: Collection[int]) -> tuple[Route, ...]:
        return tuple(route for index in interfaces for route in self._routes_by(index, destination))

    @in_plain_words()
    def _routes_by(self, index: int, destination: Address) -> tuple[Route, ...]:
        try:
            messages = list(self._requests.route("get", oif=index, flags=_RTM_F_FIB_MATCH, **_at(destination)))
        except self._refusal:  # unreachable
            return ()
        return tuple(route for message in messages for route in _routes(message) if route.interface == index)

    @in_plain_words()
    def neighbours(self) -> tuple[NeighbourChange, ...]:
        return tuple(
            entry
            for number in _FAMILIES
            for message in self._dump(self._requests.get_neighbours, family=number)
            if (entry := _entry(message)) is not None
        )

    # ---- neighbours ----

    @in_plain_words()
    def ask(self, index: int, address: Address) -> NeighbourChange | None:
        known = self._entry(index, address)
        state = None if known is None else known.state
        if state in (EntryState.FIXED, EntryState.ASKED):
            # An entry of the administrator's would lose its MAC by either of the requests below.
            return known
        if state in (EntryState.CONFIRMED, EntryState.STALE, EntryState.PROBED):
            # To use it (NTF_USE) would do nothing while it is reachable, and first wait 5 s (delay_first_probe_time)
            # when it is stale. In this state the kernel asks at once, by unicast, and keeps the MAC meanwhile.
            request: dict[str, int] = {"state": _NUD_PROBE}
        else:
            request = {"state": 0, "flags": _NTF_USE}  # as if a packet went there: makes the entry and asks everyone
        try:
            self._requests.neigh("replace", ifindex=index, **_at(address), **request)
        except self._refusal as error:
            if error.code in (errno.EPERM, errno.EACCES):
                raise GfwdError(f"neighbours: error: {os.strerror(error.code)}; run it as root") from error
            return NeighbourChange(index, address, None, EntryState.FAILED)
        return known

    def _entry(self, index: int, address: Address) -> NeighbourChange | None:
        try:
            messages = list(self._requests.neigh("get", ifindex=index, **_at(address)))
        except self._refusal:
            return None
        entry = _entry(messages[0]) if messages else None
        return None if entry is None or entry.state in (EntryState.FAILED, EntryState.DELETED) else entry

    # ---- news ----

    def fileno(self) -> int:
        return self._news.fileno()

    @in_plain_words()
    def changes(self) -> list[Change]:
        found: list[Change] = []
        has_routes = has_addresses = False
        try:
            for message in self._messages():
                event = message["event"]
                if event in ("RTM_NEWNEIGH", "RTM_DELNEIGH"):
                    found += self._neighbour_news(message)
                elif event in ("RTM_NEWLINK", "RTM_DELLINK"):
                    links = self._link_news(message)
                    # Of the IPv4 routes that an interface takes down with it the kernel says nothing.
                    has_routes |= bool(links)
                    found += links
                elif event in ("RTM_NEWROUTE", "RTM_DELROUTE"):
                    has_routes |= _is_used(message)
                elif event in ("RTM_NEWADDR", "RTM_DELADDR"):
                    # Of the routes that an address takes down with it, as gateways within its network, likewise.
                    has_addresses = has_routes = True
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return [self._reread(), RoutesChanged(), AddressesChanged()]
        if has_routes:
            found.append(RoutesChanged())
        return [*found, AddressesChanged()] if has_addresses else found

    def _messages(self) -> Iterator[Any]:
        for _ in range(_READS_MOST):
            try:
                data = self._news.recv(_READ_BYTES)
            except BlockingIOError:
                return
            yield from self._decode(data)

    def _neighbour_news(self, message: Any) -> Iterator[NeighbourChange]:
        entry = _entry(message)
        if entry is not None:
            # What was deleted comes with the state that it had.
            is_deleted = message["event"] == "RTM_DELNEIGH"
            yield replace(entry, mac=None, state=EntryState.DELETED) if is_deleted else entry

    def _link_news(self, message: Any) -> list[Change]:
        """Only what has changed: the kernel speaks of a link for many reasons."""
        if message["family"] != socket.AF_UNSPEC:  # what a bridge says of its ports
            return []
        link = _link(message)
        if message["event"] == "RTM_DELLINK":
            self._links.pop(link.index, None)
            return [LinkChange(replace(link, is_up=False, has_carrier=False), is_gone=True)]
        if self._links.get(link.index) == link:
            return []
        self._links[link.index] = link
        return [LinkChange(link, is_gone=False)]

    def _reread(self) -> Reread:
        """What waits is older than what is read now, and goes unread."""
        for _ in range(_DRAIN_MOST):
            try:
                self._news.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
        self._links = {link.index: link for link in self.links()}
        return Reread(tuple(self._links.values()), self.neighbours())

    def _dump(self, read: Callable[..., Iterable[Any]], **filters: int) -> list[Any]:
        """All of a table. One that changed while it was read is read again."""
        for _ in range(_DUMPS_MOST):
            try:
                return list(read(**filters))
            except self._interrupted:
                continue
            except self._refusal as error:
                raise GfwdError(f"the kernel's tables: error: {os.strerror(error.code)}") from error
        raise GfwdError("the kernel's tables: error: they change faster than they can be read")


# ---- messages → tuples ----


def _link(message: Any) -> Link:
    flags = message["flags"]
    vlan = _vlan(message)
    return Link(
        int(message["index"]),
        str(message.get("IFLA_IFNAME", "")),
        _mac(message.get("IFLA_ADDRESS")) or b"",
        int(message.get("IFLA_MTU", 0)),
        bool(flags & _IFF_UP),
        bool(flags & _IFF_LOWER_UP),
        vlan,
        None if vlan is None else int(message.get("IFLA_LINK") or 0),
    )


def _vlan(message: Any) -> int | None:
    """Its number, of a VLAN's interface on one of this namespace; a provider's (IEEE 802.1ad) has other tags."""
    if message.get("IFLA_LINK_NETNSID") is not None:
        return None
    about = message.get("IFLA_LINKINFO")
    its = about.get("IFLA_INFO_DATA") if about is not None and about.get("IFLA_INFO_KIND") == "vlan" else None
    if its is None or its.get("IFLA_VLAN_PROTOCOL") not in (None, _8021Q):
        return None
    number = its.get("IFLA_VLAN_ID")
    return None if number is None else int(number)


def _entry(message: Any) -> NeighbourChange | None:
    """None: not of IPv4 or IPv6 (a bridge has such)."""
    destination = message.get("NDA_DST")
    if message["family"] not in _FAMILIES or destination is None:
        return None
    state = _ENTRY_STATES.get(message["state"], EntryState.DELETED)
    return NeighbourChange(int(message["ifindex"]), _address(destination), _mac(message.get("NDA_LLADDR")), state)


def _is_used(message: Any) -> bool:
    """Whether packets of any host take this route: not a blackhole, not of another table, no passing exception."""
    table = message.get("RTA_TABLE") or message["table"]
    is_unicast = message["type"] == _RTN_UNICAST and not message["flags"] & (_RTM_F_CLONED | _RTNH_F_DEAD)
    return table == _RT_TABLE_MAIN and is_unicast and message["family"] in _FAMILIES


def _routes(message: Any) -> Iterator[Route]:
    """One route, or one for each of its next hops."""
    family = _FAMILIES[message["family"]]
    text = message.get("RTA_DST")
    destination = Prefix(family, _address(text).value if text else 0, int(message["dst_len"]))
    metric = int(message.get("RTA_PRIORITY") or 0)
    several = message.get("RTA_MULTIPATH")
    if several is None:
        yield Route(destination, _gateway(message), int(message.get("RTA_OIF") or 0), metric)
        return
    for hop in several:
        if not hop["flags"] & _RTNH_F_DEAD:
            yield Route(destination, _gateway(hop), int(hop["oif"]), metric, int(hop["hops"]) + 1)


def _gateway(hop: Any) -> Address | None:
    """RTA_VIA: a gateway of the other family."""
    via = hop.get("RTA_VIA")
    text = hop.get("RTA_GATEWAY") if via is None else via["addr"]
    return None if text is None else _address(text)


def _address(text: str) -> Address:
    number = socket.AF_INET6 if ":" in text else socket.AF_INET
    return Address(_FAMILIES[number], int.from_bytes(socket.inet_pton(number, text)))


def _at(address: Address) -> dict[str, int | str]:
    """An address as a request names it."""
    return {"family": _FAMILY_NUMBERS[address.family], "dst": str(address)}


def _mac(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text.replace(":", ""))
