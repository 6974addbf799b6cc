"""gfwd run: forward between interfaces of this host."""

import argparse
import json
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from gfwd.cli import inspect, options
from gfwd.config import values
from gfwd.errors import GfwdError, UsageError
from gfwd.health.words import time_text

if TYPE_CHECKING:
    from gfwd.daemon.run import Outcome
    from gfwd.daemon.tap.debug import Debug


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "run",
        help="forward, from now until it is told to stop",
        description="Forwards what exporters send to this host, by rule. Ports are xdp:eth0 (AF_XDP, Linux), or "
        "netmap:ix0, 'netmap:ix0*' (with the host), netmap:x{1, vale0:a. What is not for gfwd goes on to the kernel as "
        "ever. SIGINT and SIGTERM end it and show the accounting; SIGUSR1 shows it meanwhile; SIGHUP has it read the "
        "rules anew.",
    )
    options.add_forwarding(parser)
    parser.add_argument(
        "--control",
        metavar="PATH",
        type=options.value(values.socket_path),
        help="a Unix socket for gfwd status, unknown, names, reload, stop and neighbours, for this user only (default: "
        "none)",
    )
    parser.add_argument("--json", action="store_true", help="the accounting as one line of JSON")
    parser.add_argument(
        "--debug",
        action="store_true",
        help="show what is forwarded, and what is not: the lines of gfwd inspect --live (docs/inspect.md)",
    )
    parser.add_argument(
        "--sample",
        metavar="N",
        type=options.value(values.count),
        help="of these, one datagram of N",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.sample is not None and not arguments.debug:
        raise UsageError("gfwd run: error: --sample is for what --debug shows; add --debug")
    with _debug(arguments) as debug:
        outcome = _forward(arguments, debug)
    if isinstance(outcome, int):
        return outcome
    print(json.dumps(outcome.report.as_json()) if arguments.json else _text(outcome.report))
    return 0 if outcome.is_whole else 1


def _debug(arguments: argparse.Namespace) -> "AbstractContextManager[Debug | None]":
    """Before anything else begins; see there."""
    if not arguments.debug:
        return nullcontext()
    from gfwd.daemon.tap.debug import Debug
    from gfwd.daemon.tap.want import Want

    return Debug(Want(sample=arguments.sample or 1), lambda its: inspect.debug(its, as_json=arguments.json))


def _forward(arguments: argparse.Namespace, debug: "Debug | None") -> "Outcome | int":
    """The exit status: it could not be."""
    from gfwd.daemon.log import events
    from gfwd.daemon.log.writer import Log
    from gfwd.daemon.run import run as forward

    with Log() as log:
        try:
            return forward(lambda: options.config(arguments, "gfwd run"), log, _text, debug)
        except GfwdError as error:
            log.say(events.FAILED(str(error)))
            if log.setting.to != "stderr":
                raise  # who has started it by hand sees why it ends, too
            return error.exit_status


def _text(report: Any) -> str:
    from gfwd.metrics.table import ledger_text, table_text

    ports = [
        (port.name, port.mode, port.ours, port.lost, port.unread, port.unsent, port.passed) for port in report.ports
    ]
    neighbours = [(entry.address, entry.port, entry.mac or "", entry.state) for entry in report.neighbours]
    answers = [(one.port, one.kind, one.result, one.n) for one in report.answers]
    health = [
        (one.collector, one.check, one.state, time_text(one.seconds), one.result, one.instead or "")
        for one in report.health
    ]
    from gfwd.cli.names import names_text

    parts = [
        ledger_text(report.ledger),
        f"{report.work.swapped:,} copies left in the buffer that the frame came in, {report.work.copied:,} in another"
        + (f"; {report.work.fragments_made:,} fragments were made" if report.work.fragments_made else ""),
        table_text(("port", "mode", "for gfwd", "lost", "unread", "unsent", "passed on"), ports),
        table_text(("neighbour", "port", "MAC", "state"), neighbours) if neighbours else "",
        table_text(("answers by", "to", "were", "how many"), answers) if answers else "",
        table_text(("checked", "by", "is", "for", "last try", "copies go to"), health) if health else "",
        names_text([one._asdict() for one in report.names]),
    ]
    return "\n\n".join(filter(None, parts))
