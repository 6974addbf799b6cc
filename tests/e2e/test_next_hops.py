"""Next hops while gfwd runs: a Linux router before the collectors, two as good as each other, ports and VLANs by name,
addresses and MTUs that change.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests import frames
from tests.e2e.live import WAVE, Collector, Live, Wire, cable, host, route, wait_until
from tests.net.network import Host

pytestmark = pytest.mark.usefixtures("live_network")

GFWD = [sys.executable, "-m", "gfwd"]
EXPORTERS = [f"10.9.{n // 256}.{n % 256}" for n in range(1, 401)]
ROUTERS = "left", "right"
CONFIG = """control = "{folder}/control"
address = ["10.0.0.1"]
[ports]
in = ["xdp:in0"]
out = [{out}]
[[rule]]
source = "*"
ports = 514
collectors = ["far"]
priority = "A"
[collector.far]
host = "10.8.0.2"
"""


def datagram(to_mac: bytes, source: str, payload: bytes) -> bytes:
    """From an exporter behind e0."""
    frame = frames.datagram(4, int(IPv4Address(source)), 0x0A000001, (4_000, 514), payload)
    return to_mac + frame[6:]


class Routed:
    """Exporters behind in0, gfwd, two routers behind ports of their own, out0 and out1, and a collector behind both.

    The routers are Linux hosts that forward; the collector is 10.8.0.2, and sees by whom a datagram came.
    """

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.exporter, self.us, self.far = (host(stack) for _ in range(3))
        cable(self.exporter, "e0", self.us, "in0")
        self.us.address("in0", "10.0.0.1/24")
        self.routers: dict[str, Host] = {}
        self.collectors: dict[str, Collector] = {}
        for number, name in enumerate(ROUTERS):
            router = self.routers[name] = host(stack)
            cable(self.us, f"out{number}", router, "near")
            cable(router, "far", self.far, f"c{number}")
            self.us.address(f"out{number}", f"10.1.{number}.1/24")
            router.address("near", f"10.1.{number}.2/24")
            router.address("far", f"10.7.{number}.1/24")
            self.far.address(f"c{number}", f"10.7.{number}.2/24")
            router.sysctl("ipv4/ip_forward", 1)
            route(router, "10.8.0.0/24", via=f"10.7.{number}.2")
            self.collectors[name] = stack.enter_context(Collector(self.far, f"c{number}"))
        self.far.up("lo")
        self.far.address("lo", "10.8.0.2/32")
        self.wire = stack.enter_context(Wire(self.exporter, "e0"))
        self.sent: dict[str, list[bytes]] = defaultdict(list)
        self.config = folder / "gfwd.toml"
        self.live: Live

    def equal_routes(self, *weights: int) -> None:
        hops = [{"gateway": f"10.1.{n}.2", "hops": weight - 1} for n, weight in enumerate(weights)]
        self.us.ip.route("add", dst="10.8.0.0/24", multipath=hops)

    def run(self, more: str = "", ports: Sequence[str] = ("xdp:out0", "xdp:out1")) -> None:
        out = ", ".join(f'"{port}"' for port in ports)
        self.config.write_text(CONFIG.format(folder=self.folder, out=out) + more)
        self.live = self.stack.enter_context(Live([*GFWD, "run", "-c", self.config, "--json"], self.us))
        self.live.wait_for("forwarding from")

    def ask(self, *words: str) -> Any:
        done = subprocess.run([*GFWD, *words, "-c", self.config, "--json"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    def send(self, each: int, exporters: Sequence[str] = EXPORTERS) -> int:
        """So many datagrams of each exporter, in turn; how many have been sent since the start."""
        mac, before = self.us.mac("in0"), self.count()
        number = sum(map(len, self.sent.values()))
        for start in range(0, each * len(exporters), WAVE):
            wave = range(start, min(start + WAVE, each * len(exporters)))
            for n in wave:
                source = exporters[n % len(exporters)]
                payload = b"%s %d" % (source.encode(), number + n)
                self.sent[source].append(payload)
                self.wire.send(datagram(mac, source, payload))
            self.settle(before + wave[-1] + 1)
        return number + each * len(exporters)

    def settle(self, number: int) -> None:
        wait_until(lambda: self.count() >= number, lambda: f"{self.count()} of {number}: {self.live.said()}")

    def count(self) -> int:
        return sum(collector.look() for collector in self.collectors.values())

    def came(self) -> dict[str, dict[str, list[bytes]]]:
        """By router and exporter."""
        found: dict[str, dict[str, list[bytes]]] = {name: defaultdict(list) for name in ROUTERS}
        for name, collector in self.collectors.items():
            for one in collector.arrived():
                found[name][one.source].append(one.payload)
        return found

    def ways(self) -> dict[str, set[str]]:
        """The routers that each exporter's datagrams came by."""
        found: dict[str, set[str]] = defaultdict(set)
        for name, its in self.came().items():
            for source in its:
                found[source].add(name)
        return found


@pytest.fixture
def routed(tmp_path: Path) -> Iterator[Routed]:
    with ExitStack() as stack:
        yield Routed(stack, tmp_path)


# ---- next hops as good as each other ----


def test_exporters_are_divided_among_equal_routes_and_move_when_one_goes(routed):
    """All arrive, each exporter's in order by one way; who is not concerned stays where he is."""
    routed.equal_routes(1, 1)
    routed.run()
    routed.live.wait_for("neighbour 10.1.0.2 on xdp:out0 is", "neighbour 10.1.1.2 on xdp:out1 is")
    routed.send(5)
    ways = routed.ways()
    assert all(len(by) == 1 for by in ways.values()) and len(ways) == len(EXPORTERS)
    shares = Counter(name for by in ways.values() for name in by)
    assert min(shares.values()) > len(EXPORTERS) // 3
    came = routed.came()
    for source, (name,) in ((source, tuple(by)) for source, by in ways.items()):
        assert came[name][source] == routed.sent[source]
    for source in EXPORTERS[:20]:  # explain says the same
        (copy,) = routed.ask("explain", f"{source}:514", "--live")["copies"]
        assert copy["way"]["port"] == {"left": "xdp:out0", "right": "xdp:out1"}[next(iter(ways[source]))]
        assert len(copy["way"]["hops"]) == 2

    # The cable to one of them is pulled.
    routed.routers["right"].down("near")
    routed.live.wait_for("next hop 10.1.1.2 on xdp:out1: what went by it goes by its equals")
    before = {source: set(by) for source, by in ways.items()}
    routed.send(3)
    for source, by in routed.ways().items():
        assert by == before[source] | {"left"}, source
    (copy,) = routed.ask("explain", f"{EXPORTERS[0]}:514", "--live")["copies"]
    assert [hop["is_used"] for hop in copy["way"]["hops"]] == [True, False]

    # And put back: those that it had come back, and no others.
    routed.routers["right"].up("near")
    routed.live.wait_for("next hop 10.1.1.2 on xdp:out1: it has again what went by it")
    seen = {name: {source: len(its) for source, its in by.items()} for name, by in routed.came().items()}
    routed.send(2)
    for name, by in routed.came().items():
        for source, its in by.items():
            if len(its) > seen[name].get(source, 0):
                assert {name} == before[source]
    account = routed.live.stop().account()
    assert account["received"] == account["copies"]["sent"] == 10 * len(EXPORTERS)


def test_one_that_falls_silent_leaves_what_it_had(routed):
    """Its link is up, and nobody answers: what is lost is bounded by what is sent until it is noticed, and counted."""
    routed.equal_routes(1, 1)
    routed.run()
    routed.live.wait_for("neighbour 10.1.0.2 on xdp:out0 is", "neighbour 10.1.1.2 on xdp:out1 is")
    routed.send(1)
    before = routed.ways()
    # The router loses its address, and gfwd's kernel its patience.
    router = routed.routers["right"]
    router.ip.addr("del", index=router.index("near"), address="10.1.1.2", prefixlen=24)
    routed.live.wait_for("next hop 10.1.1.2 on xdp:out1: what went by it goes by its equals")
    routed.send(2)
    assert all(by == before[source] | {"left"} for source, by in routed.ways().items())
    router.address("near", "10.1.1.2/24")
    route_back = "next hop 10.1.1.2 on xdp:out1: it has again what went by it"
    routed.live.wait_for(route_back)
    routed.send(1)
    account = routed.live.stop().account()
    assert account["copies"]["sent"] == account["received"] == 4 * len(EXPORTERS)


def test_weights(routed):
    routed.equal_routes(1, 4)
    routed.run()
    routed.live.wait_for("neighbour 10.1.0.2 on xdp:out0 is", "neighbour 10.1.1.2 on xdp:out1 is")
    routed.send(1)
    shares = Counter(name for by in routed.ways().values() for name in by)
    assert 2.5 < shares["right"] / shares["left"] < 7  # of 400, a fifth is 80, give or take 8


def test_a_route_that_moves_under_load(routed):
    """From one router to the other, without a datagram lost: the old way works until the new one is taken."""
    route(routed.us, "10.8.0.0/24", via="10.1.0.2")
    routed.run()
    routed.live.wait_for("neighbour 10.1.0.2 on xdp:out0 is")
    routed.send(1)
    routed.us.ip.route("replace", dst="10.8.0.0/24", gateway="10.1.1.2")
    routed.live.wait_for("neighbour 10.1.1.2 on xdp:out1 is")

    def moved() -> bool:
        routed.send(1, EXPORTERS[:10])
        return bool(routed.collectors["right"].look())

    wait_until(moved)
    routed.send(1)
    account = routed.live.stop().account()
    assert account["copies"]["sent"] == account["received"] == routed.count()


# ---- a port by name ----


def test_a_chosen_port_goes_before_the_best_route(routed):
    """The host's best route leaves by out0; the collector's copies leave by out1, as its table says."""
    routed.us.ip.route("add", dst="10.8.0.0/24", gateway="10.1.0.2", priority=1)
    routed.us.ip.route("add", dst="10.8.0.0/24", gateway="10.1.1.2", priority=9)
    routed.run('out = "xdp:out1"\n')
    routed.live.wait_for("neighbour 10.1.1.2 on xdp:out1 is")
    routed.send(1, EXPORTERS[:50])
    assert routed.collectors["left"].look() == 0
    assert routed.ask("explain", "10.9.0.1:514", "--live")["copies"][0]["way"]["port"] == "xdp:out1"
    assert routed.live.stop().account()["copies"]["sent"] == 50


# ---- addresses and MTUs ----


def test_an_address_comes_and_goes_while_gfwd_runs(site, tmp_path):
    """What is for it is gfwd's as soon as it is there, and the kernel's as soon as it is gone."""
    live = site.run("* 514 10.1.0.2 A\n")
    assert site.forwards(b"to the first")
    site.us.address("in0", "10.0.0.7/24")
    live.wait_for("gfwd's own addresses are now 10.0.0.1, 10.0.0.7")
    before = site.collector.look()
    site.sender.sendto(b"to the second", ("10.0.0.7", 514))
    site.collector.wait_for(before + 1)
    site.us.ip.addr("del", index=site.us.index("in0"), address="10.0.0.7", prefixlen=24)
    wait_until(lambda: live.said().count("gfwd's own addresses are now 10.0.0.1\n") == 1, live.said)
    site.us.address("in0", "10.0.0.8/24")  # nothing was left of that by mistake
    live.wait_for("gfwd's own addresses are now 10.0.0.1, 10.0.0.8")
    assert live.stop().account()["copies"]["sent"] == 2


def test_gfwds_source_follows_the_address_of_its_port(site, tmp_path):
    config = tmp_path / "gfwd.toml"
    config.write_text(
        '[ports]\nin = ["xdp:in0"]\nout = ["xdp:out0"]\n[collector.near]\nhost = "10.1.0.2"\nsource = "own"\n'
        '[[rule]]\nsource = "*"\nports = 514\ncollectors = ["near"]\npriority = "A"\n'
    )
    live = site.stack.enter_context(Live([*GFWD, "run", "-c", config, "--json"], site.us))
    live.wait_for("neighbour 10.1.0.2 on xdp:out0 is")
    assert site.forwards(b"before")
    assert site.collector.arrived()[-1].source == "10.1.0.1"
    site.us.address("out0", "10.1.0.9/24")
    site.us.ip.addr("del", index=site.us.index("out0"), address="10.1.0.1", prefixlen=24)
    # The kernel takes the second address of a network along, unless it is told to promote it.
    site.us.address("out0", "10.1.0.8/24")

    def has_moved() -> bool:
        """Between two addresses the port has no route, either."""
        site.wait_until_it_forwards(b"after")
        return site.collector.arrived()[-1].source in ("10.1.0.9", "10.1.0.8")

    wait_until(has_moved)
    assert live.stop().status == 0


def test_mtus_are_compared_at_the_start_and_when_they_change(site):
    site.us.ip.link("set", index=site.us.index("out0"), mtu=1_400)
    live = site.run("* 514 10.1.0.2 A\n")
    live.wait_for(
        "xdp:out0: warning: its MTU of 1400 is smaller than that of xdp:in0, 1500: longer datagrams leave in fragments",
        "ip link set dev out0 mtu 1500, or ip link set dev in0 mtu 1400",
    )
    site.us.ip.link("set", index=site.us.index("out0"), mtu=1_300)
    live.wait_for("its MTU of 1300 is smaller than that of xdp:in0, 1500")
    assert live.stop().said.count("is smaller than that of") == 2
