"""gfwd bench: measure on this machine."""

import argparse
from typing import Any


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser("bench", help="measure on this machine")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    return 0
