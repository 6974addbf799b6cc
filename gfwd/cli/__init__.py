"""The command line: one file a command, each with its arguments and its printing, and no logic.

run.py      forward, live
ask.py      status, reload, stop, neighbours: ask one that runs
names.py    the names of collectors in one that runs
unknown.py  who sends what no rule wants, and the rules that would take it
check.py    validate a rules file
explain.py  which rules apply to a datagram, why, and what leaves
diff.py     which datagrams go somewhere else by other rules
import_.py  other forwarders' configurations as rules
doctor.py   what on this host would hurt
inspect.py  what the datagrams in a capture say
replay.py   forward a capture file to another
lab.py      try it all in a network of namespaces
bench.py    measure
answer.py   where exit status 1 is an answer, and trouble is 2
options.py  the values that several commands take
remarks.py  warnings on the terminal
version.py  which gfwd this is
progress.py a bar on the terminal
"""

import argparse
import gc
import io
import os
import signal
import sys
from collections.abc import Sequence

from gfwd.cli import ask, bench, check, diff, doctor, explain, import_, inspect, lab, names, replay, run, unknown
from gfwd.cli.version import Licences, Version
from gfwd.errors import GfwdError

COMMANDS = (run, ask, names, unknown, replay, check, explain, diff, import_, inspect, doctor, lab, bench)
"""Each has add(subparsers), which sets `run`: arguments → exit status."""

_INTERRUPTED = 130
_GC_THRESHOLD = 50_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 bad usage or bad configuration."""
    # A hundred thousand rules are several hundred thousand tuples, none of them garbage. With its own threshold of 700,
    # the garbage collector looks through them again and again: a fifth of the time that such a replay takes.
    gc.set_threshold(_GC_THRESHOLD)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name need not be text, nor a terminal show all that is.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # held until here by build/onefile.c
            return _run(arguments)
        finally:
            if sys.stdout is not None:  # None: whoever started us has closed it
                sys.stdout.flush()
    except GfwdError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left (`gfwd … | head`), and knows.
        _let_go_of_stdout()
        return 1
    except OSError as error:
        _let_go_of_stdout()
        print(f"{error.filename or 'gfwd'}: error: {error.strerror or error}", file=sys.stderr)
        return 1


def command_line() -> argparse.ArgumentParser:
    """All commands and options; build/completion.py reads them too."""
    parser = argparse.ArgumentParser(prog="gfwd", description="Forwards UDP logs from exporters to collectors by rule.")
    parser.add_argument("--version", action=Version)
    parser.add_argument("--licences", action=Licences)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers)
    return parser


def _run(arguments: Sequence[str] | None) -> int:
    chosen = command_line().parse_args(arguments)
    status: int = chosen.run(chosen)
    return status


def _let_go_of_stdout() -> None:
    """What could not be written stays unwritten: the interpreter would try again at exit, and complain."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
