"""gfwd explain: what the rules make of a datagram, why, and what leaves for whom."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gfwd.cli import options
from gfwd.cli.answer import answering
from gfwd.config import values
from gfwd.errors import UsageError
from gfwd.health.words import time_text
from gfwd.metrics.words import many
from gfwd.rules.canonical import rule_text
from gfwd.rules.model import Ports, Prefix, Rule, holds_port, ports_text

if TYPE_CHECKING:  # the core is only loaded once all arguments are known to be right
    from gfwd.daemon.explain import Copy, Live
    from gfwd.daemon.report import HealthReport, NameReport
    from gfwd.rules.explain import Explanation, Miss

_SHOWN = 20
_WIDEST = 60  # characters of a rule: a longer one does not push what stands behind all others to the right
_BY: Final = {"exporter": "by exporter", "flow": "by source port", "round-robin": "by turns"}

Row = tuple[str, str, str, str]
"""What a rule does, where it is written, its text, and a remark."""


class _Told(NamedTuple):
    """What is told of a datagram. down: collectors that would get copies otherwise. path: of the rules."""

    explanation: "Explanation"
    copies: Sequence["Copy"]
    down: Sequence["HealthReport"]
    path: str


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "explain",
        help="which rules apply to a datagram, why, and what leaves",
        description="Says which rule wins a datagram, and which ones apply beside it; which ones lose to them and why, "
        "which ones it misses by little; and what leaves for the collectors. Exit status: 0 a rule applies (to each "
        "datagram, of several); 1 none does, or the exporter is denied; 2 bad usage or bad rules.",
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
        "--source-port",
        metavar="PORT",
        type=options.value(options.udp_port),
        help='the port that the exporter sends from: it says which member of a group with balance = "flow" gets it',
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="ask the gfwd that runs by this gfwd.toml for next hops and their MACs, and who is down",
    )
    parser.add_argument("--all", action="store_true", help=f"all rules that lose, and not only the first {_SHOWN}")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each datagram (docs/rules.md)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    with answering():
        return _answer(arguments)


def _answer(arguments: argparse.Namespace) -> int:
    from gfwd.daemon.explain import sender
    from gfwd.rules.explain import explain
    from gfwd.rules.listen import named_ports

    ruleset, configured, own, dns = options.ruleset(arguments)
    listen = arguments.listen or configured or named_ports(ruleset)
    ranked = ruleset.ranked()
    explanations = [explain(ranked, source, port, ruleset.exporters) for source, port in arguments.datagrams]
    its = sender(explanations, own, _live(arguments) if arguments.live else None, dns)
    for number, explanation in enumerate(explanations):
        told = _Told(
            explanation, its.copies(explanation, arguments.source_port), its.health_of_down(explanation), ruleset.path
        )
        if arguments.json:
            print(json.dumps(_as_json(told, listen)))
        else:
            shown = sys.maxsize if arguments.all else _SHOWN
            print("\n" * bool(number) + "\n".join(_lines(told, listen, shown)))
    return 0 if all(explanation.applying for explanation in explanations) else 1


def _live(arguments: argparse.Namespace) -> "Live":
    """Raises GfwdError."""
    from gfwd.cli.ask import ask_one
    from gfwd.daemon.explain import Live
    from gfwd.daemon.report import HealthReport, NameReport, WayReport

    if arguments.config is None:
        raise UsageError("gfwd explain: error: --live takes -c, the gfwd.toml that names the control socket")
    answer = ask_one(arguments, {"do": "ways"})
    ways = (WayReport.read(way) for way in answer["ways"])
    health = (HealthReport(**one) for one in answer["health"])
    names = (NameReport(**one) for one in answer["names"])
    return Live(
        {way.goal(): way for way in ways},
        {one.collector: one for one in health},
        {one.name: one for one in names},
    )


# ---- for people ----


def _lines(told: _Told, listen: Ports, shown: int) -> Iterator[str]:
    explanation, path = told.explanation, told.path
    yield _name(explanation)
    yield from _what_comes_before(explanation, listen)
    rows = [
        *_applying(explanation, path),
        *(row for copy in told.copies for row in _copy(copy)),
        *(("down", one.collector, f"checked by {one.check}: {one.result}", _state(one)) for one in told.down),
        *_losers(explanation, path, shown),
        *_misses(explanation.other_port, f"not to port {explanation.port}", path),
        *_misses(explanation.other_source, f"not from {explanation.source}", path),
        *_misses(explanation.excepted, "excepted by ", path),
    ]
    widths = [max((len(row[i]) for row in rows if len(row[i]) <= _WIDEST), default=0) for i in range(4)]
    for row in rows:
        yield "  " + "  ".join(map(str.ljust, row, widths)).rstrip()
    more = len(explanation.losers) - shown
    if more > 0:
        yield f"  and {many(more, 'more rule')} that {'loses' if more == 1 else 'lose'} (--all prints them)"


def _what_comes_before(explanation: "Explanation", listen: Ports) -> Iterator[str]:
    """What decides before any rule does, or instead of one."""
    if not listen:
        yield "  no rule names a port, so gfwd run has to be told which are its own: --listen"
    elif not holds_port(listen, explanation.port):
        yield (
            f"  gfwd does not listen on port {explanation.port}, but on {ports_text(listen)}: it leaves the datagram "
            "to the host, and asks no rule"
        )
    if explanation.denial is not None:
        prefix = explanation.denial.prefix
        why = "nothing in allow holds its source" if prefix is None else f"deny has {prefix}"
        yield f"  {why}: it is dropped, and counted as denied"
    elif not explanation.applying:
        yield "  no rule matches: it is dropped, and counted as no_rule"
    elif explanation.limit is not None:
        rate, prefix = explanation.limit
        if rate is None:
            yield f"  all that it sends is taken: {prefix} has no limit"
        else:
            others = "every exporter" if prefix is None else f"each of {prefix}"
            yield f"  at most {rate:,} a second are taken from it, as from {others}; the rest is rate_limited"


def _applying(explanation: "Explanation", path: str) -> Iterator[Row]:
    for rule in explanation.applying:
        yield "applies" if rule.applies_always else "wins", _place(path, rule), rule_text(rule), ""


def _copy(copy: "Copy") -> Iterator[Row]:
    if copy.drop:
        yield "no copy", f"to {copy.collector}", f"{copy.why} ({copy.drop})", _group_text(copy)
    else:
        to = f"to {_point(str(copy.address), copy.port)}"
        yield "one of" if copy.one_of else "sent", to, _collector_text(copy), ""
    if copy.way is not None and copy.way.next_hop is not None:
        mac = f", {copy.way.mac}" if copy.way.mac else ""
        yield "", f"by {copy.way.port}", f"next hop {copy.way.next_hop}{mac}", _way_state(copy)
    for hop in copy.equals:
        mac = f", {hop.mac}" if hop.mac else ""
        yield "", f"or by {hop.port}", f"next hop {hop.next_hop}{mac}", hop.state
    if copy.name is not None:
        yield "", f"name {copy.name.name}", _name_text(copy.name), copy.name.state
    if copy.health is not None and copy.health.state != "down":
        yield "", f"checked by {copy.health.check}", copy.health.result, _state(copy.health)


def _way_state(copy: "Copy") -> str:
    """Of the next hop, and what is known of its equals: which of them are others' now, and which are nobody's."""
    if copy.way is None or copy.way.state is None:
        return ""
    others = [hop for hop in copy.way.hops if hop.next_hop != copy.way.next_hop or hop.port != copy.way.port]
    if not others:
        return copy.way.state
    out = [f"{hop.next_hop} left out, {hop.state}" for hop in others if not hop.is_used]
    return ", ".join([copy.way.state, f"one of {len(copy.way.hops)} next hops", *out])


def _collector_text(copy: "Copy") -> str:
    """Its name, where the address does not say it, and what becomes of the copy on its way there."""
    its, how = copy.collector, copy.options
    is_named = its.name is not None or its.address is None
    own = "source gfwd's own" if copy.own is None else f"source {copy.own} (gfwd's own)"
    return ", ".join(
        [
            *([str(its)] if is_named else []),
            *(f"also {address}" for address in copy.addresses if address != copy.address),
            *([_group_text(copy)] if copy.group is not None else []),
            *([f"in place of {copy.instead_of}"] if copy.instead_of is not None else []),
            *([own] if how.own_source else []),
            *([f"source port {how.source_port}"] if how.source_port else []),
            *([f"TTL {how.ttl}"] if how.ttl else []),
            *([f"one in {how.sample:,}"] if how.sample != 1 else []),
            *([f"at most {how.limit:,} a second"] if how.limit else []),
            *([f"out by {how.out}"] if how.out else []),
            *([f"VLAN {how.vlan}"] if how.vlan else []),
        ]
    )


def _group_text(copy: "Copy") -> str:
    return "" if copy.group is None else f"of {copy.group} ({_BY[copy.group.balance]})"


def _name_text(name: "NameReport") -> str:
    """How old its addresses are, and why they are not younger."""
    if name.age is None:
        return name.error or "not answered yet"
    return f"answered {time_text(name.age)} ago, TTL {time_text(name.ttl or 0)} left" + (
        f"; since then: {name.error}" if name.error else ""
    )


def _state(health: "HealthReport") -> str:
    return f"{health.state} for {time_text(health.seconds)}"


def _losers(explanation: "Explanation", path: str, shown: int) -> Iterator[Row]:
    from gfwd.rules.explain import Why

    texts = {
        Why.PRIORITY: "worse priority",
        Why.EARLIER: "same priority, written earlier",
        Why.DEFAULT: "is the default",
        Why.OTHERS: "is the default, and another rule applies",
        Why.DENIED: "would apply, were the exporter not denied",
    }
    for loser in explanation.losers[:shown]:
        yield "loses", _place(path, loser.rule), rule_text(loser.rule), texts[loser.why]


def _misses(misses: Sequence["Miss"], what: str, path: str) -> Iterator[Row]:
    for miss in misses:
        outcome = f"else it would {'apply' if miss.rule.applies_always else 'win'}"
        if not miss.would_apply:
            outcome = "and would lose"
        yield "near", _place(path, miss.rule), rule_text(miss.rule), f"{what}{miss.excepted or ''}, {outcome}"


def _name(explanation: "Explanation") -> str:
    return _point(str(explanation.source), explanation.port)


def _point(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _place(path: str, rule: Rule) -> str:
    return f"{path}:{rule.line}"


# ---- for scripts ----


def _as_json(told: _Told, listen: Ports) -> dict[str, Any]:
    explanation, path = told.explanation, told.path
    denial, limit = explanation.denial, explanation.limit
    return {
        "source": str(explanation.source),
        "port": explanation.port,
        "listen": ports_text(listen),
        "listened": holds_port(listen, explanation.port),
        "denied": denial and {"by": "deny" if denial.prefix else "allow", "prefix": _text(denial.prefix)},
        "limit": limit and {"rate": limit.rate, "prefix": _text(limit.prefix)},
        "rules": [_rule_json(path, rule) for rule in explanation.applying],
        "copies": [copy.as_json() for copy in told.copies],
        "down": [one._asdict() for one in told.down],
        "losers": [{**_rule_json(path, loser.rule), "why": loser.why.value} for loser in explanation.losers],
        "other_port": [_miss_json(path, miss) for miss in explanation.other_port],
        "other_source": [_miss_json(path, miss) for miss in explanation.other_source],
        "excepted": [{**_miss_json(path, miss), "excepted": _text(miss.excepted)} for miss in explanation.excepted],
    }


def _miss_json(path: str, miss: "Miss") -> dict[str, Any]:
    return {**_rule_json(path, miss.rule), "would_apply": miss.would_apply}


def _rule_json(path: str, rule: Rule) -> dict[str, Any]:
    apply = "all" if rule.applies_always else "best"
    return {"path": path, "line": rule.line, "rule": rule_text(rule), "apply": apply}


def _text(prefix: Prefix | None) -> str | None:
    return None if prefix is None else str(prefix)
