"""How a gfwd that runs stands: the ledgers, and what stands beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple

from gfwd.daemon.ports import Port
from gfwd.daemon.ways import Goal
from gfwd.metrics.ledger import Ledger
from gfwd.native.core import Core, Work
from gfwd.rules.model import Address


class PortReport(NamedTuple):
    """A port; ours, passed, lost, unread, unsent: see XdpPort, and None for netmap, which does not count so.

    error: what went wrong with it.
    """

    name: str
    mode: str
    rx_queues: int
    tx_queues: int
    ours: int | None
    passed: int | None
    lost: int | None
    unread: int | None
    unsent: int | None
    error: str | None

    def is_whole(self) -> bool:
        """Whether nothing went wrong with it, and nothing stayed behind in it."""
        return self.error is None and not self.unread and not self.unsent


def port_report(core: Core, port: Port) -> PortReport:
    """How a port stands now."""
    counts = core.xdp(port.number) if port.name.kind == "xdp" else None
    return PortReport(
        name=str(port),
        mode=port.mode,
        rx_queues=port.rx,
        tx_queues=port.tx,
        ours=counts and counts.ours,
        passed=counts and counts.passed,
        lost=counts and counts.lost,
        unread=counts and counts.unread,
        unsent=counts and counts.unsent,
        error=core.port_error(port.number),
    )


class NeighbourReport(NamedTuple):
    address: str
    port: str
    mac: str | None
    state: str


class HopReport(NamedTuple):
    """A next hop on the way to a collector; see NeighbourReport, WayReport.own, and Hop for via and weight.

    is_used: copies go there; one that is not leaves them to others as good.
    """

    next_hop: str
    port: str
    mac: str | None
    state: str
    own: str | None
    via: str
    weight: int
    is_used: bool


class WayReport(NamedTuple):
    """The way to an address of a collector: the neighbour that gets its copies, and the port that they leave by.

    None where no route leaves by a port of ours. state: of the neighbour. own: gfwd's own address, with which copies
    leave that are to have one; None: it has none there. hops: all next hops, of which the first that is used stands
    here. out, vlan: what the collector's options say.
    """

    address: str
    next_hop: str | None
    port: str | None
    mac: str | None
    state: str | None
    own: str | None = None
    hops: tuple[HopReport, ...] = ()
    out: str | None = None
    vlan: int | None = None

    @classmethod
    def of(cls, address: str, hops: Sequence[HopReport], *, out: str | None, vlan: int | None) -> "WayReport":
        """By these next hops."""
        none = cls(address, None, None, None, None, None, tuple(hops), out, vlan)
        used = next((hop for hop in hops if hop.is_used), None)
        return none if used is None else none.by(used)

    @classmethod
    def read(cls, way: Mapping[str, Any]) -> "WayReport":
        """From as_json()."""
        return cls(**{**way, "hops": tuple(HopReport(**hop) for hop in way.get("hops", ()))})

    def goal(self) -> Goal:
        """What it is the way to."""
        address = ip_address(self.address)
        return Goal(Address(4 if address.version == 4 else 6, int(address)), self.out, self.vlan)

    def by(self, hop: HopReport) -> "WayReport":
        """With this one of the next hops."""
        return self._replace(next_hop=hop.next_hop, port=hop.port, mac=hop.mac, state=hop.state, own=hop.own)

    def as_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return {**self._asdict(), "hops": [hop._asdict() for hop in self.hops]}


class HealthReport(NamedTuple):
    """What is known of a collector that is checked.

    check: as gfwd.toml has it. state: unknown (which counts as up), up or down. seconds: how long it has been so.
    result: what came of the last try. instead: who gets its copies while it is down; None: nobody, or it is not.
    """

    collector: str
    check: str
    state: str
    seconds: int
    result: str
    instead: str | None


class AnswerReport(NamedTuple):
    """What gfwd has sent of itself by a port, or has not, since the start.

    kind: what it answers; result: sent, limited (too many of late), or lost (no room, or no way).
    """

    port: str
    kind: str
    result: str
    n: int


class NameReport(NamedTuple):
    """What is known of a collector's name.

    state: asking (never answered), fresh, stale (the TTL of the last answer is over) or gone (… for too long).
    addresses: those that copies go to. ttl: seconds that the last answer holds; age: since it came; None: nothing is
    used. lookups, failures: how many. error: of the last lookup; None: it did not fail.
    """

    name: str
    state: str
    addresses: tuple[str, ...]
    ttl: int | None
    age: int | None
    lookups: int
    failures: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """The ledgers, and what stands beside them. lookers: how many look at datagrams."""

    ledger: Ledger
    work: Work
    ports: tuple[PortReport, ...]
    neighbours: tuple[NeighbourReport, ...]
    health: tuple[HealthReport, ...] = ()
    answers: tuple[AnswerReport, ...] = ()
    names: tuple[NameReport, ...] = ()
    lookers: int = 0

    def as_json(self) -> dict[str, Any]:
        """As objects of JSON."""
        return {
            **self.ledger.as_json(),
            "work": self.work._asdict(),
            "ports": {port.name: port._asdict() for port in self.ports},
            "neighbours": [neighbour._asdict() for neighbour in self.neighbours],
            "answers": [answer._asdict() for answer in self.answers],
            "health": {one.collector: one._asdict() for one in self.health},
            "names": {one.name: one._asdict() for one in self.names},
            "lookers": self.lookers,
        }
