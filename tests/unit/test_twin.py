"""The core's twin and the frames it is fed with, held against the specification step by step, and against scapy."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import RawPcapNgReader, RawPcapReader

from tests import captures, frames
from tests.frames import chain, datagram, ethernet, fragment_header, ipv4, ipv6, options_header, routing_header, udp
from tests.oracle import sums, twin
from tests.oracle.twin import Datagram, Receiver, Twin, TwinConfig, TwinGroup, TwinPort, TwinRule, TwinTarget

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
CORPUS = ROOT.parent / "shared" / "corpus"


def v4(text: str) -> int:
    return int(ipaddress.IPv4Address(text))


def v6(text: str) -> int:
    return int(ipaddress.IPv6Address(text))


OWN4, EXPORTER4, COLLECTOR4 = v4("10.2.2.1"), v4("10.2.2.3"), v4("198.18.0.9")
OWN6, EXPORTER6, COLLECTOR6 = v6("2001:db8:1::1"), v6("2001:db8:1::3"), v6("2001:db8:c::9")
OWN = [(4, OWN4, 32), (6, OWN6, 128)]
PORTS = (40000, 2055)
MAC_A, MAC_B, MAC_PORT = b"\2\0\0\0\0\xca", b"\2\0\0\0\0\xcb", b"\2\0\0\0\0\1"
TO_A = TwinTarget(0, 4, COLLECTOR4, None, "ready", MAC_A, 0)
TO_B = TwinTarget(1, 4, COLLECTOR4 + 1, 9995, "ready", MAC_B, 0)
TO_SIX = TwinTarget(2, 6, COLLECTOR6, None, "ready", MAC_A, 0)
ALL_PORTS = [(0, 65535)]
SOUND4, SOUND6 = datagram(4, EXPORTER4, OWN4, PORTS, b"abc"), datagram(6, EXPORTER6, OWN6, PORTS, b"abc")
SEGMENT4 = udp(4, EXPORTER4, OWN4, PORTS, b"abc")
SEGMENT6 = udp(6, EXPORTER6, OWN6, PORTS, b"abc")


def one_armed(**port: object) -> TwinConfig:
    return TwinConfig(OWN, frozenset((514, 2055)), [TwinPort(MAC_PORT, **port)])  # type: ignore[arg-type]


def rule(*targets: Receiver, source: twin.Prefix | None = None, priority: str | None = "A", order: int = 0) -> TwinRule:
    return TwinRule(source, ALL_PORTS, targets, priority, order)


@pytest.fixture
def plain_udp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps scapy from reading what is inside of UDP: a payload is bytes here."""
    monkeypatch.setattr(UDP, "payload_guess", [])


def rebuilt(frame: bytes) -> bytes:
    """The frame as scapy builds it, with every length and checksum computed anew."""
    packet = Ether(frame)
    layer: Packet = packet
    while layer:
        for name in {"len", "plen", "ihl", "chksum", "cksum"} & layer.fields.keys():
            layer.delfieldval(name)
        layer = layer.payload
    packet.clear_cache()
    return bytes(packet)


def is_fragment(frame: bytes) -> bool:
    """IPv4: scapy would take its part of the datagram for a whole one."""
    packet = Ether(frame)
    return IP in packet and (bool(packet[IP].flags.MF) or packet[IP].frag > 0)


# -- The builders -----------------------------------------------------------------------------------------------------


def v6_chain(*headers: tuple[int, bytes], last: int = 17, segment: bytes = SEGMENT6) -> bytes:
    first, payload = chain(headers, last, segment)
    return ethernet(ipv6(payload, EXPORTER6, OWN6, next_header=first), 0x86DD)


BUILT = {
    "IPv4": SOUND4,
    "IPv4, empty": datagram(4, EXPORTER4, OWN4, PORTS),
    "IPv4 in two VLANs": datagram(4, EXPORTER4, OWN4, PORTS, b"odd", [(0x88A8, 7), (0x8100, 0xE01E)]),
    "IPv4 with options": ethernet(ipv4(SEGMENT4, EXPORTER4, OWN4, options=b"\1" * 40, ident=77, ttl=3), 0x0800),
    "IPv4 with padding": SOUND4 + bytes(15),
    "IPv6": SOUND6,
    "IPv6 in a VLAN": datagram(6, EXPORTER6, OWN6, PORTS, b"odd", [(0x8100, 30)]),
    "IPv6 with hop-by-hop options": v6_chain((0, options_header(16))),
    "IPv6 with a routing header at its end": v6_chain((43, routing_header(0, 24))),
    "IPv6 with a chain": v6_chain((0, options_header()), (60, options_header(264)), (43, routing_header(0))),
    "IPv6, an atomic fragment": v6_chain((44, fragment_header(0, False, 9))),
    "IPv6 without next header": v6_chain(last=59, segment=b""),
    "ICMP": frames.icmp_echo(4, EXPORTER4, OWN4),
    "ICMPv6": frames.icmp_echo(6, EXPORTER6, OWN6),
    "neighbour solicitation": frames.neighbour_solicitation(EXPORTER6, OWN6),
    "TCP": frames.tcp_syn(4, EXPORTER4, OWN4, (50000, 22)),
    "TCP over IPv6": frames.tcp_syn(6, EXPORTER6, OWN6, (50000, 22)),
    "ARP": frames.arp_request(EXPORTER4, OWN4),
}


@pytest.mark.parametrize("name", BUILT)
def test_scapy_builds_the_same_bytes(name: str, plain_udp: None) -> None:
    assert rebuilt(BUILT[name]) == BUILT[name]


def test_scapy_reads_what_was_asked_for(plain_udp: None) -> None:
    tagged = Ether(BUILT["IPv4 in two VLANs"])
    assert (tagged.type, tagged.payload.vlan, tagged.payload.type) == (0x88A8, 7, 0x8100)
    assert (tagged.payload.payload.prio, tagged.payload.payload.vlan) == (7, 30)
    optioned = Ether(BUILT["IPv4 with options"])[IP]
    assert (optioned.ihl, optioned.ttl, optioned.id, optioned.src, optioned.dst) == (15, 3, 77, "10.2.2.3", "10.2.2.1")
    chained = Ether(BUILT["IPv6 with a chain"])
    assert (chained[IPv6].nh, chained[IPv6].plen, chained[UDP].dport) == (0, 8 + 264 + 24 + 11, 2055)
    late = Ether(v6_chain((44, fragment_header(185, True, 5))))[IPv6ExtHdrFragment]
    assert (late.offset, late.m, late.id, late.nh) == (185, 1, 5, 17)
    first = Ether(ethernet(ipv4(SEGMENT4, EXPORTER4, OWN4, fragment=0x2000 | 3), 0x0800))[IP]
    assert (first.flags.MF, first.frag, first.proto) == (True, 3, 17)


@given(st.binary(max_size=64))
def test_checksum_is_that_of_rfc_1071(data: bytes) -> None:
    assert frames.checksum(data) == 0xFFFF - sums.ones_complement_sum(data + bytes(len(data) % 2))


# -- Random draws -----------------------------------------------------------------------------------------------------


def drawn(seed: int, count: int) -> tuple[frames.World, list[bytes]]:
    rng = Random(seed)
    world = frames.random_world(rng)
    return world, [frames.random_frame(rng, world) for _ in range(count)]


def test_same_seed_same_draw() -> None:
    assert drawn(7, 200) == drawn(7, 200)


def test_random_frames_reach_every_place() -> None:
    reached: Counter[str] = Counter()
    for seed in range(60):
        world, sent = drawn(seed, 500)
        core = Twin(world.rules.rules, world.config, pending_limit=8, fragments=4)
        for frame in sent:
            core.forward(frame)
        reached += core.ledger.frames
    places = "forwarded passed punted pending short bad_checksum ttl_expired fragment_lost no_rule family_mismatch"
    places += " no_collector too_big neighbour_failed neighbour_pending_full loop"
    assert sorted(reached) == sorted(places.split())
    assert reached["forwarded"] > reached.total() / 5


def read_rules(text: str) -> Iterator[tuple[twin.Prefix | None, set[int] | None, list[str], str | None]]:
    """The classic file once more, read the simplest way."""
    for line in text.splitlines():
        fields = line.partition("#")[0].replace(",", " , ").split()
        if not fields:
            continue
        source, rest = fields[0], " ".join(fields[1:]).replace(" , ", ",").split()
        priority = None if source == "default" else rest.pop()
        prefix = None if source in ("*", "default") else ipaddress.ip_network(source)
        where = None if prefix is None else (prefix.version, int(prefix.network_address), prefix.prefixlen)
        ports: set[int] | None = None
        if rest[0] != "*":
            ends = [part.split("-") for part in rest[0].split(",")]
            ports = {port for pair in ends for port in range(int(pair[0]), int(pair[-1]) + 1)}
        yield where, ports, ",".join(rest[1:]).split(","), priority


def test_both_spellings_of_random_rules_mean_the_same() -> None:
    for seed in range(100):
        drawn_rules = frames.random_rules(Random(seed))
        read = list(read_rules(drawn_rules.text))
        assert len(read) == len(drawn_rules.rules)
        for (source, ports, collectors, priority), its in zip(read, drawn_rules.rules, strict=True):
            listed = {port for low, high in its.ports for port in range(low, high + 1)}
            assert (source, priority) == (its.source, its.priority)
            assert listed == (set(range(65536)) if ports is None else ports)
            assert collectors == [one.place for one in its.targets if isinstance(one, TwinTarget)]


def test_random_rules_can_all_send() -> None:
    for seed in range(200):
        for its in frames.random_rules(Random(seed)).rules:
            families = {one.family for one in its.targets if isinstance(one, TwinTarget)}
            assert its.source is None or families & {None, its.source[0]}


# -- Parse, step by step ----------------------------------------------------------------------------------------------


def ip4(**fields: object) -> bytes:
    return ethernet(ipv4(SEGMENT4, EXPORTER4, OWN4, **fields), 0x0800)  # type: ignore[arg-type]


def ip4_of(segment: bytes, **fields: object) -> bytes:
    return ethernet(ipv4(segment, EXPORTER4, OWN4, **fields), 0x0800)  # type: ignore[arg-type]


def ip6(**fields: object) -> bytes:
    return ethernet(ipv6(SEGMENT6, EXPORTER6, OWN6, **fields), 0x86DD)  # type: ignore[arg-type]


def udp4(**fields: object) -> bytes:
    return ip4_of(udp(4, EXPORTER4, OWN4, PORTS, b"abc", **fields))  # type: ignore[arg-type]


def udp6(**fields: object) -> bytes:
    return v6_chain(segment=udp(6, EXPORTER6, OWN6, PORTS, b"abc", **fields))  # type: ignore[arg-type]


UNHEARD4, UNHEARD6 = udp(4, EXPORTER4, OWN4, (1, 53)), udp(6, EXPORTER6, OWN6, (1, 53))
THREE_TAGS = [(0x8100, 1), (0x9100, 2), (0x88A8, 3)]
FIRST, LATER = (44, fragment_header(0, True)), (44, fragment_header(1, False))
STEPS: list[tuple[str, bytes, str]] = [
    ("an empty frame", b"", "short"),
    ("13 bytes", SOUND4[:13], "short"),
    ("14 bytes of IPv4", SOUND4[:14], "short"),
    ("no tag", SOUND4, "forwarded"),
    ("each type of tag", datagram(4, EXPORTER4, OWN4, PORTS, b"", THREE_TAGS[1:]), "forwarded"),
    ("a tag without a type after it", ethernet(b"\0\1", 0x8100), "short"),
    ("a second tag that is cut", ethernet(b"\0\1\x81\0\0\1\x08", 0x8100), "short"),
    ("three tags", datagram(4, EXPORTER4, OWN4, PORTS, b"", THREE_TAGS), "passed"),
    ("a third tag that is cut", datagram(4, EXPORTER4, OWN4, PORTS, b"", THREE_TAGS)[:22], "passed"),
    ("LLC", frames.llc(), "passed"),
    ("ARP", frames.arp_request(EXPORTER4, OWN4), "passed"),
    ("IPv4-1: 19 bytes", SOUND4[: 14 + 19], "short"),
    ("IPv4-1: 19 bytes of another version", ip4(version=5)[: 14 + 19], "short"),
    ("IPv4-1: another version", ip4(version=6), "passed"),
    ("IPv4-2: TCP", frames.tcp_syn(4, EXPORTER4, OWN4, PORTS), "passed"),
    ("IPv4-2: ICMP", frames.icmp_echo(4, EXPORTER4, OWN4), "passed"),
    ("IPv4-2: TCP of a broken header", ip4(protocol=6, header_words=3), "passed"),
    ("IPv4-3: for somebody else", datagram(4, EXPORTER4, OWN4 + 1, PORTS), "passed"),
    ("IPv4-4: header of 16 bytes", ip4(header_words=4), "short"),
    ("IPv4-4: header beyond the frame", ip4(header_words=15), "short"),
    ("IPv4-4: total length below the header's", ip4(total_length=19), "short"),
    ("IPv4-4: total length beyond the frame", ip4(total_length=32), "short"),
    ("IPv4-4: before the port is looked at", ip4_of(UNHEARD4, total_length=29), "short"),
    ("IPv4-5: a first fragment", ip4(fragment=0x2000), "forwarded"),
    ("IPv4-5: a first fragment for another port", ip4_of(UNHEARD4, fragment=0x2000), "passed"),
    ("IPv4-6: a first fragment of 7 bytes for another port", ip4_of(UNHEARD4[:7], fragment=0x2000), "short"),
    ("IPv4-5: a later fragment that looks like another port", ip4_of(UNHEARD4, fragment=1), "pending"),
    ("IPv4-5: an empty later fragment", ip4_of(b"", fragment=0x2001), "pending"),
    ("IPv4-5: may not be fragmented", ip4(fragment=0x4000), "forwarded"),
    ("IPv4-5: the reserved flag", ip4(fragment=0x8000), "forwarded"),
    ("IPv4-6: 7 bytes after the header", ip4_of(UNHEARD4[:7]), "short"),
    ("IPv4-7: another port", ip4_of(UNHEARD4), "passed"),
    ("IPv4-7: another port, wrong checksum", ip4_of(UNHEARD4, checksum_error=1), "passed"),
    ("IPv4-8: wrong checksum", ip4(checksum_error=0x0100), "bad_checksum"),
    ("IPv4-8: wrong checksum of options", ip4(options=bytes(8), checksum_error=1), "bad_checksum"),
    ("IPv4-8: of a fragment", ip4(fragment=1, checksum_error=1), "bad_checksum"),
    ("IPv4-8: before UDP's length", udp4(length=7)[:24] + b"\0\0" + udp4(length=7)[26:], "bad_checksum"),
    ("IPv4-8: of a later fragment, before the TTL", ip4(fragment=1, checksum_error=1, ttl=1), "bad_checksum"),
    (
        "IPv4-9: UDP length of 7 in a first fragment",
        ip4_of(udp(4, EXPORTER4, OWN4, PORTS, length=7), fragment=0x2000),
        "short",
    ),
    (
        "IPv4-9: UDP length of 65535 in a first fragment",
        ip4_of(udp(4, EXPORTER4, OWN4, PORTS, length=65535), fragment=0x2000),
        "forwarded",
    ),
    ("IPv4-10: a later fragment with TTL 1", ip4(fragment=1, ttl=1), "ttl_expired"),
    ("IPv4-10: a first fragment with TTL 1", ip4(fragment=0x2000, ttl=1), "ttl_expired"),
    ("IPv4-9: UDP length of 7", udp4(length=7), "short"),
    ("IPv4-9: UDP length of 8", udp4(length=8), "forwarded"),
    ("IPv4-9: UDP length beyond the packet", udp4(length=12) + bytes(20), "short"),
    ("IPv4-9: before the TTL", ip4_of(udp(4, EXPORTER4, OWN4, PORTS, length=7), ttl=1), "short"),
    ("IPv4-10: TTL 0", ip4(ttl=0), "ttl_expired"),
    ("IPv4-10: TTL 1", ip4(ttl=1), "ttl_expired"),
    ("IPv4-10: TTL 2", ip4(ttl=2), "forwarded"),
    ("IPv4: no UDP checksum", udp4(udp_checksum=0), "forwarded"),
    ("IPv4: wrong UDP checksum", udp4(udp_checksum=1), "forwarded"),
    ("IPv6-1: 39 bytes", SOUND6[: 14 + 39], "short"),
    ("IPv6-1: another version", ip6(version=4), "passed"),
    ("IPv6-2: for somebody else", datagram(6, EXPORTER6, OWN6 + 1, PORTS), "passed"),
    ("IPv6-2: before its length", ethernet(ipv6(b"", EXPORTER6, OWN6 + 1, payload_length=1), 0x86DD), "passed"),
    ("IPv6-3: payload beyond the frame", ip6(payload_length=12), "short"),
    ("IPv6-3: before what it is", ip6(payload_length=12, next_header=6), "short"),
    ("IPv6-4: hop-by-hop", v6_chain((0, options_header())), "forwarded"),
    ("IPv6-4: options of 2048 bytes", v6_chain((60, options_header(2048))), "forwarded"),
    (
        "IPv6-4: all of them",
        v6_chain((0, options_header()), (43, routing_header(0)), (60, options_header())),
        "forwarded",
    ),
    ("IPv6-4: a header of 7 bytes", v6_chain((60, options_header()[:7]), segment=b""), "short"),
    ("IPv6-4: a header beyond the payload", v6_chain((60, options_header(16)[:8]), segment=b"1234567"), "short"),
    ("IPv6-4: a routing header under way", v6_chain((43, routing_header(1))), "passed"),
    ("IPv6-4: under way, and cut", v6_chain((43, routing_header(1, 24)[:16]), segment=b""), "short"),
    ("IPv6-4: an atomic fragment", v6_chain((44, fragment_header(0, False))), "forwarded"),
    ("IPv6-4: two atomic fragments", v6_chain(*[(44, fragment_header(0, False))] * 2), "forwarded"),
    ("IPv6-4: a first fragment", v6_chain(FIRST), "forwarded"),
    ("IPv6-4: a first fragment with further headers", v6_chain(FIRST, (60, options_header())), "passed"),
    ("IPv6-6: a later fragment", v6_chain(LATER, segment=b"any"), "pending"),
    ("IPv6-4: a later fragment of TCP", v6_chain(LATER, last=6), "passed"),
    ("IPv6-5: TCP", frames.tcp_syn(6, EXPORTER6, OWN6, PORTS), "passed"),
    ("IPv6-5: ICMPv6", frames.icmp_echo(6, EXPORTER6, OWN6), "passed"),
    ("IPv6-5: nothing", v6_chain(last=59, segment=b""), "passed"),
    ("IPv6-5: ESP", v6_chain(last=50), "passed"),
    ("IPv6-5: AH", v6_chain(last=51), "passed"),
    ("IPv6-7: 7 bytes left", v6_chain(segment=UNHEARD6[:7]), "short"),
    ("IPv6-7: 7 bytes left in a first fragment", v6_chain(FIRST, segment=UNHEARD6[:7]), "short"),
    ("IPv6-8: another port", v6_chain(segment=UNHEARD6), "passed"),
    ("IPv6-8: a first fragment for another port", v6_chain(FIRST, segment=UNHEARD6), "passed"),
    ("IPv6-6: a later fragment that looks like another port", v6_chain(LATER, segment=UNHEARD6), "pending"),
    ("IPv6-9: UDP length of 7", udp6(length=7), "short"),
    ("IPv6-9: UDP length beyond the payload", udp6(length=12) + bytes(20), "short"),
    ("IPv6-9: before its checksum", udp6(length=7, udp_checksum=0), "short"),
    ("IPv6-10: no UDP checksum", udp6(udp_checksum=0), "bad_checksum"),
    ("IPv6-10: before the hop limit", udp6(udp_checksum=0)[:21] + b"\1" + udp6(udp_checksum=0)[22:], "bad_checksum"),
    ("IPv6-11: hop limit 1", ip6(hop_limit=1), "ttl_expired"),
    ("IPv6-11: hop limit 2", ip6(hop_limit=2), "forwarded"),
    ("IPv6: wrong UDP checksum", udp6(udp_checksum=1), "forwarded"),
]


@pytest.mark.parametrize(("frame", "place"), [pytest.param(*step[1:], id=step[0]) for step in STEPS])
def test_step(frame: bytes, place: str) -> None:
    core = Twin([rule(TO_A, TO_SIX)], one_armed())
    assert core.forward(frame).place == place
    assert core.ledger.frames == {place: 1}


@pytest.mark.parametrize(
    ("frame", "place"),
    [
        pytest.param(frames.arp_request(EXPORTER4, OWN4), "punted", id="ARP"),
        pytest.param(frames.arp_request(EXPORTER4, OWN4 + 1), "punted", id="ARP for somebody else"),
        pytest.param(frames.icmp_echo(4, EXPORTER4, OWN4), "punted", id="ICMP"),
        pytest.param(frames.icmp_echo(4, EXPORTER4, OWN4 + 1), "passed", id="ICMP for somebody else"),
        pytest.param(frames.icmp_echo(6, EXPORTER6, OWN6), "punted", id="ICMPv6"),
        pytest.param(frames.icmp_echo(6, EXPORTER6, OWN6 + 1), "passed", id="ICMPv6 for somebody else"),
        pytest.param(frames.neighbour_solicitation(EXPORTER6, OWN6, OWN6), "punted", id="ND to the address"),
        pytest.param(frames.neighbour_solicitation(EXPORTER6, OWN6), "punted", id="ND to the neighbourhood"),
        pytest.param(datagram(6, EXPORTER6, v6("ff02::1"), PORTS), "passed", id="UDP to the neighbourhood"),
        pytest.param(ip4(protocol=58), "passed", id="ICMPv6 in IPv4"),
        pytest.param(v6_chain(last=1), "passed", id="ICMP in IPv6"),
        pytest.param(frames.tcp_syn(4, EXPORTER4, OWN4, PORTS), "passed", id="TCP"),
        pytest.param(SOUND4, "forwarded", id="UDP"),
    ],
)
def test_port_without_host_stack(frame: bytes, place: str) -> None:
    assert Twin([rule(TO_A)], one_armed(has_host_stack=False)).forward(frame).place == place


# -- Match ------------------------------------------------------------------------------------------------------------


def order_of_winner(rules: list[TwinRule], frame: bytes = SOUND4) -> int | None:
    parsed = twin.parse(frame, one_armed(), 0)
    assert isinstance(parsed, Datagram)
    best = twin.match(rules, parsed)
    return None if best is None else best.order


@pytest.mark.parametrize(
    ("priorities", "winner"), [("AB", 0), ("BA", 1), ("AA", 1), ("BAA", 2), ("ABZ", 0), ("-Z", 1), ("--", 1), ("Z-", 0)]
)
def test_priority_then_the_later(priorities: str, winner: int) -> None:
    rules = [rule(TO_A, priority=None if p == "-" else p, order=at) for at, p in enumerate(priorities)]
    assert order_of_winner(rules) == winner
    assert order_of_winner(rules[::-1]) == winner


def test_a_narrow_prefix_is_no_better_than_a_wide_one() -> None:
    exact, wide = (4, EXPORTER4, 32), (4, 0, 0)
    assert order_of_winner([rule(TO_A, source=exact, priority="B"), rule(TO_A, source=wide, order=1)]) == 1


@pytest.mark.parametrize(
    ("prefix", "matches"),
    [
        ((4, EXPORTER4, 32), True),
        ((4, EXPORTER4 ^ 1, 32), False),
        ((4, EXPORTER4 ^ 1, 31), True),
        ((4, v4("10.0.0.0"), 8), True),
        ((4, v4("11.0.0.0"), 8), False),
        ((4, 0, 0), True),
        ((6, 0, 0), False),
        ((6, EXPORTER4, 128), False),
        (None, True),
    ],
)
def test_prefixes(prefix: twin.Prefix | None, matches: bool) -> None:
    assert (order_of_winner([rule(TO_A, source=prefix)]) == 0) is matches


@pytest.mark.parametrize(
    ("ports", "matches"),
    [([(2055, 2055)], True), ([(2054, 2054)], False), ([(1, 2055)], True), ([(1, 2054), (2056, 9)], False)],
)
def test_ports(ports: list[tuple[int, int]], matches: bool) -> None:
    assert (order_of_winner([TwinRule(None, ports, [TO_A], "A", 0)]) == 0) is matches


def test_no_rule() -> None:
    assert Twin([], one_armed()).forward(SOUND4).place == "no_rule"


# -- Rewrite ----------------------------------------------------------------------------------------------------------


def test_what_changes_and_what_does_not(plain_udp: None) -> None:
    before = datagram(4, EXPORTER4, OWN4, PORTS, b"abc", [(0x8100, 30)]) + b"trailer"
    (out,) = Twin([rule(TO_B)], one_armed()).forward(before).outputs
    was, now = Ether(before), Ether(out.frame)
    assert (now.dst, now.src) == ("02:00:00:00:00:cb", "02:00:00:00:00:01")
    assert (now.type, now.vlan) == (0x8100, 30)
    assert (now[IP].dst, now[IP].src, now[IP].ttl) == ("198.18.0.10", "10.2.2.3", 63)
    assert (now[UDP].sport, now[UDP].dport) == (40000, 9995)
    assert bytes(now[UDP].payload) == bytes(was[UDP].payload) == b"abctrailer"
    assert rebuilt(out.frame) == out.frame


@pytest.mark.parametrize(
    ("egress", "port", "tags"),
    [
        (0, {}, "8100001e"),
        (1, {}, ""),
        (1, {"keep_tags": True, "tags": [(0x8100, 5)]}, "8100001e"),
        (1, {"tags": [(0x8100, 5)]}, "81000005"),
        (1, {"tags": [(0x88A8, 6), (0x8100, 5)]}, "88a8000681000005"),
    ],
)
def test_tags(egress: int, port: dict[str, object], tags: str) -> None:
    ports = [TwinPort(MAC_PORT, tags=[(0x8100, 99)]), TwinPort(MAC_PORT, **port)]  # type: ignore[arg-type]
    target = TwinTarget(0, 4, COLLECTOR4, None, "ready", MAC_A, egress)
    frame = datagram(4, EXPORTER4, OWN4, PORTS, b"abc", [(0x8100, 30)])
    (out,) = Twin([rule(target)], TwinConfig("all", "all", ports)).forward(frame).outputs
    assert out.egress == egress
    assert out.frame[12:].hex().startswith(tags + "080045")


def test_scapy_computes_the_same_for_random_datagrams(plain_udp: None) -> None:
    """Sound datagrams come out as scapy would build them."""
    seen = 0
    for seed in range(30):
        world, sent = drawn(seed, 120)
        core = Twin(world.rules.rules, world.config)
        for frame in sent:
            outputs = core.forward(frame).outputs
            if outputs and rebuilt(frame) == frame:
                assert all(rebuilt(out.frame) == out.frame for out in outputs if not is_fragment(out.frame))
                seen += 1
    assert seen > 500


def eq3(old: int, before: list[int], after: list[int]) -> int:
    """RFC 1624's equation 3 as it stands there, with UDP's spelling of 0."""
    total = (~old & 0xFFFF) + sum(~m & 0xFFFF for m in before) + sum(after)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


EDGES = st.sampled_from([0, 1, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF])
WORD = EDGES | st.integers(0, 0xFFFF)


@given(st.integers(1, 0xFFFF) | st.sampled_from([1, 0xFFFE, 0xFFFF]), st.lists(st.tuples(WORD, WORD), max_size=9))
def test_updated_checksum_is_that_of_equation_3(old: int, change: list[tuple[int, int]]) -> None:
    before, after = [m for m, _ in change], [m for _, m in change]
    packed = [struct.pack(f">{len(words)}H", *words) for words in (before, after)]
    expected = eq3(old, before, after)
    assert sums.updated_udp_checksum(old, *packed) == expected
    changed = [(m, n) for m, n in change if m != n]  # whether equal words are summed makes no difference
    assert eq3(old, [m for m, _ in changed], [n for _, n in changed]) == expected


@given(st.integers(1, 0xFFFF), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_wrong_checksum_stays_wrong_by_as_much(sent: int, source: int, payload: int) -> None:
    data = payload.to_bytes(4, "big")
    right_before = int.from_bytes(udp(4, source, OWN4, PORTS, data)[6:8], "big")
    right_after = int.from_bytes(udp(4, source, COLLECTOR4, PORTS, data)[6:8], "big")
    frame = ethernet(ipv4(udp(4, source, OWN4, PORTS, data, udp_checksum=sent), source, OWN4), 0x0800)
    (out,) = Twin([rule(TO_A)], one_armed()).forward(frame).outputs
    got = int.from_bytes(out.frame[40:42], "big")
    assert got != 0
    assert (got - right_after) % 65535 == (sent - right_before) % 65535


def test_no_checksum_stays_none() -> None:
    (out,) = Twin([rule(TO_B)], one_armed()).forward(udp4(udp_checksum=0)).outputs
    assert out.frame[40:42] == b"\0\0"


@given(st.integers(0, 0xFFFF), st.integers(2, 255))
def test_header_checksum_is_that_of_equation_3(ident: int, ttl: int) -> None:
    frame = ip4(ident=ident, ttl=ttl)
    for spelled in {frame[24:26], b"\xff\xff" if frame[24:26] == b"\0\0" else frame[24:26]}:
        (out,) = Twin([rule(TO_A)], one_armed()).forward(frame[:24] + spelled + frame[26:]).outputs
        words = [list(struct.unpack(">10H", data[14:34])) for data in (frame, out.frame)]
        before, after = ([header[at] for at in (4, 8, 9)] for header in words)
        expected = eq3(int.from_bytes(spelled, "big"), before, after)
        assert int.from_bytes(out.frame[24:26], "big") == (0 if expected == 0xFFFF else expected)


# -- Transmit ---------------------------------------------------------------------------------------------------------


def places(outcome: twin.Outcome) -> list[tuple[int, str]]:
    return [(copy.collector, copy.place) for copy in outcome.copies]


UNRESOLVED = TwinTarget(3, None, None, None, "pending", MAC_A, 0)
FAILED = TwinTarget(4, 4, COLLECTOR4, None, "failed", MAC_A, 0)
WAITING = TwinTarget(5, 4, COLLECTOR4, None, "pending", b"", 0, neighbour=7)
WAITING_TOO = TwinTarget(6, 4, COLLECTOR4 + 1, None, "pending", b"", 0, neighbour=7)


def test_copies_in_order_each_collector_once() -> None:
    outcome = Twin([rule(TO_B, TO_A, TO_B)], one_armed()).forward(SOUND4)
    assert places(outcome) == [(1, "sent"), (0, "sent")]
    assert [out.frame[:6] for out in outcome.outputs] == [MAC_B, MAC_A]


@pytest.mark.parametrize(
    ("targets", "place", "copies"),
    [
        ((TO_SIX,), "family_mismatch", ["family_mismatch"]),
        ((TO_SIX, TO_A), "forwarded", ["family_mismatch", "sent"]),
        ((UNRESOLVED, TO_SIX), "no_collector", ["no_collector", "family_mismatch"]),
        ((TO_SIX, UNRESOLVED), "family_mismatch", ["family_mismatch", "no_collector"]),
        ((FAILED,), "neighbour_failed", ["neighbour_failed"]),
        ((FAILED, WAITING), "pending", ["neighbour_failed", "pending"]),
        ((WAITING, TO_A), "forwarded", ["pending", "sent"]),
    ],
)
def test_where_copies_end(targets: tuple[TwinTarget, ...], place: str, copies: list[str]) -> None:
    core = Twin([rule(*targets)], one_armed())
    outcome = core.forward(SOUND4)
    assert (outcome.place, [copy.place for copy in outcome.copies]) == (place, copies)
    check_balance(core)


def test_mtu_is_of_the_packet_and_buffer_of_the_frame() -> None:
    frame = SOUND4 + bytes(100)  # an IP packet of 31 bytes
    assert Twin([rule(TO_A)], one_armed(mtu=31)).forward(frame).place == "forwarded"
    assert Twin([rule(TO_A)], one_armed(mtu=30)).forward(frame).place == "forwarded"  # in fragments
    whole = ethernet(ipv4(SEGMENT4, EXPORTER4, OWN4, fragment=0x4000), 0x0800)
    assert Twin([rule(TO_A)], one_armed(mtu=len(whole) - 14)).forward(whole).place == "forwarded"
    assert Twin([rule(TO_A)], one_armed(mtu=len(whole) - 15)).forward(whole).place == "too_big"
    assert Twin([rule(TO_A)], one_armed(buffer=145)).forward(frame).place == "forwarded"
    assert Twin([rule(TO_A)], one_armed(buffer=144)).forward(frame).place == "too_big"
    assert Twin([rule(TO_SIX)], one_armed(mtu=51)).forward(SOUND6).place == "forwarded"
    assert Twin([rule(TO_SIX)], one_armed(mtu=50)).forward(SOUND6).place == "too_big"


def test_ledger_has_its_shape() -> None:
    core = Twin([rule(TO_A, TO_SIX, WAITING)], one_armed())
    for frame in (SOUND4, SOUND4, b"", frames.llc()):
        core.forward(frame)
    assert core.ledger.as_dict() == {
        "received": 4,
        "forwarded": 2,
        "passed": 1,
        "punted": 0,
        "pending": 0,
        "drops": {"short": 1},
        "copies": {"wanted": 6, "sent": 2, "pending": 2, "drops": {"family_mismatch": 2}},
    }
    assert core.ledger.by_collector()[5] == {"wanted": 2, "sent": 0, "pending": 2, "drops": {}}


def check_balance(core: Twin) -> None:
    ledger = core.ledger
    assert min(ledger.frames.values()) >= 0
    waiting = sum(copies["pending"] for copies in ledger.copies.values())
    assert waiting == sum(len(queue) for queue in core._queues.values())


def test_a_neighbours_queue_is_bounded_and_shared() -> None:
    core = Twin([rule(WAITING, WAITING_TOO)], one_armed(), pending_limit=3)
    assert places(core.forward(SOUND4)) == [(5, "pending"), (6, "pending")]
    assert places(core.forward(SOUND4)) == [(5, "pending"), (6, "neighbour_pending_full")]
    assert core.forward(SOUND4).place == "neighbour_pending_full"
    check_balance(core)


def test_what_waited_is_sent_in_order() -> None:
    core = Twin([rule(WAITING, WAITING_TOO)], one_armed())
    for at in range(3):
        assert core.forward(datagram(4, EXPORTER4, OWN4, PORTS, bytes((at,)))).place == "pending"
    sent = core.set_neighbour(("neighbour", 7), "ready", MAC_B)
    assert [(out.frame[-1], out.frame[33]) for out in sent] == [(0, 9), (0, 10), (1, 9), (1, 10), (2, 9), (2, 10)]
    assert all(out.frame[:6] == MAC_B for out in sent)
    assert core.forward(SOUND4).place == "forwarded"
    assert core.ledger.frames == {"pending": 0, "forwarded": 4}
    check_balance(core)


def test_a_frame_ends_with_the_last_of_its_waiting_copies() -> None:
    other = TwinTarget(8, 4, COLLECTOR4, None, "pending", b"", 0)
    core = Twin([rule(WAITING, other)], one_armed(buffer=40))
    core.forward(SOUND4)
    core.set_neighbour(("neighbour", 7), "failed")
    assert core.ledger.frames == {"pending": 1}
    core.set_neighbour(("collector", 8), "ready", MAC_B)
    assert core.ledger.as_dict()["drops"] == {"too_big": 1}
    check_balance(core)


def test_a_frame_that_was_sent_once_stays_forwarded() -> None:
    core = Twin([rule(WAITING, TO_A)], one_armed())
    core.forward(SOUND4)
    core.set_neighbour(("neighbour", 7), "failed")
    assert core.ledger.frames == {"forwarded": 1}
    assert core.ledger.copies[5] == {"pending": 0, "neighbour_failed": 1}


# -- Options ----------------------------------------------------------------------------------------------------------

DOWN_A, DOWN_B = replace(TO_A, is_down=True), replace(TO_B, is_down=True)
ALICE, BOB = replace(TO_A, place="198.18.0.9"), replace(TO_B, place="198.18.0.10:9995")


def collectors(core: Twin, frame: bytes = SOUND4, now: int = 0) -> list[int]:
    return [copy.collector for copy in core.forward(frame, now=now).copies]


def ip4_ttl(ttl: int, payload: bytes = b"abc", ident: int = 7) -> bytes:
    return ethernet(ipv4(udp(4, EXPORTER4, OWN4, PORTS, payload), EXPORTER4, OWN4, ttl=ttl, ident=ident), 0x0800)


@pytest.mark.parametrize("family", [4, 6])
def test_what_options_change(family: int, plain_udp: None) -> None:
    target = replace(TO_A if family == 4 else TO_SIX, own_source=True, source_port=999, ttl=17, port=9995)
    own = [(6, OWN6 + 5), (4, OWN4 + 5), (4, OWN4 + 6), (6, OWN6 + 6)]
    (out,) = Twin([rule(target)], one_armed(own=own)).forward(SOUND4 if family == 4 else SOUND6).outputs
    now = Ether(out.frame)
    its = now[IP] if family == 4 else now[IPv6]
    assert (its.src, its.ttl if family == 4 else its.hlim) == (("10.2.2.6", "2001:db8:1::6")[family == 6], 17)
    assert (now[UDP].sport, now[UDP].dport, bytes(now[UDP].payload)) == (999, 9995, b"abc")
    assert rebuilt(out.frame) == out.frame


def test_no_own_source_is_no_collector() -> None:
    core = Twin([rule(replace(TO_A, own_source=True))], one_armed(own=[(6, OWN6)]))
    assert core.forward(SOUND4).place == "no_collector"


def test_rules_that_apply_together() -> None:
    rules = [
        replace(rule(TO_A, priority="B"), applies_always=True),
        rule(TO_B, TO_A, priority="A", order=1),
        rule(TO_SIX, priority="C", order=2),
        rule(WAITING, priority=None, order=3),
    ]
    outcome = Twin(rules, one_armed()).forward(SOUND4)
    assert [its.order for its in outcome.rules] == [1, 0]
    assert places(outcome) == [(1, "sent"), (0, "sent")]
    assert [its.order for its in Twin([rules[0], rules[3]], one_armed()).forward(SOUND4).rules] == [0]
    excepted = replace(rules[0], excepted=[(4, EXPORTER4, 32)])
    assert [its.order for its in Twin([excepted, rules[3]], one_armed()).forward(SOUND4).rules] == [3]


@pytest.mark.parametrize(
    ("allow", "deny", "place"),
    [
        ([], [(4, EXPORTER4, 32)], "denied"),
        ([(4, EXPORTER4, 31)], [(4, EXPORTER4, 32)], "denied"),
        ([(4, EXPORTER4, 32)], [(4, EXPORTER4 ^ 1, 32)], "forwarded"),
        ([(6, 0, 0)], [], "denied"),
    ],
)
def test_who_may_send(allow: list[twin.Prefix], deny: list[twin.Prefix], place: str) -> None:
    config = replace(one_armed(), allow=allow, deny=deny)
    assert Twin([rule(TO_A)], config).forward(SOUND4).place == place
    assert Twin([], config).forward(SOUND4).place == ("denied" if place == "denied" else "no_rule")


@pytest.mark.parametrize(
    ("receiver", "expected"),
    [
        (replace(DOWN_A, backups=(DOWN_B, TO_SIX)), [(2, "family_mismatch")]),
        (replace(DOWN_A, backups=(DOWN_B,)), [(0, "no_collector")]),
        (TwinGroup("g", "exporter", (DOWN_A, TO_B)), [(1, "sent")]),
        (TwinGroup("g", "exporter", (replace(DOWN_A, backups=(TO_B,)),)), [(1, "sent")]),
        (TwinGroup("g", "round-robin", (DOWN_A, DOWN_B)), [(0, "no_collector")]),
    ],
)
def test_stand_ins(receiver: Receiver, expected: list[tuple[int, str]]) -> None:
    assert places(Twin([rule(receiver)], one_armed()).forward(SOUND4)) == expected


def test_no_collector_gets_two_copies() -> None:
    core = Twin([rule(TwinGroup("g", "round-robin", (ALICE, BOB)), BOB)], one_armed())
    assert [collectors(core) for _ in range(3)] == [[0, 1], [1], [0, 1]]


def test_limits_let_a_tenth_of_a_second_come_early() -> None:
    for config, target in ((replace(one_armed(), limit=20), TO_A), (one_armed(), replace(TO_A, limit=20))):
        core = Twin([rule(target)], config)
        now = [10**18 + at for at in (0, 0, 0, 0, 49_999_999, 50_000_000, 50_000_000)]
        assert [core.forward(SOUND4, now=at).place == "forwarded" for at in now] == [True] * 3 + [False] * 2 + [
            True,
            False,
        ]
    longest = replace(one_armed(), limit=1, limits=[((4, EXPORTER4, 31), 1), ((4, EXPORTER4, 32), None)])
    core = Twin([rule(TO_A)], longest)
    assert all(core.forward(SOUND4).place == "forwarded" for _ in range(9))


def test_what_comes_back_and_what_does_not() -> None:
    second = 10**9
    core = Twin([rule(TO_A)], one_armed())

    def place(ttl: int, now: int, **fields: object) -> str:
        return core.forward(ip4_ttl(ttl, **fields), now=256 * now).place  # type: ignore[arg-type]

    assert [place(64, 0), place(63, 0), place(63, 0), place(62, 0)] == ["forwarded"] * 3 + ["loop"]
    assert [place(62, 1, ident=8), place(61, 1, payload=b"abd"), place(61, 1, ident=8)] == ["forwarded"] * 2 + ["loop"]
    assert place(62, second // 256 + 1) == "forwarded"
    assert Twin([rule(TO_A)], one_armed()).forward(datagram(4, OWN4, OWN4, PORTS)).place == "loop"


# -- Captures ---------------------------------------------------------------------------------------------------------


def test_captures_have_names_of_their_own_and_offsets_within() -> None:
    every = captures.all_captures()
    assert len({capture.name for capture in every}) == len(every)
    for capture in every:
        assert (capture.error is None) == (capture.offset is None)
        assert capture.offset is None or 0 <= capture.offset <= len(capture.data)


def raw_frames(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        is_pcapng = file.read(4) == b"\n\r\r\n"
    with (RawPcapNgReader if is_pcapng else RawPcapReader)(str(path)) as reader:
        return [bytes(data) for data, _ in reader]


# scapy stops at the 65,535 bytes of its own, and takes a snapshot length of 0 at its word.
SCAPY_CANNOT = {"pcap with the longest frame", "pcapng without a snapshot length"}
SOUND_CAPTURES = {capture.name: capture for capture in (*captures.sound_pcaps(), *captures.sound_pcapngs())}


@pytest.mark.parametrize("name", sorted(SOUND_CAPTURES.keys() - SCAPY_CANNOT))
def test_scapy_reads_the_sound_captures(name: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(SOUND_CAPTURES[name].data)
    assert raw_frames(path) == [frame.data for frame in SOUND_CAPTURES[name].frames]


# -- Real traffic -----------------------------------------------------------------------------------------------------

DEMO_OWN = [(4, OWN4, 32), (4, v4("10.2.30.1"), 32), (6, OWN6, 128)]


def demo_collectors() -> dict[str, TwinTarget]:
    """The collectors of demo.rules by their spelling, all on the wire that the frames came from."""
    text = (DATA / "demo.rules").read_text()
    spelled = dict.fromkeys(name for _, _, names, _ in read_rules(text) for name in names)
    targets: dict[str, TwinTarget] = {}
    for at, name in enumerate(spelled):
        bracketed = name.removeprefix("[").replace("]", "")
        host, colon, port = bracketed.rpartition(":") if "[" in name or name.count(":") == 1 else (name, "", "")
        address = ipaddress.ip_address(host)
        mac = bytes((2, 0, 0, 0, 0, 0x40 + at))
        targets[name] = TwinTarget(at, address.version, int(address), int(port) if colon else None, "ready", mac, 0)
    return targets


def demo_rules() -> list[TwinRule]:
    targets = demo_collectors()
    read = list(read_rules((DATA / "demo.rules").read_text()))
    return [
        TwinRule(
            source,
            ALL_PORTS if ports is None else [(p, p) for p in sorted(ports)],
            [targets[n] for n in names],
            priority,
            at,
        )
        for at, (source, ports, names, priority) in enumerate(read)
    ]


def test_demo_capture_as_its_readme_says() -> None:
    rules = demo_rules()
    named = frozenset(low for its in rules for low, _ in its.ports if its.ports != ALL_PORTS)
    core = Twin(rules, TwinConfig(DEMO_OWN, named, [TwinPort(MAC_PORT)]))
    for frame in raw_frames(DATA / "exporters.pcap"):
        core.forward(frame)
    ledger = core.ledger.as_dict()
    assert (ledger["received"], ledger["forwarded"], ledger["passed"]) == (245, 154, 91)
    assert ledger["drops"] == {}
    assert ledger["copies"] == {"wanted": 206, "sent": 165, "pending": 0, "drops": {"family_mismatch": 41}}
    sent = {name: core.ledger.copies[target.collector]["sent"] for name, target in demo_collectors().items()}
    assert sent == {
        "10.2.2.40:9996": 16,
        "10.2.2.40": 39,
        "10.2.2.41:2055": 11,
        "10.2.2.41": 57,
        "[2001:db8:1::40]:2055": 32,
        "2001:db8:1::41": 10,
    }


def test_both_formats_hold_the_same_frames() -> None:
    assert raw_frames(DATA / "exporters.pcap") == raw_frames(DATA / "exporters.pcapng")


def test_own_captures_are_sound(plain_udp: None) -> None:
    """Checksums in them are right, so the exporters' interfaces left nothing for hardware to finish."""
    for name in ("exporters.pcap", "softflowd-v9.pcap"):
        for frame in raw_frames(DATA / name):
            parsed = twin.parse(frame, TwinConfig(DEMO_OWN, "all", [TwinPort(MAC_PORT)]), 0)
            is_whole = isinstance(parsed, Datagram) and parsed.fragment is None
            assert parsed == "passed" or isinstance(parsed, twin.Fragment) or not is_whole or rebuilt(frame) == frame


def corpus() -> list[dict[str, str]]:
    if not CORPUS.is_dir():
        return []
    return [json.loads(line) for line in (CORPUS / "index.jsonl").read_text().splitlines()]


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the captures of other projects are not at {CORPUS}")
def test_payloads_of_public_captures_come_through_unchanged() -> None:
    config = TwinConfig("all", "all", [TwinPort(MAC_PORT)])
    for entry in corpus():
        core, digest = Twin([rule(TO_A, TO_SIX)], config), hashlib.sha256()
        for frame in raw_frames(CORPUS / entry["file"]):
            for out in core.forward(frame).outputs:
                parsed = twin.parse(out.frame, config, 0)
                assert isinstance(parsed, Datagram)
                length = sums.u16(out.frame, parsed.udp_at + 4) - 8
                payload = out.frame[parsed.udp_at + 8 : parsed.udp_at + 8 + length]
                digest.update(struct.pack(">I", length) + payload)
        if not core.ledger.frames["bad_checksum"]:  # one was captured before its header checksum was computed
            assert digest.hexdigest() == entry["payload_sha256"], entry["file"]
