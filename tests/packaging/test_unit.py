"""The unit of systemd, as systemd itself sees it. tests/e2e/test_capabilities.py runs gfwd by what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.packaging.conftest import ROOT

UNIT = ROOT / "packaging" / "linux" / "gfwd.service"
EXPOSURE_MOST = 2.3
"""Of 10. What is left is what gfwd is for: sockets of many families, and four capabilities."""

pytestmark = pytest.mark.recipe


def values(key: str) -> list[str]:
    """All that the unit says of a key."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)


@pytest.fixture
def analyze(tmp_path) -> Iterator[list[str]]:
    """systemd-analyze(1), as it is called without a systemd that runs."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    yield [program, "--no-pager"]


def test_systemd_takes_it(analyze, tmp_path):
    """All it says. The executable is not on this machine, and the man pages need not be."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text("utf-8").replace("/usr/sbin/gfwd", shutil.which("true") or "/bin/true"))
    done = subprocess.run(
        [*analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60, check=False
    )
    about = [line for line in (done.stdout + done.stderr).splitlines() if "gfwd" in line]
    assert (done.returncode, about) == (0, [])


def test_a_mistake_would_be_seen(analyze, tmp_path):
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text("utf-8").replace("ProtectHome=", "ProtectHouse="))
    done = subprocess.run(
        [*analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ProtectHouse" in done.stdout + done.stderr


def test_how_much_is_left_open(analyze):
    done = subprocess.run(
        [*analyze, "security", "--offline=yes", UNIT], capture_output=True, text=True, timeout=60, check=False
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("needs systemd 250 or later")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MOST, done.stdout


def test_the_capabilities_are_those_that_doctor_asks_for():
    from gfwd.daemon.doctor.linux import _NEEDED

    assert values("AmbientCapabilities") == values("CapabilityBoundingSet") == [values("AmbientCapabilities")[0]]
    assert set(values("AmbientCapabilities")[0].split()) == set(_NEEDED)
