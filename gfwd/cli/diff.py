"""gfwd diff: which datagrams go somewhere else by the new rules."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gfwd.cli import options
from gfwd.cli.answer import Trouble, answering
from gfwd.config import values
from gfwd.rules.canonical import rule_text
from gfwd.rules.model import ALL_PORTS, FAMILIES, Address, Family, Prefix, Receiver, RuleSet, each_collector, ports_text

if TYPE_CHECKING:  # the core is only loaded for --traffic
    from gfwd.rules.diff import Comparison, Difference
    from gfwd.rules.space import Outcome

_SHOWN = 20  # of differences, of the sources of each, and of exporters


class _Touched(NamedTuple):
    """Datagrams of a capture that go somewhere else, from one exporter to one port."""

    source: Address
    port: int
    datagrams: int
    difference: "Difference"


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "diff",
        help="which exporters and ports change their collectors, from one rules file to another",
        description="Compares where datagrams go by two rules files, for every source and every port. How the rules "
        "are written plays no part. Exit status: 0 no difference; 1 differences; 2 trouble.",
    )
    parser.add_argument("old", metavar="OLD", help="the rules file as it was, or a gfwd.toml")
    parser.add_argument("new", metavar="NEW", help="the rules file as it will be, or a gfwd.toml")
    parser.add_argument(
        "--traffic",
        metavar="F.pcap",
        help="say it for the exporters and ports in this capture (pcap or pcapng) alone; so does the exit status",
    )
    parser.add_argument(
        "--listen",
        metavar="PORTS",
        type=options.value(values.listen),
        help="UDP ports that are gfwd's, others being left out: 514,2055,9990-9999 or all (default: all)",
    )
    parser.add_argument("--all", action="store_true", help=f"all of it, and not only the first {_SHOWN} of everything")
    parser.add_argument("--json", action="store_true", help="one line of JSON, with all of it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    with answering():
        return _answer(arguments)


def _answer(arguments: argparse.Namespace) -> int:
    from gfwd.rules.diff import Comparison

    old, new = _load(arguments.old), _load(arguments.new)
    comparison = Comparison(old, new, arguments.listen or ALL_PORTS)
    shown = sys.maxsize if arguments.all else _SHOWN
    if arguments.listen is None:
        _warn_of_listen(old, new)
    if arguments.traffic is not None:
        return _answer_for_traffic(arguments, comparison, old, new, shown)
    differences = comparison.differences()
    if arguments.json:
        print(json.dumps({"differences": [_as_json(old, new, difference) for difference in differences]}))
    else:
        print("\n".join(_lines(old, new, differences, shown)))
    return 1 if differences else 0


def _load(path: str) -> RuleSet:
    """The rules in a gfwd.toml, or of a rules file."""
    from gfwd.config import reading
    from gfwd.rules import classic

    return reading.load(path).rules if path.endswith(".toml") else classic.load(path)


def _answer_for_traffic(
    arguments: argparse.Namespace, comparison: "Comparison", old: RuleSet, new: RuleSet, shown: int
) -> int:
    from gfwd.daemon.traffic import traffic

    seen = traffic(arguments.traffic)
    touched = [
        _Touched(source, port, n, difference)
        for (source, port), n in sorted(seen.datagrams.items(), key=lambda item: (-item[1], item[0]))
        if (difference := comparison.at(source, port)) is not None
    ]
    total = seen.datagrams.total()
    if arguments.json:
        print(json.dumps({"datagrams": total, "touched": [_touched_json(old, new, one) for one in touched]}))
    else:
        print(_touched_text(old, new, touched, total, shown))
    if seen.problem is not None:
        raise Trouble(seen.problem)
    return 1 if touched else 0


def _warn_of_listen(old: RuleSet, new: RuleSet) -> None:
    """What gfwd listens on follows from the rules too, where nobody says otherwise."""
    from gfwd.rules.listen import named_by_one

    for one, other in ((old, new), (new, old)):
        ports = named_by_one(one, other)
        if ports:
            print(
                f"{one.path}: warning: only by these rules, and not by {other.path}, gfwd listens on port "
                f"{ports_text(ports)}, unless it is told on which (--listen)",
                file=sys.stderr,
            )


# ---- for people ----


def _lines(old: RuleSet, new: RuleSet, differences: Sequence["Difference"], shown: int) -> Iterator[str]:
    if not differences:
        yield "no difference"
        return
    for difference in differences[:shown]:
        yield f"{_sources_text(difference.sources, shown)} to {ports_text(difference.ports)}"
        yield f"- {_side(old, difference.before, _family(difference))}"
        yield f"+ {_side(new, difference.after, _family(difference))}"
        yield ""
    more = len(differences) - shown
    yield f"{len(differences):,} difference{'s'[: len(differences) != 1]}{' (--all prints them)' if more > 0 else ''}"


def _touched_text(old: RuleSet, new: RuleSet, touched: Sequence[_Touched], total: int, shown: int) -> str:
    from gfwd.metrics.table import table_text

    n = sum(one.datagrams for one in touched)
    if not touched:
        return f"no difference for the {total:,} datagrams of this capture"
    rows = [
        (
            f"[{one.source}]:{one.port}" if one.source.family == 6 else f"{one.source}:{one.port}",
            one.datagrams,
            _side(old, one.difference.before, one.source.family),
            _side(new, one.difference.after, one.source.family),
        )
        for one in touched[:shown]
    ]
    more = len(touched) - shown
    return (
        table_text(("from:to port", "datagrams", "before", "after"), rows)
        + (f"\nand {more:,} more exporters and ports (--all prints them)" if more > 0 else "")
        + f"\n\n{n:,} of {total:,} datagrams change their collectors"
    )


def _side(ruleset: RuleSet, outcome: "Outcome | None", family: Family | None) -> str:
    """Where the rules are written, and who gets copies by them; of one family, or of both."""
    if outcome is None:
        return "no_rule"
    if not outcome:
        return f"denied ({ruleset.path})"
    text = " ".join(map(str, _receivers(outcome, family))) or f"no collector of IPv{family} (family_mismatch)"
    lines = " and ".join(f"{ruleset.path}:{rule.line}" for rule in outcome)
    return f"{lines}: {text}"


def _receivers(outcome: "Outcome", family: Family | None) -> list[Receiver]:
    from gfwd.rules.space import receivers_of

    return [
        receiver
        for receiver in receivers_of(outcome)
        if family is None or any(one.can_get(family) for one in each_collector([receiver]))
    ]


def _sources_text(sources: Sequence[Prefix | None], shown: int) -> str:
    """The prefixes, or those that are left out of a wider one, whichever are fewer."""
    from gfwd.rules.cover import all_but

    texts = ["*"] if None in sources else []
    for family in FAMILIES:
        some = [source for source in sources if source is not None and source.family == family]
        if not some:
            continue
        whole, left_out = all_but(some)
        if len(left_out) < len(some) - 1:
            texts.append(f"{whole} except {_listed(left_out, shown)}")
        else:
            texts.append(_listed(some, shown))
    return " and ".join(texts)


def _listed(prefixes: Sequence[Prefix], shown: int) -> str:
    more = len(prefixes) - shown
    return ", ".join(map(str, prefixes[:shown])) + (f", and {more:,} more" if more > 0 else "")


def _source(source: Prefix | None) -> str:
    return "*" if source is None else str(source)


def _family(difference: "Difference") -> Family | None:
    """The family of all sources; None: both."""
    families = {source and source.family for source in difference.sources}
    return families.pop() if len(families) == 1 else None


# ---- for scripts ----


def _as_json(old: RuleSet, new: RuleSet, difference: "Difference") -> dict[str, Any]:
    family = _family(difference)
    return {
        "sources": list(map(_source, difference.sources)),
        "ports": ports_text(difference.ports),
        "before": _side_json(old, difference.before, family),
        "after": _side_json(new, difference.after, family),
    }


def _touched_json(old: RuleSet, new: RuleSet, one: _Touched) -> dict[str, Any]:
    return {
        "source": str(one.source),
        "port": one.port,
        "datagrams": one.datagrams,
        "before": _side_json(old, one.difference.before, one.source.family),
        "after": _side_json(new, one.difference.after, one.source.family),
    }


def _side_json(ruleset: RuleSet, outcome: "Outcome | None", family: Family | None) -> dict[str, Any] | None:
    """The rules that apply, best first, and who gets copies; no rules: denied. None: no rule applies."""
    if outcome is None:
        return None
    return {
        "rules": [{"path": ruleset.path, "line": rule.line, "rule": rule_text(rule)} for rule in outcome],
        "collectors": list(map(str, _receivers(outcome, family))),
    }
