"""Ports without a host stack: gfwd answers for its addresses, and finds its neighbours, and FreeBSD's own kernel is
the one that asks and is asked.
"""

from __future__ import annotations

import os
import platform
import queue
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from gfwd.l2 import rarp
from gfwd.rules.model import Address
from tests.freebsd.hosts import COLLECTOR, EXPORTER, GFWD, Hosts, succeeds, wait_until
from tests.freebsd.wire import Peer, sh

pytestmark = [
    pytest.mark.skipif(platform.system() != "FreeBSD", reason="needs FreeBSD"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make interfaces and open /dev/netmap"),
    pytest.mark.skipif(not Path("/dev/netmap").exists(), reason="netmap is not loaded: kldload netmap"),
]

STATION = bytes.fromhex("02000000000b")
STATION_ADDRESS = Address(4, 0x0A4E010B)  # 10.78.1.11
TEXT = """
[rarp]
"02:00:00:00:00:0b" = "10.78.1.11"
[[rule]]
source = "10.78.0.0/16"
ports = 2055
collectors = ["10.78.2.9"]
priority = "A"
[[rule]]
source = "fd78::/16"
ports = 2055
collectors = ["fd78:2::9"]
priority = "A"
"""


@pytest.fixture
def hosts(tmp_path):
    with ExitStack() as stack:
        yield Hosts(stack, tmp_path)


def mac_of(interface: str) -> str:
    return sh("ifconfig", interface, "ether").partition("ether ")[2].split()[0]


def link_local(interface: str) -> str:
    return "fe80::" + sh("ifconfig", interface, "inet6").partition("inet6 fe80::")[2].partition("%")[0]


def test_the_kernel_finds_and_pings_it(hosts):
    """By ARP and by neighbour discovery; the address of the link alone, too."""
    hosts.start(TEXT)
    assert succeeds("ping", "-c", "3", "-W", "5000", GFWD[4])
    assert f"at {mac_of(hosts.into.name)} " in sh("arp", "-n", GFWD[4])
    zone = f"%{hosts.into.far}"
    pairs = (EXPORTER[6], GFWD[6]), (link_local(hosts.into.far) + zone, link_local(hosts.into.name) + zone)
    for source, address in pairs:  # the kernel has all of them, and would take one of gfwd's
        assert succeeds("ping6", "-c", "3", "-i", "0.5", "-S", source, address)
        assert mac_of(hosts.into.name) in sh("ndp", "-n", address)
    answers = hosts.ask("status")["answers"]
    assert sum(its["n"] for its in answers if (its["kind"], its["result"]) == ("echo", "sent")) == 9, answers


def test_the_kernel_sees_that_the_address_is_taken(hosts):
    """Duplicate address detection (RFC 4862 §5.4), as FreeBSD does it."""
    hosts.start(TEXT)
    time.sleep(3)  # meanwhile gfwd looks itself whether somebody has it (RFC 4862 §5.4.3: both then have to give way)
    sh("ifconfig", hosts.into.far, "inet6", "-no_dad")
    sh("ifconfig", hosts.into.far, "inet6", f"{GFWD[6]}/64")
    wait_until(
        lambda: f"inet6 {GFWD[6]} prefixlen 64 duplicated" in sh("ifconfig", hosts.into.far), "the kernel took it"
    )


@pytest.mark.parametrize("family", [4, 6])
def test_the_kernel_is_found_and_gets_all(hosts, family):
    collector, exporter = hosts.collector(family), hosts.exporter(family)
    running = hosts.start(TEXT)
    for number in range(100):
        exporter.send(number.to_bytes(4) + bytes(100))
        time.sleep(0.002)
    heard = [collector.recvfrom(1_000) for _ in range(100)]
    assert [int.from_bytes(payload[:4]) for payload, _ in heard] == list(range(100))
    assert {source[:2] for _, source in heard} == {(EXPORTER[family], exporter.getsockname()[1])}
    neighbour = next(its for its in hosts.ask("neighbours") if its["address"] == COLLECTOR[family])
    assert (neighbour["mac"], neighbour["state"]) == (mac_of(hosts.out.far), "ready")
    report = running.stop()
    assert (report["forwarded"], sum(report["drops"].values())) == (100, 0)


def test_a_station_asks_for_its_address(hosts):
    """RFC 903, by raw frames: no program of FreeBSD's asks so."""
    hosts.start(TEXT)
    station = Peer(hosts.into.far, STATION, STATION_ADDRESS)
    try:
        station.send(rarp.build(rarp.request(STATION, STATION)))
        answer = rarp.parse(station.frames.get(timeout=10))
        assert (answer.operation, answer.target, str(answer.sender)) == (rarp.REPLY, STATION_ADDRESS, GFWD[4])
        stranger = STATION[:5] + b"\x0c"
        station.send(rarp.build(rarp.request(STATION, stranger)))
        with pytest.raises(queue.Empty):
            station.frames.get(timeout=2)
    finally:
        station.close()
