"""What the core is measured with: rules and datagrams of any number and size, the same for the same case."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields

from gfwd.rules import classic
from gfwd.rules.classic import COLLECTORS_MAX
from gfwd.rules.model import (
    ALL_PORTS,
    Address,
    Collector,
    Exporters,
    Family,
    Group,
    Options,
    Rule,
    RuleSet,
    address_text,
)

FRAME_BYTES = 188
"""The thesis' frame: 212 bytes on the wire are 188 in a ring, without CRC, preamble and gap."""

BUFFER_BYTES = 2_048

_FLOOD_SOURCES = 1 << 18  # before the first one comes again: four times what a worker remembers
_GATEWAY = 0x0A020201  # gfwd's own address
_FIRST_COLLECTOR = 0xC6336401
_PORTS = (514, 2_055, 4_739, 6_343, 9_995, 9_996)
_HEADERS = 42  # Ethernet, IPv4, UDP
_FOLLOWED_BYTES = _HEADERS + 20  # with a header of NetFlow v9
_SEED = 2018
_NEVER_REACHED = 1_000_000_000  # a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One measurement. flood: share of datagrams whose source was never seen before, in percent. option: of OPTIONS."""

    rules: int = 10_000
    collectors: int = 1
    exporters: int = 10_000
    frame_bytes: int = FRAME_BYTES
    flood: int = 0
    option: str = "none"

    def __str__(self) -> str:
        return ",".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


_BOUNDS = {
    "rules": (1, 1_000_000),
    "collectors": (1, COLLECTORS_MAX),
    "exporters": (1, 1_000_000),
    "frame_bytes": (60, BUFFER_BYTES),
    "flood": (0, 100),
}
OPTIONS = ("none", "own", "ttl", "sample", "limit", "group", "all", "exporters", "translated", "resolved", "followed")
"""What the rules do beyond the plain; see ruleset()."""
_LEAST_FLOOD = 10  # percent: with less, the frames between two new sources would fill the memory


def parse_case(text: str) -> Case:
    """Read NAME=N,… and option=NAME; what is not named is as in `Case`. Raises ValueError."""
    named: dict[str, int] = {}
    option = "none"
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name == "option":
            if number not in OPTIONS:
                raise ValueError(f"{part!r}: option is one of {', '.join(OPTIONS)}")
            option = number
            continue
        if name not in _BOUNDS:
            raise ValueError(f"{part!r}: write NAME=N, of which NAME is one of {', '.join(_BOUNDS)}, or option=NAME")
        low, high = _BOUNDS[name]
        if not (number.isascii() and number.isdigit() and low <= int(number) <= high):
            raise ValueError(f"{part!r}: {name} is a number from {low} to {high}")
        if name == "flood" and 0 < int(number) < _LEAST_FLOOD:
            raise ValueError(f"{part!r}: flood is 0, or a number from {_LEAST_FLOOD} to {high}")
        named[name] = int(number)
    case = Case(**named, option=option)
    if option == "followed" and case.frame_bytes < _FOLLOWED_BYTES:
        raise ValueError(f"{text!r}: what can be followed has {_FOLLOWED_BYTES} bytes or more")
    return case


# ---- rules ----


def rules_text(case: Case) -> str:
    """A rules file of the usual mix.

    70 % single sources, 20 % prefixes of /8 to /30 that overlap, 10 % `*`; of the ports, half are single, a third
    ranges and lists, the rest `*`. The closer a rule looks, the better its priority, so that a search has to look
    everywhere.
    """
    rng = random.Random(_SEED)
    collectors = " ".join(address_text(4, _FIRST_COLLECTOR + i) for i in range(case.collectors))
    lines = [f"{_source(rng, i)} {_ports(rng)} {collectors} {'AABC'[_share(i)]}" for i in range(case.rules - 1)]
    return "\n".join([*lines, f"default * {collectors}"])


def _share(i: int) -> int:
    """Of ten rules, seven for a single source (0 and 1), two for a prefix (2), one for any source (3)."""
    return (0, 0, 0, 0, 1, 1, 1, 2, 2, 3)[i % 10]


def _source(rng: random.Random, i: int) -> str:
    address, length = rng.getrandbits(32), rng.randint(8, 30)
    match _share(i):
        case 3:
            return "*"
        case 2:
            return f"{address_text(4, address >> 32 - length << 32 - length)}/{length}"
        case _:
            return address_text(4, address)


def _ports(rng: random.Random) -> str:
    ports = sorted(rng.sample(range(1, 65_536), 3))
    return rng.choice(
        (
            *(str(rng.choice((*_PORTS, ports[0]))) for _ in range(3)),
            f"{ports[0]}-{ports[1]}",
            ",".join(map(str, ports)),
            "*",
        )
    )


def ruleset(text: str, option: str) -> RuleSet:
    """The rules of a text, and what they do beyond that.

    No limit is ever reached, so that every datagram is forwarded; but of `sample`, one in two. group: each rule's
    datagrams go to one of four by their exporter. all: a second rule, with a collector of its own, applies to all.
    translated: collectors have IPv6 addresses, and get gfwd's own source address, too. resolved, followed: nothing
    beyond that; the next hops are found and confirmed (bench_next_hops.py), or the sequence numbers followed.
    """
    plain = classic.parse(text, "bench")
    match option:
        case "own":
            return _with_options(plain, Options(own_source=True))
        case "translated":
            return _with_options(plain, Options(own_source=True), family=6)
        case "ttl":
            return _with_options(plain, Options(ttl=64))
        case "sample":
            return _with_options(plain, Options(sample=2))
        case "limit":
            return _with_options(plain, Options(limit=_NEVER_REACHED))
        case "group":
            group = Group("farm", "exporter", tuple(map(_collector, range(4))))
            return plain._replace(rules=tuple(rule._replace(receivers=(group,)) for rule in plain.rules))
        case "all":
            beside = Rule(
                None, ALL_PORTS, (_collector(COLLECTORS_MAX),), "Z", len(plain.rules) + 1, applies_always=True
            )
            return plain._replace(rules=(*plain.rules, beside))
        case "exporters":
            return plain._replace(exporters=Exporters(limit=_NEVER_REACHED))
        case _:
            return plain


def _with_options(plain: RuleSet, options: Options, *, family: Family = 4) -> RuleSet:
    """Each collector has these, and an address of this family."""

    def changed(collector: Collector) -> Collector:
        address = collector.address and collector.address._replace(family=family)
        return collector._replace(host=str(address), address=address, options=options)

    return plain._replace(
        rules=tuple(rule._replace(receivers=tuple(map(changed, rule.collectors))) for rule in plain.rules)
    )


def _collector(number: int) -> Collector:
    address = Address(4, _FIRST_COLLECTOR + number)
    return Collector(str(address), None, address)


# ---- frames ----


NUMBER_AT = _HEADERS + 12
"""Where the sequence number of NetFlow v9 stands."""


def frames(case: Case) -> bytearray:
    """Frames one after the other: datagrams of the known exporters in turn, or of new sources, by chance.

    An exporter sends to one port, NetFlow v9; a source that is only there to flood, to any of them.
    """
    rng = random.Random(_SEED + 1)  # not the row of numbers that the rules are made from
    known = _known_sources(case, rng)
    n = case.exporters if case.flood == 0 else _FLOOD_SOURCES * 100 // case.flood
    frame = _Frame(case.frame_bytes)

    def datagrams() -> Iterator[bytes]:
        for i in range(n):
            if rng.random() * 100 < case.flood:
                yield frame.of(rng.getrandbits(32), rng.choice(_PORTS))
            else:
                source = known[i % len(known)]
                yield frame.of(source, _PORTS[source % len(_PORTS)])

    return bytearray().join(datagrams())


def _known_sources(case: Case, rng: random.Random) -> list[int]:
    """As many as there are exporters, all different: first those that a rule names, then any."""
    lines = rules_text(case).splitlines()[:-1]
    named = (line.split(maxsplit=1)[0] for i, line in enumerate(lines) if _share(i) <= 1)
    known = dict.fromkeys(int.from_bytes(bytes(map(int, address.split(".")))) for address in named)
    while len(known) < case.exporters:
        known[rng.getrandbits(32)] = None
    return list(known)[: case.exporters]


class _Frame:
    """A frame of this size, in which only source and port are still open."""

    def __init__(self, size: int) -> None:
        ip_bytes, udp_bytes = size - 14, size - 34
        self._start: bytes = bytes(12) + struct.pack("!HBBHHHBB", 0x0800, 0x45, 0, ip_bytes, 1, 0x4000, 64, 17)
        self._sum: int = sum(struct.unpack("!6H", self._start[14:] + bytes(2))) + (_GATEWAY >> 16) + (_GATEWAY & 0xFFFF)
        self._middle: bytes = struct.pack("!IH", _GATEWAY, 40_000)
        # gfwd updates the UDP checksum, and does not judge it.
        payload = struct.pack("!H", 9).ljust(size - _HEADERS, b"\0")
        self._end: bytes = struct.pack("!HH", udp_bytes, 0x1234) + payload

    def of(self, source: int, port: int) -> bytes:
        checksum = self._sum + (source >> 16) + (source & 0xFFFF)
        checksum = (checksum & 0xFFFF) + (checksum >> 16)
        checksum = ~(checksum + (checksum >> 16)) & 0xFFFF
        return self._start + checksum.to_bytes(2) + source.to_bytes(4) + self._middle + port.to_bytes(2) + self._end
