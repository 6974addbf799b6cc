"""gfwd import: other forwarders' configurations as gfwd's rules."""

import argparse
import json
import sys
from typing import Any

from gfwd.cli import options
from gfwd.cli.remarks import print_warnings
from gfwd.config import values
from gfwd.errors import ConfigError, Problem

PROGRAMS = ("samplicator", "pmacct", "nfcapd")


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "import",
        help="turn a configuration of samplicator, pmacct or nfcapd into rules",
        description="Prints the rules that do what another forwarder does, and names on stderr all that has no meaning "
        "in gfwd or another one. Exit status: 0 all was turned; 1 something was left out or means something else, and "
        "the rules are printed all the same; 2 what was read is no sound configuration.",
    )
    parser.add_argument("program", choices=PROGRAMS, help="whose configuration it is")
    parser.add_argument(
        "configuration",
        metavar="FILE",
        help="samplicator: its configuration file, or the command line, as one argument; pmacct: the configuration "
        "file of nfacctd or sfacctd; nfcapd: the command line, as one argument, or a file that holds it",
    )
    parser.add_argument(
        "--port",
        metavar="PORTS",
        type=options.value(values.listen),
        help="the UDP ports that exporters send to: 2055,9990-9999 or all (default: what the configuration says, or "
        "else the program's own default)",
    )
    parser.add_argument("--all", action="store_true", help="print all warnings, and not only the first 20")
    parser.add_argument("--json", action="store_true", help="rules and remarks as one line of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        outcome = _imported(arguments)
    except ConfigError as error:
        if not arguments.json:
            raise
        print(json.dumps({"rules": None, "remarks": [problem._asdict() for problem in error.problems]}))
        return error.exit_status
    if arguments.json:
        _print_json(outcome)
    else:
        print_warnings(outcome.remarks, all_of_them=arguments.all, advice="--all prints them")
        if not outcome.rules:
            print(Problem(outcome.path, 0, 0, "nothing in it could be turned into a rule"), file=sys.stderr)
        sys.stdout.write(outcome.text())
    return 0 if outcome.is_whole() else 1


def _imported(arguments: argparse.Namespace) -> Any:
    from gfwd.imports import nfcapd, pmacct, samplicator
    from gfwd.imports.report import is_command_line, read_text

    what, ports = arguments.configuration, arguments.port
    is_command = is_command_line(what)
    if arguments.program == "pmacct":
        return pmacct.import_file(read_text(what), what, ports, read_text)
    if arguments.program == "nfcapd":
        return nfcapd.import_command(what, ports) if is_command else nfcapd.import_file(read_text(what), what, ports)
    if is_command:
        return samplicator.import_command(what, ports, read_text)
    return samplicator.import_file(read_text(what), what, ports)


def _print_json(outcome: Any) -> None:
    from gfwd.rules.model import ports_text

    rules = [
        {
            "source": "*" if rule.source is None else str(rule.source),
            "ports": ports_text(rule.ports),
            "collectors": list(map(str, rule.collectors)),
            "priority": rule.priority,
            "from": list(map(str, places)),
        }
        for rule, places in zip(outcome.rules, outcome.places, strict=True)
    ]
    print(json.dumps({"rules": rules, "remarks": [remark._asdict() for remark in outcome.remarks]}))
