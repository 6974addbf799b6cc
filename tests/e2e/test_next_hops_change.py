"""Peers that change while gfwd sends to them, and a network without a word of IPv4."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from itertools import pairwise

import pytest

from tests.e2e.live import Live, Site, cable, host, route, wait_until

pytestmark = pytest.mark.usefixtures("live_network")

TO_NEAR = "* 514 10.1.0.2 A\n"


class Load:
    """Datagrams, numbered, a few at a time, until the block ends: fewer are under way than a veth holds."""

    def __init__(self, site: Site) -> None:
        self._site, self.sent = site, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            for _ in range(10):
                self._site.sender.sendto(b"%d" % self.sent, ("10.0.0.1", 514))
                self.sent += 1
            time.sleep(0.005)

    def goes_on(self) -> None:
        """Until a hundred more have been sent."""
        wanted = self.sent + 100
        wait_until(lambda: self.sent >= wanted)


def test_a_collector_that_changes_its_mac_under_load(site):
    """Everything leaves, in order; and, from when gfwd has said so, to the new MAC."""
    live = site.run(TO_NEAR)
    live.wait_for("neighbour 10.1.0.2 on xdp:out0 is")
    macs = [site.near.mac("c0"), *(bytes.fromhex(f"0200000000{n:02x}") for n in (0x71, 0x72, 0x73))]
    with Load(site) as load:
        for before, mac in pairwise(macs):
            load.goes_on()
            site.near.set_mac("c0", mac.hex(":"))
            live.wait_for(f"has moved from {before.hex(':')} to {mac.hex(':')}")
            site.collector.look()
        load.goes_on()
    site.collector.wait_for(load.sent)
    came = site.collector.arrived()
    assert [one.payload for one in came] == [b"%d" % n for n in range(load.sent)]
    order = [mac for n, mac in enumerate(one.to_mac for one in came) if n == 0 or came[n - 1].to_mac != mac]
    assert order == macs
    account = live.stop().account()
    assert account["copies"]["sent"] == account["received"] == load.sent


def test_a_collector_that_disappears_and_comes_back(site):
    """Meanwhile nothing is held up, and what does not leave is counted: those that waited have not been forgotten."""
    live = site.run(TO_NEAR)
    live.wait_for("neighbour 10.1.0.2 on xdp:out0 is")
    assert site.forwards(b"before")
    with Load(site) as load:
        site.near.ip.addr("del", index=site.near.index("c0"), address="10.1.0.2", prefixlen=24)
        live.wait_for("neighbour 10.1.0.2 on xdp:out0 does not answer")
        load.goes_on()
        site.near.address("c0", "10.1.0.2/24")
        wait_until(lambda: live.said().count("neighbour 10.1.0.2 on xdp:out0 is") == 2, live.said)
        load.goes_on()
    ended = live.stop()
    account = ended.account()
    sent = account["copies"]["sent"]
    assert account["received"] == load.sent + 1 == sent + sum(ended.drops("copies").values())
    assert set(ended.drops("copies")) == {"neighbour_failed"}
    wait_until(lambda: site.collector.look() == sent)
    payloads = [int(one) for one in site.collector.payloads()[1:]]
    assert payloads == sorted(payloads) and payloads[-1] == load.sent - 1


def test_ipv6_only(gfwd, tmp_path):
    """Exporters, gfwd, two routers as good as each other, and collectors: nothing of IPv4 is configured anywhere."""
    with ExitStack() as stack:
        exporter, us, far = (host(stack, speaks_ipv6=True) for _ in range(3))
        cable(exporter, "e0", us, "in0")
        us.address("in0", "fd00::1/64")
        exporter.address("e0", "fd00::2/64")
        exporters = [f"fd09::{n:x}" for n in range(1, 65)]
        for address in exporters:
            exporter.address("e0", f"{address}/128")
        route(us, "fd09::/64", dev="in0")
        for n in range(2):
            router = host(stack, speaks_ipv6=True)
            cable(us, f"out{n}", router, "near")
            cable(router, "far", far, f"c{n}")
            us.address(f"out{n}", f"fd01:{n}::1/64")
            router.address("near", f"fd01:{n}::2/64")
            router.address("far", f"fd07:{n}::1/64")
            far.address(f"c{n}", f"fd07:{n}::2/64")
            router.sysctl("ipv6/conf/all/forwarding", 1)
            route(router, "fd08::/64", via=f"fd07:{n}::2")
        far.up("lo")
        far.address("lo", "fd08::2/128")
        us.ip.route("add", dst="fd08::/64", multipath=[{"gateway": f"fd01:{n}::2"} for n in range(2)], family=10)
        four = [its.get("IFA_ADDRESS") for at in (exporter, us, far) for its in at.ip.get_addr(family=socket.AF_INET)]
        assert set(four) <= {"127.0.0.1"}
        rules = tmp_path / "six.rules"
        rules.write_text("* 514 fd08::2 A\n")
        ports = "--in", "xdp:in0", "--out", "xdp:out0", "--out", "xdp:out1", "--json"
        live = stack.enter_context(Live([*gfwd, "run", "--rules", rules, *ports], us))
        live.wait_for("neighbour fd01::2 on xdp:out0 is", "neighbour fd01:1::2 on xdp:out1 is")
        collector = stack.enter_context(far.socket(socket.AF_INET6))
        collector.bind(("fd08::2", 514))
        collector.settimeout(60)
        got: dict[str, list[bytes]] = defaultdict(list)
        senders = {address: stack.enter_context(exporter.socket(socket.AF_INET6)) for address in exporters}
        for address, sender in senders.items():
            sender.bind((address, 4_000))
        for n in range(5):
            for sender in senders.values():
                sender.sendto(b"%d" % n, ("fd00::1", 514))
                payload, (source, *_) = collector.recvfrom(2_000)
                got[source].append(payload)
        assert got == {address: [b"%d" % n for n in range(5)] for address in exporters}
        account = live.stop().account()
        assert account["copies"]["sent"] == account["received"] == 5 * len(exporters)
        sent = Counter({port: its["ours"] for port, its in account["ports"].items()})
        assert sent["xdp:in0"] == 5 * len(exporters)
        assert json.dumps(account["neighbours"]).count('"ready"') == 2
