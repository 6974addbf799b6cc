"""gfwd lab: the real thing in a network of its own. Needs Linux, root, and `gfwd run` with AF_XDP."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.live import require

DATA = Path(__file__).parents[1] / "data"
EXPORTERS, DEMO = DATA / "exporters.pcap", DATA / "demo.rules"
COLLECTORS = ("10.2.2.40", "10.2.2.41")  # of DEMO
SOON = 20  # seconds


@pytest.fixture(scope="module", autouse=True)
def live():
    require()


@pytest.fixture
def started(gfwd):
    """Start the lab as a shell does that ^C would interrupt; what has not ended by the end of the test is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [*gfwd, "lab", *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                text=True,
                process_group=0,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


# ---- what arrives ----


def test_own_traffic_by_own_rules(run):
    done = run("lab", "--seconds", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["as_the_rules_say"] is True
    assert found["sent"] > 0 and found["rate"] <= 1_000.5
    assert found["arrived"] == found["wanted"] == sum(each["arrived"] for each in found["collectors"].values())
    assert all(found[fault] == 0 for fault in ("lost", "reordered", "changed", "unasked", "misdirected"))
    assert set(found["lost_where"].values()) == {0}
    assert found["gfwd"]["received"] == found["gfwd"]["forwarded"] == found["sent"]
    assert found["gfwd"]["copies"]["sent"] == found["arrived"]
    assert [each["place"] for each in found["collectors"].values()] == ["on the link", "behind the router"]
    assert [each["exporters"] for each in found["collectors"].values()] == [2, 2]


def test_capture_by_rules(run):
    """110 datagrams fit more than four times in half a thousand; what is IPv6 is left out, and said."""
    done = run("lab", EXPORTERS, "--rules", DEMO, "--rate", "500", "--seconds", "1", "--json")
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == (
        f"{EXPORTERS}: warning: left out 40 datagrams over IPv6, and the lab speaks IPv4 only for now"
    )
    found = json.loads(done.stdout)
    assert found["arrived"] == found["wanted"] > found["sent"] > 110
    assert tuple(found["collectors"]) == COLLECTORS


def test_text_for_people(run):
    done = run("lab", "--seconds", "2")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("As the rules say: ")
    assert any(line.startswith("1 s: ") and "collector 2: " in line for line in lines)
    assert "\033" not in done.stdout


def test_datagrams_without_a_rule_are_wanted_nowhere(run, write):
    rules = write("one.rules", "192.0.2.1 2055 198.51.100.10 A\n")
    done = run("lab", "--rules", rules, "--seconds", "1", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["gfwd"]["drops"]["no_rule"] == found["sent"] - found["wanted"] > 0


def test_an_exporter_may_be_a_collector(run, write):
    rules = write("both.rules", "default 2055 192.0.2.1 192.0.2.2\n")
    assert run("lab", "--rules", rules, "--seconds", "1").returncode == 0


def test_what_gfwd_refuses_is_shown(run, tmp_path):
    done = run("lab", "--rules", tmp_path / "none.rules")
    assert (done.returncode, done.stdout) == (2, "")
    assert "none.rules" in done.stderr and "Traceback" not in done.stderr


# ---- how it ends ----


def test_interrupt_ends_it_early_with_the_summary(started):
    process = started("--seconds", "600")
    wait_for_traffic(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of the group
    stdout, stderr = process.communicate(timeout=SOON)
    assert (process.returncode, stderr) == (0, "")
    assert stdout.splitlines()[-1].startswith("As the rules say: ")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_a_lab_that_is_killed(started, number):
    """The interfaces of the forwarder's namespace are the ends of cables to two others, and go when those do."""
    before = os.readlink("/proc/self/ns/net"), {name for _, name in socket.if_nameindex()}
    process = started("--seconds", "600", "--json")
    forwarder = forwarder_of(process)
    with holding_namespace_of(forwarder) as interfaces:
        assert {"in0", "out0"} <= interfaces()
        process.send_signal(number)
        process.wait(SOON)
        assert soon(lambda: not Path(f"/proc/{forwarder}").exists())
        assert soon(lambda: interfaces().isdisjoint({"in0", "out0"}))
    assert (os.readlink("/proc/self/ns/net"), {name for _, name in socket.if_nameindex()}) == before


def test_a_forwarder_that_dies_is_told_of(started):
    process = started("--seconds", "600")
    wait_for_traffic(process)
    os.kill(forwarder_of(process), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=SOON)
    assert process.returncode == 1
    assert stdout.splitlines()[-1].startswith("NOT as the rules say: ")
    assert stderr.startswith("gfwd run: error: it was ended by SIGKILL")


def wait_for_traffic(process: subprocess.Popen[str]) -> None:
    """Read up to the line that tells of the first second."""
    assert process.stdout is not None
    assert any(line.startswith("1 s: ") for line in process.stdout)


def forwarder_of(process: subprocess.Popen[str]) -> int:
    """The process id of the forwarder, once both of its interfaces are there."""

    def child() -> int | None:
        with suppress(OSError):
            for text in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split():
                if "in0" in Path(f"/proc/{text}/net/dev").read_text("ascii"):
                    return int(text)
        return None

    assert soon(lambda: process.poll() is not None or child() is not None) and process.poll() is None
    found = child()
    assert found is not None
    return found


def soon(is_so) -> bool:
    deadline = time.monotonic() + SOON
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(is_so())


@contextmanager
def holding_namespace_of(pid: int) -> Iterator:
    """Keeps a network namespace alive, and tells which interfaces are in it."""
    with open(f"/proc/{pid}/ns/net", "rb") as namespace:

        def interfaces() -> set[str]:
            command = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{namespace.fileno()}", "cat", "/proc/self/net/dev"]
            listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            return {line.split(":")[0].strip() for line in listed.splitlines()[2:]}

        yield interfaces
