"""gfwd bench core: figures of every case, on the least of rounds."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from gfwd.daemon.workload import OPTIONS
from tests.e2e.conftest import interrupt_at_work

FEW = ["--repeats", "1", "--rounds", "2"]
SMALL = ["--case", "rules=10,exporters=50,frame_bytes=60", "--case", "rules=20,collectors=3"]
KEYS = {
    *("rules", "collectors", "exporters", "frame_bytes", "flood", "option"),
    *("ns_per_packet", "spread", "mpps", "swap_ns", "copy_ns", "fill_ns", "load_s", "rss_mb"),
    "instructions_per_packet",
}


def test_lines_for_scripts(run):
    done = run("bench", "core", "--json", *FEW, *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first.keys() == second.keys() == KEYS
    assert [first[name] for name in ("rules", "collectors", "exporters", "frame_bytes", "flood")] == [10, 1, 50, 60, 0]
    assert [second[name] for name in ("rules", "collectors", "exporters", "frame_bytes")] == [20, 3, 10_000, 188]
    for result in (first, second):
        assert 0 < result["ns_per_packet"] == pytest.approx(1_000 / result["mpps"])
        assert min(result["swap_ns"], result["fill_ns"]) > 0
        assert result["spread"] == 0
        assert 0 < result["load_s"] < 10
        assert 5 < result["rss_mb"] < 100
        assert result["instructions_per_packet"] is None


def test_in_a_folder_with_something_of_the_same_name(run, tmp_path):
    (tmp_path / "gfwd").mkdir()
    done = run("bench", "core", "--json", *FEW, *SMALL, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_flood(run):
    done = run("bench", "core", "--json", *FEW, "--case", "rules=10,exporters=10,flood=100")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["flood"] == 100


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option(run, option):
    done = run("bench", "core", "--json", *FEW, "--case", f"rules=10,exporters=10,option={option}")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["option"] == option and result["ns_per_packet"] > 0


def test_table_for_people(run):
    cases = ["--case", "rules=10", "--case", "rules=10000", "--case", "rules=10000,collectors=4"]
    done = run("bench", "core", *FEW, *cases)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:5] for line in done.stdout.splitlines()[2:5]] == [
        ["10", "1", "10,000", "188", "0"],
        ["10,000", "1", "10,000", "188", "0"],
        ["10,000", "4", "10,000", "188", "0"],
    ]
    assert "\neach further collector, beyond a copy of the frame" in done.stdout


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="instructions are counted with valgrind")
def test_instructions(run):
    """A packet's instructions do not depend on the size of the frame, and more collectors need more."""
    cases = ["--case", "rules=10,exporters=50", "--case", "rules=10,exporters=50,frame_bytes=600"]
    cases += ["--case", "rules=10,exporters=50,collectors=2"]
    done = run("bench", "core", "--json", "--instructions", *FEW, *cases)
    assert (done.returncode, done.stderr) == (0, "")
    short, long, two = (json.loads(line)["instructions_per_packet"] for line in done.stdout.splitlines())
    assert 50 < short < 1_000
    assert long == pytest.approx(short, rel=0.02)
    assert short * 1.2 < two < short * 3


def test_interrupted(gfwd):
    """^C reaches all processes of a terminal: each ends, and none says anything."""
    command = [*gfwd, "bench", "core", "--json", "--rounds", "100000", *SMALL]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as bench:
        output, errors = interrupt_at_work(bench, lambda: os.killpg(bench.pid, signal.SIGINT))
    assert (bench.returncode, output, errors) == (130, "", "")
