"""Frames and rule sets for tests: builders for every layer, and random draws of both.

Builders give correct lengths and checksums unless told otherwise. `random_world` draws a rule set (as the classic
file's text and as the twin's rules, from one draw) with the addresses and ports around it; `random_frame` draws a
frame that means something in that world: most are datagrams that its rules speak of, the rest are broken in every way
that docs/packets.md names. The same seed gives the same draw.
"""

from __future__ import annotations

import struct
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from itertools import accumulate
from random import Random
from typing import Literal, NamedTuple, TypeVar

from tests.flows import flow_payload
from tests.oracle.twin import Prefix, TwinConfig, TwinPort, TwinRule, TwinTarget

T = TypeVar("T")
State = Literal["ready", "pending", "failed"]
Tags = Sequence[tuple[int, int]]

GFWD_MAC = bytes.fromhex("020000000001")
EXPORTER_MAC = bytes.fromhex("020000000e01")
IPV4, IPV6, ARP, RARP = 0x0800, 0x86DD, 0x0806, 0x8035
TAG_TYPES = (0x8100, 0x88A8, 0x9100)
ICMP, TCP, UDP, ICMPV6, NO_NEXT_HEADER = 1, 6, 17, 58, 59
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000
BITS = {4: 32, 6: 128}
LENGTH = {4: 4, 6: 16}


# -- Builders, from the wire upwards ----------------------------------------------------------------------------------


def ethernet(
    payload: bytes, ethertype: int, tags: Tags = (), destination: bytes = GFWD_MAC, source: bytes = EXPORTER_MAC
) -> bytes:
    """An Ethernet frame without its CRC; tags are (type, TCI), outermost first."""
    between = b"".join(struct.pack(">HH", *tag) for tag in tags)
    return destination + source + between + ethertype.to_bytes(2, "big") + payload


def ipv4(
    payload: bytes,
    source: int,
    destination: int,
    *,
    protocol: int = UDP,
    ttl: int = 64,
    tos: int = 0,
    options: bytes = b"",
    ident: int = 0,
    fragment: int = 0,
    version: int = 4,
    header_words: int | None = None,
    total_length: int | None = None,
    checksum_error: int = 0,
) -> bytes:
    """An IPv4 packet. Options are a multiple of 4 bytes; fragment is the whole field, flags and offset in 8 bytes."""
    words = 5 + len(options) // 4 if header_words is None else header_words
    length = 20 + len(options) + len(payload) if total_length is None else total_length
    first = version << 4 | words
    head = struct.pack(">BBHHHBBHII", first, tos, length, ident, fragment, ttl, protocol, 0, source, destination)
    right = checksum(head + options)
    return head[:10] + (right ^ checksum_error).to_bytes(2, "big") + head[12:] + options + payload


def ipv6(
    payload: bytes,
    source: int,
    destination: int,
    *,
    next_header: int = UDP,
    hop_limit: int = 64,
    flow: int = 0,
    version: int = 6,
    payload_length: int | None = None,
) -> bytes:
    """An IPv6 packet; extension headers are the payload's beginning (see chain)."""
    length = len(payload) if payload_length is None else payload_length
    head = struct.pack(">IHBB", version << 28 | flow, length, next_header, hop_limit)
    return head + source.to_bytes(16, "big") + destination.to_bytes(16, "big") + payload


def udp(
    family: int,
    source: int,
    destination: int,
    ports: tuple[int, int],
    payload: bytes = b"",
    *,
    length: int | None = None,
    udp_checksum: int | None = None,
) -> bytes:
    """A UDP header and its payload; ports are (source, destination)."""
    size = 8 + len(payload)
    head = struct.pack(">HHH", *ports, size if length is None else length)
    if udp_checksum is None:
        addresses = source.to_bytes(LENGTH[family], "big") + destination.to_bytes(LENGTH[family], "big")
        udp_checksum = checksum(addresses + struct.pack(">HH", UDP, size) + head + payload) or 0xFFFF
    return head + udp_checksum.to_bytes(2, "big") + payload


def options_header(size: int = 8) -> bytes:
    """A hop-by-hop or destination options header of padding (RFC 8200 §4.2); chain() sets its next-header field."""
    longest = 257  # of one PadN option
    lengths = [longest] * ((size - 2) // longest) + [(size - 2) % longest]
    padding = b"".join(
        bytes((1, length - 2)) + bytes(length - 2) if length > 1 else bytes(length) for length in lengths
    )
    return bytes((0, size // 8 - 1)) + padding


def routing_header(segments_left: int, size: int = 24) -> bytes:
    """A routing header of type 0 (RFC 8200 §4.4)."""
    return bytes((0, size // 8 - 1, 0, segments_left)) + bytes(size - 4)


def fragment_header(offset: int, more: bool, ident: int = 1) -> bytes:
    """A fragment header; the offset counts 8 bytes."""
    return struct.pack(">BBHI", 0, 0, offset << 3 | more, ident)


def chain(headers: Sequence[tuple[int, bytes]], last: int, payload: bytes) -> tuple[int, bytes]:
    """Extension headers as (type, bytes), joined before a payload of type last: (first type, all the bytes)."""
    kinds = [kind for kind, _ in headers] + [last]
    joined = b"".join(bytes((following,)) + data[1:] for following, (_, data) in zip(kinds[1:], headers, strict=True))
    return kinds[0], joined + payload


def datagram(
    family: int, source: int, destination: int, ports: tuple[int, int], payload: bytes = b"", tags: Tags = ()
) -> bytes:
    """A sound frame with a UDP datagram."""
    segment = udp(family, source, destination, ports, payload)
    if family == 4:
        return ethernet(ipv4(segment, source, destination), IPV4, tags)
    return ethernet(ipv6(segment, source, destination), IPV6, tags)


def arp_request(sender: int, target: int, ethertype: int = ARP) -> bytes:
    """RFC 826, or RFC 903, padded as Ethernet pads it."""
    body = struct.pack(">HHBBH6sI6sI", 1, IPV4, 6, 4, 1, EXPORTER_MAC, sender, bytes(6), target)
    return ethernet(body + bytes(18), ethertype, destination=b"\xff" * 6)


def icmp_echo(family: int, source: int, destination: int) -> bytes:
    """An echo request, ICMP or ICMPv6."""
    if family == 4:
        body = bytes.fromhex("08000000") + b"\0\1\0\1" + b"ping"
        message = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
        return ethernet(ipv4(message, source, destination, protocol=ICMP), IPV4)
    return _icmpv6(bytes.fromhex("80000000") + b"\0\1\0\1" + b"ping", source, destination)


def neighbour_solicitation(source: int, target: int, destination: int | None = None) -> bytes:
    """RFC 4861 §4.3; to the solicited-node multicast address unless told otherwise."""
    if destination is None:
        destination = int(IPv6Address("ff02::1:ff00:0")) | target & 0xFFFFFF
    body = bytes.fromhex("8700000000000000") + target.to_bytes(16, "big") + b"\1\1" + EXPORTER_MAC
    return _icmpv6(body, source, destination, hop_limit=255)


def _icmpv6(body: bytes, source: int, destination: int, hop_limit: int = 64) -> bytes:
    pseudo = source.to_bytes(16, "big") + destination.to_bytes(16, "big") + struct.pack(">II", len(body), ICMPV6)
    message = body[:2] + checksum(pseudo + body).to_bytes(2, "big") + body[4:]
    return ethernet(ipv6(message, source, destination, next_header=ICMPV6, hop_limit=hop_limit), IPV6)


def tcp_syn(family: int, source: int, destination: int, ports: tuple[int, int]) -> bytes:
    """The first segment of a TCP connection."""
    body = struct.pack(">HHIIBBHHH", *ports, 1, 0, 5 << 4, 2, 65535, 0, 0)
    addresses = source.to_bytes(LENGTH[family], "big") + destination.to_bytes(LENGTH[family], "big")
    right = checksum(addresses + struct.pack(">HH", TCP, len(body)) + body)
    segment = body[:16] + right.to_bytes(2, "big") + body[18:]
    if family == 4:
        return ethernet(ipv4(segment, source, destination, protocol=TCP), IPV4)
    return ethernet(ipv6(segment, source, destination, next_header=TCP), IPV6)


def llc() -> bytes:
    """A spanning tree message: IEEE 802.3 length and LLC in place of an EtherType."""
    body = bytes.fromhex("424203") + bytes(35)
    return ethernet(body + bytes(46 - len(body)), len(body), destination=bytes.fromhex("0180c2000000"))


def checksum(data: bytes) -> int:
    """RFC 1071, quickly: as 65536 ≡ 1 modulo 65535, data read as one big number has the same remainder as its words."""
    total = int.from_bytes(data + bytes(len(data) & 1), "big")
    return 0xFFFF - ((total - 1) % 65535 + 1 if total else 0)


# -- Rule sets --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Neighbour:
    """A next hop: its state and MAC at the start, and the port that leads to it."""

    state: State
    mac: bytes
    egress: int


@dataclass(frozen=True)
class Collector:
    """A collector as the rules spell it, and what there is to know of it. Several may stand on one host."""

    index: int
    host: str  # an address or a DNS name
    family: int | None  # None: a name that never resolves
    address: int | None
    port: int | None
    neighbour: int  # index into RuleSet.neighbours

    @property
    def is_name(self) -> bool:
        """Whether DNS is asked for it."""
        return self.host.endswith(".example.net")

    @property
    def text(self) -> str:
        """As it stands in a rules file."""
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class RuleSet:
    """One draw in two spellings: the classic file's text, and the twin's rules."""

    text: str
    rules: tuple[TwinRule, ...]
    collectors: tuple[Collector, ...]
    neighbours: tuple[Neighbour, ...]

    @property
    def names(self) -> dict[str, tuple[int, int] | None]:
        """What DNS says: name → (family, address), or None where it never answers."""
        found: dict[str, tuple[int, int] | None] = {}
        for collector in self.collectors:
            if collector.is_name:
                known = collector.family is not None and collector.address is not None
                found[collector.host] = (collector.family or 0, collector.address or 0) if known else None
        return found

    @cached_property
    def named_ports(self) -> frozenset[int]:
        """The ports that rules name: what gfwd listens on unless told otherwise."""
        ranges = {pair for rule in self.rules for pair in rule.ports if pair != ALL_PORTS}
        return frozenset(port for low, high in ranges for port in range(low, high + 1))


ALL_PORTS = (0, 65535)
WELL_KNOWN = (162, 514, 2055, 4739, 6343, 8086, 9995, 9996)
OWN = {4: int(IPv4Address("10.2.2.1")), 6: int(IPv6Address("2001:db8:1::1"))}
EXPORTERS = {4: int(IPv4Address("10.2.0.0")), 6: int(IPv6Address("2001:db8:1::"))}
COLLECTORS = {4: int(IPv4Address("198.18.0.0")), 6: int(IPv6Address("2001:db8:c::"))}


def random_rules(rng: Random, egress_ports: int = 1) -> RuleSet:
    """1 to 60 rules: nested prefixes of both families, few and many ports, several collectors, priorities, defaults.

    The text holds nothing that a check would refuse: no rule whose collectors are all of the other family than its
    source, and no collector with one of gfwd's own addresses (OWN).
    """
    neighbours = tuple(_random_neighbour(rng, at, egress_ports) for at in range(rng.randint(1, 6)))
    collectors = _random_collectors(rng, len(neighbours))
    bases = [_random_base(rng, collectors) for _ in range(rng.randint(1, 6))]
    rules: list[TwinRule] = []
    lines = ["# source\tdst port\tcollectors\tpriority", ""]
    for _ in range(rng.choice((1, 2, 3, 5, 10, 20, 40, 60))):
        default = rng.random() < 0.05
        source = None if default or rng.random() < 0.15 else _random_prefix(rng, bases)
        chosen = _random_choice_of_collectors(rng, collectors, source)
        if not chosen:
            continue
        ports = _random_ports(rng)
        priority = None if default else rng.choice("AAABBCZ")
        targets = tuple(target_of(collector, neighbours) for collector in chosen)
        rules.append(TwinRule(source, ports, targets, priority, len(rules)))
        lines += _noise(rng)
        lines.append(_rule_line(rng, rules[-1], chosen))
    if not rules:
        return random_rules(rng, egress_ports)
    return RuleSet("\n".join(lines) + "\n", tuple(rules), collectors, neighbours)


def _random_neighbour(rng: Random, at: int, egress_ports: int) -> Neighbour:
    state: State = rng.choice(("ready", "ready", "ready", "ready", "pending", "failed"))
    return Neighbour(state, bytes((2, 0, 0, 0, 0, 0xC0 + at)), rng.randrange(egress_ports))


def _random_collectors(rng: Random, neighbours: int) -> tuple[Collector, ...]:
    collectors: list[Collector] = []
    for at in range(rng.randint(1, 8)):
        family = rng.choice((4, 4, 6))
        address = COLLECTORS[family] + rng.randrange(1, 8190) * 8 + at  # no two alike
        host = address_text(family, address)
        known = True
        if rng.random() < 0.25:
            host, known = f"flow{at}.example.net", rng.random() < 0.6
        next_hop = rng.randrange(neighbours)
        for port in rng.choice(((None,), (rng.choice(WELL_KNOWN),), (None, 9995), (2055, 65535, 1))):
            index = len(collectors)
            its = Collector(index, host, family if known else None, address if known else None, port, next_hop)
            collectors.append(its)
    return tuple(collectors)


def _random_base(rng: Random, collectors: Sequence[Collector]) -> tuple[int, int]:
    """An address that prefixes nest around; now and then a collector's, as an exporter may be a collector too."""
    collector = rng.choice(collectors)
    if rng.random() < 0.15 and collector.family is not None and collector.address is not None:
        return collector.family, collector.address
    family = rng.choice((4, 6))
    return family, EXPORTERS[family] + rng.randrange(2, 65535)


def _random_prefix(rng: Random, bases: Sequence[tuple[int, int]]) -> Prefix:
    family, address = rng.choice(bases)
    bits = BITS[family]
    length = rng.choice((bits, bits, bits, bits - 1, bits - 8, 0, 1, bits // 2, rng.randint(0, bits)))
    if rng.random() < 0.3:
        address ^= 1 << rng.randrange(17)
    return family, address >> (bits - length) << (bits - length), length


def _random_choice_of_collectors(
    rng: Random, collectors: Sequence[Collector], source: Prefix | None
) -> list[Collector]:
    """One to five collectors, now and then one twice; empty where none could ever get a datagram from this source."""
    chosen = [rng.choice(collectors) for _ in range(rng.choice((1, 1, 1, 2, 3, 5)))]
    if source and not any(collector.family in (None, source[0]) for collector in chosen):
        chosen = [collector for collector in collectors if collector.family in (None, source[0])][:1]
    return chosen


def _random_ports(rng: Random) -> tuple[tuple[int, int], ...]:
    kind = rng.random()
    if kind < 0.25:
        return (ALL_PORTS,)
    if kind < 0.6:
        port = rng.choice(WELL_KNOWN)
        return ((port, port),)
    if kind < 0.8:
        low = rng.choice((1, 161, 2000, 9000, rng.randint(1, 65000)))
        return ((low, min(65535, low + rng.choice((1, 9, 1000, 65535)))),)
    steps = sorted(rng.sample(range(1, 65536), 2 * rng.randint(1, 6)))
    pairs = list(zip(steps[::2], steps[1::2], strict=True))
    pairs = [(low, low) if rng.random() < 0.5 else (low, high) for low, high in pairs]
    rng.shuffle(pairs)
    return tuple(pairs)


def target_of(collector: Collector, neighbours: Sequence[Neighbour]) -> TwinTarget:
    """A collector without options, as the twin sees it."""
    hop = neighbours[collector.neighbour]
    known = (collector.family, collector.address, collector.port)
    return TwinTarget(
        collector.index, *known, hop.state, hop.mac, hop.egress, collector.neighbour, place=collector.text
    )


def _rule_line(rng: Random, rule: TwinRule, collectors: Sequence[Collector]) -> str:
    between = rng.choice((" ", "\t", "   ", " \t"))
    source = "default" if rule.priority is None else _source_text(rng, rule.source)
    ports = ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in rule.ports)
    ports = "*" if rule.ports == (ALL_PORTS,) else ports
    named = rng.choice((",", between)).join(collector.text for collector in collectors)
    fields = [source, ports, named] + ([rule.priority] if rule.priority else [])
    return between.join(fields) + rng.choice(("", "", " ", "  # why"))


def _source_text(rng: Random, source: Prefix | None) -> str:
    if source is None:
        return "*"
    family, address, length = source
    bare = length == BITS[family] and rng.random() < 0.7
    return address_text(family, address) + ("" if bare else f"/{length}")


def _noise(rng: Random) -> list[str]:
    return [rng.choice(("", "# a comment", "   ", "\t# 10.0.0.1 514 10.0.0.2 A"))] if rng.random() < 0.1 else []


def address_text(family: int, address: int) -> str:
    """An address as people write it."""
    return str(IPv4Address(address) if family == 4 else IPv6Address(address))


# -- Worlds: a rule set, gfwd's own addresses and ports, and what is worth sending ------------------------------------


@dataclass(frozen=True)
class World:
    """All that a frame can meet. `listen_text` is what --listen would say; None: the ports that rules name."""

    rules: RuleSet
    config: TwinConfig
    listen_text: str | None
    own: dict[int, list[int]]  # by family
    sources: dict[int, list[int]]
    ports: list[int]
    aims: list[tuple[int, int, int]]  # (family, source, port) that some rule speaks of
    blob: bytes  # what payloads are cut from


def random_world(rng: Random, port_count: int = 0) -> World:
    """A rule set with a configuration that fits it: so many ports, or where that is 0, one to three."""
    ports = [_random_port(rng, at) for at in range(port_count or rng.choice((1, 1, 2, 3)))]
    rules = random_rules(rng, len(ports))
    own = {family: [address + at for at in range(rng.randint(1, 3))] for family, address in OWN.items()}
    prefixes = [(family, address, BITS[family]) for family, addresses in own.items() for address in addresses]
    listen_text, listen = _random_listen(rng, rules)
    networks = [] if rng.random() < 0.8 else [(4, OWN[4] >> 3 << 3, 29), (6, OWN[6] >> 3 << 3, 125)]
    config = TwinConfig("all" if rng.random() < 0.1 else prefixes + networks, listen, ports)
    sources = {family: _interesting_sources(rng, rules, family) + own[family][:1] for family in (4, 6)}
    interesting = _interesting_ports(rng, rules)
    aims = [aim for rule in rules.rules for aim in _aims(rng, rule, sources, interesting, listen)]
    return World(rules, config, listen_text, own, sources, interesting, aims, rng.randbytes(4096))


def _random_port(rng: Random, at: int) -> TwinPort:
    return TwinPort(
        mac=bytes((2, 0, 0, 0, 0, at + 1)),
        keep_tags=rng.random() < 0.2,
        tags=rng.choice(((), (), ((0x8100, 30),), ((0x88A8, 0x6064), (0x8100, 0xEFFF)))),
        mtu=rng.choice((0, 1500, 1500, 576, 9000)),
        buffer=rng.choice((0, 2048, 2048, 1024)),
        has_host_stack=rng.random() < 0.5,
        punts_closed=rng.random() < 0.2,
        punts_too_big=rng.random() < 0.3,
        out_only=rng.random() < 0.1,
    )


def _random_listen(rng: Random, rules: RuleSet) -> tuple[str | None, frozenset[int] | Literal["all"]]:
    if rules.named_ports and rng.random() < 0.6:
        return None, rules.named_ports
    if rng.random() < 0.3:
        return "all", "all"
    low = rng.randint(1, 65000)
    text = ",".join(str(port) for port in WELL_KNOWN) + f",{low}-{low + 500}"
    return text, frozenset(WELL_KNOWN) | frozenset(range(low, low + 501))


def _interesting_sources(rng: Random, rules: RuleSet, family: int) -> list[int]:
    """Both ends of every prefix, one beyond each, some within; addresses of no rule; collectors."""
    top = (1 << BITS[family]) - 1
    found = [EXPORTERS[family] + rng.randrange(65536) for _ in range(4)] + [rng.getrandbits(BITS[family]), 0, top]
    found += [known.address for known in rules.collectors if known.family == family and known.address is not None]
    for rule in rules.rules:
        if rule.source and rule.source[0] == family:
            size = 1 << (BITS[family] - rule.source[2])
            first, last = rule.source[1], rule.source[1] + size - 1
            found += [first, last, (first - 1) & top, (last + 1) & top, first + rng.randrange(size)]
    return found


def _interesting_ports(rng: Random, rules: RuleSet) -> list[int]:
    """Both ends of every range, one beyond each, some within; weighted towards those that rules name."""
    found = [*WELL_KNOWN, 53, rng.randrange(65536)]
    for rule in rules.rules:
        for low, high in rule.ports:
            found += [low, high, rng.randint(low, high)] * 2 + [(low - 1) & 0xFFFF, (high + 1) & 0xFFFF]
    return found


def _aims(
    rng: Random,
    rule: TwinRule,
    sources: dict[int, list[int]],
    ports: Sequence[int],
    listen: frozenset[int] | Literal["all"],
) -> list[tuple[int, int, int]]:
    """Datagrams that a rule would send to one of its collectors, as far as listening allows."""
    heard = [port for port in ports if isinstance(listen, str) or port in listen]
    within = [port for port in heard if any(low <= port <= high for low, high in rule.ports)]
    families = [one.family for one in rule.targets if isinstance(one, TwinTarget) and one.family is not None]
    found: list[tuple[int, int, int]] = []
    for _ in range(10 if within and families else 0):
        family = rng.choice(families)
        source = rng.choice(sources[family])
        if rule.source:
            family, network, length = rule.source
            source = network + rng.choice((0, rng.getrandbits(BITS[family] - length)))
        found.append((family, source, rng.choice(within)))
    return found


# -- Random frames ----------------------------------------------------------------------------------------------------


def pick(rng: Random, items: Sequence[T]) -> T:
    """random.choice at a third of its price."""
    return items[int(rng.random() * len(items))]


class _Draw(NamedTuple):
    """What every kind of frame begins with."""

    family: int
    source: int
    destination: int
    ports: tuple[int, int]
    payload: bytes

    def udp(self, *, length: int | None = None, udp_checksum: int | None = None) -> bytes:
        return udp(*self, length=length, udp_checksum=udp_checksum)


def _draw(rng: Random, world: World, family: int = 0) -> _Draw:
    family = family or (4 if rng.random() < 0.6 else 6)
    source, port = pick(rng, world.sources[family]), pick(rng, world.ports)
    if world.aims and rng.random() < 0.7:
        aimed_family, aimed_source, port = pick(rng, world.aims)
        source = aimed_source if aimed_family == family else source
    ports = (int(rng.random() * 65536), port)
    return _Draw(family, source, pick(rng, world.own[family]), ports, _payload(rng, world))


def _payload(rng: Random, world: World) -> bytes:
    if rng.random() < 0.1:
        return flow_payload(rng, world.blob)
    at = int(rng.random() * 2048)
    length = int(rng.random() * (1500 if rng.random() < 0.04 else 120))
    return world.blob[at : at + length]


def random_frame(rng: Random, world: World) -> bytes:
    """Any frame: mostly sound datagrams that the world's rules speak of, else broken in one way, rarely in several."""
    make = _KINDS[bisect(_STEPS, rng.random() * _STEPS[-1])]
    frame = make(rng, world)
    return _damaged(rng, frame) if frame and rng.random() < 0.03 else frame


def _damaged(rng: Random, frame: bytes) -> bytes:
    """A frame cut short, lengthened, or with a few bits turned in its headers."""
    kind = rng.random()
    if kind < 0.4:
        return frame[: int(rng.random() * len(frame))]
    if kind < 0.5:
        return frame + bytes(int(rng.random() * 64))
    turned = bytearray(frame)
    for _ in range(rng.randint(1, 3)):
        turned[rng.randrange(min(len(frame), 74))] ^= 1 << rng.randrange(8)
    return bytes(turned)


def _random_tags(rng: Random, most: int = 2) -> Tags:
    return [(pick(rng, TAG_TYPES), int(rng.random() * 65536)) for _ in range(rng.randint(1, most))]


def _wrap(draw: _Draw, segment: bytes, tags: Tags = (), ttl: int = 64, fragment: int = 0) -> bytes:
    if draw.family == 4:
        return ethernet(ipv4(segment, draw.source, draw.destination, ttl=ttl, fragment=fragment), IPV4, tags)
    return ethernet(ipv6(segment, draw.source, draw.destination, hop_limit=ttl), IPV6, tags)


def _sound(rng: Random, world: World) -> bytes:
    family = pick(rng, world.aims)[0] if world.aims else 0
    draw = _draw(rng, world, family)
    return _wrap(draw, draw.udp(), fragment=DONT_FRAGMENT if rng.random() < 0.3 else 0)


def _other_ttl(rng: Random, world: World) -> bytes:
    """An exporter behind two ways of different length."""
    draw = _draw(rng, world)
    return _wrap(draw, draw.udp(), ttl=pick(rng, (63, 65, 128)))


def _tagged(rng: Random, world: World) -> bytes:
    draw = _draw(rng, world)
    return _wrap(draw, draw.udp(), _random_tags(rng))


def _too_many_or_cut_tags(rng: Random, world: World) -> bytes:
    draw = _draw(rng, world)
    frame = _wrap(draw, draw.udp(), [(pick(rng, TAG_TYPES), at) for at in range(3)])
    return frame if rng.random() < 0.5 else frame[: rng.randint(14, 26)]


def _padded(rng: Random, world: World) -> bytes:
    draw = _draw(rng, world)
    return _wrap(draw, draw.udp()) + world.blob[: rng.randint(1, 60)]


def _checksums(rng: Random, world: World) -> bytes:
    """UDP checksums: none, wrong, at the edges, or such that a collector gets 0 before it is spelled 0xffff."""
    draw = _draw(rng, world)
    field = pick(rng, (0, 0, 1, 0xFFFE, 0xFFFF, 0xFFFF, rng.randrange(65536)))
    collector = pick(rng, world.rules.collectors)
    if rng.random() < 0.5 and collector.family == draw.family and collector.address is not None:
        port = draw.ports[1] if collector.port is None else collector.port
        # As in checksum(): a number and the sum of its words are equal modulo 65535.
        field = (collector.address + port - draw.destination - draw.ports[1]) % 65535 or 0xFFFF
    return _wrap(draw, draw.udp(udp_checksum=field))


def _checksum_at_edge(rng: Random, world: World) -> bytes:
    """Sound datagrams with a payload of one word, chosen so that the right UDP checksum is at an edge."""
    draw = _draw(rng, world)._replace(payload=bytes(2))
    wanted = pick(rng, (1, 0xFFFE, 0xFFFF))
    word = (int.from_bytes(draw.udp()[6:8], "big") - wanted) % 65535
    draw = draw._replace(payload=word.to_bytes(2, "big"))
    return _wrap(draw, draw.udp())


def _udp_lengths(rng: Random, world: World) -> bytes:
    draw = _draw(rng, world)
    right = 8 + len(draw.payload)
    length = pick(rng, (0, 7, 8, right - 1, right + 1, 65535, rng.randrange(65536)))
    cut = pick(rng, (None, None, 0, 3, 4, 7, 8))
    return _wrap(draw, draw.udp(length=length)[:cut])


def _ipv4_options(rng: Random, world: World) -> bytes:
    """Options that stand in every fragment, and such that do not; some are nonsense."""
    draw = _draw(rng, world, 4)
    options = b""
    while len(options) < 40 and rng.random() < 0.7:
        options += pick(rng, _IPV4_OPTIONS)
    options = options[:40] + bytes(-len(options[:40]) % 4)
    tos = rng.randrange(256)
    packet = ipv4(draw.udp(), draw.source, draw.destination, options=options, ident=rng.randrange(65536), tos=tos)
    return ethernet(packet, IPV4)


_IPV4_OPTIONS = (
    bytes((1,)),
    bytes((1,)) * 12,
    bytes.fromhex("94040000"),  # router alert (RFC 2113), copied
    bytes.fromhex("820b0102030405060708 09".replace(" ", "")),  # security, copied
    bytes.fromhex("070b04") + bytes(8),  # record route
    bytes.fromhex("00"),
    bytes.fromhex("8801"),  # too short
    bytes.fromhex("89ff"),  # longer than the header
)


def _ipv4_header(rng: Random, world: World) -> bytes:
    """One field of the IPv4 header at an edge or wrong; the header checksum right for what the header says."""
    draw = _draw(rng, world, 4)
    segment = draw.udp()
    length = 20 + len(segment)
    kind = int(rng.random() * 6)
    frame = ethernet(
        ipv4(
            segment,
            draw.source,
            draw.destination,
            ttl=pick(rng, (0, 1, 1, 2, 255)) if kind == 0 else 64,
            version=pick(rng, (0, 5, 6, 15)) if kind == 1 else 4,
            header_words=pick(rng, (0, 4, 6, 7, 15)) if kind == 2 else None,
            total_length=pick(rng, (0, 19, 20, 24, 27, 28, length - 1, length + 1, 65535)) if kind == 3 else None,
            protocol=pick(rng, (ICMP, TCP, 2, 47, 50, ICMPV6, 132, 136)) if kind == 4 else UDP,
        ),
        IPV4,
    )
    return frame[: rng.randint(14, 34)] if kind == 5 else frame


def _ipv4_checksum(rng: Random, world: World) -> bytes:
    """Header checksums: wrong, or right and at an edge before or after the rewrite."""
    draw = _draw(rng, world, 4)
    if rng.random() < 0.5:
        wrong = pick(rng, (1, 0x8000, 0xFFFF, rng.randrange(1, 65536)))
        return ethernet(ipv4(draw.udp(), draw.source, draw.destination, checksum_error=wrong), IPV4)
    wanted = pick(rng, (0, 1, 0xFFFE, 0x0100, 0xFEFF))
    plain = ipv4(draw.udp(), draw.source, draw.destination)
    ident = (int.from_bytes(plain[10:12], "big") - wanted) % 65535
    packet = ipv4(draw.udp(), draw.source, draw.destination, ident=ident)
    if packet[10:12] == bytes(2) and rng.random() < 0.5:
        packet = packet[:10] + b"\xff\xff" + packet[12:]  # the other spelling of 0 is right as well
    return ethernet(packet, IPV4)


def _ipv4_fragment(rng: Random, world: World) -> bytes:
    draw = _draw(rng, world, 4)
    field = pick(rng, (MORE_FRAGMENTS, MORE_FRAGMENTS | 1, 1, 185, 0x1FFF, 0x4000, 0x8000))
    segment = draw.udp()[: pick(rng, (None, None, 0, 3, 4, 7, 8))]
    protocol = pick(rng, (UDP, UDP, UDP, ICMP, TCP))
    wrong = pick(rng, (0, 0, 0, 0x0100))
    ttl = rng.randint(0, 3)
    addresses = draw.source, draw.destination
    packet = ipv4(segment, *addresses, fragment=field, protocol=protocol, checksum_error=wrong, ttl=ttl)
    return ethernet(packet, IPV4, _random_tags(rng) if rng.random() < 0.2 else ())


def _random_extension(rng: Random) -> tuple[int, bytes]:
    size = pick(rng, (8, 8, 16, 24, 264, 2048 if rng.random() < 0.1 else 8))
    kind = pick(rng, (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS))
    if kind == FRAGMENT:
        return kind, fragment_header(0, False, rng.randrange(1 << 32))
    if kind == ROUTING:
        return kind, routing_header(1 if rng.random() < 0.15 else 0, size)
    return kind, options_header(size)


def _ipv6_extensions(rng: Random, world: World) -> bytes:
    """Extension headers of each kind, atomic fragments among them; some chains cut."""
    draw = _draw(rng, world, 6)
    headers = [_random_extension(rng) for _ in range(rng.choice((1, 1, 2, 3, 8)))]
    last = pick(rng, (UDP, UDP, UDP, UDP, UDP, UDP, ICMPV6, TCP, NO_NEXT_HEADER, 50, 51, 135))
    first, payload = chain(headers, last, draw.udp())
    if rng.random() < 0.2:
        payload = payload[: int(rng.random() * len(payload))]
    return ethernet(ipv6(payload, draw.source, draw.destination, next_header=first), IPV6)


def _ipv6_fragment(rng: Random, world: World) -> bytes:
    draw = _draw(rng, world, 6)
    header = fragment_header(pick(rng, (0, 0, 1, 185, 8191)), rng.random() < 0.6)
    before = [_random_extension(rng)] if rng.random() < 0.3 else []
    last = pick(rng, (UDP, UDP, UDP, ICMPV6, TCP, DESTINATION_OPTIONS))
    segment = draw.udp()[: pick(rng, (None, None, 0, 3, 4, 7, 8))]
    first, payload = chain([*before, (FRAGMENT, header)], last, segment)
    return ethernet(ipv6(payload, draw.source, draw.destination, next_header=first, hop_limit=rng.randint(0, 3)), IPV6)


def _ipv6_header(rng: Random, world: World) -> bytes:
    """One field of the IPv6 header at an edge or wrong."""
    draw = _draw(rng, world, 6)
    segment = draw.udp()
    length = len(segment)
    kind = int(rng.random() * 5)
    frame = ethernet(
        ipv6(
            segment,
            draw.source,
            draw.destination,
            hop_limit=pick(rng, (0, 1, 1, 2, 255)) if kind == 0 else 64,
            version=pick(rng, (0, 4, 5, 15)) if kind == 1 else 6,
            payload_length=pick(rng, (0, 1, 7, 8, length - 1, length + 1, 65535)) if kind == 2 else None,
            next_header=pick(rng, (ICMP, TCP, ICMPV6, 41, 50, 51, NO_NEXT_HEADER, 135)) if kind == 3 else UDP,
            flow=rng.randrange(1 << 28),
        ),
        IPV6,
    )
    return frame[: rng.randint(14, 54)] if kind == 4 else frame


def _not_for_us(rng: Random, world: World) -> bytes:
    draw = _draw(rng, world)
    draw = draw._replace(destination=pick(rng, world.sources[draw.family]))
    return _wrap(draw, draw.udp())


def _other_protocols(rng: Random, world: World) -> bytes:
    draw = _draw(rng, world)
    own6, peer6 = pick(rng, world.own[6]), pick(rng, world.sources[6])
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: arp_request(pick(rng, world.sources[4]), pick(rng, world.own[4]), rng.choice((ARP, RARP))),
        lambda: icmp_echo(draw.family, draw.source, pick(rng, (draw.destination, draw.source))),
        lambda: neighbour_solicitation(peer6, own6, pick(rng, (None, own6))),
        lambda: tcp_syn(draw.family, draw.source, draw.destination, draw.ports),
        llc,
        lambda: ethernet(draw.payload, pick(rng, (0x88CC, 0x8847, 0x8864, 0x0600, 0x05FF, rng.randrange(65536)))),
        lambda: ethernet(draw.udp(), pick(rng, (IPV4, IPV6))),
    )
    return pick(rng, makers)()


def _tiny(rng: Random, world: World) -> bytes:
    return world.blob[: int(rng.random() * 16)]


_WEIGHTED: tuple[tuple[int, Callable[[Random, World], bytes]], ...] = (
    (50, _sound),
    (4, _other_ttl),
    (8, _tagged),
    (3, _padded),
    (4, _checksums),
    (2, _checksum_at_edge),
    (3, _udp_lengths),
    (3, _ipv4_options),
    (4, _ipv4_header),
    (3, _ipv4_checksum),
    (3, _ipv4_fragment),
    (5, _ipv6_extensions),
    (3, _ipv6_fragment),
    (3, _ipv6_header),
    (2, _not_for_us),
    (2, _other_protocols),
    (1, _too_many_or_cut_tags),
    (1, _tiny),
)
_STEPS = list(accumulate(weight for weight, _ in _WEIGHTED))
_KINDS = [make for _, make in _WEIGHTED]
