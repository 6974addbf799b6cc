"""The command itself, as a user starts it. --gfwd COMMAND tests another one, such as a frozen binary."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 120  # more than any command here takes on a busy machine

os.environ.pop("PYTHONUNBUFFERED", None)  # nobody who types a command has it, and it changes how pipes break

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def gfwd(request) -> list[str]:
    """The command under test, ready to be followed by its arguments."""
    command = request.config.getoption("--gfwd", None)
    return shlex.split(command) if command else [str(Path(sys.executable).with_name("gfwd"))]


@pytest.fixture(scope="session")
def run(gfwd) -> Run:
    """Run gfwd with these arguments in the project's folder, as a user would who has just checked it out."""

    def start(
        *arguments: str | Path,
        cwd: Path = ROOT,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | int = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*gfwd, *map(str, arguments)],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=cwd,
            timeout=SECONDS,
            text=True,
            check=False,
        )

    return start


@pytest.fixture
def write(tmp_path) -> Callable[[str, str | bytes], Path]:
    """Write a file into the test's own folder."""

    def to_file(name: str, content: str | bytes) -> Path:
        path = Path(tmp_path, name)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file
