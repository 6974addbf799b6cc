"""gfwd explain: what the rules make of a datagram, and why."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gfwd.cli import options
from gfwd.cli.answer import answering
from gfwd.config import values
from gfwd.errors import UsageError
from gfwd.health.words import time_text
from gfwd.rules.canonical import rule_text
from gfwd.rules.model import Ports, Rule, holds_port, ports_text

if TYPE_CHECKING:  # the core is only loaded once all arguments are known to be right
    from gfwd.daemon.explain import Copy
    from gfwd.daemon.report import HealthReport, WayReport
    from gfwd.rules.explain import Explanation, Miss

_SHOWN = 20
_WIDEST = 60  # characters of a rule: a longer one does not push what stands behind all others to the right

Row = tuple[str, str, str, str]
"""What a rule does, where it is written, its text, and a remark."""


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "explain",
        help="which rule wins a datagram, and why",
        description="Says which rule wins a datagram, which ones lose to it and why, which ones it misses by little, "
        "and what leaves for the collectors. Exit status: 0 a rule wins (each datagram, of several); 1 none does; 2 "
        "bad usage or bad rules.",
    )
    parser.add_argument(
        "datagrams",
        metavar="SRC:DPORT",
        type=options.value(options.datagram),
        nargs="+",
        help="an exporter's address and the port it sends to: 10.2.2.3:514 or [2001:db8::3]:514",
    )
    file = parser.add_mutually_exclusive_group(required=True)
    file.add_argument("-c", "--config", metavar="FILE", help="the gfwd.toml")
    file.add_argument("--rules", metavar="FILE", help="the rules file")
    parser.add_argument(
        "--listen",
        metavar="PORTS",
        type=options.value(values.listen),
        help="UDP ports that are gfwd's: 514,2055,9990-9999 or all (default: those that the rules name)",
    )
    parser.add_argument(
        "--live", action="store_true", help="ask the gfwd that runs by this gfwd.toml for next hops and their MACs"
    )
    parser.add_argument("--all", action="store_true", help=f"all rules that lose, and not only the first {_SHOWN}")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each datagram")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    with answering():
        return _answer(arguments)


def _answer(arguments: argparse.Namespace) -> int:
    from gfwd.daemon.explain import copies, in_health, look_up, on_their_ways
    from gfwd.rules.explain import explain
    from gfwd.rules.listen import named_ports

    ruleset, configured = options.ruleset(arguments)
    listen = arguments.listen or configured or named_ports(ruleset)
    ranked = ruleset.ranked()
    explanations = [explain(ranked, source, port) for source, port in arguments.datagrams]
    answers = look_up(explanations)
    live = _live(arguments) if arguments.live else None
    for number, explanation in enumerate(explanations):
        sent = copies(explanation, answers)
        if live is not None:
            ways, health = live
            sent = in_health(on_their_ways(sent, ways), health)
        if arguments.json:
            print(json.dumps(_as_json(explanation, sent, ruleset.path, listen)))
        else:
            shown = sys.maxsize if arguments.all else _SHOWN
            print("\n" * bool(number) + "\n".join(_lines(explanation, sent, ruleset.path, listen, shown)))
    return 0 if all(explanation.winner for explanation in explanations) else 1


def _live(arguments: argparse.Namespace) -> "tuple[dict[str, WayReport], dict[str, HealthReport]]":
    """The ways by address, and the health by collector. Raises GfwdError."""
    from gfwd.cli.ask import ask_one
    from gfwd.daemon.report import HealthReport, WayReport

    if arguments.config is None:
        raise UsageError("gfwd explain: error: --live takes -c, the gfwd.toml that names the control socket")
    answer = ask_one(arguments, {"do": "ways"})
    ways = (WayReport(**way) for way in answer["ways"])
    health = (HealthReport(**one) for one in answer["health"])
    return {way.address: way for way in ways}, {one.collector: one for one in health}


# ---- for people ----


def _lines(explanation: "Explanation", sent: Sequence["Copy"], path: str, listen: Ports, shown: int) -> Iterator[str]:
    yield _name(explanation)
    if not listen:
        yield "  no rule names a port, so gfwd run has to be told which are its own: --listen"
    elif not holds_port(listen, explanation.port):
        yield (
            f"  gfwd does not listen on port {explanation.port}, but on {ports_text(listen)}: it leaves the datagram "
            "to the host, and asks no rule"
        )
    if explanation.winner is None:
        yield "  no rule matches: it is dropped, and counted as no_rule"
    rows = [
        *_winner(explanation, sent, path),
        *_losers(explanation, path, shown),
        *_misses(explanation.other_port, f"not to port {explanation.port}", path),
        *_misses(explanation.other_source, f"not from {explanation.source}", path),
    ]
    widths = [max((len(row[i]) for row in rows if len(row[i]) <= _WIDEST), default=0) for i in range(4)]
    for row in rows:
        yield "  " + "  ".join(map(str.ljust, row, widths)).rstrip()
    more = len(explanation.losers) - shown
    if more > 0:
        yield f"  and {more:,} more rules that lose (--all prints them)"


def _winner(explanation: "Explanation", sent: Sequence["Copy"], path: str) -> Iterator[Row]:
    if explanation.winner is not None:
        yield "wins", _place(path, explanation.winner), rule_text(explanation.winner), ""
    for copy in sent:
        others = [str(address) for address in copy.addresses if address != copy.address]
        named = [] if copy.collector.address else [f"{copy.collector}", *others]
        if copy.drop:
            yield "no copy", f"to {copy.collector}", f"{copy.why} ({copy.drop})", ""
        else:
            yield "sent", f"to {_point(str(copy.address), copy.port)}", ", also ".join(named), ""
        if copy.way is not None and copy.way.next_hop is not None:
            mac = f", {copy.way.mac}" if copy.way.mac else ""
            yield "", f"by {copy.way.port}", f"next hop {copy.way.next_hop}{mac}", copy.way.state or ""
        if copy.health is not None:
            its = copy.health
            yield "", f"checked by {its.check}", its.result, f"{its.state} for {time_text(its.seconds)}"


def _losers(explanation: "Explanation", path: str, shown: int) -> Iterator[Row]:
    from gfwd.rules.explain import Why

    texts = {
        Why.PRIORITY: "worse priority",
        Why.EARLIER: "same priority, written earlier",
        Why.DEFAULT: "is the default",
    }
    for loser in explanation.losers[:shown]:
        yield "loses", _place(path, loser.rule), rule_text(loser.rule), texts[loser.why]


def _misses(misses: Sequence["Miss"], what: str, path: str) -> Iterator[Row]:
    for miss in misses:
        outcome = "else it would win" if miss.would_win else "and would lose"
        yield "near", _place(path, miss.rule), rule_text(miss.rule), f"{what}, {outcome}"


def _name(explanation: "Explanation") -> str:
    return _point(str(explanation.source), explanation.port)


def _point(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _place(path: str, rule: Rule) -> str:
    return f"{path}:{rule.line}"


# ---- for scripts ----


def _as_json(explanation: "Explanation", sent: Sequence["Copy"], path: str, listen: Ports) -> dict[str, Any]:
    winner = explanation.winner
    return {
        "source": str(explanation.source),
        "port": explanation.port,
        "listen": ports_text(listen),
        "listened": holds_port(listen, explanation.port),
        "winner": winner and _rule_json(path, winner),
        "copies": [copy.as_json() for copy in sent],
        "losers": [{**_rule_json(path, loser.rule), "why": loser.why.value} for loser in explanation.losers],
        "other_port": [_miss_json(path, miss) for miss in explanation.other_port],
        "other_source": [_miss_json(path, miss) for miss in explanation.other_source],
    }


def _miss_json(path: str, miss: "Miss") -> dict[str, Any]:
    return {**_rule_json(path, miss.rule), "would_win": miss.would_win}


def _rule_json(path: str, rule: Rule) -> dict[str, Any]:
    return {"path": path, "line": rule.line, "rule": rule_text(rule)}
