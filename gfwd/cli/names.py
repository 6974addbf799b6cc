"""gfwd names: the names of collectors in a gfwd that runs, and what is known of them."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gfwd.cli import ask
from gfwd.health.words import time_text

_HEADERS = ("name", "is", "addresses", "TTL left", "answered", "last error")


def add(subparsers: Any) -> None:
    parser = ask.command(subparsers, "names", "the names of collectors in a gfwd that runs, and their addresses", run)
    parser.add_argument("--json", action="store_true", help="as one line of JSON")


def run(arguments: argparse.Namespace) -> int:
    answer = ask.ask_one(arguments, {"do": "names"})
    if arguments.json:
        print(json.dumps(answer))
    else:
        print(names_text(answer) or "no collector has a name that is looked up")
    return 0


def names_text(names: Sequence[Mapping[str, Any]]) -> str:
    """A table of them; empty where there are none. names: see daemon.report.NameReport."""
    from gfwd.metrics.table import table_text

    rows = [
        (
            one["name"],
            one["state"],
            ", ".join(one["addresses"]),
            "" if one["ttl"] is None else time_text(one["ttl"]),
            "" if one["age"] is None else f"{time_text(one['age'])} ago",
            one["error"] or "",
        )
        for one in names
    ]
    return table_text(_HEADERS, rows) if rows else ""
