"""What a gfwd that runs says, and where: as JSON, in a file, in syslog. Whoever should read it does not hold it up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.live import BOTH_ARMS, Live, Site, wait_until

pytestmark = pytest.mark.usefixtures("live_network")

RULES = "* 514 10.1.0.2 A\n"


class Logged:
    """A gfwd in a site, with a [log] of its own."""

    def __init__(self, site: Site, gfwd: list[str], folder: Path) -> None:
        self.site, self._gfwd = site, gfwd
        self.toml, self.log = folder / "gfwd.toml", folder / "gfwd.log"

    def run(self, log: str, *, out: str = "out0", prefix: Sequence[str | Path] = ()) -> Live:
        self.write(log, out=out)
        return self.site.stack.enter_context(
            Live([*prefix, *self._gfwd, "run", "-c", self.toml, "--json"], self.site.us)
        )

    def write(self, log: str, *, out: str = "out0") -> None:
        rules = self.site.rules(RULES)
        ports = f'ports = {{in = ["xdp:in0"], out = ["xdp:{out}"]}}'
        self.toml.write_text(f'rules = "{rules}"\ncontrol = "{self.toml.parent}/control"\n{ports}\n[log]\n{log}\n')

    def events(self, path: Path | None = None) -> list[dict[str, Any]]:
        """Those in the file, as far as they are written: each line is one."""
        with (path or self.log).open() as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def wait_for(self, name: str, number: int = 1) -> dict[str, Any]:
        """Until there are so many of these; returns the last."""

        def found() -> list[dict[str, Any]]:
            return [its for its in self.events() if its["event"] == name] if self.log.exists() else []

        wait_until(lambda: len(found()) >= number, lambda: f"{name} is not in the log")
        return found()[-1]


@pytest.fixture
def its(site, gfwd, tmp_path) -> Logged:
    return Logged(site, gfwd, tmp_path)


def test_a_file_of_json(its):
    live = its.run(f'format = "json"\nto = "{its.log}"')
    ready = its.wait_for("forwarding")
    assert ready["own"] == ["10.0.0.1"] and ready["listen"] == "514" and ready["level"] == "info"
    assert ready["message"].startswith("forwarding from xdp:in0 ")
    assert its.site.forwards(b"one")
    mac = its.site.near.mac("c0").hex(":")
    neighbour = its.wait_for("neighbour_ready")
    assert (neighbour["neighbour"], neighbour["port"], neighbour["mac"]) == ("10.1.0.2", "xdp:out0", mac)
    its.site.us.down("out0")
    assert its.wait_for("link_down")["port"] == "xdp:out0"
    lost = its.wait_for("collector_no_way")
    assert (lost["collector"], lost["address"], lost["level"]) == ("10.1.0.2", "10.1.0.2", "warning")
    its.site.us.up("out0")
    its.wait_for("link_up")
    its.site.wait_until_it_forwards(b"two")
    live.send(signal.SIGUSR1)
    assert its.wait_for("status")["report"]["forwarded"] >= 2
    ended = live.stop()
    assert (ended.status, ended.said) == (0, "")


def test_a_log_is_rotated_and_a_reload_takes_another_one(its, run):
    live = its.run(f'format = "json"\nto = "{its.log}"')
    its.wait_for("forwarding")
    old = its.log.with_suffix(".old")
    its.log.rename(old)
    live.send(signal.SIGHUP)
    reloaded = its.wait_for("reloaded")
    assert (reloaded["rules"], reloaded["collectors"]) == (1, 1)
    assert [event["event"] for event in its.events(old)][-1] != "reloaded"
    its.toml.write_text("nonsense")
    live.send(signal.SIGHUP)
    failed = its.wait_for("reload_failed")
    assert failed["file"] == str(its.toml) and "gfwd.toml:1:1: error: " in failed["message"]
    assert "\nreload: error: nothing has changed" in failed["message"]
    its.write('level = "info"')
    assert run("reload", "-c", its.toml).returncode == 0
    live.wait_for("gfwd.rules: reloaded, 1 rule, 1 collector\n")
    assert len([event for event in its.events() if event["event"] == "reloaded"]) == 1
    assert live.stop().status == 0


def test_all_of_standard_error_is_json(its):
    live = its.run('format = "json"', out="none0")
    ended = live.ended()
    told = [json.loads(line) for line in ended.said.splitlines()]
    assert [event["event"] for event in told][-2:] == ["port_failed", "failed"] and ended.status == 1
    assert told[-2]["port"] == "xdp:none0" and "no such interface" in told[-2]["message"]


def test_why_it_has_not_started_stands_in_the_log_and_on_standard_error(its):
    live = its.run(f'format = "json"\nto = "{its.log}"\nlevel = "error"', out="none0")
    ended = live.ended()
    assert (ended.status, ended.said) == (1, "error: there is no port that datagrams could leave by\n")
    assert [event["event"] for event in its.events()] == ["port_failed", "failed"]


def test_syslog_that_comes_goes_and_comes_again(its, tmp_path):
    """In a mount namespace of its own, where /var/run/log is a socket of this test's."""
    if os.path.exists("/dev/log") and not os.path.realpath("/dev/log").startswith("/run/"):
        pytest.skip("this host's syslog is outside /run")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("a mount namespace is not to be had here")
    folder = tmp_path / "run"
    folder.mkdir()
    prefix = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /run && exec "$@"', folder]
    live = its.run('to = "syslog"', prefix=prefix)
    live.wait_for("log: error: syslog cannot be written (No such file or directory)", "neighbour 10.1.0.2")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(folder / "log"))
        daemon.settimeout(60)

        def take() -> str:
            return daemon.recv(65_536).decode()

        live.send(signal.SIGHUP)
        incomplete = take()
        assert incomplete.startswith(f"<28>gfwd[{live.process.pid}]: log: warning: ")
        assert incomplete.endswith(" events before this one could not be written here")
        assert take().endswith("gfwd.rules: reloaded, 1 rule, 1 collector")
        its.toml.write_text("nonsense\nmore")
        live.send(signal.SIGHUP)
        lines = [take() for _ in range(3)]
        assert all(line.startswith(f"<27>gfwd[{live.process.pid}]: ") for line in lines)
        assert "gfwd.toml:2:1: error: " in lines[1] and lines[2].endswith("reload: error: nothing has changed")
    assert its.site.forwards(b"still")
    live.send(signal.SIGHUP)
    wait_until(lambda: live.said().count("reload: error") == 1, live.said)
    assert its.site.forwards(b"still")
    assert live.stop().status == 0


def test_nobody_reads_what_it_says(its, run, tmp_path):
    """Its stderr is a pipe that is full, and stays so: gfwd goes on with all else, and ends when told to."""
    site = its.site
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    command = [*site.command(RULES, *BOTH_ARMS), "--control", str(tmp_path / "control")]
    process = site.us.start(list(map(str, command)), stdout=subprocess.PIPE, stderr=mouth)
    try:
        said = b""
        while b"forwarding from" not in said:
            said += os.read(ear, 4096)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(mouth, bytes(4096))
        os.set_blocking(mouth, True)  # which gfwd shares
        for _ in range(3):
            process.send_signal(signal.SIGUSR1)
            assert run("status", "--control", tmp_path / "control").returncode == 0
        site.us.down("in0")
        site.us.up("in0")
        site.wait_until_it_forwards(b"datagram")
        site.rules("* 514 10.1.0.2 A\n* 515 10.1.0.2 A\n")
        assert run("reload", "--control", tmp_path / "control").returncode == 0
        assert site.forwards(b"another")
        assert run("stop", "--control", tmp_path / "control").returncode == 0
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and json.loads(out)["forwarded"] >= 2
    finally:
        process.kill()
        process.wait()
        os.close(mouth)
        os.close(ear)
