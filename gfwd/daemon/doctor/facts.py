"""What is asked of the doctor, and what is known of the host: plain data, which checks turn into findings.

Asked of every system in the same words; how it is found out, linux.py, freebsd.py and gather.py know.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gfwd.config.endpoint import Endpoint
from gfwd.config.model import USUAL_DNS, DnsSetting
from gfwd.daemon.card.system import Feature
from gfwd.daemon.names.once import Answer
from gfwd.daemon.ports import Wanted
from gfwd.daemon.ways import Goal, NextHop
from gfwd.l2.kernel import InterfaceAddress, Link
from gfwd.rules.model import Address, Collector, Prefix, RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What gfwd is to do here; without ports, nothing in particular. own: None: the addresses that the inputs have.

    fixed: addresses of neighbours whose MACs the operator names. gateways: that he names, before prefixes. vlans: of
    ports, by their names. metrics: where Prometheus asks for them. dns: how names become addresses.
    """

    rules: RuleSet | None = None
    ports: tuple[Wanted, ...] = ()
    own: tuple[Prefix, ...] | None = None
    fixed: frozenset[Address] = frozenset()
    gateways: Mapping[Prefix, Address] = field(default_factory=dict)
    vlans: Mapping[str, int] = field(default_factory=dict)
    workers: int = 1
    cpus: tuple[int, ...] = ()
    metrics: Endpoint | None = None
    dns: DnsSetting = USUAL_DNS

    def of_kind(self, *kinds: str) -> tuple[Wanted, ...]:
        return tuple(one for one in self.ports if one.name.kind in kinds)

    def inputs(self) -> tuple[Wanted, ...]:
        return tuple(one for one in self.ports if one.is_in)

    def outputs(self) -> tuple[Wanted, ...]:
        return tuple(one for one in self.ports if one.is_out)


class Queues(NamedTuple):
    """Of a card, as ethtool -l counts them: some only receive, some only send, some do both."""

    rx: int = 0
    tx: int = 0
    both: int = 1

    def to_read(self) -> int:
        return self.rx + self.both or 1

    def to_send(self) -> int:
        return self.tx + self.both or 1


class Rings(NamedTuple):
    """What netmap has to give for all of a card: rings each way, and slots in each of them."""

    rx: int
    tx: int
    rx_slots: int
    tx_slots: int


class Program(NamedTuple):
    """Another program that runs."""

    name: str
    pid: int

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


STACKED = {
    "bond": "a bond",
    "team": "a bond",
    "lagg": "a bond",
    "bridge": "a bridge",
    "openvswitch": "a bridge",
    "vlan": "a VLAN",
    "macvlan": "a second address of a card (macvlan)",
    "macvtap": "a second address of a card (macvtap)",
    "carp": "an address that moves between hosts (CARP)",
}
"""Interfaces that are made of others, as the systems call them → what they are to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An interface, as far as the system tells; None: it does not.

    kind: what it was made as (bond, bridge, vlan, veth, …), empty for a card. lower: what lies beneath it: members of a
    bond or bridge, the interface that a VLAN is on. queues, features: of the card. xdp_mode: how a foreign XDP program
    is attached, by the word that ip(8) has for it; empty: there is none; xdp_holder: whom it goes with. has_native_xdp:
    in the driver. rings: what netmap has; netmap_error: why it has nothing. has_native_netmap: in the driver.
    in_netmap_mode: some program has its rings. other_end: of a veth pair, where that is an interface of this host too.
    rp_filter: what counts for what comes in here: 0 off, 1 strict, 2 loose.
    """

    link: Link
    addresses: tuple[InterfaceAddress, ...] = ()
    kind: str = ""
    lower: tuple[str, ...] = ()
    driver: str = ""
    queues: Queues = field(default_factory=Queues)
    features: Mapping[str, Feature] | None = None
    xdp_mode: str = ""
    xdp_holder: Program | None = None
    has_native_xdp: bool | None = None
    rings: Rings | None = None
    netmap_error: str = ""
    has_native_netmap: bool | None = None
    in_netmap_mode: bool | None = None
    other_end: str | None = None
    rp_filter: int = 0

    def is_stacked(self) -> bool:
        return self.kind in STACKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Xdp:
    """What Linux grants this process of AF_XDP. missing: capabilities. lockable: bytes; None: as many as it likes."""

    kernel: tuple[int, int]
    has_sockets: bool = True
    missing: tuple[str, ...] = ()
    lockable: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Netmap:
    """errno: of opening the device, 0 where that works. speaks_api: of the core's version.

    settings: dev.netmap.* as numbers. users: other programs that have the device open, as far as that can be seen.
    """

    errno: int = 0
    speaks_api: bool = True
    settings: Mapping[str, int] = field(default_factory=dict)
    users: tuple[Program, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The host. tables_error: why its interfaces cannot be told. xdp: None: a system without it. bpf_errno: of opening
    /dev/bpf, by which FreeBSD's neighbours are asked for; 0 where that works, and on Linux, which needs none.

    names: each collector's addresses, or why it has none. ways: to each of those addresses, by the ports asked for;
    of several as good as each other, the first.
    """

    system: str
    cpus: frozenset[int] = frozenset({0})
    tables_error: str = ""
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    xdp: Xdp | None = None
    netmap: Netmap = field(default_factory=Netmap)
    bpf_errno: int = 0
    names: Mapping[Collector, Answer] = field(default_factory=dict)
    ways: Mapping[Goal, NextHop | None] = field(default_factory=dict)

    def of(self, one: Wanted) -> Interface | None:
        """The interface that a port is, or has the rings of; None: it has none, or there is no such interface."""
        return None if one.name.interface is None else self.interfaces.get(one.name.interface)

    def there(self, ports: Iterable[Wanted]) -> Iterator[tuple[Wanted, Interface]]:
        """Those of the ports that have an interface, each with it."""
        for one in ports:
            interface = self.of(one)
            if interface is not None:
                yield one, interface
