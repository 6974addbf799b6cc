"""gfwd under a service manager, which the test plays: what it is told, and when (sd_notify(3))."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.live import BOTH_ARMS, Live, Site, wait_until

TO_NEAR = "* 514 10.1.0.2 A"
HALF_S = 1.0  # of $WATCHDOG_USEC
SILENCE_S = 4 * HALF_S
"""So long nothing must be heard of a gfwd that hangs. A busy machine makes it longer, and never shorter."""

_PTRACE_SEIZE, _PTRACE_INTERRUPT, _PTRACE_DETACH, _WALL = 0x4206, 0x4207, 17, 0x40000000  # linux/ptrace.h, wait.h
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p


class Manager:
    """The service manager's socket, and all that was said there, in turn."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        usec = round(2 * HALF_S * 1e6)
        self.prefix = "env", f"NOTIFY_SOCKET={path}", f"WATCHDOG_USEC={usec}"
        self.said: list[dict[str, str]] = []

    def look(self) -> list[dict[str, str]]:
        while True:
            try:
                lines = self.socket.recv(65_536).decode().split("\n")
            except BlockingIOError:
                return self.said
            self.said.append(dict(line.split("=", 1) for line in lines))

    def words(self) -> list[str]:
        """All but the sign of life, by their first names."""
        return [next(iter(one)) for one in self.look() if "WATCHDOG" not in one]

    def ticks(self) -> int:
        return sum("WATCHDOG" in one for one in self.look())

    def wait_for(self, *words: str) -> dict[str, str]:
        """Until these are what was said, and nothing else; returns the last one."""
        wait_until(lambda: len(self.words()) >= len(words), lambda: f"{self.words()} is all that was said")
        assert self.words() == list(words)
        return [one for one in self.said if "WATCHDOG" not in one][-1]

    def hears(self) -> None:
        """Until a sign of life comes, from now on."""
        before = self.ticks()
        wait_until(lambda: self.ticks() > before)

    def hears_nothing(self) -> None:
        """An idle worker may take two seconds for a round, so what was true until then is said until then."""
        time.sleep(4 * HALF_S)
        before = self.ticks()
        time.sleep(SILENCE_S)
        assert self.ticks() == before


@pytest.fixture
def manager(tmp_path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    with made.socket:
        yield made


@pytest.fixture
def live(site: Site, manager: Manager) -> Live:
    return site.start(TO_NEAR, *BOTH_ARMS, prefix=manager.prefix)


def test_from_start_to_end(site, live, manager):
    ready = manager.wait_for("READY")
    assert ready["STATUS"].startswith("forwarding from xdp:in0")
    assert site.forwards(b"datagram")  # the first one that was sent: ready means that it forwards
    manager.hears()
    manager.hears()
    live.send(signal.SIGTERM)
    assert live.ended().status == 0
    assert manager.wait_for("READY", "STOPPING") == {"STOPPING": "1", "STATUS": "stopping"}


def test_not_ready_before_it_forwards(site, manager):
    """Where it cannot, it never was."""
    live = site.start(TO_NEAR, "--in", "xdp:none0", "--out", "xdp:out0", "--json", prefix=manager.prefix)
    assert live.ended().status != 0
    assert manager.words() == []


def test_reload(site, live, manager):
    manager.wait_for("READY")
    site.rules("* 514 10.1.0.2 A\n* 515 10.1.0.2 A")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    live.send(signal.SIGHUP)
    done = manager.wait_for("READY", "RELOADING", "READY")
    assert "reloaded, 2 rules" in done["STATUS"]
    reloading = next(one for one in manager.said if "RELOADING" in one)
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000

    site.rules("nonsense\nmore of it\n")
    live.send(signal.SIGHUP)
    refused = manager.wait_for("READY", "RELOADING", "READY", "RELOADING", "READY")
    assert refused["STATUS"].startswith("not reloaded: ")
    assert site.forwards(b"as before")
    assert live.stop().status == 0


def test_a_reload_that_is_only_tried_is_none(site, run, manager, tmp_path):
    control = tmp_path / "control"
    live = site.start(TO_NEAR, *BOTH_ARMS, "--control", str(control), prefix=manager.prefix)
    manager.wait_for("READY")
    assert run("reload", "--control", control, "--dry-run").returncode == 0
    assert manager.words() == ["READY"]
    assert run("reload", "--control", control).returncode == 0
    manager.wait_for("READY", "RELOADING", "READY")  # said before whoever asked has the answer
    assert live.stop().status == 0


def test_a_reload_that_nobody_asked_for_is_one(site, gfwd, manager, tmp_path):
    """watch = true."""
    rules, toml = site.rules(TO_NEAR), tmp_path / "gfwd.toml"
    toml.write_text(f'watch = true\nrules = "{rules}"\nports.in = ["xdp:in0"]\nports.out = ["xdp:out0"]\n')
    live = site.stack.enter_context(Live([*manager.prefix, *gfwd, "run", "-c", toml, "--json"], site.us))
    manager.wait_for("READY")
    site.rules(f"{TO_NEAR}\n* 515 10.1.0.2 A\n")
    done = manager.wait_for("READY", "RELOADING", "READY")
    assert "reloaded, 2 rules" in done["STATUS"]
    assert live.stop().status == 0
    assert manager.words() == ["READY", "RELOADING", "READY", "STOPPING"]


def test_a_process_that_hangs_is_silent(live, manager):
    manager.wait_for("READY")
    manager.hears()
    live.freeze()
    manager.hears_nothing()
    live.thaw()
    manager.hears()


def test_a_worker_that_hangs_is_noticed(site, live, manager):
    """All but one thread go on: the loop does, and says nothing."""
    manager.wait_for("READY")
    manager.hears()
    with stopped(worker_of(live)):
        manager.hears_nothing()
        live.send(signal.SIGHUP)
        manager.wait_for("READY", "RELOADING", "READY")  # the loop is well
    manager.hears()
    assert site.forwards(b"datagram")


# ---- one thread of a process ----


def worker_of(live: Live) -> int:
    """The only thread that has asked for exact naps (worker.c)."""
    threads = [int(name) for name in os.listdir(f"/proc/{live.process.pid}/task")]
    [found] = [number for number in threads if Path(f"/proc/{number}/timerslack_ns").read_text("ascii").strip() == "1"]
    return found


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """One thread of another process stands still; the others go on (ptrace(2))."""
    _ptrace(_PTRACE_SEIZE, thread)
    try:
        _ptrace(_PTRACE_INTERRUPT, thread)
        os.waitpid(thread, _WALL)
        yield
    finally:
        _ptrace(_PTRACE_DETACH, thread)


def _ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, None, None) == -1:
        pytest.skip(f"a single thread cannot be stopped here: {os.strerror(ctypes.get_errno())}")
