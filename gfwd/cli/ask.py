"""gfwd status, reload, stop, neighbours: ask a gfwd that runs, by its control socket; so do names.py and unknown.py."""

import argparse
import json
from pathlib import Path
from typing import Any

SOON_S = 10.0
_RELOAD_S = 120.0  # names may take their time, and so may a hundred thousand rules


def add(subparsers: Any) -> None:
    status = command(
        subparsers, "status", "how a gfwd that runs stands: what it has forwarded, dropped and why", _status
    )
    status.add_argument(
        "--loss", action="store_true", help="what never came, by exporters' sequence numbers, and what gfwd lost itself"
    )
    status.add_argument("--json", action="store_true", help="as one line of JSON")
    neighbours = command(subparsers, "neighbours", "the next hops of a gfwd that runs, and their MACs", _neighbours)
    neighbours.add_argument("--json", action="store_true", help="as one line of JSON")
    reload = command(subparsers, "reload", "have a gfwd that runs read its rules anew", _reload)
    reload.add_argument("--dry-run", action="store_true", help="only say whether it could")
    command(subparsers, "stop", "end a gfwd that runs", _stop)


def command(subparsers: Any, name: str, does: str, run: Any) -> Any:
    """A parser for a command that asks a gfwd that runs, with the options that say which one."""
    parser = subparsers.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("-c", "--config", metavar="FILE", help="the gfwd.toml that it was started with")
    which.add_argument("--control", metavar="PATH", help="the control socket that it was started with")
    parser.set_defaults(run=run)
    return parser


def _status(arguments: argparse.Namespace) -> int:
    if arguments.loss:
        return _loss(arguments)
    answer = _ask(arguments, {"do": "status", "text": not arguments.json}, SOON_S)
    print(json.dumps(answer) if arguments.json else answer)
    return 0


def _loss(arguments: argparse.Namespace) -> int:
    answer = ask_one(arguments, {"do": "loss"})
    if arguments.json:
        print(json.dumps(answer))
        return 0
    from gfwd.cli import loss_text

    print("\n".join(loss_text.running(answer)))
    return 0


def _neighbours(arguments: argparse.Namespace) -> int:
    answer = _ask(arguments, {"do": "neighbours"}, SOON_S)
    if arguments.json:
        print(json.dumps(answer))
        return 0
    from gfwd.metrics.table import table_text

    rows = [(one["address"], one["port"], one["mac"] or "", one["state"]) for one in answer]
    print(table_text(("neighbour", "port", "MAC", "state"), rows))
    return 0


def _reload(arguments: argparse.Namespace) -> int:
    print(_ask(arguments, {"do": "reload", "dry_run": arguments.dry_run}, _RELOAD_S))
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    """Until it has ended."""
    from gfwd.daemon.control import stop

    stop(path(arguments), SOON_S)
    return 0


def path(arguments: argparse.Namespace) -> Path:
    """Of the control socket. Raises GfwdError where none is named."""
    if getattr(arguments, "control", None) is not None:
        return Path(arguments.control)
    from gfwd.config import reading
    from gfwd.errors import UsageError

    named = reading.control_socket(arguments.config)
    if named is None:
        raise UsageError(f'{arguments.config}: error: it names no control socket: control = "/var/run/gfwd/control"')
    return Path(named)


def ask_one(arguments: argparse.Namespace, question: dict[str, Any]) -> Any:
    """For other commands that say which gfwd is asked. Raises GfwdError."""
    return _ask(arguments, question, SOON_S)


def _ask(arguments: argparse.Namespace, question: dict[str, Any], seconds: float) -> Any:
    from gfwd.daemon.control import ask

    return ask(path(arguments), question, seconds)
