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


class Collector(NamedTuple):
    """A receiver: an address, or a DNS name that has none yet (`address` is None), and a port.

    `host` is canonical: an address as its `address_text`, a name in lower case without the final dot.
    A port of None leaves each datagram the port that it came with.
    """

    host: str
    port: int | None
    address: Address | None

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Rule(NamedTuple):
    """One line of the rules: datagrams from `source` to `ports` go to every one of `collectors`.

    A source of None is any source, of both families. A priority of None makes the rule a `default`, which
    only counts where no rule with a priority matches. `line` is where the rule was written, from 1.
    """

    source: Prefix | None
    ports: Ports
    collectors: tuple[Collector, ...]
    priority: str | None
    line: int

    def can_send(self) -> bool:
        """False where source and collectors are of different families, so that no copy could ever leave."""
        return self.source is None or bool(self.collectors_for(self.source.family))

    def collectors_for(self, family: Family) -> tuple[Collector, ...]:
        """Those that can get a copy of a datagram of this family.

        A name may turn out to have an address of either family, so it is among them.
        """
        return tuple(
            collector
            for collector in self.collectors
            if collector.address is None or collector.address.family == family
        )


class RuleSet(NamedTuple):
    """All rules of one file, in the order in which they were written."""

    path: str
    rules: tuple[Rule, ...]

    def collectors(self) -> tuple[Collector, ...]:
        """Each collector once, in the order in which they are named."""
        return tuple(dict.fromkeys(collector for rule in self.rules for collector in rule.collectors))

    def ranked(self) -> tuple[Rule, ...]:
        """The rules, best first: A before Z before `default`, and of equal ones the one written later."""
        latest_first = reversed(self.rules)
        return tuple(sorted(latest_first, key=_priority_order))  # sorted() keeps the order of equals


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
