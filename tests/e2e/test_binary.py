"""The single binary that `make binary` makes: it says and does what the sources say and do, and is one process.

The other tests here try it too, where they are told: pytest --gfwd .cache/binary/gfwd tests/e2e
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, SECONDS, Run, runner
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


def test_version(run, binary):
    """Python may be another one, and that it is a binary is said."""
    of_binary, of_sources = binary("--version").stdout.splitlines(), run("--version").stdout.splitlines()
    assert of_binary[:-2] == of_sources[:-2]
    assert of_binary[-1].startswith("runs       in a single binary")


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


# ---- where it unpacks to ----

FULL = "tmpfs -o size=1m"
NOEXEC = "tmpfs -o noexec"
READ_ONLY = "tmpfs -o ro"


@pytest.fixture
def among() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `gfwd --version` with other file systems mounted on its folders, as nobody else sees them."""
    require()

    def start(mounts: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
        lines = [f"mount -t tmpfs {kind.removeprefix('tmpfs ')} none {folder}" for folder, kind in mounts.items()]
        # A copy, since the checkout may be in a folder that is mounted upon.
        script = f"cp {shlex.quote(str(BINARY))} /opt/gfwd; " + "; ".join([*lines, "exec /opt/gfwd --version"])
        return subprocess.run(
            ["unshare", "--mount", "sh", "-ec", f"mount -t tmpfs none /opt; {script}"],
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return start


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (FULL, "No space left on device"),
        (NOEXEC, "no program may run there: it is mounted noexec"),
        (READ_ONLY, "Read-only file system"),
        ("tmpfs -o mode=777", "others may change what is in it"),
        ("tmpfs -o uid=65534", "belongs to another user"),
    ],
    ids=["full", "noexec", "read-only", "open to others", "another user's"],
)
def test_a_folder_that_will_not_do(among, kind, why):
    """Alone it is passed over; where all are such, it is said why, and what to do."""
    passed_over = among({"/tmp": kind})
    assert (passed_over.returncode, passed_over.stderr) == (0, "")
    folders = ("/tmp", "/var/tmp", "/run", "/dev/shm")
    refused = among(dict.fromkeys(folders, kind), TMPDIR="/tmp/none")
    first, second, *others, last = refused.stderr.splitlines()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert first == "gfwd: error: no folder to unpack to:"
    assert second == "  /tmp/none: No such file or directory"
    assert others == [f"  {folder}: {why}" for folder in folders]
    assert "TMPDIR" in last


@pytest.mark.parametrize("folder", ["/none", "none", "/dev/null", ""])
def test_tmpdir_that_is_none(folder):
    done = subprocess.run([str(BINARY), "--version"], env={"TMPDIR": folder}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_home(among):
    """It wants nothing there."""
    done = among({"/root": READ_ONLY, "/home": READ_ONLY}, HOME="/root")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "variable",
    [
        "PYTHONDEVMODE=1",
        "PYTHONHASHSEED=none",
        "PYTHONINSPECT=1",
        "PYTHONIOENCODING=none",
        "PYTHONMALLOC=none",
        "PYTHONVERBOSE=1",
    ],
)
def test_what_is_meant_for_the_hosts_python(variable):
    """It is none of gfwd's business."""
    name, _, value = variable.partition("=")
    environment = {"OTHER": "1", name: value, "PYTHONHOME": "/none", "LANG": "C.UTF-8"}
    done = subprocess.run([str(BINARY), "--version"], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"gfwd ")


def test_no_proc():
    require()
    command = ["unshare", "--mount", "sh", "-ec", 'umount -l /proc; exec "$@"', "sh", str(BINARY), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gfwd: error: /proc: No such file or directory. ")
    assert done.stderr.count("\n") == 1


# ---- what is left behind ----


def test_killed_while_it_unpacks(unpacked):
    for _ in range(5):
        with subprocess.Popen([BINARY, "--version"], stdout=subprocess.DEVNULL) as started:
            wait_until(lambda: any(unpacked.glob("*/gfwd.bin")))
            started.kill()
        wait_until(lambda: not any(unpacked.iterdir()))


def test_what_a_cleaner_left_goes_at_the_next_start(unpacked):
    """Where both were killed, as with a container. Not what is held, new, or not such a folder."""
    names = ("gfwd-unpacked-left00", "gfwd-unpacked-held00", "gfwd-unpacked-new000", "gfwd-other")
    left, held, new, other = (unpacked / name for name in names)
    for folder in (left, held, new, other):
        (folder / "gfwd").mkdir(parents=True)
        (folder / "lock").touch()
        if folder != new:
            os.utime(folder, (0, 0))
    with (held / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([BINARY, "--version"], stdout=subprocess.DEVNULL, check=True)
        wait_until(lambda: set(unpacked.iterdir()) == {held, new, other})


def test_side_by_side(unpacked, tmp_path):
    """Two that run at once, of two versions perhaps: the end of one is nothing to the other."""
    other = tmp_path / "gfwd-other"
    shutil.copy(BINARY, other)
    with ExitStack() as stack:
        both, feeds = [], []
        for gfwd in (BINARY, other):
            endless = tmp_path / f"{gfwd.name}.pcap"
            os.mkfifo(endless)
            command = [gfwd, "replay", endless, "-o", "/dev/null", "--rules", DEMO]
            both.append(stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL)))
            stack.callback(both[-1].kill)
            feeds.append(stack.enter_context(endless.open("wb")))  # it has opened the other end
        assert len(list(unpacked.iterdir())) == 2
        both[0].kill()
        wait_until(lambda: len(list(unpacked.iterdir())) == 1)
        feeds[1].write(EXPORTERS.read_bytes())
        feeds[1].close()
        assert both[1].wait(timeout=SECONDS) == 0
    wait_until(lambda: not any(unpacked.iterdir()))


# ---- as an operator sees it ----


def test_its_name(unpacked, tmp_path):
    """In top, and for pkill: that of a command, and not of what was unpacked."""
    endless = tmp_path / "endless.pcap"
    os.mkfifo(endless)
    command = [BINARY, "replay", endless, "-o", "/dev/null", "--rules", DEMO]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as replay, endless.open("wb"):
        assert Path(f"/proc/{replay.pid}/comm").read_text() == "gfwd\n"
        replay.kill()


def test_interrupted_while_it_starts(unpacked):
    """Whenever ^C comes, it ends by it, and without a traceback."""
    for delay_ms in range(0, 400, 20):
        with subprocess.Popen([BINARY, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as started:
            time.sleep(delay_ms / 1000)
            started.send_signal(signal.SIGINT)
            assert started.communicate(timeout=SECONDS)[1] == b""
        assert started.returncode in (-signal.SIGINT, 0, 130)
    wait_until(lambda: not any(unpacked.iterdir()))


# ---- what is in it ----


def test_licences_of_all_that_is_in_it(binary):
    """Each file and each package that was packed is somebody's in the SBOM, with a licence whose text can be read."""
    said = binary("--licences")
    assert (said.returncode, said.stderr) == (0, "")
    bill = json.loads(BINARY.with_name("gfwd.sbom.json").read_text("utf-8"))
    parts = [bill["metadata"]["component"], *bill["components"]]
    held = [one["value"] for part in parts for one in part.get("properties", ())]
    folder = BINARY.with_name("gfwd.dist")
    libraries = {str(path.relative_to(folder)) for path in folder.rglob("*") if ".so" in path.suffixes}
    assert libraries and libraries <= set(held)
    report = BINARY.with_name("report.xml").read_text("utf-8")
    packages = {name.split(".")[0] for name in re.findall(r'<module name="(\w+[^"]*)" [^>]*/site-packages/', report)}
    assert {"cffi", "construct", "dns"} & packages and packages <= set(held)
    assert len(held) == len(set(held))
    for part in parts:
        (licence,) = part["licenses"]
        assert licence["expression"] not in ("", "NOASSERTION", "GPL-2.0-or-later")
        assert f"\n{part['name']} {part['version']} ({licence['expression']})\n" in said.stdout
    for words in (
        "OpenSSL",
        "Apache License",
        "PYTHON SOFTWARE FOUNDATION LICENSE",
        "Nuitka Runtime Library Exception",
    ):
        assert words.lower() in said.stdout.lower()


def test_what_nobody_asks_for_is_left_out():
    names = {path.name for path in BINARY.with_name("gfwd.dist").iterdir()}
    assert not {name for name in names if name.startswith(("libsqlite", "_sqlite", "libreadline", "readline"))}
