"""gfwd check: validate a rules file."""

import argparse
import sys
from typing import Any


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "check",
        help="validate a rules file",
        description="Reads a rules file and names all that is wrong with it. Exit status: 0 fine, 2 errors.",
    )
    parser.add_argument("--rules", metavar="FILE", required=True, help="the rules file")
    parser.add_argument("--print", action="store_true", dest="canonical", help="print the rules in canonical form")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gfwd.rules import canonical, classic, warnings
    from gfwd.rules.space import RuleSpace

    ruleset = classic.load(arguments.rules)
    for problem in warnings.warnings(ruleset, RuleSpace(ruleset)):
        print(problem, file=sys.stderr)
    if arguments.canonical:
        sys.stdout.write(canonical.canonical_text(ruleset))
    else:
        collectors = {collector for rule in ruleset.rules for collector in rule.collectors}
        print(f"{arguments.rules}: fine: {len(ruleset.rules)} rules, {len(collectors)} collectors")
    return 0
