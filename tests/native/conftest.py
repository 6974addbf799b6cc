"""C programs of this folder, linked with the core's own sources, under ASan and UBSan."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "build"))

import native

Harness = Callable[..., str]
"""Runs the program with arguments; returns what it printed."""

HERE = Path("tests/native")
# The sanitized core's own folder: with the same flags its objects are the same, and are made once.
FOLDER = native.CACHE / "sanitized"
# What some programs are made of besides their own source.
NETMAP = [f"netmap_{part}.c" for part in ("kernel", "memory", "devices", "register", "sync")]
MORE_SOURCES = {"netmap_port": NETMAP, "netmap_forward": NETMAP}
# A compiler, and a program with its own sanitizers, need none preloaded.
PLAIN = {"LD_PRELOAD": ""}


@pytest.fixture(scope="session")
def harness() -> Callable[[str], Harness]:
    """Builds a program, unless it is there, and gives what runs it."""

    def built(name: str) -> Harness:
        program = native.ROOT / build(name)

        def run(*arguments: str | Path) -> str:
            done = subprocess.run(
                [program, *arguments],
                env=os.environ | PLAIN | {"ASAN_OPTIONS": "", "UBSAN_OPTIONS": "print_stacktrace=1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout
            return done.stdout

        return run

    return built


def build(name: str) -> Path:
    """The program's path; its source is name.c, and MORE_SOURCES."""
    compiler = tuple(shlex.split(os.environ.get("CC", "cc")))
    with native.building(native.CACHE), native.building(FOLDER):
        toolchain = native.Toolchain(
            compiler=compiler,
            version=native.output(*compiler, "--version"),
            flags=(*native.SANITIZED, *native.LANGUAGE, *native.include_flags()),
            folder=FOLDER,
            environment=PLAIN,
        )
        objects = toolchain.compile_core()
        its = [HERE / source for source in (f"{name}.c", *MORE_SOURCES.get(name, ()))]
        inputs = [*its, *native.find(HERE, "*.h"), *native.headers(), *objects]
        return toolchain.make(name, [*native.WARNINGS, *map(str, its), *map(str, objects)], inputs)
