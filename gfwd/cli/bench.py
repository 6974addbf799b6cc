"""gfwd bench: measure on this machine."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gfwd.cli import options
from gfwd.config import values

if TYPE_CHECKING:  # the core is only loaded by whoever measures
    from gfwd.daemon.bench import Result
    from gfwd.daemon.workload import Case

_HEADERS = (
    *("rules", "coll.", "exporters", "bytes", "flood%", "option"),
    *("ns", "spread", "Mpps", "swap", "copy", "fill", "instr.", "load_s", "MB"),
)
_COLUMNS = """\
ns, Mpps: the core, per packet (spread: of all repeats)   swap: ns of an exchange of buffers that looks at nothing
copy: ns more when the exchange copies each frame         fill: ns of writing it into the ring, in no other figure
load_s, MB: rules text to published, and the process"""


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser("bench", help="measure on this machine")
    what = parser.add_subparsers(title="what to measure", metavar="WHAT", required=True)
    _add_core(what)
    # Started by `core` itself, under callgrind.
    counted = what.add_parser("counted")
    counted.add_argument("file")
    counted.set_defaults(run=_run_counted)


def _add_core(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "core",
        help="the core on rings in memory: what a packet costs",
        description="Measures what the core needs for a packet on rings in memory, with rules, collectors, exporters "
        "and frame sizes varied, and beside it a forwarder that only rewrites two MAC addresses. Compare inside one "
        "run: absolute figures only say where a machine stands.",
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each case, as soon as it is measured")
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions too, where valgrind is installed; takes minutes"
    )
    parser.add_argument(
        "--repeats", metavar="N", type=options.value(values.count), default=15, help="measure so often (default: 15)"
    )
    parser.add_argument(
        "--rounds", metavar="N", type=options.value(values.count), default=1_000,
        help="full rings a measurement, 1,023 packets each (default: 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--case",
        metavar="NAME=N,…",
        type=options.value(_case),
        action="append",
        help="measure this case, not the usual ones: rules, collectors, exporters, frame_bytes, flood (percent of "
        "sources never seen before), each as NAME=N, and option=NAME: own, ttl, sample, limit, group, all, "
        "exporters, translated, resolved or followed; may be given more than once",
    )
    parser.set_defaults(run=_run_core)


def _case(text: str) -> "Case":
    from gfwd.daemon.workload import parse_case

    return parse_case(text)


def _run_core(arguments: argparse.Namespace) -> int:
    from gfwd.daemon.bench import CASES, Effort, measure_all

    cases = tuple(arguments.case or CASES)
    results = measure_all(cases, Effort(arguments.repeats, arguments.rounds, arguments.instructions))
    if arguments.json:
        for result in results:
            print(json.dumps(result.as_json()), flush=True)
        return 0
    measured = list(_with_progress(results, cases))
    print(_results_text(measured))
    return 0


def _run_counted(arguments: argparse.Namespace) -> int:
    from gfwd.daemon.bench import run_counted

    print(run_counted(arguments.file))
    return 0


def _with_progress(results: "Iterator[Result]", cases: "Sequence[Case]") -> "Iterator[Result]":
    """The results; on a terminal, with a line that says which case is at work."""
    for number, case in enumerate(cases, 1):
        if sys.stderr.isatty():
            print(f"\r\033[K{number}/{len(cases)}: {case}", end="", file=sys.stderr, flush=True)
        yield next(results)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _results_text(results: "Sequence[Result]") -> str:
    """A table of the cases, one of what they say together, and what the columns mean."""
    from gfwd.daemon.bench import findings
    from gfwd.metrics.table import figures_text, table_text

    rows = [
        (
            f"{result.case.rules:,}",
            f"{result.case.collectors}",
            f"{result.case.exporters:,}",
            f"{result.case.frame_bytes:,}",
            f"{result.case.flood}",
            result.case.option,
            f"{result.ns_per_packet:.1f}",
            f"{result.spread:.0%}",
            f"{result.mpps:.1f}",
            f"{result.swap_ns:.1f}",
            f"{result.copy_ns:.1f}",
            f"{result.fill_ns:.1f}",
            "–" if result.instructions_per_packet is None else f"{result.instructions_per_packet:.0f}",
            f"{result.load_s:.2f}",
            f"{result.rss_mb:.0f}",
        )
        for result in results
    ]
    together = [
        (found.what, f"{found.figure:.3g} {found.unit}", "" if found.goal is None else f"≤ {found.goal} {found.unit}")
        for found in findings(results)
    ]
    parts = [figures_text(_HEADERS, rows), _COLUMNS]
    if together:
        parts.append(table_text(("what they say together", "", "goal"), together))
    return "\n\n".join(parts)
