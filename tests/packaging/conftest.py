"""A small executable for each of FreeBSD's machines, to be packed in gfwd's place, and what packs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "build"))  # where the recipes find each other

Pack = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def executables(tmp_path_factory) -> dict[str, Path]:
    """By target."""
    pytest.importorskip("ziglang", reason="no ziglang, which compiles for FreeBSD")
    folder = tmp_path_factory.mktemp("executables")
    source = folder / "main.c"
    source.write_text("int main(void) { return 0; }\n")
    zig = str(ROOT / ".cache/cross/zig")
    made = {}
    for target in ("x86_64-freebsd", "aarch64-freebsd"):
        made[target] = folder / target
        subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", "-target", target, str(source), "-o", str(made[target])],
            env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": zig, "ZIG_LOCAL_CACHE_DIR": zig},
            check=True,
        )
    return made


@pytest.fixture
def pack(executables, tmp_path) -> Pack:
    """Runs build/package.py, with that executable unless the arguments name another one."""

    def run(*arguments: str, target: str = "x86_64-freebsd", out: Path = tmp_path, **more: str):
        command = [sys.executable, str(ROOT / "build/package.py"), "--target", target, "--out", str(out)]
        if "--executable" not in arguments:
            command += ["--executable", str(executables[target])]
        return subprocess.run(
            [*command, *arguments], env=os.environ | more, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run
