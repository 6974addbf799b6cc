"""Collectors in a VLAN of which the host has no interface: asked for, and sent to, in frames with a tag."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.live import Collector, Live, Wire, cable, host, wait_until
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


def test_a_reload_that_is_only_tried_leaves_the_ways_alone(trunk):
    """What it would send to another VLAN has a slot meanwhile, and nobody who could be asked there."""
    trunk.near.ip.link("set", index=trunk.near.index("c0"), state="down")
    trunk.run(f'vlan = {VLAN}\ncheck = "arp"\ninterval = 1\nfall = 2\n')
    config = trunk.folder / "gfwd.toml"
    config.write_text(
        config.read_text().replace('["near"]', '["near", "other"]')
        + f'[collector.other]\nhost = "10.1.0.3"\nvlan = {VLAN + 1}\n'
    )
    tried: list[str] = []

    def is_down() -> bool:
        """A plan without it has been published, or gfwd has ended over that."""
        command = [*GFWD, "reload", "--dry-run", "-c", str(config)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        tried.append(done.stdout)
        return "collector near: down" in trunk.live.said() or trunk.live.process.poll() is not None

    wait_until(is_down, trunk.live.said)
    account = trunk.live.stop().account()
    assert any("could be reloaded" in answer for answer in tried), tried
    assert [one["port"] for one in account["neighbours"]] == [f"xdp:out0 vlan {VLAN}"]


def test_a_port_that_changes_its_mac_asks_from_the_new_one(trunk):
    trunk.run(f"vlan = {VLAN}\n")
    trunk.live.wait_for(f"neighbour 10.1.0.2 on xdp:out0 vlan {VLAN} is")
    new = bytes.fromhex("020000000078")
    with Wire(trunk.near, "c0") as wire:
        wire.take()
        trunk.us.set_mac("out0", new.hex(":"))
        heard: list[bytes] = []

        def announces() -> bool:
            """Beyond the probes that come first, it says where gfwd's address is."""
            heard.extend(frame for frame in wire.take() if frame[12:14] == b"\x08\x06" and frame[6:12] == new)
            return any(frame[22:32] == new + bytes((10, 1, 0, 1)) for frame in heard)

        wait_until(announces)
    trunk.send(50)
    assert trunk.live.stop().account()["copies"]["sent"] == 50
