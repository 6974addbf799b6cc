"""A gfwd that runs is asked, and told, by its control socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.live import Live, Site, wait_until

pytestmark = pytest.mark.usefixtures("live_network")

RULES = "* 514 10.1.0.2 A\n"


class Controlled:
    """A gfwd that runs in a site, and the commands that ask it."""

    def __init__(self, site: Site, run, path) -> None:
        self.site, self.path, self._run = site, path, run
        self.live: Live = site.run(RULES, "--control", str(path))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = self._run(*words, "--control", str(self.path))
        return done

    def raw(self) -> socket.socket:
        its = socket.socket(socket.AF_UNIX)
        its.settimeout(20)
        its.connect(str(self.path))
        return its


@pytest.fixture
def its(site, run, tmp_path):
    return Controlled(site, run, tmp_path / "control")


def test_status(its):
    assert its.site.forwards(b"one")
    told = its("status")
    assert (told.returncode, told.stderr) == (0, "")
    assert "10.1.0.2" in told.stdout and "forwarded" in told.stdout
    status = json.loads(its("status", "--json").stdout)
    assert (status["forwarded"], status["pid"]) == (1, its.live.process.pid)
    assert status["rules_file"].endswith("gfwd.rules")
    assert its.live.stop().account()["forwarded"] == 1


def test_neighbours(its):
    assert its.site.forwards(b"one")
    (neighbour,) = json.loads(its("neighbours", "--json").stdout)
    mac = its.site.near.mac("c0").hex(":")
    assert neighbour == {"address": "10.1.0.2", "port": "xdp:out0", "mac": mac, "state": "ready"}
    assert mac in its("neighbours").stdout


def test_reload(its):
    its.site.near.address("c0", "10.1.0.3/24")
    path = its.site.rules("* 514 10.1.0.3 A\n")
    told = its("reload", "--dry-run")
    assert (told.returncode, told.stdout) == (0, f"{path}: could be reloaded, 1 rule, 1 collector\n")
    assert its.site.forwards(b"old") and its.site.collector.arrived()[-1].destination == "10.1.0.2"
    told = its("reload")
    assert (told.returncode, told.stdout) == (0, f"{path}: reloaded, 1 rule, 1 collector\n")
    assert its.site.forwards(b"new") and its.site.collector.arrived()[-1].destination == "10.1.0.3"


def test_a_reload_that_cannot_be(its):
    """The error goes to who has asked, and to the log."""
    its.site.rules("* 514 10.1.0.2 A\nnonsense\n")
    for words in (("reload", "--dry-run"), ("reload",)):
        told = its(*words)
        assert (told.returncode, told.stdout) == (2, "")
        assert "gfwd.rules:2:" in told.stderr and "Traceback" not in told.stderr
    its.live.wait_for("reload: error: nothing has changed")
    assert its.live.said().count("nothing has changed") == 1
    assert its.site.forwards(b"still")


def test_a_reload_that_finds_no_room(its):
    """Trying says so as well: there is room for twice the collectors of the start, and 4,096 more."""
    its.site.rules("".join(f"10.9.{n >> 8}.{n & 255} 514 10.8.{n >> 8}.{n & 255} A\n" for n in range(1, 4_100)))
    for words in (("reload", "--dry-run"), ("reload",)):
        told = its(*words)
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr == (
            "error: 4,099 collectors, and there is room for 4,098 in a gfwd that runs; restart it\n"
        ), told.stderr
    assert its.site.forwards(b"still")


def test_many_ask_for_a_reload_at_once(its):
    answers = []
    askers = [threading.Thread(target=lambda: answers.append(its("reload"))) for _ in range(6)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert [answer.returncode for answer in answers] == [0] * 6


def open_files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(link.readlink()))
    return found


def test_stop(its):
    assert any("bpf" in what for what in open_files(its.live.process.pid))
    assert its.site.forwards(b"one")
    assert its("stop").returncode == 0
    # Another gfwd may take the interfaces at once: nothing of theirs is open any more.
    assert not any("bpf" in what for what in open_files(its.live.process.pid))
    ended = its.live.ended()
    assert ended.account()["forwarded"] == 1 and "\nstopping, as gfwd stop says\n" in ended.said
    assert not its.path.exists()


def test_nobody_listens(its):
    its.live.stop()
    told = its("status")
    assert (told.returncode, told.stdout) == (2, "")
    assert f"{its.path}: error: no gfwd listens there" in told.stderr


def test_only_its_owner_can_connect(its):
    assert stat.S_IMODE(its.path.stat().st_mode) == 0o600
    os.chmod(its.path.parent, 0o755)
    ask = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    command = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", ask, its.path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr


def test_another_gfwd_has_the_socket(its, site):
    second = site.start(RULES, "--port", "xdp:lo", "--address", "192.0.2.1", "--control", str(its.path))
    ended = second.ended()
    assert ended.status == 1
    assert f"{its.path}: error: the control socket cannot be made: another gfwd listens there" in ended.said
    assert its("status").returncode == 0


def test_one_left_over_is_replaced(its, site):
    its.live.send(signal.SIGKILL)
    its.live.process.wait()
    assert its.path.exists()
    again = site.run(RULES, "--control", str(its.path))
    assert its("status").returncode == 0
    assert again.stop().status == 0


@pytest.mark.parametrize(
    "question", [b"\n", b"nonsense\n", b"[]\n", b'{"do": "dance"}\n', b'{"do": 7}\n', b"\xff\xfe\n"]
)
def test_odd_questions(its, question):
    with its.raw() as asker:
        asker.sendall(question)
        assert "does not know what is asked" in json.loads(asker.makefile().readline())["error"]
    assert its.site.forwards(b"still")


def test_rude_clients(its):
    """Who says nothing, too much, or leaves in the middle, holds up nobody."""
    silent = [its.raw() for _ in range(16)]
    with its.raw() as seventeenth:
        seventeenth.sendall(b'{"do": "status"}\n')
        for one in silent[:8]:
            one.close()
        assert b'"ok"' in seventeenth.recv(100)  # there was no room before
    with its.raw() as talker:
        talker.sendall(b"x" * 5_000)
        with pytest.raises(ConnectionResetError):
            while talker.recv(1_000):
                pass
            raise ConnectionResetError
    with its.raw() as leaver:
        leaver.sendall(b'{"do": "reload"}\n')
    wait_until(lambda: ": reloaded, " in its.live.said())
    started = time.monotonic()
    assert its("status").returncode == 0
    assert its.site.forwards(b"still")
    for one in silent[8:]:
        assert one.recv(1) == b""  # let go for having said nothing
        one.close()
    assert time.monotonic() - started < 20
    assert its.live.stop().status == 0


def test_by_a_configuration(site, run, gfwd, tmp_path):
    """The file names the socket, for who is asked and for who asks; a reload reads the file anew."""
    path = tmp_path / "gfwd.toml"
    text = f"""control = "{tmp_path}/control"
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
[[rule]]
source = "*"
ports = 514
collectors = ["10.1.0.2"]
priority = "A"
"""
    path.write_text(text)
    live = site.stack.enter_context(Live([*gfwd, "run", "-c", path, "--json"], site.us))
    live.wait_for("forwarding from")
    assert site.forwards(b"one")
    assert json.loads(run("status", "-c", path, "--json").stdout)["forwarded"] == 1
    mac = site.near.mac("c0").hex(":")
    told = run("explain", "10.0.0.2:514", "-c", path, "--live")
    assert told.returncode == 0 and f"next hop 10.1.0.2, {mac}  ready" in told.stdout, told.stdout
    site.near.address("c0", "10.1.0.3/24")
    path.write_text(text.replace("10.1.0.2", "10.1.0.3"))
    told = run("explain", "10.0.0.2:514", "-c", path, "--live")
    assert "the gfwd that runs has other rules" in told.stdout
    assert run("reload", "-c", path).returncode == 0
    assert site.forwards(b"two") and site.collector.arrived()[-1].destination == "10.1.0.3"
    path.write_text(text.replace("xdp:out0", "xdp:in0"))
    told = run("reload", "-c", path)
    what = "the ports cannot change while gfwd runs; put it back, or restart gfwd"
    assert (told.returncode, told.stderr) == (2, f"{path}: error: {what}\n")
    path.write_text("nonsense")
    told = run("reload", "--control", f"{tmp_path}/control")
    assert told.returncode == 2 and "gfwd.toml:1:" in told.stderr
    assert site.forwards(b"three")
    path.write_text(text.replace("priority", "priorty"))  # which gfwd itself need not know of to be asked, and to end
    told = run("reload", "-c", path)
    assert told.returncode == 2 and "did you mean priority?" in told.stderr
    live.wait_for("reload: error: nothing has changed")
    assert json.loads(run("status", "-c", path, "--json").stdout)["forwarded"] == 3
    assert run("stop", "-c", path).returncode == 0
    assert live.ended().status == 0
