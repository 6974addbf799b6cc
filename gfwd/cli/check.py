"""gfwd check: validate a configuration, or a rules file alone."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gfwd.cli.remarks import print_warnings
from gfwd.errors import ConfigError, Problem
from gfwd.metrics.words import many
from gfwd.rules.model import Collector, Group, RuleSet


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "check",
        help="validate a configuration, or a rules file",
        description="Reads a gfwd.toml with the rules that belong to it, or a rules file alone, and names all that is "
        "wrong with it. Errors and warnings go to stderr. Exit status: 0 fine, be it with warnings; 2 errors.",
    )
    file = parser.add_mutually_exclusive_group(required=True)
    file.add_argument("-c", "--config", metavar="FILE", help="the gfwd.toml")
    file.add_argument("--rules", metavar="FILE", help="the rules file")
    parser.add_argument("--all", action="store_true", help="print all warnings, and not only the first 20")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--print", action="store_true", dest="canonical", help="print all in canonical form")
    output.add_argument("--json", action="store_true", help="rules, collectors and all problems as one line of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    path = arguments.config or arguments.rules
    try:
        ruleset, canonical, problems = _configuration(path) if arguments.config else _rules(path)
    except ConfigError as error:
        if not arguments.json:
            raise
        _print_json(path, None, error.problems, has_names=arguments.config is not None)
        return error.exit_status
    if arguments.json:
        _print_json(path, ruleset, problems, has_names=arguments.config is not None)
        return 0
    print_warnings(problems, all_of_them=arguments.all, advice="--all prints them")
    if arguments.canonical:
        sys.stdout.write(canonical())
    else:
        counts = [many(len(ruleset.rules), "rule"), many(len(_collectors(ruleset)), "collector")]
        groups = _groups(ruleset)
        if groups:
            counts.append(many(len(groups), "group"))
        if problems:
            counts.append(many(len(problems), "warning"))
        print(f"{path}: fine: {', '.join(counts)}")
    return 0


Checked = tuple[RuleSet, Callable[[], str], list[Problem]]
"""The rules, what writes the file in canonical form, and the warnings."""


def _rules(path: str) -> Checked:
    from gfwd.rules import canonical, classic

    ruleset = classic.load(path)
    return ruleset, lambda: canonical.canonical_text(ruleset), sorted(_warnings(ruleset))


def _configuration(path: str) -> Checked:
    from gfwd.config import canonical, reading, warnings
    from gfwd.rules.listen import named_ports, narrowed

    config = reading.load(path)
    ruleset = config.rules
    listen = config.listen or named_ports(ruleset)
    problems = [*_warnings(ruleset), *narrowed(ruleset, listen), *warnings.warnings(config, listen)]
    return ruleset, lambda: canonical.canonical_text(config), sorted(problems)


def _warnings(ruleset: RuleSet) -> list[Problem]:
    from gfwd.rules import warnings
    from gfwd.rules.repeats import repeats

    return [*warnings.warnings(ruleset), *repeats(ruleset)]


def _collectors(ruleset: RuleSet) -> list[Collector]:
    """Each once, in the order in which the rules name them, with those that may step in for others."""
    return list(dict.fromkeys(collector.alone() for collector in ruleset.collectors()))


def _groups(ruleset: RuleSet) -> list[Group]:
    """Each once, in the order in which the rules name them."""
    named = dict.fromkeys(receiver for rule in ruleset.rules for receiver in rule.receivers)
    return [receiver for receiver in named if isinstance(receiver, Group)]


def _print_json(path: str, ruleset: RuleSet | None, problems: Sequence[Problem], *, has_names: bool) -> None:
    """Rules, collectors and groups are null where errors leave none. has_names: whether the file can name them."""
    outcome: dict[str, Any] = {"path": path, "rules": None, "collectors": None}
    if has_names:
        outcome |= {"named": None, "groups": None}
    if ruleset is not None:
        outcome |= {"rules": len(ruleset.rules), "collectors": list(map(str, _collectors(ruleset)))}
    if ruleset is not None and has_names:
        outcome["named"] = {its.name: its.place() for its in _collectors(ruleset) if its.name is not None}
        outcome["groups"] = {
            group.name: {"balance": group.balance, "members": list(map(str, group.members))}
            for group in _groups(ruleset)
        }
    print(json.dumps({**outcome, "problems": [problem._asdict() for problem in problems]}))
