"""gfwd run: forward between interfaces of this host."""

import argparse
import json
import os
import sys
from typing import Any

from gfwd.cli import options
from gfwd.cli.remarks import print_warnings


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "run",
        help="forward, from now until it is told to stop",
        description="Forwards what exporters send to this host, by rule. Ports are xdp:eth0 (AF_XDP, Linux), or "
        "netmap:ix0, 'netmap:ix0*' (with the host), netmap:x{1, vale0:a. What is not for gfwd goes on to the kernel as "
        "ever. SIGINT and SIGTERM end it and show the accounting; SIGUSR1 shows it meanwhile.",
    )
    parser.add_argument("--rules", metavar="FILE", required=True, help="the rules file")
    port = options.value(options.port)
    parser.add_argument(
        "--in",
        dest="inputs",
        metavar="PORT",
        type=port,
        action="append",
        default=[],
        help="a port that exporters send to; may be given more than once",
    )
    parser.add_argument(
        "--out",
        dest="outputs",
        metavar="PORT",
        type=port,
        action="append",
        default=[],
        help="a port that leads to collectors; may be given more than once",
    )
    parser.add_argument(
        "--port", dest="both", metavar="PORT", type=port, action="append", default=[], help="a port for both"
    )
    parser.add_argument(
        "--address",
        metavar="IP[/LEN]",
        type=options.value(options.own_prefix),
        action="append",
        help="an address that exporters send to, or a whole network; may be given more than once (default: those that "
        "the kernel has on the ports that exporters send to)",
    )
    parser.add_argument(
        "--listen",
        metavar="PORTS",
        type=options.value(options.listen),
        help="UDP ports that are gfwd's: 514,2055,9990-9999 or all (default: those that the rules name)",
    )
    parser.add_argument(
        "--mac",
        metavar="IP=MAC",
        type=options.value(options.neighbour),
        action="append",
        default=[],
        help="a neighbour's MAC, which then is not asked for; the neighbour is the collector, or the gateway before it",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=options.value(options.count),
        help="threads that forward (default: one for each --cpu, or one)",
    )
    parser.add_argument(
        "--cpu", metavar="N,…", type=options.value(options.cpus), default=(), help="the CPU for each worker"
    )
    parser.add_argument("--json", action="store_true", help="the accounting as one line of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gfwd.daemon.run import Run, listened_on
    from gfwd.daemon.run import run as forward
    from gfwd.errors import UsageError
    from gfwd.rules import classic
    from gfwd.rules.listen import narrowed

    inputs, outputs = (
        tuple(dict.fromkeys((*ports, *arguments.both))) for ports in (arguments.inputs, arguments.outputs)
    )
    if not inputs or not outputs:
        missing = "--in" if not inputs else "--out"
        raise UsageError(
            f"gfwd run: error: there is no {missing}; right would be {missing} xdp:eth0, or --port xdp:eth0 for both"
        )
    ruleset = classic.load(arguments.rules)
    listen = listened_on(ruleset, arguments.listen)
    print_warnings(narrowed(ruleset, listen), all_of_them=False, advice="of the same kind")
    outcome = forward(
        Run(
            rules=ruleset,
            inputs=inputs,
            outputs=outputs,
            own=tuple(arguments.address) if arguments.address else None,
            listen=listen,
            macs=dict(arguments.mac),
            workers=arguments.workers or len(arguments.cpu) or 1,
            cpus=arguments.cpu,
        ),
        _say,
        lambda report: _say(_text(report)),
    )
    print(json.dumps(outcome.report.as_json()) if arguments.json else _text(outcome.report))
    return 0 if outcome.is_whole else 1


def _say(text: str) -> None:
    """Whoever listened may have gone, or the disk be full: that is no reason to stop forwarding."""
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    except OSError:
        pass  # there may be room for the next line


def _text(report: Any) -> str:
    from gfwd.metrics.table import ledger_text, table_text

    ports = [
        (port.name, port.mode, port.ours, port.lost, port.unread, port.unsent, port.passed) for port in report.ports
    ]
    neighbours = [(entry.address, entry.port, entry.mac or "", entry.state) for entry in report.neighbours]
    parts = [
        ledger_text(report.ledger),
        table_text(("port", "mode", "for gfwd", "lost", "unread", "unsent", "passed on"), ports),
        table_text(("neighbour", "port", "MAC", "state"), neighbours) if neighbours else "",
    ]
    return "\n\n".join(filter(None, parts))
