"""Hosts on one machine and the cables between them: what `gfwd lab` builds its network from. Linux, and needs root.

Every host is a network namespace without a name, so all of it is gone when the process that made it is.
"""

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from gfwd.daemon.card import linux
from gfwd.daemon.namespaces import Namespace
from gfwd.errors import GfwdError

MTU = 1_500
"""Bytes of the longest IP packet that a cable carries."""

_SCOPE_LINK = 253  # linux/rtnetlink.h: the destination itself is on the cable

# New interfaces start with what the machine's own namespace has in `default`. Here a sender may be anybody: gfwd keeps
# the exporters' addresses, which no route on a collector or a router leads back to; and an exporter may be a collector
# too, so that its datagrams bear an address of the host that they come to.
_SETTINGS = (
    ("ipv4/conf/all/rp_filter", 0),
    ("ipv4/conf/default/rp_filter", 0),
    ("ipv4/conf/all/accept_local", 1),
    ("ipv6/conf/all/disable_ipv6", 1),
    ("ipv6/conf/default/disable_ipv6", 1),
)


class Host(AbstractContextManager["Host"]):
    """A host without an interface yet. It speaks IPv4 only. What the kernel refuses is a GfwdError."""

    def __init__(self) -> None:
        from pyroute2 import IPRoute  # late: it brings 170 modules with it

        self._indexes: dict[str, int] = {}
        with ExitStack() as stack, _refusal("a host"):
            self.namespace = stack.enter_context(Namespace())
            with self.namespace.inside():
                self._netlink = stack.enter_context(IPRoute())
            for name, value in _SETTINGS:
                self.set(name, value)
            self._stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def set(self, name: str, value: int) -> None:
        """Set /proc/sys/net/NAME, as far as this kernel knows it."""
        path = Path("/proc/sys/net", name)
        with self.namespace.inside():  # what is below /proc/sys/net is that of the thread that looks
            if path.exists():
                path.write_text(str(value), "ascii")

    def cable(self, interface: str, other: "Host", its: str) -> None:
        """Connect two hosts: a new interface here, and one there, both up."""
        with _refusal(f"{interface}: a veth pair"):
            there = {"ifname": its, "net_ns_fd": other.namespace.fileno()}
            self._netlink.link("add", kind="veth", ifname=interface, mtu=MTU, peer={**there, "mtu": MTU})
        for host, name in ((self, interface), (other, its)):
            host._finish_checksums(name)
            host._up(name)

    def switch(self, name: str, *interfaces: str) -> None:
        """Make this host an Ethernet switch between these interfaces of its."""
        with _refusal(f"{name}: a bridge"):
            self._netlink.link("add", kind="bridge", ifname=name)
            for interface in interfaces:
                self._netlink.link("set", index=self._index(interface), master=self._index(name))
        self._up(name)

    def address(self, interface: str, address: str, length: int = 32) -> None:
        """Give an interface an address, with the length of its network's prefix."""
        with _refusal(f"{interface}: the address {address}"):
            self._netlink.addr("add", index=self._index(interface), address=address, prefixlen=length)

    def route(self, address: str, interface: str, via: str | None = None) -> None:
        """The way to an address: it is on the interface's cable, or behind the router `via`."""
        how = {"scope": _SCOPE_LINK} if via is None else {"gateway": via}
        with _refusal(f"{interface}: a route to {address}"):
            self._netlink.route("add", dst=f"{address}/32", oif=self._index(interface), **how)

    def udp_counters(self) -> dict[str, int]:
        """The kernel's counters of UDP in this host (RFC 4113, and Linux' own), such as NoPorts and RcvbufErrors."""
        with self.namespace.inside():
            lines = Path("/proc/thread-self/net/snmp").read_text("ascii").splitlines()
        names, values = (line.split()[1:] for line in lines if line.startswith("Udp:"))
        return dict(zip(names, map(int, values), strict=True))

    def _finish_checksums(self, interface: str) -> None:
        """Before a packet leaves, as on a wire: a veth would carry the checksums of local sockets unfinished, and only
        another socket of this machine does not mind.
        """
        with self.namespace.inside():
            linux.set_features(interface, dict.fromkeys(linux.TX_CHECKSUM.features, False))

    def _up(self, interface: str) -> None:
        self._netlink.link("set", index=self._index(interface), state="up")

    def _index(self, interface: str) -> int:
        if interface not in self._indexes:
            with self.namespace.inside():
                self._indexes[interface] = socket.if_nametoindex(interface)
        return self._indexes[interface]


@contextmanager
def _refusal(what: str) -> Iterator[None]:
    """Say what the kernel has refused."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        raise GfwdError(f"network: error: {what}: {error.args[1]}") from error
