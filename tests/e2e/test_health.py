"""Collectors that stop answering while gfwd runs: where their copies go, what is said of it, and what comes back."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.e2e.live import Live, Site, wait_until

pytestmark = pytest.mark.usefixtures("live_network")

GFWD = [sys.executable, "-m", "gfwd"]
QUICK = "interval = 1\nrise = 2\nfall = 3\n"
HEAD = """control = "{control}"
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
[[rule]]
source = "*"
ports = 514
collectors = ["flow"]
priority = "A"
"""
FLOW = '[collector.flow]\nhost = "10.1.0.2"\n'
BACKUP = '[collector.flow2]\nhost = "10.1.0.3"\n'
SILENT = "ipv4/icmp_echo_ignore_all"


class Checked:
    """gfwd in a site whose collector's host has the addresses 10.1.0.2, flow's, and 10.1.0.3, flow2's."""

    def __init__(self, site: Site, folder: Any) -> None:
        self.site, self.folder = site, folder
        self.config = folder / "gfwd.toml"
        site.near.address("c0", "10.1.0.3/24")
        self.live: Live

    def write(self, *collectors: str) -> None:
        self.config.write_text(HEAD.format(control=self.folder / "control") + "".join(collectors))

    def run(self, *collectors: str) -> None:
        self.write(*collectors)
        self.live = self.site.stack.enter_context(Live([*GFWD, "run", "-c", self.config, "--json"], self.site.us))
        self.live.wait_for("forwarding from")

    def reload(self, *collectors: str) -> None:
        self.write(*collectors)
        before = self.live.said().count(": reloaded, ")
        self.live.send(signal.SIGHUP)
        wait_until(lambda: self.live.said().count(": reloaded, ") > before, self.live.said)

    def ask(self, *words: str) -> str:
        done = subprocess.run([*GFWD, *words, "-c", self.config], capture_output=True, text=True, check=True)
        return done.stdout

    def health(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads(self.ask("status", "--json"))["health"]
        return found

    def comes_to(self, payload: bytes) -> str:
        """Send a datagram; whose copy of it came."""
        assert self.site.forwards(payload)
        return self.site.collector.arrived()[-1].destination

    def is_dropped(self, payload: bytes) -> None:
        """Send a datagram that nobody is to get: gfwd has counted it as no_collector."""

        def count() -> int:
            drops: dict[str, int] = json.loads(self.ask("status", "--json"))["copies"]["drops"]
            return drops["no_collector"]

        before = count()
        self.site.sender.sendto(payload, ("10.0.0.1", 514))
        wait_until(lambda: count() == before + 1)
        assert payload not in self.site.collector.payloads()


@pytest.fixture
def checked(site: Site, tmp_path) -> Iterator[Checked]:
    yield Checked(site, tmp_path)


def test_it_goes_down_and_comes_up_again(checked):
    """Said once each, and shown by status, by explain and by the report at the end."""
    checked.run(FLOW, 'check = "icmp"\n', QUICK)
    checked.live.wait_for("collector flow: up: an answer after")
    assert checked.comes_to(b"one") == "10.1.0.2"
    checked.site.near.sysctl(SILENT, 1)
    line = (
        "collector flow: down: no answer to an echo request in 0.5 s, 3 times in a row (icmp 10.1.0.2); "
        "it has no backup, so its copies are dropped (no_collector)\n"
    )
    checked.live.wait_for(line)
    health = checked.health()["flow"]
    assert (health["state"], health["check"], health["instead"]) == ("down", "icmp", None)
    assert health["result"] == "no answer to an echo request in 0.5 s"
    told = checked.ask("status")
    assert "copies go to" in told and "no answer to an echo request in 0.5 s" in told
    told = checked.ask("explain", "10.0.0.2:514", "--live")
    assert "has no backup that is up (no_collector)" in told and "down for" in told, told
    checked.site.near.sysctl(SILENT, 0)
    checked.live.wait_for("collector flow: up again after ")
    assert checked.comes_to(b"two") == "10.1.0.2"
    told = checked.ask("explain", "10.0.0.2:514", "--live")
    assert "next hop 10.1.0.2" in told and "up for" in told, told
    ended = checked.live.stop()
    assert (ended.said.count(": down: "), ended.said.count(": up again after ")) == (1, 1)
    assert ended.account()["health"]["flow"]["state"] == "up"


def test_without_a_backup_its_copies_are_dropped_and_counted(checked):
    checked.run(FLOW, 'check = "icmp"\n', QUICK)
    assert checked.comes_to(b"one") == "10.1.0.2"
    checked.site.near.sysctl(SILENT, 1)
    checked.live.wait_for("collector flow: down: ")
    checked.is_dropped(b"lost")
    checked.site.near.sysctl(SILENT, 0)
    checked.live.wait_for("collector flow: up again after ")
    assert checked.comes_to(b"two") == "10.1.0.2"
    ended = checked.live.stop()
    assert ended.drops("flow") == {"no_collector": 1}


def test_the_backup_steps_in(checked):
    checked.run(FLOW, 'check = "icmp"\nbackup = ["flow2"]\n', QUICK, BACKUP)
    assert checked.comes_to(b"one") == "10.1.0.2"
    checked.site.near.sysctl(SILENT, 1)
    checked.live.wait_for("(icmp 10.1.0.2); its copies go to flow2\n")
    assert checked.health()["flow"]["instead"] == "flow2"
    told = checked.ask("explain", "10.0.0.2:514", "--live")
    assert "flow2, in place of flow\n" in told and "down for" in told, told
    assert checked.comes_to(b"two") == "10.1.0.3"
    checked.site.near.sysctl(SILENT, 0)
    checked.live.wait_for("collector flow: up again after ")
    assert checked.comes_to(b"three") == "10.1.0.2"
    ended = checked.live.stop()
    assert ended.account()["copies"]["sent"] == 3
    assert ended.drops("copies") == {}


def test_backups_that_are_down_too(checked):
    checked.run(FLOW, 'check = "icmp"\nbackup = ["flow2"]\n', QUICK, BACKUP, 'check = "tcp:7"\n', QUICK)
    checked.live.wait_for("collector flow2: down: Connection refused, 3 times in a row (tcp 10.1.0.3:7)\n")
    checked.site.near.sysctl(SILENT, 1)
    checked.live.wait_for("(icmp 10.1.0.2); its backups are down, too, so its copies are dropped (no_collector)\n")
    with checked.site.near.socket(kind=socket.SOCK_STREAM) as server:
        server.bind(("10.1.0.3", 7))
        server.listen()
        checked.live.wait_for("collector flow2: up again after ", "flow: still down, and now its copies go to flow2\n")
    checked.live.stop()


def test_by_a_server(checked):
    """One that answers 200, then 500, then 200 again."""
    status = [b"200"]
    over = threading.Event()
    with checked.site.near.socket(kind=socket.SOCK_STREAM) as server:
        server.bind(("10.1.0.2", 8080))
        server.listen()
        server.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                with suppress(OSError):
                    made, _ = server.accept()
                    with made:
                        made.settimeout(10)
                        made.recv(1_000)
                        made.sendall(b"HTTP/1.1 " + status[0] + b" So\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            checked.run(FLOW, 'check = "http://10.1.0.2:8080/health"\n', QUICK)
            checked.live.wait_for("collector flow: up: it answers 200 (http://10.1.0.2:8080/health)\n")
            status[0] = b"500"
            checked.live.wait_for(
                "collector flow: down: it answers 500, 3 times in a row (http://10.1.0.2:8080/health); "
            )
            status[0] = b"200"
            checked.live.wait_for("collector flow: up again after ")
        finally:
            over.set()
            thread.join()
    assert checked.live.stop().status == 0


def test_by_the_neighbour(checked):
    """Nothing is sent for it: when the neighbour is silent, the collector is, too."""
    checked.run(FLOW, 'check = "arp"\n', QUICK)
    checked.live.wait_for("collector flow: up: its next hop has answered (arp 10.1.0.2)")
    checked.site.near.sysctl("ipv4/conf/c0/arp_ignore", 8)
    checked.site.near.sysctl("ipv4/conf/all/arp_ignore", 8)
    checked.live.wait_for("collector flow: down: its next hop does not answer, 3 times in a row (arp 10.1.0.2); ")
    checked.site.near.sysctl("ipv4/conf/c0/arp_ignore", 0)
    checked.site.near.sysctl("ipv4/conf/all/arp_ignore", 0)
    checked.live.wait_for("collector flow: up again after ")
    assert checked.live.stop().status == 0


def test_a_route_that_goes_takes_it_down(checked):
    checked.run(FLOW, 'check = "icmp"\n', QUICK)
    checked.live.wait_for("collector flow: up: ")
    checked.site.us.down("out0")
    checked.live.wait_for("down: no route to it leaves by a port of gfwd's, 3 times in a row (icmp); ")
    checked.site.us.up("out0")
    checked.live.wait_for("collector flow: up again after ")
    checked.live.stop()


def test_a_reload_keeps_what_is_known(checked):
    """Of a collector whose check is the same; another check starts anew, and none is none."""
    flow = FLOW, 'check = "icmp"\n', QUICK
    checked.run(*flow)
    checked.site.near.sysctl(SILENT, 1)
    checked.live.wait_for("collector flow: down: ")
    checked.reload(*flow, BACKUP)
    assert checked.health()["flow"]["state"] == "down"
    checked.reload(FLOW, 'check = "icmp"\nbackup = ["flow2"]\n', QUICK, BACKUP)
    checked.live.wait_for("collector flow: still down, and now its copies go to flow2\n")
    checked.reload(FLOW, 'check = "icmp"\ninterval = 3600\n')
    checked.live.wait_for("collector flow: its check is another one, so it counts as up\n")
    health = checked.health()["flow"]
    assert (health["state"], health["result"], health["instead"]) == ("unknown", "not tried yet", None)
    assert checked.comes_to(b"counts as up") == "10.1.0.2"
    checked.reload(FLOW)
    assert checked.health() == {}
    ended = checked.live.stop()
    assert ended.said.count(": down: ") == 1


def test_one_whose_check_goes_while_it_is_down(checked):
    checked.run(FLOW, 'check = "icmp"\n', QUICK)
    checked.site.near.sysctl(SILENT, 1)
    checked.live.wait_for("collector flow: down: ")
    checked.reload(FLOW)
    checked.live.wait_for("collector flow: it is not checked any more, so it counts as up\n")
    assert checked.comes_to(b"up") == "10.1.0.2"
    checked.live.stop()


def test_a_try_that_is_not_answered_holds_up_nothing(checked):
    """A hundred datagrams while tries wait for silence, and status at once."""
    checked.site.near.sysctl(SILENT, 1)
    checked.run(FLOW, 'check = "icmp"\ninterval = 4\nfall = 1000\n')
    for n in range(100):
        assert checked.comes_to(b"%d" % n) == "10.1.0.2"
    assert checked.health()["flow"]["state"] == "unknown"
    checked.live.stop()


def test_it_opens_as_many_files_as_it_may(site):
    """Each try takes two, and who starts a process often allows few at first."""
    live = site.run("* 514 10.1.0.2 A\n", prefix=["prlimit", "--nofile=256:5000"])
    with open(f"/proc/{live.process.pid}/limits", encoding="ascii") as limits:
        (line,) = (line for line in limits if line.startswith("Max open files"))
    assert line.split()[3:5] == ["5000", "5000"]
    assert live.stop().status == 0
