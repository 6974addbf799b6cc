"""Collectors in a VLAN of which the host has no interface: asked for, and sent to, in frames with a tag."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.live import Collector, Live, cable, host
from tests.net.access_switch import AccessSwitch

pytestmark = pytest.mark.usefixtures("live_network")

GFWD = [sys.executable, "-m", "gfwd"]
VLAN = 100
CONFIG = """control = "{folder}/control"
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
[[rule]]
source = "*"
ports = 514
collectors = ["near"]
priority = "A"
[collector.near]
host = "10.1.0.2"
"""
NUMBER = 500


class Trunk:
    """exporter e0 — in0 gfwd out0 — trunk switch access — c0 collector, in the VLAN, of which it knows nothing."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.exporter, self.us, self.near, its = (host(stack) for _ in range(4))
        cable(self.exporter, "e0", self.us, "in0")
        cable(self.us, "out0", its, "trunk")
        cable(its, "access", self.near, "c0")
        for at, interface, address in (
            (self.exporter, "e0", "10.0.0.2/24"),
            (self.us, "in0", "10.0.0.1/24"),
            (self.us, "out0", "10.1.0.1/24"),
            (self.near, "c0", "10.1.0.2/24"),
        ):
            at.address(interface, address)
        self.switch = stack.enter_context(AccessSwitch(its, "trunk", "access", VLAN))
        self.collector = stack.enter_context(Collector(self.near, "c0"))
        self.sender = stack.enter_context(self.exporter.socket())
        self.live: Live

    def run(self, more: str) -> None:
        config = self.folder / "gfwd.toml"
        config.write_text(CONFIG.format(folder=self.folder) + more)
        self.live = self.stack.enter_context(Live([*GFWD, "run", "-c", config, "--json"], self.us))
        self.live.wait_for("forwarding from")

    def send(self, number: int) -> None:
        before = self.collector.look()
        for n in range(number):
            self.sender.sendto(b"datagram %d" % n, ("10.0.0.1", 514))
            if n % 50 == 49:
                self.collector.wait_for(before + n + 1)


@pytest.fixture
def trunk(tmp_path: Path) -> Iterator[Trunk]:
    with ExitStack() as stack:
        yield Trunk(stack, tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(f'[vlans]\n"xdp:out0" = {VLAN}\n', id="of the port"),
        pytest.param(f"vlan = {VLAN}\n", id="of the collector"),
    ],
)
def test_copies_leave_with_the_tag(trunk, more):
    trunk.run(more)
    mac = trunk.near.mac("c0").hex(":")
    trunk.live.wait_for(f"neighbour 10.1.0.2 on xdp:out0 vlan {VLAN} is {mac}")
    trunk.send(NUMBER)
    assert trunk.collector.payloads() == [b"datagram %d" % n for n in range(NUMBER)]
    # It is asked for, and found, when it has another MAC, and when it is back after a while.
    trunk.near.set_mac("c0", "02:00:00:00:00:77")
    trunk.live.wait_for("has moved from")
    trunk.send(50)
    account = trunk.live.stop().account()
    assert account["copies"]["sent"] == account["received"] == NUMBER + 50
    assert account["neighbours"][0]["port"] == f"xdp:out0 vlan {VLAN}"


def test_without_the_tag_nobody_answers(trunk):
    """A look at the switch: it is the tag that does it."""
    trunk.run("")
    trunk.live.wait_for("neighbour 10.1.0.2 on xdp:out0 does not answer")
    assert trunk.switch.to_access == 0 and trunk.switch.others > 0
    assert trunk.live.stop().status == 0
