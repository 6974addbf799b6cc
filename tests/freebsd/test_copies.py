"""What leaves gfwd in other packets than it came in, and the options of exporters and collectors: FreeBSD's sockets on
both sides.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.freebsd.hosts import COLLECTOR, EXPORTER, FIB, OWN, Hosts, wait_until
from tests.freebsd.running import COMMAND
from tests.freebsd.wire import sh

pytestmark = [
    pytest.mark.skipif(platform.system() != "FreeBSD", reason="needs FreeBSD"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make interfaces and open /dev/netmap"),
    pytest.mark.skipif(not Path("/dev/netmap").exists(), reason="netmap is not loaded: kldload netmap"),
]

LONG = bytes(range(250)) * 16  # 4,000 bytes: three packets for a kernel with an MTU of 1,500
RULE = """
[[rule]]
source = "*"
ports = 2055
collectors = [{0}]
priority = "A"
"""
BOTH = (
    RULE.format('"four", "six"')
    + """
[collector.four]
host = "10.78.2.9"
source = "own"
[collector.six]
host = "fd78:2::9"
source = "own"
"""
)


@pytest.fixture
def hosts(tmp_path):
    with ExitStack() as stack:
        yield Hosts(stack, tmp_path)


def drops(report: dict[str, Any]) -> dict[str, int]:
    return {cause: many for cause, many in report["copies"]["drops"].items() if many}


@pytest.mark.parametrize("host", ["", "*"])
@pytest.mark.parametrize("mtu", [1_500, 1_280])
def test_fragments_and_families(hosts, host, mtu):
    """Each datagram comes in fragments, and goes whole to a collector of either family: in the kernel's own fragments,
    cut once more, or made anew.
    """
    sh("ifconfig", hosts.out.name, "mtu", str(mtu))
    collectors = {family: hosts.collector(family) for family in (4, 6)}
    running = hosts.start(BOTH, host)
    for number, family in enumerate((4, 6) * 5):
        hosts.exporter(family).send(number.to_bytes(4) + LONG)
        for its in (4, 6):
            payload, source = collectors[its].recvfrom(9_000)
            assert (payload, source[0]) == (number.to_bytes(4) + LONG, OWN[its])
    report = running.stop()
    assert (report["forwarded"], report["copies"]["sent"], drops(report)) == (30, 60, {})


def test_options_and_commands(hosts):
    """Sampling, limits and a group; what the commands say of a gfwd that runs, and a reload."""
    sockets = {port: hosts.collector(port=port) for port in (9_001, 9_002, 9_003, 9_004)}
    options = """
[collector.sampled]
host = "10.78.2.9"
port = 9001
sample = 4
[collector.limited]
host = "10.78.2.9"
port = 9002
limit = 10
[collector.one]
host = "10.78.2.9"
port = 9003
[collector.two]
host = "10.78.2.9"
port = 9004
[group.farm]
members = ["one", "two"]
balance = "round-robin"
"""
    running = hosts.start(RULE.format('"sampled", "limited", "farm"') + options)
    exporter = hosts.exporter()
    for number in range(200):
        exporter.send(number.to_bytes(4))
        time.sleep(0.002)
    wait_until(lambda: hosts.ask("status")["received"] >= 200, running.said())
    got = {port: _all(its) for port, its in sockets.items()}
    assert len(got[9_003]) == len(got[9_004]) == 100
    assert sorted(got[9_003] + got[9_004]) == list(range(200))
    assert 20 <= len(got[9_001]) <= 90
    assert 1 <= len(got[9_002]) < 100
    status = hosts.ask("status")
    assert drops(status) == {"sampled_out": 200 - len(got[9_001]), "collector_limit": 200 - len(got[9_002])}
    config = str(hosts.folder / "gfwd.toml")
    said = sh("setfib", FIB, *COMMAND, "explain", "-c", config, "--live", f"{EXPORTER[4]}:2055")
    assert "sampled" in said and COLLECTOR[4] in said
    hosts.write(RULE.format('"one"') + options)
    sh(*COMMAND, "reload", "--control", str(hosts.control))
    exporter.send(b"more")
    assert sockets[9_003].recv(100) == b"more"
    sh(*COMMAND, "stop", "--control", str(hosts.control))
    assert running.ended()["forwarded"] == 201


def _all(its: socket.socket) -> list[int]:
    """What has come by now."""
    its.settimeout(0.5)
    found = []
    while True:
        try:
            found.append(int.from_bytes(its.recv(100)))
        except TimeoutError:
            its.settimeout(60)
            return found
