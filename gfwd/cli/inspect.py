"""gfwd inspect: what the datagrams in a capture, or through a gfwd that runs, say, and what their numbers prove."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gfwd.cli import ask, options
from gfwd.cli.progress import Progress
from gfwd.config import values
from gfwd.errors import UsageError
from gfwd.rules.model import ALL_PORTS

if TYPE_CHECKING:  # construct is loaded late
    import socket

    from gfwd.daemon.capture.source import Source
    from gfwd.daemon.inspect import Inspect, Inspection, Seen

_PROTOCOLS = {name.lower(): name for name in ("NetFlow", "IPFIX", "sFlow", "syslog", "SNMP")}


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "inspect",
        help="what the NetFlow, IPFIX, sFlow, syslog and SNMP datagrams in a capture, or through a gfwd that runs, say",
        description="Prints one line for each datagram of a capture (pcap or pcapng; Ethernet, VLAN, Linux cooked, "
        "raw IP, null); or sums it up for each exporter, or says what was lost before the place of the capture. With "
        "--live, the same for what goes through a gfwd that runs, and what became of it; ^C ends it.",
    )
    parser.add_argument("capture", metavar="FILE", nargs="?", help="a capture, or - for standard input")
    _add_live(parser)
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


def _add_live(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--live", action="store_true", help="what goes through the gfwd that -c or --control names")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("-c", "--config", metavar="FILE", help="the gfwd.toml that it was started with")
    which.add_argument("--control", metavar="PATH", help="the control socket that it was started with")
    parser.add_argument(
        "--rule", metavar="LINE", help="only what met this rule: its line, or FILE:LINE as gfwd status shows it"
    )


def run(arguments: argparse.Namespace) -> int:
    _refuse_mixed(arguments)
    if arguments.sample > 1 and (arguments.summary or arguments.loss):
        option = "--loss" if arguments.loss else "--summary"
        raise UsageError(f"gfwd inspect: error: {option} needs all datagrams; leave out --sample")
    is_silent = arguments.summary or arguments.loss or sys.stdout is None or not sys.stdout.isatty()
    job = _job(arguments)  # loads what takes a while: once a gfwd tells of datagrams, it waits for nobody
    if arguments.live:
        return _show(
            arguments, job, _live(arguments), Progress(None, sys.stderr, is_wanted=is_silent, counts="datagram")
        )
    from gfwd.daemon.capture.source import Capture

    source = Capture(arguments.capture)
    return _show(arguments, job, source, Progress(source.size, sys.stderr, is_wanted=is_silent))


def debug(its: "socket.socket", *, as_json: bool) -> int:
    """A line for each datagram that a gfwd tells of there, to the end; returns the exit status."""
    from gfwd.cli import inspect_text
    from gfwd.daemon.inspect import Inspect, Inspection
    from gfwd.daemon.tap.live import LiveTap

    source = LiveTap("gfwd run --debug", lambda: its, is_asked=False, ends_by_signal=False)
    with Inspection(Inspect(), source) as inspection:
        seen = inspection.seen()
        lines = _json_lines(seen) if as_json else inspect_text.datagrams(seen, with_records=False)
        for line in lines:
            print(line, flush=True)
    if inspection.problem() is not None:  # it did not come so far as to say the end, and says itself why
        return 1
    for note in inspection.notes():
        print(note, file=sys.stderr)
    return 0


def _job(arguments: argparse.Namespace) -> "Inspect":
    from gfwd.daemon.inspect import Inspect

    return Inspect(
        exporters=tuple(arguments.exporters),
        ports=arguments.ports,
        protocols=dict(arguments.protocols),
        count=arguments.count,
        sample=1 if arguments.live else arguments.sample,  # a gfwd that runs takes the sample itself
        output=arguments.output,
    )


def _show(arguments: argparse.Namespace, job: "Inspect", source: "Source", progress: Progress) -> int:
    """Prints what comes from there, in the way that is asked for; returns the exit status."""
    from gfwd.daemon.inspect import Inspection

    is_growing = arguments.live or arguments.capture == "-"  # whoever looks wants to see each line at once
    with progress, Inspection(job, source, progress.tick) as inspection:
        for line in _lines(arguments, inspection):
            progress.clear()
            print(line, flush=is_growing)
    for note in inspection.notes():
        print(note, file=sys.stderr)
    problem = inspection.problem()
    if problem is not None:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _refuse_mixed(arguments: argparse.Namespace) -> None:
    if arguments.live == (arguments.capture is not None):
        what = "both a FILE and --live" if arguments.live else "neither a FILE nor --live"
        raise UsageError(f"gfwd inspect: error: there is {what}; give one of them")
    if arguments.live and arguments.config is None and arguments.control is None:
        raise UsageError(
            "gfwd inspect: error: --live of which gfwd? say -c FILE or --control PATH, as it was started with"
        )
    beside = {"-c": arguments.config, "--control": arguments.control, "--rule": arguments.rule}
    given = ", ".join(option for option, value in beside.items() if value is not None)
    if given and not arguments.live:
        raise UsageError(f"gfwd inspect: error: {given} is for a gfwd that runs; add --live, and leave out the FILE")


def _live(arguments: argparse.Namespace) -> "Source":
    from gfwd.daemon.control import ask_on
    from gfwd.daemon.tap.live import LiveTap
    from gfwd.daemon.tap.want import Want

    want = Want(tuple(arguments.exporters), arguments.ports, arguments.rule, arguments.sample)
    path = ask.path(arguments)
    return LiveTap(str(path), lambda: ask_on(path, {"do": "tap", **want.as_json()}, ask.SOON_S))


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
        return _json_lines(inspection.seen())
    return inspect_text.datagrams(inspection.seen(), with_records=arguments.verbose)


def _json_lines(those: Iterable["Seen"]) -> Iterator[str]:
    return (json.dumps(seen.plain()) for seen in those)


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
