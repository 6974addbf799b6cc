"""The rc.d script, with gfwd's own check, and a small rc.subr in FreeBSD's place.

That one calls what the script names for a command, as rc.subr(8) describes it, and says what it would start.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

SCRIPT = ROOT / "packaging/freebsd/gfwd.in"

RC_SUBR = """
load_rc_config() { . "$RC_CONF"; }
warn() { echo "WARNING: $*" >&2; }
check_pidfile() { [ ! -f "$1" ] || cat "$1"; }
_run_rc_notrunning() { echo "$name not running?" >&2; }
run_rc_command() {
	rc_pid=$(check_pidfile "$pidfile")
	eval "pre=\\$${1}_precmd cmd=\\$${1}_cmd post=\\$${1}_postcmd"
	if [ -n "$pre" ]; then $pre || exit 1; fi
	if [ -n "$cmd" ]; then $cmd; else echo "$1: $command $command_args"; fi || exit
	if [ -n "$post" ]; then $post; fi
}
"""

GOOD = """
ports.both = ["netmap:ix0"]
rules = "gfwd.rules"
"""


class Service:
    """The script as it is installed, but below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "gfwd.toml"
        self.config.write_text(GOOD)
        (folder / "gfwd.rules").write_text("* 514 10.2.2.8 A\n")
        (folder / "rc.subr").write_text(RC_SUBR)
        self.pidfile = folder / "run/gfwd.pid"
        program = folder / "gfwd"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gfwd "$@"\n')
        program.chmod(0o755)
        text = SCRIPT.read_text()
        for before, after in (
            ("/etc/rc.subr", f"{folder}/rc.subr"),
            ("%%GFWD%%", str(program)),
            ("%%PREFIX%%", "/usr/local"),
            ("/var/run/gfwd", f"{folder}/run"),
        ):
            assert before in text
            text = text.replace(before, after)
        self.script = folder / "rc.d"
        self.script.write_text(text)
        (folder / "rc.conf").write_text(
            f'gfwd_config="{self.config}"\ngfwd_user="$(id -un)"\ngfwd_tmpdir="{folder}/cache"\n'
            "gfwd_flags=--json\ngfwd_wait=5\n"
        )

    def __call__(self, command: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"RC_CONF": str(self.folder / "rc.conf"), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            ["sh", str(self.script), command], env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture
def service(tmp_path) -> Service:
    return Service(tmp_path)


def test_it_is_what_rc_8_reads() -> None:
    text = SCRIPT.read_text()
    assert text.startswith("#!/bin/sh\n")
    for line in ("# PROVIDE: gfwd", "# REQUIRE: FILESYSTEMS NETWORKING syslogd", "# KEYWORD: shutdown"):
        assert f"\n{line}\n" in text
    assert text.endswith('run_rc_command "$1"\n')
    extra = re.search(r'^extra_commands="(.*)"$', text, re.MULTILINE)
    assert extra is not None
    for command in [*extra[1].split(), "status"]:
        assert f"\n{command}_cmd=gfwd_{command}\n" in text
        assert f"\ngfwd_{command}()\n" in text


def test_configtest(service) -> None:
    done = service("configtest")
    assert (done.returncode, done.stdout) == (0, f"{service.config}: fine: 1 rule, 1 collector\n")
    service.config.write_text(GOOD + "speed = 9\n")
    done = service("configtest")
    assert done.returncode != 0
    assert done.stderr.startswith(f"{service.config}:4:1: error: ")


def test_start_runs_gfwd_behind_daemon_8(service) -> None:
    done = service("start")
    (started,) = re.findall(r"^start: (.*)$", done.stdout, re.MULTILINE)
    assert started == (
        f"/usr/sbin/daemon -c -f -p {service.pidfile} -S -T gfwd {service.folder}/gfwd run -c {service.config} --json"
    )
    assert (service.folder / "cache").stat().st_mode & 0o777 == 0o700
    # Nothing was started here, and that is noticed.
    assert "gfwd has ended" in done.stderr
    assert done.returncode != 0


@pytest.fixture
def running(service) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the place of a gfwd that runs; any signal ends it."""
    with subprocess.Popen(["sleep", "600"]) as process:
        (service.folder / "run").mkdir()
        service.pidfile.write_text(str(process.pid))
        yield process
        process.kill()


@pytest.mark.parametrize("command", ["start", "restart", "reload"])
def test_a_bad_configuration_is_refused_and_what_runs_is_left_alone(service, running, command) -> None:
    service.config.write_text("speed = 9\n")
    done = service(command)
    assert done.returncode != 0
    assert done.stdout == ""
    assert f"{service.config}:1:1: error: " in done.stderr
    assert "nothing has changed" in done.stderr
    assert running.poll() is None


def test_without_a_control_socket_a_reload_is_a_signal(service, running) -> None:
    done = service("reload")
    assert done.returncode == 0, done.stderr
    assert "SIGHUP" in done.stdout
    assert running.wait(30) == -signal.SIGHUP


def test_without_a_control_socket_a_start_waits_for_no_answer(service, running) -> None:
    done = service("start")
    assert done.returncode == 0, done.stderr
    assert "has not answered" not in done.stderr


def test_with_one_it_does(service, running) -> None:
    service.config.write_text(f'control = "{service.folder}/run/control"\n{GOOD}')
    done = service("start")
    assert f"runs as pid {running.pid}, and has not answered in 5 s" in done.stderr


@pytest.mark.parametrize("command", ["reload", "status", "info"])
def test_what_does_not_run_cannot_be_asked(service, command) -> None:
    done = service(command)
    assert done.returncode == 1
    assert "not running" in done.stdout + done.stderr
