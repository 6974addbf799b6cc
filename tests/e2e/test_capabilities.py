"""gfwd as a user of its own, with the capabilities that its systemd unit names, and none of them to spare."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.live import BOTH_ARMS, Live, Site, require
from tests.packaging.test_unit import values

NEEDED = values("AmbientCapabilities")[0].split()
TO_NEAR = "* 514 10.1.0.2 A"
NOBODY = 54_321  # a user that nobody has


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that other users may read; pytest's own are for us alone."""
    with tempfile.TemporaryDirectory(prefix="gfwd-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "run").mkdir()
        os.chown(path / "run", NOBODY, NOBODY)
        yield path


@pytest.fixture
def site(gfwd, folder) -> Iterator[Site]:
    require()
    with Site(gfwd, folder) as made:
        yield made


def closed_folder(path: Path) -> Path | None:
    """The first folder on the way there that other users may not enter."""
    return next((one for one in reversed([path, *path.parents]) if not one.stat().st_mode & 0o001), None)


def shown(gfwd: Sequence[str], hold: Path) -> str:
    """Shell commands by which gfwd, and the Python that it may need, can be reached by all users, where they lie in a
    folder that only root may enter: at the same place of another file system, for the process under test alone.
    """
    needed = {Path(gfwd[0]).resolve().parent, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), ROOT}
    closed = {path: its for path in sorted(needed) if (its := closed_folder(path)) is not None}
    lines = []
    for number, path in enumerate(closed):
        (hold / str(number)).mkdir(parents=True)
        lines.append(shlex.join(["mount", "--bind", str(path), str(hold / str(number))]))
    lines += [shlex.join(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(its)]) for its in set(closed.values())]
    for number, path in enumerate(closed):
        lines.append(shlex.join(["mkdir", "-p", str(path)]))
        lines.append(shlex.join(["mount", "--move", str(hold / str(number)), str(path)]))
    return "\n".join(lines)


def as_user(gfwd: Sequence[str], folder: Path, capabilities: Sequence[str]) -> list[str]:
    """What a command is put behind, so that it is this user with these capabilities, for good."""
    its = list(capabilities)
    if subprocess.run(["sh", "-c", "ulimit -l unlimited"], capture_output=True, check=False).returncode != 0:
        its.append("CAP_IPC_LOCK")  # in place of the unit's LimitMEMLOCK: this machine does not let it be raised
    few = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in its)])
    script = f'{shown(gfwd, folder / "hold")}\nulimit -l unlimited 2>/dev/null || true\nexec "$@"'
    return [
        "env", f"XDG_RUNTIME_DIR={folder / 'run'}", f"TMPDIR={folder / 'run'}",
        "unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh",
        # The kernel forgets who is to die with whom where the user changes, so it is said once more.
        "setpriv", "--pdeathsig", "KILL", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups",
        "--inh-caps", few, "--ambient-caps", few, "--bounding-set", few, "--no-new-privs",
    ]  # fmt: skip


def start(site: Site, folder: Path, capabilities: Sequence[str]) -> Live:
    control = folder / "run" / "control"
    return site.start(TO_NEAR, *BOTH_ARMS, "--control", str(control), prefix=as_user(site.gfwd, folder, capabilities))


def test_forwards_without_root(site, folder, run):
    live = start(site, folder, NEEDED)
    live.wait_for("forwarding from")
    about = Path(f"/proc/{live.process.pid}/status").read_text("ascii")
    assert f"Uid:\t{NOBODY}\t{NOBODY}" in about and "NoNewPrivs:\t1" in about
    assert site.forwards(b"datagram")

    control = folder / "run" / "control"
    site.rules("* 514 10.1.0.2 A\n* 515 10.1.0.2 A")
    done = run("reload", "--control", control)
    assert (done.returncode, done.stderr) == (0, "")
    assert run("status", "--control", control).returncode == 0
    assert site.forwards(b"another one")
    # What it has done to the cards, and to the host's neighbours, took no more either.
    assert "switched off: rx-vlan-offload" in live.said()
    assert "cannot be" not in live.said() and "error" not in live.said()
    ended = live.stop(signal.SIGTERM)
    assert ended.status == 0
    assert ended.account()["forwarded"] == 2


@pytest.mark.parametrize("missing", NEEDED)
def test_no_capability_is_to_spare(site, folder, missing):
    live = start(site, folder, [name for name in NEEDED if name != missing])
    ended = live.ended()
    assert ended.status == 1
    assert "no permission for AF_XDP" in ended.said and missing in ended.said
