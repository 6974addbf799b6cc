"""The frozen objects that rules are made of, and the canonical text of each.

They are named tuples, because a hundred thousand rules make several hundred thousand of them. Addresses
are integers in host order with their family beside them: 10.2.2.3 is (4, 0x0a020203).
"""

from collections.abc import Iterable
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Final, Literal, NamedTuple

Family = Literal[4, 6]
PortRange = tuple[int, int]  # first and last port, both included
Ports = tuple[PortRange, ...]  # sorted, and with at least one port free between two ranges

FAMILIES: Final[tuple[Family, Family]] = (4, 6)
ADDRESS_BITS: Final[dict[Family, int]] = {4: 32, 6: 128}
LAST_PORT: Final = 65535
ALL_PORTS: Final[Ports] = ((0, LAST_PORT),)


def address_text(family: Family, value: int) -> str:
    """The canonical text of an address; IPv6 after RFC 5952."""
    if family == 4:
        return inet_ntop(AF_INET, value.to_bytes(4, "big"))
    if 0xFFFF < value < 1 << 32:
        # The C library writes ::1.2.3.4 here. RFC 5952 §5 wants the dots only for IPv4 addresses that live on,
        # which the "IPv4-compatible" ones do not (RFC 4291 §2.5.5.1).
        return f"::{value >> 16:x}:{value & 0xFFFF:x}"
    return inet_ntop(AF_INET6, value.to_bytes(16, "big"))


class Address(NamedTuple):
    """One IPv4 or IPv6 address."""

    family: Family
    value: int

    @property
    def is_link_local(self) -> bool:
        """Whether it means something on one link only: 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291 §2.5.6)."""
        return self.value >> 16 == 0xA9FE if self.family == 4 else self.value >> 118 == 0xFE80 >> 6

    @property
    def is_loopback(self) -> bool:
        """Whether it means this very host: 127.0.0.0/8 (RFC 1122 §3.2.1.3), ::1 (RFC 4291 §2.5.3)."""
        return self.value >> 24 == 127 if self.family == 4 else self.value == 1

    def __str__(self) -> str:
        return address_text(self.family, self.value)


class Prefix(NamedTuple):
    """The addresses that share their first `length` bits; all further bits of `value` are 0.

    The order of the tuples is the one that puts a prefix right before all that lies within it.
    """

    family: Family
    value: int
    length: int

    @property
    def last(self) -> int:
        """The highest address within; `value` is the lowest."""
        return self.value + self.size - 1

    @property
    def size(self) -> int:
        """How many addresses lie within."""
        return 1 << ADDRESS_BITS[self.family] - self.length

    def holds(self, other: "Prefix") -> bool:
        """Whether all of `other` lies within this prefix."""
        return self.family == other.family and self.value <= other.value and other.last <= self.last

    def halves(self) -> "tuple[Prefix, Prefix]":
        """The two prefixes one bit longer that lie within, the lower one first."""
        length = self.length + 1
        middle = self.value + (1 << ADDRESS_BITS[self.family] - length)
        return Prefix(self.family, self.value, length), Prefix(self.family, middle, length)

    def __str__(self) -> str:
        address = address_text(self.family, self.value)
        return address if self.length == ADDRESS_BITS[self.family] else f"{address}/{self.length}"


class Check(NamedTuple):
    """How to find out whether a collector is there.

    port: of "tcp". url: of "http". interval: seconds from one try to the next. rise: so many tries in a row must
    succeed until it is up again; fall: so many must fail until it is down.
    """

    kind: Literal["arp", "icmp", "tcp", "http"]
    port: int | None = None
    url: str | None = None
    interval: int = 5
    rise: int = 2
    fall: int = 3


Resolve = Literal["first", "all", "prefer-v4", "prefer-v6"]
"""Which addresses of a name get copies: of each family the first, all, or the first of a family, if there is one."""


class Options(NamedTuple):
    """What becomes of a copy on its way to a collector, beyond the address and the port.

    own_source: it leaves with gfwd's own source address. source_port: … with this source port. ttl: … with this TTL;
    None: with one less than it came with. sample: one in so many leaves. limit: copies a second that leave at most.
    backup: who gets it while the collector is down: the first that is not. check: None: the collector counts as up.
    out: the port that it leaves by, as the configuration names it; None: the one that the best route leaves by. vlan:
    the VLAN that it leaves in; None: the port's, or that of the interface that the route leaves by. resolve: which
    addresses of its name get copies; None: as it is for all that do not say it.
    """

    own_source: bool = False
    source_port: int | None = None
    ttl: int | None = None
    sample: int = 1
    limit: int | None = None
    backup: "tuple[Collector, ...]" = ()
    check: Check | None = None
    out: str | None = None
    vlan: int | None = None
    resolve: Resolve | None = None


NO_OPTIONS: Final = Options()


class Collector(NamedTuple):
    """A receiver: an address, or a DNS name that has none yet (`address` is None), and a port.

    `host` is canonical: an address as its `address_text`, a name in lower case without the final dot.
    A port of None leaves each datagram the port that it came with. name: that rules call it by; None: by host and port.
    options: None: there are none.
    """

    host: str
    port: int | None
    address: Address | None
    name: str | None = None
    options: Options | None = None

    def can_get(self, family: Family) -> bool:
        """Whether it can get datagrams of this family. A name may turn out to have an address of either, and
        what leaves with gfwd's own source address is translated.
        """
        is_own = self.options is not None and self.options.own_source
        return self.address is None or is_own or self.address.family == family

    def place(self) -> str:
        """Host and port, as rules write them."""
        if self.port is None:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def alone(self) -> "Collector":
        """Itself without backups, as it steps in for another one: its own are not asked for then."""
        if self.options is None or not self.options.backup:
            return self
        options = self.options._replace(backup=())
        return self._replace(options=None if options == NO_OPTIONS else options)

    def nameless(self) -> "Collector":
        """Destination and options, which two collectors share that are one, whatever they are called."""
        if self.name is None and self.options is None:
            return self
        options = self.options
        if options is not None and options.backup:
            options = options._replace(backup=tuple(backup.nameless() for backup in options.backup))
        return self._replace(name=None, options=options)

    def __str__(self) -> str:
        return self.name or self.place()


Balance = Literal["exporter", "flow", "round-robin"]


class Group(NamedTuple):
    """Collectors of which each datagram goes to one.

    balance: by what it is chosen: "exporter": all of an exporter goes to one; "flow": all from one port of an exporter
    to one port does; "round-robin": one after the other.
    """

    name: str
    balance: Balance
    members: tuple[Collector, ...]

    def nameless(self) -> "Group":
        """What two groups share that are one, whatever they and their members are called."""
        return self._replace(name="", members=tuple(member.nameless() for member in self.members))

    def __str__(self) -> str:
        return self.name


Receiver = Collector | Group


class Rule(NamedTuple):
    """One line of the rules: datagrams from `source` to `ports` go to every one of `receivers`.

    A source of None is any source, of both families. A priority of None makes the rule a `default`, which
    only counts where no other rule matches. `line` is where the rule was written, from 1.
    excepted: of the source, what the rule is not for. applies_always: it applies wherever it matches, beside the rule
    that wins; without, it applies where it wins.
    """

    source: Prefix | None
    ports: Ports
    receivers: tuple[Receiver, ...]
    priority: str | None
    line: int
    excepted: tuple[Prefix, ...] = ()
    applies_always: bool = False

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """Each collector that copies may go to while all are up, once."""
        return each_collector(self.receivers)

    def can_send(self) -> bool:
        """False where source and collectors are of different families, and the source is kept, so that no copy could
        ever leave.
        """
        return self.source is None or bool(self.collectors_for(self.source.family))

    def collectors_for(self, family: Family) -> tuple[Collector, ...]:
        """Those that can get a copy of a datagram of this family."""
        return tuple(collector for collector in self.collectors if collector.can_get(family))


class Exporters(NamedTuple):
    """Whose datagrams are taken at all, before any rule is asked, and how many.

    allow: all others are denied; empty: nobody is for that. deny: these are, also those that are allowed. limit:
    datagrams a second of each exporter; None: as many as there are. limits: the same for exporters of a prefix, the
    longest prefix that holds one says.
    """

    allow: tuple[Prefix, ...] = ()
    deny: tuple[Prefix, ...] = ()
    limit: int | None = None
    limits: tuple[tuple[Prefix, int | None], ...] = ()


EVERY_EXPORTER: Final = Exporters()


class RuleSet(NamedTuple):
    """All rules of one file, in the order in which they were written, and who may send what they are for."""

    path: str
    rules: tuple[Rule, ...]
    exporters: Exporters = EVERY_EXPORTER

    def collectors(self) -> tuple[Collector, ...]:
        """Each collector once, those that may step in for others behind them; who has backups itself, and steps in for
        others, is two.
        """
        named = dict.fromkeys(receiver for rule in self.rules for receiver in rule.receivers)
        return tuple(
            dict.fromkeys(
                one
                for collector in each_collector(named)
                for one in (collector, *(collector.options.backup if collector.options else ()))
            )
        )

    def ranked(self) -> tuple[Rule, ...]:
        """The rules, best first: A before Z before `default`, and of equal ones the one written later."""
        latest_first = reversed(self.rules)
        return tuple(sorted(latest_first, key=_priority_order))  # sorted() keeps the order of equals


def each_collector(receivers: Iterable[Receiver]) -> tuple[Collector, ...]:
    """The collectors, and the members of the groups, each once."""
    found: dict[Collector, None] = {}
    for receiver in receivers:
        found.update(dict.fromkeys(receiver.members if isinstance(receiver, Group) else (receiver,)))
    return tuple(found)


def each_once(receivers: Iterable[Receiver]) -> tuple[Receiver, ...]:
    """Without those that have the same destination and options as one before them, whatever their names."""
    found: dict[Receiver, Receiver] = {}
    for receiver in receivers:
        found.setdefault(receiver.nameless(), receiver)
    return tuple(found.values())


def _priority_order(rule: Rule) -> str:
    return rule.priority or "default"  # lower case sorts behind A to Z


def ports_text(ports: Ports) -> str:
    """The canonical text of a rule's ports: `*`, `514` or `514,9995-9999`."""
    if ports == ALL_PORTS:
        return "*"
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ports)


def merge_ports(ranges: Iterable[PortRange]) -> Ports:
    """The same ports as sorted ranges, of which neighbours and overlapping ones have become one."""
    merged: list[PortRange] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def common_ports(one: Ports, other: Ports) -> Ports:
    """The ports that lie in both."""
    common: list[PortRange] = []
    i = j = 0
    while i < len(one) and j < len(other):
        first = max(one[i][0], other[j][0])
        last = min(one[i][1], other[j][1])
        if first <= last:
            common.append((first, last))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(common)


def holds_port(ports: Ports, port: int) -> bool:
    """Whether the port lies in one of the ranges."""
    return any(first <= port <= last for first, last in ports)
