"""What all tests share."""

import importlib.util
import os
import sys
from pathlib import Path

from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir


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


if core := os.environ.get("GFWD_CORE"):
    use_core(core)

set_hypothesis_home_dir(Path(__file__).parents[1] / ".cache" / "hypothesis")
# Time limits for each example would fail on a busy machine, and say nothing about gfwd.
settings.register_profile("gfwd", deadline=None)
settings.load_profile("gfwd")
