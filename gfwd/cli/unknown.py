"""gfwd unknown: who sends to a gfwd that runs what no rule wants, and the rules that would take it."""

import argparse
import json
import re
from collections.abc import Iterator
from typing import Any

from gfwd.cli import ask, options
from gfwd.metrics.words import many, rate_text

_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SORTS = ("rate", "packets", "last")
_HEADERS = ("source", "port", "looks like", "datagrams", "bytes", "rate", "first seen", "last seen")


def add(subparsers: Any) -> None:
    parser = ask.command(
        subparsers,
        "unknown",
        "who sends to a gfwd that runs what no rule wants: its source, port, protocol and rate",
        run,
    )
    parser.add_argument("--suggest", action="store_true", help="the rules that would take it, ready to be pasted")
    parser.add_argument(
        "--sort", choices=_SORTS, default=_SORTS[0], help="what comes first: the highest of these (default: rate)"
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        type=options.value(_duration),
        help="only who has sent something in the last 30s, 10m, 12h or 7d",
    )
    parser.add_argument("--json", action="store_true", help="as one line of JSON")


def run(arguments: argparse.Namespace) -> int:
    question = {"do": "unknown", "sort": arguments.sort, "since": arguments.since, "suggest": arguments.suggest}
    answer = ask.ask_one(arguments, question)
    if arguments.json:
        print(json.dumps(answer))
    else:
        print("\n".join(_suggestions(answer) if arguments.suggest else _table(answer)))
    return 0


def _duration(text: str) -> int:
    """Seconds."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time; right would be 30s, 10m, 12h or 7d")
    return int(found[1]) * _SECONDS[found[2]]


# ---- the table ----


def _table(answer: dict[str, Any]) -> Iterator[str]:
    from gfwd.metrics.table import table_text

    rows = [
        (
            one["source"],
            one["port"],
            one["looks_like"],
            one["packets"],
            one["bytes"],
            rate_text(one["rate_since_first"] if one["rate"] is None else one["rate"]),
            _time(one["first"]),
            _time(one["last"]),
        )
        for one in answer["sources"]
    ]
    if rows:
        yield table_text(_HEADERS, rows, texts=(1,))
        seconds = answer["seconds_between_looks"]
        yield f"\nrates are those since {'the first datagram' if seconds is None else _ago(seconds)}"
    else:
        yield "every datagram that came had a rule" if not _more(answer) else "nobody is told apart"
    yield from _more(answer)


def _more(answer: dict[str, Any]) -> list[str]:
    """What the table does not show."""
    others, ruled, silent = answer["not_told_apart"], answer["by_now_with_a_rule"], answer["silent"]
    lines = []
    if others["packets"]:
        lines.append(
            f"and {many(others['packets'], 'datagram')} from others, which came once, or found no room in the table"
        )
    if silent["sources"]:
        lines.append(f"and {_both(silent)} that came before that time")
    if ruled["sources"]:
        lines.append(f"and {_both(ruled)} that came before there was a rule for them")
    return lines


def _both(some: dict[str, int]) -> str:
    return f"{many(some['packets'], 'datagram')} from {many(some['sources'], 'source')}"


def _time(seconds: float) -> str:
    """As a clock on the wall here shows it."""
    from datetime import datetime

    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _ago(seconds: float) -> str:
    return f"the last look, {seconds:,.0f} s ago"


# ---- the rules ----


def _suggestions(answer: dict[str, Any]) -> Iterator[str]:
    suggestions = answer["suggestions"]
    unfinished = sum(not one["is_whole"] for one in suggestions)
    yield f"# {many(len(suggestions), 'rule')} for {answer['rules_file']}"
    if unfinished:
        yield f"# gfwd check refuses {unfinished:,} of them until <collector> is somebody's name or address"
    for one in suggestions:
        if answer["tables"]:
            yield ""
        yield from (f"# {line}" for line in one["before"])
        first, *rest = one["rule"].split("\n")
        yield f"{first}   # {one['remark']}"
        yield from rest
    yield from (f"# no rule can name {text}" for text in answer["no_rule_can_be"])
    yield from (f"# {line}" for line in _more(answer))
