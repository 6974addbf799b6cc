"""What fuzzing has found or begun with, again, without a fuzzer; and the fuzzer itself for a bounded time."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, kept

pytestmark = pytest.mark.pure

SECONDS = int(os.environ.get("GFWD_FUZZ_SECONDS", "30"))
"""For all targets together."""
KEPT_MOST = 400_000  # bytes of the corpus: it is read by people, too, and goes into every clone
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_stays_mended(target):
    paths = [*kept(target)]
    for path in paths:
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            raise AssertionError(path) from error
    assert paths


def test_the_corpus_is_small_and_has_no_folder_without_a_target():
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} == set(TARGETS)
    assert sum(path.stat().st_size for target in TARGETS for path in kept(target)) <= KEPT_MOST


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not here: it has wheels for Linux on x86-64 alone")
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_new_is_found(target, tmp_path):
    """GFWD_FUZZ_SECONDS=3600 looks longer. What is found lies where the message says; it belongs in the corpus."""
    seconds = max(1, SECONDS // len(TARGETS))
    command = [sys.executable, "-m", "tests.fuzz.atheris_inspect", target, str(tmp_path), f"-max_total_time={seconds}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 120, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
