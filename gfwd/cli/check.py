"""gfwd check: validate a configuration, or a rules file alone."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gfwd.cli.remarks import print_warnings
from gfwd.errors import ConfigError, Problem
from gfwd.metrics.words import many
from gfwd.rules.model import Collector, RuleSet


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
        _print_json(path, None, error.problems)
        return error.exit_status
    if arguments.json:
        _print_json(path, ruleset, problems)
        return 0
    print_warnings(problems, all_of_them=arguments.all, advice="--all prints them")
    if arguments.canonical:
        sys.stdout.write(canonical())
    else:
        counts = [many(len(ruleset.rules), "rule"), many(len(_collectors(ruleset)), "collector")]
        if problems:
            counts.append(many(len(problems), "warning"))
        print(f"{path}: fine: {', '.join(counts)}")
    return 0


Checked = tuple[RuleSet, Callable[[], str], list[Problem]]
"""The rules, what writes the file in canonical form, and the warnings."""


def _rules(path: str) -> Checked:
    from gfwd.rules import canonical, classic

    ruleset = classic.load(path)
    return ruleset, lambda: canonical.canonical_text(ruleset), _warnings(ruleset)


def _configuration(path: str) -> Checked:
    from gfwd.config import canonical, reading
    from gfwd.rules.listen import named_ports, narrowed

    config = reading.load(path)
    ruleset = config.rules
    unheard = narrowed(ruleset, config.listen or named_ports(ruleset))
    return ruleset, lambda: canonical.canonical_text(config), sorted([*_warnings(ruleset), *unheard])


def _warnings(ruleset: RuleSet) -> list[Problem]:
    from gfwd.rules import warnings

    return warnings.warnings(ruleset)


def _collectors(ruleset: RuleSet) -> list[Collector]:
    """Each once, in the order in which the rules name them."""
    return list(dict.fromkeys(collector for rule in ruleset.rules for collector in rule.collectors))


def _print_json(path: str, ruleset: RuleSet | None, problems: Sequence[Problem]) -> None:
    """Rules and collectors are null where errors leave none."""
    outcome = {
        "path": path,
        "rules": None if ruleset is None else len(ruleset.rules),
        "collectors": None if ruleset is None else [str(collector) for collector in _collectors(ruleset)],
        "problems": [problem._asdict() for problem in problems],
    }
    print(json.dumps(outcome))
