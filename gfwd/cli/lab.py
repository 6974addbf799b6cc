"""gfwd lab: a small network in namespaces, in which the real thing runs."""

import argparse
import json
import sys
from collections.abc import Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any

from gfwd.cli import options
from gfwd.config import values
from gfwd.metrics.words import many

if TYPE_CHECKING:  # only loaded by whoever runs the lab
    from gfwd.daemon.lab.exchange import Progress
    from gfwd.daemon.lab.scene import Scene
    from gfwd.daemon.lab.session import Outcome, Running

_ADDRESSES_SHOWN = 4
_COLLECTORS_SHOWN = 20
_IN_TIME = 0.95  # of the rate asked for


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "lab",
        help="try it all on this machine: exporters, gfwd and collectors in a network of their own",
        description="Makes a small network of Linux namespaces: exporters, gfwd, a collector on its link, a router and "
        "a collector behind it. Sends datagrams through it, shows what arrives, and says whether that is what the "
        "rules want. Needs root, changes nothing outside of the network, and leaves nothing behind.",
        epilog="The addresses of the rules' collectors are given out in turn, as they come in the file: the first one "
        "to the collector on the link, the second one to the collector behind the router, and so on. Exit status: 0 "
        "when all that was sent arrived as the rules say, else 1.",
    )
    parser.add_argument(
        "capture",
        metavar="CAPTURE",
        nargs="?",
        help="send this capture's datagrams, over and over (default: NetFlow v5 of three exporters)",
    )
    parser.add_argument(
        "--rate", metavar="N", type=options.value(values.count), default=1_000,
        help="datagrams a second (default: 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", metavar="N", type=options.value(values.count), default=10, help="for so long (default: 10)"
    )
    parser.add_argument("--rules", metavar="FILE", help="the rules file (default: three rules that are shown)")
    parser.add_argument("--json", action="store_true", help="only the outcome, as one line of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gfwd.daemon.lab import session
    from gfwd.daemon.lab.scene import Lab, prepare

    session.refuse_where_it_cannot_be()
    scene = prepare(
        Lab(capture=arguments.capture, rules=arguments.rules, rate=arguments.rate, seconds=arguments.seconds)
    )
    for remark in scene.remarks:
        print(remark, file=sys.stderr)
    if arguments.json:
        outcome = session.run(scene, lambda _: None, lambda _: None)
        print(json.dumps(outcome.as_json()))
    else:
        print(_scene_text(scene), flush=True)
        screen = _Screen()
        outcome = session.run(scene, screen.started, screen.show)
        screen.clear()
        print(_outcome_text(outcome, arguments.rate))
    if outcome.problem is not None:
        print(outcome.problem, file=sys.stderr)
    return 0 if outcome.is_as_the_rules_say else 1


# ---- before and meanwhile ----


def _scene_text(scene: "Scene") -> str:
    from gfwd.daemon.lab.scene import Place
    from gfwd.daemon.lab.traffic import RULES

    names = {place: [str(address) for address, its in scene.places.items() if its is place] or ["–"] for place in Place}
    rules = RULES if scene.lab.rules is None else scene.lab.rules
    return f"""\
exporters ── in0 gfwd out0 ──┬── collector 1
                             └── router ── collector 2

exporters    {_list(list(map(str, scene.exporters)))}
collector 1  {_list(names[Place.LINK])}
collector 2  {_list(names[Place.ROUTER])}
sent         {scene.traffic.what}, {scene.lab.rate:,} a second, for {scene.lab.seconds:,} s
rules        {rules.rstrip().replace(chr(10), chr(10) + " " * 13)}
"""


def _list(names: Sequence[str]) -> str:
    more = len(names) - _ADDRESSES_SHOWN
    return ", ".join(names[:_ADDRESSES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


class _Screen:
    """Shows how far it is: on a terminal one table that is drawn again and again, elsewhere a line a second."""

    def __init__(self) -> None:
        self._lines = 0

    def started(self, running: "Running") -> None:
        print(f"gfwd is up as process {running.pid} (to look around where it runs: nsenter -t {running.pid} -n):")
        print(indent(running.said, "    "), end="\n\n", flush=True)

    def show(self, progress: "Progress") -> None:
        if not sys.stdout.isatty():
            print(_progress_line(progress), flush=True)
            return
        self.clear()
        text = _progress_text(progress)
        print(text, flush=True)
        self._lines = text.count("\n") + 1

    def clear(self) -> None:
        """Take away what was drawn last."""
        if self._lines:
            print(f"\r\033[{self._lines}A\033[J", end="")  # \r: the terminal may have written ^C
            self._lines = 0


def _progress_line(progress: "Progress") -> str:
    each = (
        f"collector {n}: {arrived:,} of {wanted:,} from {many(exporters, 'exporter')}"
        for n, (wanted, arrived, exporters) in enumerate(progress.collectors.values(), 1)
    )
    return f"{progress.seconds:.0f} s: {progress.sent:,} sent; {'; '.join(each)}"


def _progress_text(progress: "Progress") -> str:
    from gfwd.metrics.table import table_text

    rows = [
        (f"collector {n}, {place.value}", *arrivals)
        for n, (place, arrivals) in enumerate(progress.collectors.items(), 1)
    ]
    table = table_text((f"{progress.seconds:.0f} s: {progress.sent:,} sent", "wanted", "arrived", "exporters"), rows)
    return f"{table}\n"


# ---- afterwards ----


def _outcome_text(outcome: "Outcome", rate: int) -> str:
    from gfwd.metrics.table import ledger_text, table_text

    rows = [
        (str(address), found.place.value, *found.tally[:2], found.exporters, *found.tally[2:])
        for address, found in outcome.collectors.items()
    ]
    headers = (*("collector", "", "wanted", "arrived", "exporters"), *("lost", "reordered", "changed", "unasked"))
    is_slow = 0 < outcome.rate < _IN_TIME * rate
    slow = f", since this machine cannot do {rate:,}" if is_slow else ""
    shown = rows[:_COLLECTORS_SHOWN]
    more = f"\nand {len(rows) - len(shown)} more addresses (--json has them all)" if len(rows) > len(shown) else ""
    parts = [
        f"{many(outcome.sent, 'datagram')} sent in {outcome.seconds:.1f} s: {outcome.rate:,.0f} a second{slow}",
        table_text(headers, shown) + more,
    ]
    if outcome.said:
        parts.append("gfwd said meanwhile:\n" + indent(outcome.said, "    "))
    if outcome.account is not None:
        parts += ["gfwd's own account:", ledger_text(outcome.account.ledger)]
    parts.append(_verdict(outcome))
    return "\n\n".join(parts)


def _verdict(outcome: "Outcome") -> str:
    """What the outcome comes to, in a line or two."""
    total = outcome.total
    if outcome.is_as_the_rules_say:
        return f"As the rules say: {_copies(total.wanted)} arrived in order, with the payload and sender that was sent."
    found = {
        "lost": total.lost,
        "out of order": total.reordered,
        "changed": total.changed,
        "that no rule asked for": total.unasked,
        "to a port that no rule names": outcome.misdirected,
        "with a bad checksum": outcome.bad_checksum,
    }
    faults = [f"{n:,} {what}" for what, n in found.items() if n]
    if not outcome.sent:
        faults.append("nothing was sent")
    if outcome.problem is not None:
        faults.append("gfwd failed")
    lines = [f"NOT as the rules say: of {_copies(total.wanted)}: {', '.join(faults)}"]
    if total.lost and outcome.losses is not None:
        before, inside, behind, sockets = outcome.losses
        lines.append(
            f"lost before gfwd: {before:,}; in gfwd: {inside:,}; behind it: {behind:,}; "
            f"in the collectors' sockets, which the lab reads too slowly at this rate: {sockets:,}"
        )
    return "\n".join(lines)


def _copies(n: int) -> str:
    return "1 copy" if n == 1 else f"{n:,} copies"
