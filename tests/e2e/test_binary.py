"""The single binary that `make binary` makes: it says and does what the sources say and do, and is one process.

The other tests here try it too, where they are told: pytest --gfwd .cache/binary/gfwd tests/e2e
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Run, runner
from tests.e2e.live import BOTH_ARMS, Site, require, wait_until, xdp_programs
from tests.e2e.test_card import TO_NEAR, features
from tests.e2e.test_replay import ADDRESSES, DEMO, EXPORTERS, SOFTFLOWD

BINARY = ROOT / ".cache/binary/gfwd"


def is_current() -> bool:
    """Whether there is one, and nothing that it is made of has changed since."""
    sources = [file for folder in ("gfwd", "build") for file in (ROOT / folder).rglob("*.*") if file.is_file()]
    newest = max(file.stat().st_mtime for file in sources if "__pycache__" not in file.parts)
    return BINARY.exists() and BINARY.stat().st_mtime >= newest


pytestmark = pytest.mark.skipif(not is_current(), reason="no single binary of these sources; make binary makes one")


@pytest.fixture
def unpacked(tmp_path, monkeypatch) -> Path:
    """The folder in which the binary makes a folder for what it unpacks; nothing is left there at the end."""
    folder = Path(tmp_path, "unpacked")
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def binary(unpacked) -> Iterator[Run]:
    yield runner([BINARY])
    wait_until(lambda: not any(unpacked.iterdir()))


@pytest.fixture
def site(unpacked, tmp_path) -> Iterator[Site]:
    require()
    with Site([str(BINARY)], tmp_path) as made:
        yield made
    wait_until(lambda: not any(unpacked.iterdir()))


# ---- as the sources ----


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["check", "--rules", DEMO, "--print"],
        ["check", "--rules", "/none.rules"],
        ["check", "--nothing"],
    ],
    ids=lambda arguments: " ".join(map(str, arguments)),
)
def test_says_what_the_sources_say(run, binary, arguments):
    of_binary, of_sources = binary(*arguments), run(*arguments)
    assert (of_binary.returncode, of_binary.stdout, of_binary.stderr) == (
        of_sources.returncode, of_sources.stdout, of_sources.stderr,
    )  # fmt: skip


@pytest.mark.parametrize("capture", [EXPORTERS, SOFTFLOWD], ids=lambda path: path.name)
@pytest.mark.parametrize("options", [[], ["--json", *ADDRESSES]], ids=["text", "json"])
def test_replays_byte_for_byte_as_the_sources(run, binary, tmp_path, capture, options):
    done = [
        gfwd("replay", capture, "-o", tmp_path / name, "--rules", DEMO, *options)
        for gfwd, name in ((binary, "binary.pcap"), (run, "sources.pcap"))
    ]
    assert (tmp_path / "binary.pcap").read_bytes() == (tmp_path / "sources.pcap").read_bytes()
    assert done[0].returncode == done[1].returncode == 0
    assert (done[0].stdout, done[0].stderr) == (done[1].stdout, done[1].stderr)


def test_lab(binary):
    """It starts itself once more, as the forwarder."""
    require()
    done = binary("lab", "--seconds", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["as_the_rules_say"] is True


# ---- the process that was started is gfwd itself ----


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_signals(site, end):
    before = features(site)
    live = site.run(TO_NEAR)
    assert site.forwards(b"datagram")
    live.send(signal.SIGHUP)
    live.send(signal.SIGUSR1)
    live.wait_for("collector", "dropped", "* 514 10.1.0.2 A")
    assert site.forwards(b"another one")
    ended = live.stop(end)
    assert ended.status == 0
    assert ended.account()["forwarded"] == 2
    assert features(site) == before


def test_killed(site):
    live = site.run(TO_NEAR)
    assert xdp_programs(site.us, "in0") == 1
    live.kill()
    wait_until(lambda: xdp_programs(site.us, "in0") == 0)


@pytest.mark.parametrize("closed", ["<&- 2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_started_without_stdio(site, unpacked, closed):
    """What it says then goes nowhere, and what is unpacked stays while it runs."""
    live = site.start(TO_NEAR, *BOTH_ARMS, prefix=["sh", "-c", f'exec "$@" {closed}', "sh"])
    wait_until(lambda: xdp_programs(site.us, "in0") == 1)
    site.wait_until_it_forwards(b"datagram")
    live.send(signal.SIGUSR1)
    site.wait_until_it_forwards(b"another one")
    assert any(unpacked.iterdir())
    assert live.stop().status == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_that_ends_it_is_seen_outside(unpacked, tmp_path, number):
    """Not as a status of 128 and more, by which a parent that is no shell could not tell."""
    endless = tmp_path / "endless.pcap"
    os.mkfifo(endless)
    command = [BINARY, "replay", endless, "-o", "/dev/null", "--rules", DEMO]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as replay, endless.open("wb"):  # it has opened the other end
        replay.send_signal(number)
        assert replay.communicate(timeout=20)[1] == b""
    assert replay.returncode == -number
    wait_until(lambda: not any(unpacked.iterdir()))
