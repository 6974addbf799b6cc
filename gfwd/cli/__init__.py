"""The command line: one file a command, each with its arguments and its printing, and no logic.

    check.py    validate a rules file
    replay.py   forward a capture file to another
    bench.py    measure
    options.py  the values that several commands take
"""

import argparse
import os
import sys
from collections.abc import Sequence

from gfwd import __version__
from gfwd.cli import bench, check, replay
from gfwd.errors import GfwdError

COMMANDS = (replay, check, bench)
"""Each has add(subparsers), which sets `run`: arguments → exit status."""

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 bad usage or bad configuration."""
    parser = argparse.ArgumentParser(prog="gfwd", description="Forwards UDP logs from exporters to collectors by rule.")
    parser.add_argument("--version", action="version", version=f"gfwd {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers)
    chosen = parser.parse_args(arguments)
    try:
        status: int = chosen.run(chosen)
        sys.stdout.flush()
    except GfwdError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left (`gfwd … | head`): no message, and none from the interpreter at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
