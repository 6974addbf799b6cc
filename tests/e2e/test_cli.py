"""The command line as a whole: checking rules, bad usage, pipes that close, ^C."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gfwd import __version__
from tests.e2e.conftest import ROOT, SECONDS, interrupt_at_work
from tests.e2e.live import require
from tests.e2e.test_replay import DATA, DEMO, EXPORTERS

GOLDEN = Path(__file__).parents[1] / "golden" / "rules"
CONFIGURATIONS = GOLDEN.with_name("config")


def test_version(run):
    """The first line is for scripts; the others name what a report of a fault should."""
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    first, *others = done.stdout.splitlines()
    assert first == f"gfwd {__version__}"
    said = dict(line.split(maxsplit=1) for line in others if not line.startswith("netmap API"))
    assert said.keys() == {"commit", "ports", "compiler", "Python", "runs"}
    assert re.fullmatch(r"unknown|[0-9a-f]{7,40}( with changes)?", said["commit"])
    assert {"netmap", "pcap", "mem"} < set(said["ports"].split(", "))
    assert re.search(r"^netmap API +(1[1-9]|[2-9]\d)$", done.stdout, re.MULTILINE)
    assert said["Python"].startswith("3.")


def test_licences(run):
    done = run("--licences")
    assert (done.returncode, done.stderr) == (0, "")
    assert "BSD-2-Clause" in done.stdout


def test_as_a_module(run):
    command = [sys.executable, "-m", "gfwd"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0
    assert done.stdout.startswith(f"gfwd {__version__}\n")
    wrong = subprocess.run([*command, "check", "--rules", "/none"], capture_output=True, check=False, timeout=SECONDS)
    assert wrong.returncode == 2


def test_help_names_every_command(run):
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("run", "replay", "check", "explain", "diff", "lab", "bench"):
        assert f"\n    {command} " in done.stdout
        assert run(command, "--help").returncode == 0


BUILT = pytest.mark.skipif(
    not (ROOT / ".venv/bin/gfwd").exists(), reason="the demo runs what make built, and nothing is built"
)


def demo(*before: str) -> subprocess.CompletedProcess[str]:
    """What `make demo` runs."""
    command = [*before, "sh", "build/demo.sh"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=SECONDS)


@BUILT
def test_demo_without_a_network():
    """Root that may do nothing, as in many a container, sees the demo from capture to capture; so do all others."""
    may_do_nothing = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
    done = demo(*(may_do_nothing if os.geteuid() == 0 else ()))
    assert done.returncode == 0
    assert "\n$ gfwd replay tests/data/" in f"\n{done.stdout}"
    assert "10.2.2.40:9996" in done.stdout


@BUILT
def test_demo_live():
    require()
    done = demo()
    assert done.returncode == 0
    assert "\n$ gfwd lab tests/data/" in f"\n{done.stdout}"
    assert "As the rules say" in done.stdout


# ---- check ----


def test_check_of_sound_rules(run):
    done = run("check", "--rules", DEMO)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{DEMO}: fine: 9 rules, 6 collectors\n", "")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.ok")), ids=lambda path: path.stem)
def test_canonical_form_and_warnings(run, write, path):
    rules = path.with_suffix(".rules")
    done = run("check", "--rules", rules.name, "--print", cwd=GOLDEN)
    warnings = path.with_suffix(".warn")
    assert done.returncode == 0
    assert done.stdout == path.read_text()
    assert done.stderr == (warnings.read_text() if warnings.exists() else "")
    again = run("check", "--rules", write("again.rules", done.stdout), "--print")
    assert again.stdout == done.stdout


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.err")), ids=lambda path: path.stem)
def test_errors(run, path):
    for options in ([], ["--print"]):
        done = run("check", "--rules", f"{path.stem}.rules", *options, cwd=GOLDEN)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", path.read_text())


def test_every_bad_line_is_named(run, tmp_path, write):
    rules = write("bad.rules", "".join(f"10.0.0.{i} 514 10.2.2.40 A\n" for i in range(1, 1_256)))
    for command in (["check"], ["replay", EXPORTERS, "-o", tmp_path / "out.pcap"]):
        done = run(*command, "--rules", rules)
        assert (done.returncode, done.stdout) == (2, "")
        starts = [line.partition(": error: ")[0] for line in done.stderr.splitlines()]
        assert starts == [f"{rules}:{line}:1" for line in range(256, 1_256)]
    assert not (tmp_path / "out.pcap").exists()


def test_rules_that_are_not_there(run, tmp_path):
    for command in (["check"], ["replay", EXPORTERS, "-o", tmp_path / "out.pcap"]):
        done = run(*command, "--rules", "/none.rules")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "/none.rules: error: cannot read the rules: No such file or directory\n"


def test_many_warnings_are_cut_short(run, write):
    rules = write("rules", "* * 10.2.2.40 A\n" + "".join(f"10.0.{i}.0/24 * 10.2.2.40 B\n" for i in range(50)))
    done = run("check", "--rules", rules)
    lines = done.stderr.splitlines()
    assert len(lines) == 21
    assert all(": warning: " in line for line in lines[:20])
    assert lines[20] == "and 30 more warnings (--all prints them)"
    assert done.stdout == f"{rules}: fine: 51 rules, 1 collector, 50 warnings\n"
    assert len(run("check", "--rules", rules, "--all").stderr.splitlines()) == 50
    assert len(json.loads(run("check", "--rules", rules, "--json").stdout)["problems"]) == 50


def test_check_for_scripts(run, write):
    done = run("check", "--rules", DEMO, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    outcome = json.loads(done.stdout)
    assert outcome == {
        "path": str(DEMO),
        "rules": 9,
        "collectors": [
            "10.2.2.40:9996", "10.2.2.40", "10.2.2.41:2055", "10.2.2.41", "[2001:db8:1::40]:2055", "2001:db8:1::41",
        ],
        "problems": [],
    }  # fmt: skip
    rules = write("rules", "* 514 10.2.2.40 A\n* 0 10.2.2.40 A\n* 1 10.2.2.40 B b\n")
    done = run("check", "--rules", rules, "--json")
    assert (done.returncode, done.stderr) == (2, "")
    outcome = json.loads(done.stdout)
    assert (outcome["rules"], outcome["collectors"]) == (None, None)
    assert [(p["line"], p["column"], p["kind"]) for p in outcome["problems"]] == [(2, 3, "error"), (3, 15, "error"),
                                                                                  (3, 17, "error")]  # fmt: skip


# ---- check of a gfwd.toml ----


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.glob("*.ok")), ids=lambda path: path.stem)
def test_canonical_configuration_and_warnings(run, write, path):
    done = run("check", "-c", f"{path.stem}.toml", "--print", cwd=CONFIGURATIONS)
    warnings = path.with_suffix(".warn")
    assert (done.returncode, done.stdout) == (0, path.read_text())
    assert done.stderr == (warnings.read_text() if warnings.exists() else "")
    again = run("check", "--config", write("again.toml", done.stdout), "--print")
    assert again.stdout == done.stdout


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.glob("*.err")), ids=lambda path: path.stem)
def test_errors_of_a_configuration(run, path):
    done = run("check", "-c", f"{path.stem}.toml", cwd=CONFIGURATIONS)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", path.read_text())


def test_check_of_a_configuration_for_scripts(run):
    done = run("check", "-c", "two-files.toml", cwd=CONFIGURATIONS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "two-files.toml: fine: 3 rules, 4 collectors\n", "")
    outcome = json.loads(run("check", "-c", "two-files.toml", "--json", cwd=CONFIGURATIONS).stdout)
    assert outcome == {
        "path": "two-files.toml",
        "rules": 3,
        "collectors": ["flow", "10.2.2.8", "log.example.net", "10.2.2.7"],
        "named": {"flow": "10.2.2.6:9995"},
        "groups": {},
        "problems": [],
    }
    done = run("check", "-c", "groups-in-rules.toml", cwd=CONFIGURATIONS)
    assert done.stdout == "groups-in-rules.toml: fine: 4 rules, 4 collectors, 1 group, 5 warnings\n"
    outcome = json.loads(run("check", "-c", "groups-in-rules.toml", "--json", cwd=CONFIGURATIONS).stdout)
    assert outcome["collectors"] == ["flow", "flow.example.net:9995", "10.2.2.8", "10.2.2.6:9995"]
    assert outcome["groups"] == {"farm": {"balance": "flow", "members": ["flow", "flow.example.net:9995"]}}
    done = run("check", "-c", "bad-two-files.toml", "--json", cwd=CONFIGURATIONS)
    outcome = json.loads(done.stdout)
    assert (done.returncode, done.stderr, outcome["rules"], outcome["groups"]) == (2, "", None, None)
    assert [(p["path"][-5:], p["line"], p["column"]) for p in outcome["problems"]] == [
        ("rules", 2, 17), ("rules", 2, 26), ("rules", 3, 11), (".toml", 2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_a_configuration_that_is_wrong_is_refused(run, command):
    done = run(command, "-c", "bad-two-files.toml", cwd=CONFIGURATIONS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (CONFIGURATIONS / "bad-two-files.err").read_text()
    done = run(command, "-c", "two-files.toml", "--workers", "2", cwd=CONFIGURATIONS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gfwd {command}: error: -c two-files.toml says it all: write --workers there")


# ---- bad usage ----


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "nothing",
        "--nothing",
        "check",
        "check --rules RULES --print --json",
        "check RULES",
        "explain --rules RULES",
        "explain 10.2.2.3:514",
        "explain 10.2.2.3 --rules RULES",
        "explain 10.2.2.3:514 2001:db8::3:514 --rules RULES",
        "explain 10.2.2.3:514 --rules RULES --listen 0",
        "diff RULES",
        "diff RULES RULES RULES",
        "diff RULES RULES --listen 0",
        "check -c RULES --rules RULES",
        "replay",
        "replay CAPTURE --rules RULES",
        "replay CAPTURE -o OUT",
        "replay -o OUT --rules RULES",
        "replay CAPTURE -o OUT --rules RULES --address 10.2.2.256",
        "replay CAPTURE -o OUT --rules RULES --address 10.2.2.1/33",
        "replay CAPTURE -o OUT --rules RULES --listen 0",
        "replay CAPTURE -o OUT --rules RULES --listen 1-65536",
        "replay CAPTURE -o OUT --rules RULES --neighbour 10.2.2.40",
        "replay CAPTURE -o OUT --rules RULES --neighbour 10.2.2.40=02:00:00:00:00",
        "replay CAPTURE -o OUT --rules RULES --neighbour 10.2.2.40=ff:ff:ff:ff:ff:ff",
        "replay CAPTURE -o OUT --rules RULES --neighbour log.example.net=02:00:00:00:00:01",
        "bench",
        "bench nothing",
        "bench core --repeats 0",
        "bench core --rounds x",
        "bench core --case rules=0",
        "bench core --case speed=10",
    ],
)
def test_bad_usage(run, tmp_path, arguments):
    paths = {"OUT": tmp_path / "out", "RULES": DEMO, "CAPTURE": EXPORTERS}
    done = run(*(paths.get(word, word) for word in arguments.split()))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")
    assert ": error: " in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_whose_name_is_no_text(run, tmp_path):
    rules = os.fsencode(tmp_path) + b"/\xff.rules"
    Path(os.fsdecode(rules)).write_bytes(DEMO.read_bytes())
    done = run("check", "--rules", os.fsdecode(rules))
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\udcff.rules: fine: 9 rules" in done.stdout


# ---- output that nobody reads ----


def test_a_reader_that_leaves(gfwd, write):
    """`gfwd … | head -n 1`: no message, whether much is left to write or little."""
    rules = write("rules", "".join(f"10.{i >> 8}.{i & 255}.0/24 * 10.2.2.40 A\n" for i in range(20_000)))
    for arguments in (["check", "--rules", str(rules), "--print"], ["--version"], ["--help"]):
        pipe = 'status=0; { "$@" || status=$?; echo $status >&2; } | head -n 1 >/dev/null'
        command = ["sh", "-c", pipe, "sh", *gfwd, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert done.stderr in ("0\n", "1\n")
        assert done.stderr == "1\n" or "--print" not in arguments
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        command = [*gfwd, "--version"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_standard_output_on_a_full_disk(run):
    with open("/dev/full", "wb") as full:
        for arguments in (["--version"], ["check", "--rules", DEMO, "--print"]):
            done = run(*arguments, stdout=full)
            assert (done.returncode, done.stderr) == (1, "gfwd: error: No space left on device\n")


def test_closed_standard_output(gfwd):
    command = ["sh", "-c", '"$@" >&-', "sh", *gfwd, "check", "--rules", str(DEMO)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")


# ---- ^C ----


@pytest.fixture
def endless_capture(tmp_path):
    """A capture that goes on and on, as from `tcpdump -w - |`, and an event that makes it fall silent."""
    path = tmp_path / "endless.pcap"
    os.mkfifo(path)
    records = EXPORTERS.read_bytes()
    is_silent = threading.Event()
    ended = threading.Event()

    def feed() -> None:
        with path.open("wb", buffering=0) as pipe:
            try:
                pipe.write(records)
                while not is_silent.is_set():
                    pipe.write(records[24:])
                ended.wait()
            except BrokenPipeError:
                pass

    feeder = threading.Thread(target=feed, daemon=True)  # it waits for ever where nobody reads
    feeder.start()
    yield path, is_silent
    is_silent.set()
    ended.set()
    feeder.join(timeout=5)


@pytest.mark.parametrize("silent", [False, True], ids=["busy", "waiting"])
def test_interrupted_replay(gfwd, tmp_path, endless_capture, silent):
    path, is_silent = endless_capture
    if silent:
        is_silent.set()
    command = [*gfwd, "replay", str(path), "-o", "/dev/null", "--rules", str(DEMO)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as replay:
        output, errors = interrupt_at_work(replay, lambda: replay.send_signal(signal.SIGINT))
    assert (replay.returncode, output, errors) == (130, "", "")


def test_interrupted_replay_leaves_whole_records(gfwd, run, tmp_path, endless_capture):
    out = tmp_path / "out.pcap"
    command = [*gfwd, "replay", str(endless_capture[0]), "-o", str(out), "--rules", str(DEMO)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as replay:
        while not out.exists() or out.stat().st_size < 1_000_000:
            time.sleep(0.01)
        replay.send_signal(signal.SIGINT)
        assert replay.communicate(timeout=SECONDS)[1] == ""
    assert replay.returncode == 130
    again = run("replay", out, "-o", "/dev/null", "--rules", DATA / "demo.rules", "--json")
    assert (again.returncode, again.stderr) == (0, "")
