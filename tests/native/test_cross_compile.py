"""The core builds for FreeBSD, its home, on whatever machine the tests run."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.recipe
@pytest.mark.skipif(platform.system() != "Linux", reason="zig's compiler is installed on Linux only")
def test_core_compiles_and_links_for_freebsd():
    done = subprocess.run(
        [sys.executable, "build/cross_check.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("compiled and linked") == 2
