"""gfwd check: validate a rules file."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from gfwd.cli.remarks import print_warnings
from gfwd.errors import ConfigError, Problem
from gfwd.rules.model import Collector, RuleSet


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "check",
        help="validate a rules file",
        description="Reads a rules file and names all that is wrong with it. Errors and warnings go to stderr. "
        "Exit status: 0 fine, be it with warnings; 2 errors.",
    )
    parser.add_argument("--rules", metavar="FILE", required=True, help="the rules file")
    parser.add_argument("--all", action="store_true", help="print all warnings, and not only the first 20")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--print", action="store_true", dest="canonical", help="print the rules in canonical form")
    output.add_argument("--json", action="store_true", help="rules, collectors and all problems as one line of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gfwd.rules import canonical, classic

    try:
        ruleset = classic.load(arguments.rules)
    except ConfigError as error:
        if not arguments.json:
            raise
        _print_json(arguments.rules, None, error.problems)
        return error.exit_status
    problems = _warnings(ruleset)
    if arguments.json:
        _print_json(arguments.rules, ruleset, problems)
        return 0
    print_warnings(problems, all_of_them=arguments.all, advice="--all prints them")
    if arguments.canonical:
        sys.stdout.write(canonical.canonical_text(ruleset))
    else:
        counts = [_many(len(ruleset.rules), "rule"), _many(len(_collectors(ruleset)), "collector")]
        if problems:
            counts.append(_many(len(problems), "warning"))
        print(f"{arguments.rules}: fine: {', '.join(counts)}")
    return 0


def _warnings(ruleset: RuleSet) -> list[Problem]:
    from gfwd.rules import warnings
    from gfwd.rules.space import RuleSpace

    return warnings.warnings(ruleset, RuleSpace(ruleset))


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


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
