"""The command itself, as a user starts it. --gfwd COMMAND tests another one, such as the single binary, and --bare-root
has that in a root file system without Python."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest

from tests.e2e import bare_root, live
from tests.e2e.farm import Farm

ROOT = Path(__file__).parents[2]
SECONDS = 120  # more than any command here takes on a busy machine

os.environ.pop("PYTHONUNBUFFERED", None)  # nobody who types a command has it, and it changes how pipes break

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def gfwd(request) -> list[str]:
    """The command under test, ready to be followed by its arguments."""
    command = request.config.getoption("--gfwd", None)
    started = shlex.split(command) if command else [str(Path(sys.executable).with_name("gfwd"))]
    if request.config.getoption("--bare-root", False):
        require_bare_root()
        return [sys.executable, bare_root.__file__, *started]
    return started


def require_bare_root() -> None:
    """Skip where there cannot be one."""
    live.require()
    if not bare_root.can_be():
        pytest.skip("needs a root that is a mount, so that no mount of ours gets out: that of a chroot is none")


@pytest.fixture(scope="session")
def run(gfwd) -> Run:
    """Run gfwd with these arguments in the project's folder, as a user would who has just checked it out."""
    return runner(gfwd)


def runner(command: Sequence[str | Path]) -> Run:
    """The function that runs this gfwd."""

    def start(
        *arguments: str | Path,
        cwd: Path = ROOT,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | int = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *map(str, arguments)],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=cwd,
            timeout=SECONDS,
            text=True,
            check=False,
        )

    return start


def interrupt_at_work(process: subprocess.Popen[str], send: Callable[[], None]) -> tuple[str, str]:
    """Send ^C to a gfwd that is in the midst of its work; returns what it has said on stdout and stderr.

    One that does not end soon fails the test.
    """
    deadline = time.monotonic() + SECONDS
    while "native/_core" not in Path(f"/proc/{process.pid}/maps").read_text(
        "utf-8", "replace"
    ):  # not yet past its imports
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)  # from there it is a moment to a full ring, a silent pipe, or a silent server
    assert process.poll() is None
    send()
    return process.communicate(timeout=20)


@pytest.fixture
def write(tmp_path) -> Callable[[str, str | bytes], Path]:
    """Write a file into the test's own folder."""

    def to_file(name: str, content: str | bytes) -> Path:
        path = Path(tmp_path, name)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


@pytest.fixture
def live_network() -> None:
    """For tests that need root, network namespaces and AF_XDP."""
    live.require()


@pytest.fixture
def site(gfwd, live_network, tmp_path) -> Iterator[live.Site]:
    """The least network that gfwd can stand in."""
    with live.Site(gfwd, tmp_path) as made:
        yield made


@pytest.fixture
def farm(gfwd, live_network, tmp_path) -> Iterator[Farm]:
    """Many exporters, and many collectors."""
    with Farm(gfwd, tmp_path) as made:
        yield made
