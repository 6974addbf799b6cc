"""gfwd inspect: what the datagrams in a capture say, and what their sequence numbers prove."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gfwd.cli import options
from gfwd.cli.progress import Progress
from gfwd.config import values
from gfwd.errors import UsageError
from gfwd.rules.model import ALL_PORTS

if TYPE_CHECKING:  # construct is loaded late
    from gfwd.daemon.inspect import Inspection

_PROTOCOLS = {name.lower(): name for name in ("NetFlow", "IPFIX", "sFlow", "syslog", "SNMP")}


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "inspect",
        help="what the NetFlow, IPFIX, sFlow, syslog and SNMP datagrams in a capture say",
        description="Prints one line for each datagram of a capture (pcap or pcapng; Ethernet, VLAN, Linux cooked, "
        "raw IP, null); or sums it up for each exporter, or says what was lost before the place of the capture.",
    )
    parser.add_argument("capture", metavar="FILE", help="a capture, or - for standard input")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-v", "--verbose", action="store_true", help="the records and templates of each datagram, too")
    what.add_argument("--summary", action="store_true", help="a line for each exporter instead")
    what.add_argument(
        "--loss",
        action="store_true",
        help="a line for each exporter, source port and domain instead: lost on the way to the capture, re-ordered, "
        "doubled, restarted, by their sequence numbers",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line (docs/inspect.md)")
    parser.add_argument(
        "-p",
        dest="protocols",
        metavar="PORT=PROTOCOL",
        type=options.value(_protocol),
        action="append",
        default=[],
        help=f"what is sent to a port, where the bytes do not tell: {', '.join(_PROTOCOLS)}; more than once for more",
    )
    parser.add_argument(
        "--exporter",
        dest="exporters",
        metavar="IP[/LEN]",
        type=options.value(values.own_prefix),
        action="append",
        default=[],
        help="only what this exporter, or network, has sent; more than once for more",
    )
    parser.add_argument(
        "--port",
        dest="ports",
        metavar="PORTS",
        type=options.value(values.listen),
        default=ALL_PORTS,
        help="only what was sent to these: 2055,9990-9999",
    )
    parser.add_argument("--count", metavar="N", type=options.value(values.count), help="stop after so many datagrams")
    parser.add_argument(
        "--sample",
        metavar="N",
        type=options.value(values.count),
        default=1,
        help="one datagram of N; templates are learned from all",
    )
    parser.add_argument("-w", dest="output", metavar="OUT.pcap", help="write what matched to a pcap file, too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gfwd.daemon.inspect import Inspect, Inspection, size_of

    if arguments.sample > 1 and (arguments.summary or arguments.loss):
        option = "--loss" if arguments.loss else "--summary"
        raise UsageError(f"gfwd inspect: error: {option} needs all datagrams; leave out --sample")
    job = Inspect(
        capture=arguments.capture,
        exporters=tuple(arguments.exporters),
        ports=arguments.ports,
        protocols=dict(arguments.protocols),
        count=arguments.count,
        sample=arguments.sample,
        output=arguments.output,
    )
    is_silent = arguments.summary or arguments.loss or sys.stdout is None or not sys.stdout.isatty()
    progress = Progress(size_of(job.capture), sys.stderr, is_wanted=is_silent)
    with progress, Inspection(job, progress.tick) as inspection:
        for line in _lines(arguments, inspection):
            progress.clear()
            print(line)
    for note in inspection.notes():
        print(note, file=sys.stderr)
    problem = inspection.problem()
    if problem is not None:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _lines(arguments: argparse.Namespace, inspection: "Inspection") -> Iterator[str]:
    from gfwd.cli import inspect_text
    from gfwd.daemon.inspect import loss, summary

    if arguments.loss:
        its = loss(inspection)
        return map(json.dumps, its.plain()) if arguments.json else inspect_text.loss(its)
    if arguments.summary:
        found = summary(inspection)
        return map(json.dumps, found.plain()) if arguments.json else inspect_text.summary(found)
    if arguments.json:
        return (json.dumps(seen.plain()) for seen in inspection.seen())
    return inspect_text.datagrams(inspection.seen(), with_records=arguments.verbose)


def _protocol(text: str) -> tuple[int, str]:
    """PORT=PROTOCOL."""
    port, _, name = text.partition("=")
    try:
        number = options.udp_port(port)
    except ValueError:
        number = None
    if number is None or name.lower() not in _PROTOCOLS:
        raise ValueError(f"{text!r} is not PORT=PROTOCOL; right would be 3055=netflow ({', '.join(_PROTOCOLS)})")
    return number, _PROTOCOLS[name.lower()]
