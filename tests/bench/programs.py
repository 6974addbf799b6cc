"""Builds the benchmark's C programs: each tests/bench/*.c by itself, with $CC or else cc, into .cache/bench/."""

import os
import shlex
import subprocess
from pathlib import Path

from gfwd.errors import GfwdError

_SOURCES = Path(__file__).parent
ROOT = _SOURCES.parents[1]
_FOLDER = ROOT / ".cache" / "bench"
_FLAGS = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread")


def build() -> dict[str, Path]:
    """The programs by name; what is newer than its sources stays."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    return {source.stem: _built(source) for source in sorted(_SOURCES.glob("*.c"))}


def _built(source: Path) -> Path:
    product = _FOLDER / source.stem
    changed = max(path.stat().st_mtime for path in (source, *_SOURCES.glob("*.h")))
    if not product.exists() or product.stat().st_mtime < changed:
        new = product.with_name(f"{product.name}.{os.getpid()}")  # who runs the old one, keeps it
        command = (*shlex.split(os.environ.get("CC", "cc")), *_FLAGS, str(source), "-o", str(new))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise GfwdError(f"{shlex.join(command)}\n{done.stderr}".rstrip())
        new.replace(product)
    return product
