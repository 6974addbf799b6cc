"""IPv4 and IPv6 between real interfaces: translated copies, fragments, and a network without IPv4.

Collectors are real sockets: their kernels have looked at every checksum, and put every fragment together.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.farm import Gfwd
from tests.e2e.live import Wire, cable, host, route, udp_counter
from tests.frames import FRAGMENT, IPV4, IPV6, UDP

pytestmark = pytest.mark.usefixtures("live_network")

OWN = {4: "10.0.0.1", 6: "fd00::1"}  # what exporters send to
NEAR = {4: "10.1.0.1", 6: "fd01::1"}  # gfwd's, as collectors see it
EXPORTER = {4: "10.0.0.2", 6: "fd00::2"}
COLLECTOR = {4: "10.1.0.2", 6: "fd01::2"}
KINDS = {4: socket.AF_INET, 6: socket.AF_INET6}
SIZES = 0, 1, 2, 3, 7, 8, 100, 501, 1_231, 1_232, 1_233, 1_240, 1_400, 1_451, 1_452
"""Of payloads: around the least MTU of IPv6, and up to all that IPv6 carries on Ethernet."""
SO_NO_CHECK = 11  # asm-generic/socket.h
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PROBE = 10, 23, 3  # linux/in.h, linux/in6.h
MAY_BE_FRAGMENTED = 0


class Net:
    """exporter e0 — in0 gfwd out0 — c0 collector, of these families."""

    def __init__(self, gfwd: Sequence[str], folder: Path, stack: ExitStack, families: Sequence[int], mtu: int) -> None:
        self.exporter, self.us, self.collector = (host(stack, speaks_ipv6=6 in families) for _ in range(3))
        cable(self.exporter, "e0", self.us, "in0")
        cable(self.us, "out0", self.collector, "c0", mtu=mtu)
        for family in families:
            bits = 24 if family == 4 else 64
            for at, interface, address in (
                (self.us, "in0", OWN),
                (self.us, "out0", NEAR),
                (self.exporter, "e0", EXPORTER),
                (self.collector, "c0", COLLECTOR),
            ):
                at.address(interface, f"{address[family]}/{bits}")
            route(self.collector, f"{'10.0.0.0' if family == 4 else 'fd00::'}/{bits}", via=NEAR[family])
        self.wire = stack.enter_context(Wire(self.collector, "c0"))
        self.gfwd = Gfwd(gfwd, self.us, folder, stack)
        self.stack = stack
        self.sent = 0

    def run(self, *collectors: str, ports: str = 'in = ["xdp:in0"]\nout = ["xdp:out0"]\n') -> None:
        """Rules that send all to these hosts; a host that ends in ! gets gfwd's own source address."""
        tables = "".join(
            f'[collector.c{at}]\nhost = "{one.rstrip("!")}"\nsource = "{"own" if one.endswith("!") else "keep"}"\n'
            for at, one in enumerate(collectors)
        )
        names = [f"c{at}" for at in range(len(collectors))]
        rule = f'[[rule]]\nsource = "*"\nports = 514\ncollectors = {names}\n'.replace("'", '"') + 'priority = "A"\n'
        self.gfwd.run(f'control = "{self.gfwd.control}"\n[ports]\n{ports}{rule}{tables}')

    def receiver(self, family: int) -> socket.socket:
        there = self.stack.enter_context(self.collector.socket(KINDS[family]))
        there.bind((COLLECTOR[family], 514))
        there.settimeout(30)
        return there

    def sender(self, family: int, **options: int) -> socket.socket:
        new = self.stack.enter_context(self.exporter.socket(KINDS[family]))
        new.bind((EXPORTER[family], 0))
        new.connect((OWN[family], 514))
        if options.get("no_checksum"):
            new.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        discover = options.get("discover")
        if discover is not None:
            level, name = (0, IP_MTU_DISCOVER) if family == 4 else (41, IPV6_MTU_DISCOVER)
            new.setsockopt(level, name, discover)
        return new

    def send(self, exporter: socket.socket, payload: bytes) -> None:
        exporter.send(payload)
        self.sent += 1

    def came(self) -> dict[int, list[bytes]]:
        """The packets with UDP that have come to the collector since the last call, by family."""
        packets = [(int.from_bytes(frame[12:14]), frame[14:]) for frame in self.wire.take()]
        return {
            4: [packet for kind, packet in packets if kind == IPV4 and packet[9] == UDP],
            6: [packet for kind, packet in packets if kind == IPV6 and packet[6] in (UDP, FRAGMENT)],
        }

    def ended(self) -> dict[str, Any]:
        self.gfwd.settled(self.sent)
        ended = self.gfwd.live.stop()
        assert ended.status == 0, ended.said
        return ended.account()


@pytest.fixture
def net(gfwd: Sequence[str], tmp_path: Path) -> Iterator[Any]:
    """Makes such a network."""
    with ExitStack() as stack:
        yield lambda families=(4, 6), mtu=1_500: Net(gfwd, tmp_path, stack, families, mtu)


def payload_of(size: int) -> bytes:
    return bytes((7 * at + size) & 0xFF for at in range(size))


def drops(account: dict[str, Any]) -> dict[str, int]:
    return {cause: n for cause, n in account["copies"]["drops"].items() if n}


def test_a_network_without_ipv4(net):
    """Exporters and collectors of IPv6, gfwd without an IPv4 address; the source is kept, every checksum right."""
    its: Net = net([6])
    its.run(COLLECTOR[6])
    there, exporter = its.receiver(6), its.sender(6)
    for size in SIZES:
        its.send(exporter, payload_of(size))
        payload, (address, port, *_) = there.recvfrom(2_000)
        assert (payload, address, port) == (payload_of(size), *exporter.getsockname()[:2])
    assert udp_counter(its.collector, "InCsumErrors") == 0
    assert its.ended()["forwarded"] == len(SIZES)


@pytest.mark.parametrize(("family", "no_checksum"), [(4, False), (4, True), (6, False)])
@pytest.mark.parametrize("mtu", [1_500, 1_280])
def test_translated(net, family, no_checksum, mtu):
    """To a collector of the other family, and beside it to one of the exporter's own. Too long is only what IPv6 says
    must not be cut on the way to IPv4 (RFC 7915 §5.1).
    """
    its: Net = net(mtu=mtu)
    other = 10 - family
    its.run(f"{COLLECTOR[other]}!", f"{COLLECTOR[family]}!")
    there, same = its.receiver(other), its.receiver(family)
    exporter = its.sender(family, no_checksum=int(no_checksum), discover=MAY_BE_FRAGMENTED)
    for size in SIZES:
        its.send(exporter, payload_of(size))
        its.gfwd.settled(its.sent)
        for receiver, its_family in ((same, family), (there, other)):
            if (family, its_family) == (6, 4) and 28 + size > mtu:
                continue
            payload, (address, port, *_) = receiver.recvfrom(2_000)
            assert payload == payload_of(size)
            assert (address, port) == (NEAR[its_family], exporter.getsockname()[1])
    errors = [udp_counter(its.collector, name) for name in ("InCsumErrors", "NoPorts", "InErrors")]
    assert errors == [0, 0, 0]
    too_big = sum((family, 28 + size > mtu) == (6, True) for size in SIZES)
    account = its.ended()
    assert account["copies"]["sent"] == 2 * len(SIZES) - too_big
    assert drops(account) == ({"too_big": too_big} if too_big else {})


def test_headers_of_translated_copies(net):
    """RFC 7915 §4.1 and §5.1: traffic class, no flow label, hop limit and TTL, flags."""
    its: Net = net()
    its.run(f"{COLLECTOR[6]}!", f"{COLLECTOR[4]}!")
    to = {family: its.receiver(family) for family in (4, 6)}
    for family, option in ((4, socket.IP_TOS), (6, socket.IPV6_TCLASS)):
        exporter = its.sender(family, discover=PROBE)
        exporter.setsockopt(0 if family == 4 else 41, option, 0xB8)
        for size in (40, 1_300):
            its.send(exporter, payload_of(size))
            for there in to.values():
                assert there.recv(2_000) == payload_of(size)
    came = its.came()
    assert [(one[0], one[1], one[8]) for one in came[4]] == [(0x45, 0xB8, 63)] * 4
    assert [one[6:8].hex() for one in came[4]] == ["4000", "4000", "0000", "4000"]
    first, second = (int.from_bytes(one[4:6]) for one in came[4][2:])
    assert (second - first) % 65_536 == 1
    assert [one[:4].hex() for one in came[6][:2]] == ["6b800000"] * 2
    assert [int.from_bytes(one[:2]) >> 4 for one in came[6][2:]] == [0x6B8] * 2
    assert [one[7] for one in came[6]] == [63] * 4
    assert its.ended()["copies"]["sent"] == 8


def test_an_egress_with_a_smaller_mtu(net):
    """From 1,500 to 1,400: without DF all arrives whole, in fragments; with DF it is too big, and counted."""
    its: Net = net(mtu=1_400)
    its.run(COLLECTOR[4])
    there = its.receiver(4)
    may, must_not = its.sender(4, discover=MAY_BE_FRAGMENTED), its.sender(4, discover=PROBE)
    sizes = 100, 1_372, 1_373, 1_380, 1_381, 1_472
    for size in sizes:
        its.send(may, payload_of(size))
        assert there.recv(2_000) == payload_of(size)
        its.send(must_not, payload_of(size))
        if 28 + size <= 1_400:
            assert there.recv(2_000) == payload_of(size)
    account = its.ended()
    assert drops(account) == {"too_big": 4}
    assert account["copies"]["sent"] == 8
    assert len(its.came()[4]) == 2 + 2 + 4 * 2


def test_ipv6_is_cut_where_gfwd_is_the_sender(net):
    """RFC 8200 §4.5; where the exporter's address is kept, it is too big, as nobody but the sender may cut."""
    its: Net = net(mtu=1_400)
    its.run(f"{COLLECTOR[6]}!", "fd01::3")
    there, exporter = its.receiver(6), its.sender(6)
    for size in (1_352, 1_353, 1_452):
        its.send(exporter, payload_of(size))
        assert there.recv(2_000) == payload_of(size)
    account = its.ended()
    assert account["collectors"]["c0"]["sent"] == 3
    assert account["collectors"]["c1"]["drops"]["too_big"] == 2
    cut = [one for one in its.came()[6] if one[6] == FRAGMENT]
    assert len(cut) == 4 and len({one[44:48] for one in cut}) == 2
