"""What gfwd.toml holds, as a frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from gfwd.config.endpoint import Endpoint
from gfwd.config.port_name import PortName
from gfwd.rules.model import Address, Collector, Group, Ports, Prefix, Resolve, RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSetting:
    """Where what gfwd says goes. to: "stderr", "syslog" or a file. level: what is less than that is left out."""

    format: Literal["text", "json"] = "text"
    to: str = "stderr"
    level: Literal["info", "warning", "error"] = "info"


class Sizes(NamedTuple):
    """Of what each worker keeps. exporters: counted each by itself. flows: remembered pairs of exporter and port.
    unknown: exporters that no rule wants. fragments: datagrams whose fragments are followed. streams:
    whose sequence numbers are.
    """

    exporters: int = 65_536
    flows: int = 65_536
    unknown: int = 1_024
    fragments: int = 1_024
    streams: int = 16_384


USUAL_SIZES: Final = Sizes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """What gfwd answers over the network; None: nothing. metrics: for Prometheus. metrics_rules: so many rules at most
    have metrics of their own there.
    """

    metrics: Endpoint | None = None
    metrics_rules: int | None = None


class NameServer(NamedTuple):
    """A server of the DNS. port: None: the usual one."""

    address: Address
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return str(self.address)
        return f"[{self.address}]:{self.port}" if self.address.family == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSetting:
    """How the names of collectors become addresses.

    servers: those that are asked; none: those of the host (resolv.conf). search: domains that are put behind a name;
    None: the host's. tls: the name in the servers' certificates; None: they are asked without TLS. dnssec: answers
    count only where a server that is trusted says that it has validated them. ttl_min, ttl_max, max_stale: seconds; see
    dns.records.Terms. timeout: seconds that a server has to answer; None: as the host says. hosts: whether the host's
    hosts file counts. resolve: for collectors that do not say it.
    """

    servers: tuple[NameServer, ...] = ()
    search: tuple[str, ...] | None = None
    tls: str | None = None
    dnssec: Literal["off", "required"] = "off"
    ttl_min: int = 10
    ttl_max: int = 3_600
    max_stale: int = 0
    timeout: int | None = None
    hosts: bool = True
    resolve: Resolve = "first"


USUAL_DNS: Final = DnsSetting()


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpSetting:
    """What gfwd says by ICMP. echo: replies to echo requests, so many a second on each port without a host stack.
    port_unreachable: there, to whom sends to a port that nobody listens on. too_big: to exporters, wherever they are.
    """

    echo: int = 100
    port_unreachable: bool = False
    too_big: bool = False


USUAL_ICMP: Final = IcmpSetting()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What to forward, from where to where, and by how many workers.

    path: the file. inputs, outputs: ports that exporters send to, and that lead to collectors. own: addresses that are
    ours; None: those that the inputs have. listen: UDP ports that are ours; None: those that the rules name. loss:
    those on which sequence numbers are followed; None: there are none. macs: of neighbours that are not to be asked
    for. gateways: before prefixes that collectors are in. vlans: of ports, in which what leaves there leaves. rarp:
    IPv4 addresses of stations that ask for their own, by MAC. sizes: of the core's tables. cpus: one for each worker,
    or none. collectors, groups: those that have a name; in the rules, each stands instead of its name. control: the
    path of the control socket; None: there is none. watch: whether a change of a file is taken without being told.
    lines: of the file, in which those with a name stand; what it means does not hang on them. has_tables: the rules are
    [[rule]] tables of it.
    """

    path: str
    rules: RuleSet
    inputs: tuple[PortName, ...]
    outputs: tuple[PortName, ...]
    own: tuple[Prefix, ...] | None = None
    listen: Ports | None = None
    loss: Ports | None = None
    macs: Mapping[Address, bytes] = field(default_factory=dict)
    gateways: Mapping[Prefix, Address] = field(default_factory=dict)
    vlans: Mapping[PortName, int] = field(default_factory=dict)
    rarp: Mapping[bytes, Address] = field(default_factory=dict)
    icmp: IcmpSetting = USUAL_ICMP
    sizes: Sizes = USUAL_SIZES
    workers: int = 1
    cpus: tuple[int, ...] = ()
    control: str | None = None
    watch: bool = False
    log: LogSetting = LogSetting()
    listeners: Listeners = Listeners()
    dns: DnsSetting = DnsSetting()
    collectors: Mapping[str, Collector] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    has_tables: bool = field(default=False, compare=False)

    def files(self) -> frozenset[str]:
        """The files that say all this."""
        return frozenset((self.path, self.rules.path))
