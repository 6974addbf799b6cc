"""Warnings on the terminal: enough to see what is wrong, and no more than somebody reads."""

import sys
from collections.abc import Sequence

from gfwd.errors import Problem

_SHOWN = 20


def print_warnings(problems: Sequence[Problem], *, all_of_them: bool, advice: str) -> None:
    """Print the first few to stderr, or all; where some are left out, how many, and how to see them."""
    shown = problems if all_of_them else problems[:_SHOWN]
    for problem in shown:
        print(problem, file=sys.stderr)
    if len(shown) < len(problems):
        print(f"and {len(problems) - len(shown):,} more warnings ({advice})", file=sys.stderr)
