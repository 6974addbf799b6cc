"""The AF_XDP benchmark: gfwd on veth, beside the least that AF_XDP can do and beside forwarders with sockets.

    python -m tests.bench.xdp [--rounds N] [--seconds S] [--json]

Needs root and two cores. In every round each forwarder gets its turn, so that a disturbance hits all alike; what is
said are medians over the rounds, and of ratios the medians of each round's own. Only ratios mean something: absolute
figures say where this machine and its kernel stand.
"""

import argparse
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from gfwd.errors import GfwdError
from gfwd.metrics.table import table_text
from tests.bench.forwarders import Forwarder, Gfwd, forwarders
from tests.bench.network import Network, Program, Sink, flow_frame, going_first

_UNBOUNDED = 1 << 40
_WARM_S = 0.2
_STEPS = 8  # of the search: the rate without loss is known to 1/2**8 of what was searched
_TRIES = 3  # a rate that lost something gets another chance: whoever took the core for some milliseconds did that
_LIGHT_LOAD = 20_000
_BARE, _SOCKETS = ("bare, spinning", "bare, sleeping"), ("nfcapd -R", "pmacct tee")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One forwarder in one round; rates in datagrams a second, processor times as shares of one core.

    saturated: what arrived when far more was offered, for each second that the forwarder had its core, of which other
    programs take some away. lossless: the highest rate of which all arrived. offered: what that "far more" was.
    cpu_at_rest: with nothing to do; cpu_light: at 20,000 a second. waited: share of the time under saturation that the
    forwarder had no core although it wanted one: where that is more than a few percent, the machine had other things to
    do and lossless says little, or several processes of the forwarder shared the core.
    """

    forwarder: str
    saturated: float
    lossless: float
    offered: float
    cpu_at_rest: float
    cpu_light: float
    cpu_saturated: float
    waited: float


class Effort(NamedTuple):
    """seconds: how long one measurement takes."""

    rounds: int
    seconds: float
    steps: int = _STEPS


class _Load(NamedTuple):
    """Datagrams a second, and shares of a core."""

    arrived: float
    offered: float
    used: float
    waited: float


class Bench:
    """One forwarder that runs, and the instruments around it."""

    def __init__(self, network: Network, sink: Sink, program: Program, effort: Effort, withholds: int) -> None:
        self._withholds = withholds
        self._network = network
        self._sink = sink
        self._program = program
        self._seconds = effort.seconds
        self._steps = effort.steps

    def round(self, name: str) -> Round:
        at_rest, _ = self._used_while(lambda: time.sleep(self._seconds))
        light, saturated = self._under(_LIGHT_LOAD), self._under(0)
        return Round(
            forwarder=name,
            saturated=saturated.arrived / saturated.used,
            lossless=self._lossless(saturated.arrived * 1.25),
            offered=saturated.offered,
            cpu_at_rest=at_rest,
            cpu_light=light.used,
            cpu_saturated=saturated.used,
            waited=saturated.waited,
        )

    def _under(self, rate: int) -> _Load:
        """What happens while so many datagrams a second are offered, 0: as many as can be."""
        with self._network.generate(_UNBOUNDED, rate, self._seconds + 2 * _WARM_S) as generating:
            time.sleep(_WARM_S * 1.5)  # the kernel needs some time before the first frame
            before = self._sink.read()
            used, waited = self._used_while(lambda: time.sleep(self._seconds))
            after = self._sink.read()
            generated = generating.wait()
        self._sink.settled()
        arrived = (after.right - before.right) / (after.at - before.at)
        return _Load(arrived, generated.sent / generated.seconds, used, waited)

    def _lossless(self, high: float) -> float:
        """Search by halves. What was really offered counts, not what was asked for."""
        low = best = 0.0
        for _ in range(self._steps):
            rate = (low + high) / 2
            held = next(
                (offered for offered, lost in map(self._offered, [rate] * _TRIES) if lost <= self._withholds), None
            )
            if held is None:
                high = rate
            else:
                low, best = rate, max(best, held)
        return best

    def _offered(self, rate: float) -> tuple[float, int]:
        """Offer so many a second: how many a second they were, and how many of them did not arrive."""
        before = self._sink.settled()
        with self._network.generate(round(rate * self._seconds), rate, self._seconds * 2) as generating:
            generated = generating.wait()
        arrived = self._sink.settled().right - before.right
        return generated.sent / generated.seconds, generated.sent - arrived

    def _used_while(self, work: Callable[[], object]) -> tuple[float, float]:
        """Shares of a core that the forwarder had, and that it had to wait for."""
        started, (used, waited) = time.monotonic(), self._program.used_and_waited()
        work()
        took, (used_then, waited_then) = time.monotonic() - started, self._program.used_and_waited()
        return (used_then - used) / took, (waited_then - waited) / took


def measure(forwarders: Sequence[Forwarder], effort: Effort, frame: bytes, exporters: int) -> Iterator[list[Round]]:
    """A list for each round, in the forwarders' order."""
    with going_first(), Network(exporters, frame) as network:
        for _ in range(effort.rounds):
            yield [_measure_one(network, forwarder, effort) for forwarder in forwarders]


def _measure_one(network: Network, forwarder: Forwarder, effort: Effort) -> Round:
    network.accept_frames()
    with Sink(network, forwarder.arrives_at) as sink, forwarder.running(network) as program:
        return Bench(network, sink, program, effort, forwarder.withholds).round(forwarder.name)


# ---- what the rounds say together ----


class Finding(NamedTuple):
    """A ratio between two forwarders, its goal (at least), and its lowest and highest in any round."""

    what: str
    ratio: float
    goal: float | None
    lowest: float
    highest: float


def findings(rounds: Sequence[Sequence[Round]]) -> list[Finding]:
    by_name = [{one.forwarder: one for one in each} for each in rounds]
    present = by_name[0]
    found = []

    def compare(one: str, other: str, what: str, goal: float | None, value: Callable[[Round], float]) -> None:
        if one in present and other in present and all(value(each[other]) for each in by_name):
            ratios = [value(each[one]) / value(each[other]) for each in by_name]
            text = f"{one} against {other}: {what}"
            found.append(Finding(text, statistics.median(ratios), goal, min(ratios), max(ratios)))

    for bare in _BARE:
        compare("gfwd", bare, "at saturation", 0.95, lambda measured: measured.saturated)
        compare("gfwd", bare, "without loss", None, lambda measured: measured.lossless)
    for one in ("gfwd", *_BARE):
        goal = 3.0 if one == "gfwd" else None
        for socket in _SOCKETS:
            compare(one, socket, "at saturation", goal, lambda measured: measured.saturated)
            compare(one, socket, "without loss", goal, lambda measured: measured.lossless)
    return found


def medians(rounds: Sequence[Sequence[Round]]) -> list[Round]:
    def median(name: str, of: str) -> float:
        figures: list[float] = [getattr(one, of) for each in rounds for one in each if one.forwarder == name]
        return statistics.median(figures)

    figures = [name for name in asdict(rounds[0][0]) if name != "forwarder"]
    return [
        Round(forwarder=first.forwarder, **{of: median(first.forwarder, of) for of in figures}) for first in rounds[0]
    ]


def _text(rounds: Sequence[Sequence[Round]], missing: Sequence[str]) -> str:
    rows = [
        (
            one.forwarder,
            f"{one.saturated / 1e3:,.0f}",
            f"{one.lossless / 1e3:,.0f}",
            f"{one.offered / 1e3:,.0f}",
            f"{one.cpu_at_rest:.1%}",
            f"{one.cpu_light:.0%}",
            f"{one.cpu_saturated:.0%}",
            f"{one.waited:.0%}",
        )
        for one in medians(rounds)
    ]
    headers = ("forwarder", "saturated", "lossless", "offered", "at rest", "at 20 k/s", "saturated", "waited")
    compared = [
        (
            found.what,
            f"{found.ratio:.2f} ×",
            f"{found.lowest:.2f} to {found.highest:.2f}",
            "" if found.goal is None else f"≥ {found.goal:g} ×",
        )
        for found in findings(rounds)
    ]
    parts = [
        table_text(headers, rows),
        "thousands of datagrams a second (saturated: in a second of the forwarder's core); then processor time, in\n"
        "shares of one core: of the forwarder, and (waited) what it had to do without under saturation",
        table_text(("what they say together", "median", "rounds", "goal"), compared),
        *missing,
    ]
    return "\n\n".join(part for part in parts if part)


# ---- the command ----


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.xdp", description="Measures AF_XDP on veth.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="of each measurement (default: 1)")
    parser.add_argument("--steps", type=int, default=_STEPS, metavar="N", help="of the search for the lossless rate")
    parser.add_argument("--records", type=int, default=1, metavar="N", help="flows in a datagram, 1 to 30 (default: 1)")
    parser.add_argument("--exporters", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--only", action="append", metavar="NAME", help="only forwarders whose name begins so")
    parser.add_argument("--gfwd", metavar="COMMAND", help="the gfwd to measure (default: this environment's)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        gfwd = Gfwd(tuple(shlex.split(asked.gfwd))) if asked.gfwd else Gfwd()
        chosen = [each for each in forwarders(gfwd) if not asked.only or each.name.startswith(tuple(asked.only))]
        why = {each.name: each.missing() for each in chosen}
        missing = [f"{name} is left out: {reason}" for name, reason in why.items() if reason]
        there = [each for each in chosen if not why[each.name]]
        if os.geteuid() != 0 or len(os.sched_getaffinity(0)) < 2 or not there:
            raise GfwdError("benchmark: error: needs root, two cores, and a forwarder")
        effort = Effort(asked.rounds, asked.seconds, asked.steps)
        rounds = list(_with_progress(measure(there, effort, flow_frame(asked.records), asked.exporters), effort))
    except GfwdError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if asked.json:
        together = [found._asdict() for found in findings(rounds)]
        print(json.dumps({"rounds": [[asdict(one) for one in each] for each in rounds], "findings": together,
                          "missing": missing}))  # fmt: skip
    else:
        print(_text(rounds, missing))
    return 0


def _with_progress(rounds: Iterator[list[Round]], effort: Effort) -> Iterator[list[Round]]:
    """The rounds; on a terminal, with a line that says which one is at work."""
    for number in range(1, effort.rounds + 1):
        if sys.stderr.isatty():
            print(f"\r\033[Kround {number} of {effort.rounds}", end="", file=sys.stderr, flush=True)
        yield next(rounds)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
