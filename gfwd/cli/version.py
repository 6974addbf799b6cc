"""`gfwd --version`: which gfwd this is, and what it was built of and with. `gfwd --licences`: of whom."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import gfwd
from gfwd import __version__, system


class Version(argparse.Action):
    """Prints it, and ends. argparse's own action would break the lines anew."""

    wanted = "print version and build, and exit"

    def __init__(self, option_strings: Any, dest: str, **_: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=self.wanted)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(text(), end="")
        parser.exit()


class Licences(Version):
    """Prints what is in the single binary, under which licences, and their texts."""

    wanted = "print the licences of all that is in this, and exit"

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        file = Path(gfwd.__file__).with_name("licences.txt")  # which build/sbom.py writes, for the single binary only
        if file.exists():
            print(file.read_text("utf-8"), end="")
        else:
            print(
                "gfwd is under BSD-2-Clause; what it imports is installed beside it, with licences of its own\n"
                "(pip show --files NAME says where)"
            )
        parser.exit()


def text() -> str:
    """The version alone on the first line, for scripts; then a line each for what a report of a fault should name."""
    try:
        from gfwd.native._built import COMMIT, COMPILER, NETMAP_API, PORTS
    except ImportError:  # copied without it
        known = dict.fromkeys(("commit", "ports", "netmap API", "compiler"), "unknown")
    else:
        known = {
            "commit": COMMIT,
            "ports": ", ".join(PORTS),
            "netmap API": str(NETMAP_API),
            "compiler": COMPILER,
        }
    kind = "in a single binary" if system.is_binary else "from its sources"
    known |= {"Python": sys.version.split()[0], "runs": f"{kind}, on {system.NAME} {os.uname().machine}"}
    return f"gfwd {__version__}\n" + "".join(f"{what:<11}{value}\n" for what, value in known.items())
