"""gfwd replay: the real core from one capture file to another."""

import argparse
import json
import sys
from typing import Any

from gfwd.cli import options
from gfwd.cli.remarks import print_warnings
from gfwd.config import values


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="forward a capture file to another, and show the accounting",
        description="Runs the real core over a capture file (pcap or pcapng), without privileges. Every UDP datagram "
        "in it counts as ours unless --address, --listen or the gfwd.toml say otherwise.",
    )
    parser.add_argument("capture", metavar="IN.pcap", help="what the exporters sent")
    parser.add_argument("-o", "--output", metavar="OUT.pcap", required=True, help="what leaves for the collectors")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--rules", metavar="FILE", help="the rules file")
    source.add_argument("-c", "--config", metavar="FILE", help="a gfwd.toml, whose rules, address and listen count")
    parser.add_argument("--json", action="store_true", help="the accounting as one line of JSON")
    parser.add_argument(
        "--address",
        metavar="IP[/LEN]",
        type=options.value(values.own_prefix),
        action="append",
        help="an address of ours, or a whole network; may be given more than once (default: as in the "
        "gfwd.toml, else every address is ours)",
    )
    parser.add_argument(
        "--listen",
        metavar="PORTS",
        type=options.value(values.listen),
        help="UDP ports that are ours: 514,2055,9990-9999 or all (default: what the gfwd.toml says, else all)",
    )
    parser.add_argument(
        "--neighbour",
        metavar="IP=MAC",
        type=options.value(values.neighbour),
        action="append",
        default=[],
        help="a collector's MAC (default: 02:00 and the four bytes of its address, or 02:01 and the last four in IPv6)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gfwd.config import reading
    from gfwd.config.model import DnsSetting
    from gfwd.daemon.replay import Replay, replay
    from gfwd.metrics.table import ledger_text
    from gfwd.plan.blueprint import EVERY_ADDRESS
    from gfwd.rules import classic
    from gfwd.rules.listen import named_ports, narrowed
    from gfwd.rules.model import ALL_PORTS

    if arguments.config is None:
        ruleset, own, listen, dns = classic.load(arguments.rules), None, ALL_PORTS, DnsSetting()
    else:
        config = reading.load(arguments.config)
        ruleset, own, listen, dns = config.rules, config.own, config.listen or named_ports(config.rules), config.dns
    listen = arguments.listen or listen
    print_warnings(narrowed(ruleset, listen), all_of_them=False, advice="of the same kind")
    outcome = replay(
        Replay(
            capture=arguments.capture,
            output=arguments.output,
            rules=ruleset,
            own=tuple(arguments.address or own or EVERY_ADDRESS),
            listen=listen,
            neighbours=dict(arguments.neighbour),
            dns=dns,
        )
    )
    for remark in outcome.remarks:
        print(remark, file=sys.stderr)
    if arguments.json:
        print(json.dumps(outcome.ledger.as_json()))
    else:
        print(ledger_text(outcome.ledger))
    if outcome.problem is not None:
        print(outcome.problem, file=sys.stderr)
        return 1
    return 0
