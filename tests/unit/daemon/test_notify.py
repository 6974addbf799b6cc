"""What a service manager is told, over a real Unix socket, with a clock that the test turns."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.daemon.notify import Notify
from gfwd.native.core import Core, Limits

pytestmark = pytest.mark.pure

USEC = "10000000"  # ten seconds: it is to be told every five
HALF_S = 5.0


class Manager:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": USEC, "WATCHDOG_PID": str(os.getpid())}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.socket.setblocking(False)

    def told(self) -> list[list[str]]:
        """All messages since the last call, each as its lines."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def ticks(self) -> int:
        return self.told().count(["WATCHDOG=1"])


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path) -> Iterator[Manager]:
    if request.param == "abstract" and os.uname().sysname != "Linux":
        pytest.skip("abstract names are Linux'")
    made = Manager(f"@gfwd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify"))
    with made.socket:
        yield made


def test_what_is_said(manager):
    with Notify(manager.environment) as notify:
        notify.ready("forwarding from a to b", 0.0)
        notify.reloading()
        notify.ready("not reloaded: first line\nsecond line", 1.0)
        notify.stopping()
    ready, reloading, again, stopping = manager.told()
    assert ready == ["READY=1", "STATUS=forwarding from a to b"]
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=") and reloading[1].removeprefix("MONOTONIC_USEC=").isdigit()
    assert again == ["READY=1", "STATUS=not reloaded: first line …"]
    assert stopping == ["STOPPING=1", "STATUS=stopping"]


def test_children_do_not_inherit_it(manager):
    environment = manager.environment | {"PATH": "/bin"}
    with Notify(environment):
        assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/path", "/none/there", "/" + "x" * 200])
def test_without_a_service_manager_nothing_happens(address):
    with Notify({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": USEC}) as notify:
        notify.ready("forwarding", 0.0)
        notify.reloading()
        notify.advance([1], 1.0)
        notify.stopping()
        assert notify.deadline() is None


def test_a_service_manager_that_goes_away_ends_nothing(manager):
    with Notify(manager.environment) as notify:
        manager.socket.close()
        notify.ready("forwarding", 0.0)
        notify.advance([1], 0.0)


@pytest.mark.parametrize(
    "asked", [{"WATCHDOG_PID": "1"}, *({"WATCHDOG_USEC": usec} for usec in ("0", "often", "", "-1", "²", "9" * 400))]
)
def test_nobody_asks_whether_it_lives(manager, asked):
    with Notify(manager.environment | asked) as notify:
        notify.ready("forwarding", 0.0)
        notify.advance([1], 100.0)
        assert notify.deadline() is None and manager.ticks() == 0


def test_it_lives_from_ready_on(manager):
    with Notify(manager.environment) as notify:
        notify.advance([1], 0.0)
        assert notify.deadline() is None and manager.told() == []
        notify.ready("forwarding", 1.0)
        assert notify.deadline() == 1.0
        for number, now in enumerate((1.0, 3.0, 1.0 + HALF_S, 2.0 + HALF_S)):
            notify.advance([number], now)
        assert manager.ticks() == 2
        assert notify.deadline() == 1.0 + 2 * HALF_S
        notify.ready("reloaded", 2.0 + HALF_S)
        assert notify.deadline() == 1.0 + 2 * HALF_S


def test_a_worker_that_has_ended_is_not_waited_for(manager):
    with Notify(manager.environment) as notify:
        notify.ready("forwarding", 0.0)
        manager.told()
        for n in range(10):
            notify.advance([n, 7 if n < 1 else None], n * HALF_S)
            assert manager.ticks() == 1


@given(hangs_from=st.integers(0, 20), worker=st.integers(0, 2), comes_back=st.integers(1, 10))
def test_one_worker_that_hangs_is_enough(tmp_path_factory, hangs_from, worker, comes_back):
    """From one interval after it hangs on nothing is heard, until it goes on."""
    manager = Manager(str(tmp_path_factory.mktemp("notify") / "notify"))
    with manager.socket, Notify(manager.environment) as notify:
        notify.ready("forwarding", 0.0)
        manager.told()
        for n in range(hangs_from + comes_back + 10):
            rounds = [n, n, n]
            is_hung = hangs_from <= n < hangs_from + comes_back
            rounds[worker] = hangs_from if is_hung else n
            notify.advance(rounds, n * HALF_S)
            assert manager.ticks() == (0 if is_hung and n > hangs_from + 1 else 1), n


def test_an_idle_worker_is_no_dead_one(manager):
    """It goes round once a second, and here it is to be told four times in that time."""
    with Notify(manager.environment | {"WATCHDOG_USEC": "500000"}) as notify:
        notify.ready("forwarding", 0.0)
        manager.told()
        for n in range(100):
            notify.advance([n // 4], n * 0.25)
            assert manager.ticks() == 1


def test_rounds_of_a_worker():
    """They are begun, also where there is nothing to do."""
    with Core(Limits(rules=1, collectors=1, neighbours=1, exporters=1, flows=1)) as core:
        region = core.region(2, 64)
        port = core.port_mem(region)
        worker = core.worker([(port, 0)], [(port, 0)])
        before = worker.rounds()
        for _ in range(3):
            worker.step()
        assert worker.rounds() == before + 3
