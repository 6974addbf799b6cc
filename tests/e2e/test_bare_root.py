"""The single binary where there is no Python: it runs, forwards, and reads what a user gives it.

`make test` runs more so: pytest --gfwd .cache/binary/gfwd --bare-root, with the tests that a user's day is made of.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.e2e import bare_root
from tests.e2e.conftest import ROOT, SECONDS, require_bare_root, runner
from tests.e2e.test_binary import BINARY, is_current
from tests.e2e.test_replay import DEMO

pytestmark = pytest.mark.skipif(not is_current(), reason="no single binary of these sources; make binary makes one")

LOOK = """
import sys
from tests.e2e import bare_root
bare_root.enter(sys.argv[1])
print(*bare_root.pythons(), sep="\\n", end="")
"""


@pytest.fixture
def bare():
    require_bare_root()
    return runner([sys.executable, bare_root.__file__, BINARY])


def test_no_python_is_there():
    require_bare_root()
    command = [sys.executable, "-c", LOOK, str(BINARY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_would_be_seen():
    """Or the test above says nothing: the binary by the name of a Python is found."""
    require_bare_root()
    as_python = "bare_root.BINARY = bare_root.Path('/usr/bin/python3')\nbare_root.enter("
    command = [sys.executable, "-c", LOOK.replace("bare_root.enter(", as_python), str(BINARY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "/usr/bin/python3", "")


def test_check(bare):
    done = bare("check", "--rules", DEMO, "--print")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_version(bare):
    done = bare("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert "in a single binary" in done.stdout


def test_lab(bare):
    done = bare("lab", "--seconds", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["as_the_rules_say"] is True
