"""`gfwd run` on FreeBSD: netmap on two cables, real kernel, peers that the test plays."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gfwd.rules.model import Address
from tests import frames
from tests.freebsd.running import COMMAND, Running
from tests.freebsd.wire import Cable, Peer, sh

pytestmark = [
    pytest.mark.skipif(platform.system() != "FreeBSD", reason="needs FreeBSD"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make interfaces and open /dev/netmap"),
    pytest.mark.skipif(not Path("/dev/netmap").exists(), reason="netmap is not loaded: kldload netmap"),
]

EXPORTER = Address(4, 0x0A4E0107)  # 10.78.1.7
GFWD = Address(4, 0x0A4E0101)
COLLECTOR = Address(4, 0x0A4E0209)  # 10.78.2.9
RULES = "* 2055 10.78.2.9 A\n"
# As many as a ring holds: on FreeBSD 13.2 netmap's emulation, and an epair has nothing else, never gets back what it
# had sent (reviews D38065, D44371).
DATAGRAMS = 1_000


class Run:
    """gfwd between two cables: 10.78.1.1 is its address on the one, exporters' side, 10.78.2.1 on the other."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.into, self.out = Cable(), Cable()
        stack.callback(self.out.close)
        stack.callback(self.into.close)
        sh("ifconfig", self.into.name, "inet", "10.78.1.1/24")
        sh("ifconfig", self.out.name, "inet", "10.78.2.1/24")
        self.exporter = Peer(self.into.far, bytes.fromhex("020000000e01"), EXPORTER)
        stack.callback(self.exporter.close)
        self.collector = Peer(self.out.far, bytes.fromhex("020000000c01"), COLLECTOR)
        stack.callback(self.collector.close)
        self._stack, self._folder = stack, folder
        self._rules = folder / "rules"
        self._rules.write_text(RULES, "ascii")

    def start(self, host: str) -> None:
        """host: "*", or nothing."""
        ports = ("--in", f"netmap:{self.into.name}{host}", "--out", f"netmap:{self.out.name}{host}")
        self._running = Running(self._stack, self._folder, "--rules", str(self._rules), *ports)

    def wait_for(self, text: str) -> None:
        self._running.wait_for(text)

    def signal(self, number: signal.Signals) -> None:
        self._running.signal(number)

    def stop(self, status: int = 0) -> dict[str, Any]:
        return self._running.stop(status)

    def datagram(self, number: int, mac: bytes) -> bytes:
        payload = number.to_bytes(4) + bytes(100)
        udp = frames.udp(4, EXPORTER.value, GFWD.value, (40_000, 2055), payload)
        return frames.ethernet(
            frames.ipv4(udp, EXPORTER.value, GFWD.value), frames.IPV4, destination=mac, source=self.exporter.mac
        )


@pytest.fixture
def run(tmp_path):
    with ExitStack() as stack:
        yield Run(stack, tmp_path)


@pytest.mark.parametrize("host", ["*", ""])
def test_forwards(run, host):
    """All of it, in order, from the exporter's own address, to a MAC that nobody had named."""
    run.start(host)
    mac = run.exporter.mac_of(GFWD)
    for number in range(DATAGRAMS):
        run.exporter.send(run.datagram(number, mac))
        if number % 20 == 0:
            time.sleep(0.005)
    arrived = [run.collector.frames.get(timeout=10) for _ in range(DATAGRAMS)]
    assert [int.from_bytes(frame[42:46]) for frame in arrived] == list(range(DATAGRAMS))
    assert {frame[26:34] for frame in arrived} == {EXPORTER.value.to_bytes(4) + COLLECTOR.value.to_bytes(4)}
    report = run.stop()
    assert (report["forwarded"], sum(report["drops"].values())) == (DATAGRAMS, 0)


def test_the_host_lives_on(run):
    """Its kernel answers ping behind gfwd, and the status comes by SIGINFO."""
    run.start("*")
    mac = run.exporter.mac_of(GFWD)
    echo = bytes((8, 0)) + (0xFFFF - 0x0800).to_bytes(2) + bytes(4)
    packet = frames.ipv4(echo, EXPORTER.value, GFWD.value, protocol=frames.ICMP)
    run.exporter.send(frames.ethernet(packet, frames.IPV4, destination=mac, source=run.exporter.mac))
    answer = run.exporter.frames.get(timeout=5)
    assert (answer[23], answer[34]) == (frames.ICMP, 0)  # an echo reply
    run.signal(getattr(signal, "SIGINFO"))  # noqa: B009 # mypy runs on Linux, which has none
    run.wait_for("forwarding from")
    assert run.stop()["passed"] >= 2


def test_an_interface_that_is_set_down_is_brought_up_again(run):
    """An emulated card would not hold anybody up, but gfwd cannot know."""
    run.start("*")
    sh("ifconfig", run.out.name, "down")
    run.wait_for("brought up again")
    mac = run.exporter.mac_of(GFWD)
    run.exporter.send(run.datagram(7, mac))
    assert int.from_bytes(run.collector.frames.get(timeout=10)[42:46]) == 7
    run.stop()


def test_an_interface_that_goes(run):
    run.start("*")
    run.out.close()
    run.wait_for("the interface is gone")
    run.stop(status=1)


def test_no_such_interface(run, tmp_path):
    rules = tmp_path / "some.rules"
    rules.write_text(RULES, "ascii")
    command = [*COMMAND, "run", "--rules", str(rules), "--port", "netmap:nothere0*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert re.search(r"netmap:nothere0\*: error: there is no such interface", done.stderr)
    assert "Traceback" not in done.stderr
