"""The core builds for FreeBSD, its home, on whatever machine the tests run."""

import os
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


@pytest.mark.recipe
@pytest.mark.skipif(platform.system() != "Linux", reason="zig's compiler is installed on Linux only")
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_python_knows_freebsds_structures(machine, tmp_path):
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-freebsd", "-std=gnu11"]
    cache = dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(ROOT / ".cache/cross/zig"))
    done = subprocess.run(
        [*zig, "-c", "tests/native/freebsd_layout.c", "-o", tmp_path / "layout.o"],
        cwd=ROOT,
        env=os.environ | cache,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
