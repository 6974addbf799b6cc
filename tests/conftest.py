"""What all tests share."""

import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from gfwd.daemon.card import record


def use_core(path: str) -> None:
    """Puts another build of the C core, such as the sanitized one, in the place of gfwd.native._core.

    Only tests can choose: what is shipped loads the module that lies beside it, and nothing else.
    """
    spec = importlib.util.spec_from_file_location("gfwd.native._core", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["gfwd.native._core"] = module


def pytest_addoption(parser):
    parser.addoption("--gfwd", metavar="COMMAND", help="the command under test (default: the environment's own gfwd)")
    parser.addoption(
        "--bare-root", action="store_true", help="run it in a root file system without Python (Linux, root)"
    )


# ---- workers ----


@pytest.hookimpl(optionalhook=True)  # where there is no xdist, nobody asks
def pytest_xdist_auto_num_workers() -> int:
    """How many -n auto means: three on two CPUs, since half of the time a test waits, for a peer or for a clock."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cpus + cpus // 2


# ---- what gfwds that were killed leave behind ----

RECORDS_BEFORE = pytest.StashKey[set[Path]]()


def records() -> set[Path]:
    """What they have changed on interfaces (daemon/card/record.py)."""
    return {path for folder in record._folders() for path in folder.glob("card.*.json")}


def pytest_sessionstart(session):
    session.config.stash[RECORDS_BEFORE] = records()


def pytest_sessionfinish(session):
    """Their interfaces went with the network namespaces of the tests, so no later gfwd looks at these records."""
    if hasattr(session.config, "workerinput"):  # one of several processes: others are at work still
        return
    for path in records() - session.config.stash[RECORDS_BEFORE]:
        with suppress(OSError):
            left = record._take(path)
            if left is not None:  # its owner has ended
                left.remove()


# ---- settings ----

CACHE = Path(__file__).parents[1] / ".cache"

# Who wants no bytecode beside the sources gets none there; but without any, every gfwd that the tests start, some
# thousand, would compile its modules again.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(CACHE / "bytecode")
    sys.dont_write_bytecode = False

if core := os.environ.get("GFWD_CORE"):
    use_core(core)

set_hypothesis_home_dir(CACHE / "hypothesis")
# Time limits for each example would fail on a busy machine, and say nothing about gfwd.
settings.register_profile("gfwd", deadline=None)
settings.load_profile("gfwd")
