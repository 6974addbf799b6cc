"""nfcapd and sfcapd of nfdump (https://github.com/phaag/nfdump): the repeaters of a command line.

`-R HOST[/PORT]`, PORT being 9995 where it is left out, whatever -p says; every datagram goes to each of them. -A keeps
the exporter's address. As in nfcapd(1), sfcapd(1) and their getopt() calls.
"""

from collections import defaultdict
from typing import Final

from gfwd.errors import ConfigError, Problem
from gfwd.imports.command import COMMAND_LINE, Command, commands
from gfwd.imports.entries import Entry
from gfwd.imports.imported import Imported, imported
from gfwd.imports.receivers import SOURCE_KEPT, port_number, read_collector, say_what_cannot_be_reached, service_text
from gfwd.imports.report import Report
from gfwd.imports.sources import united
from gfwd.rules.fields import quote
from gfwd.rules.model import Collector, Ports

DEFAULT_PORT: Final = 9995  # of nfcapd's own socket, and of a repeater
SFCAPD_PORT: Final = 6343
REPEATERS_MAX: Final = 8

_PROGRAMS: Final = ("nfcapd", "sfcapd")
_LETTERS: Final = "46AB:b:C:d:DeEf:g:hI:i:jJ:l:m:M:n:o:p:P:R:s:S:t:T:u:vVw:W:x:X:Y:yz::Z"
_STORING: Final = "wlnM"
"""Where it stores; how (-t, -z, -s, …) goes without saying."""
_WARNED: Final = {
    "J": "gfwd joins no multicast group: let the exporters send to an address of gfwd's",
    "f": "gfwd run reads interfaces: gfwd replay forwards a capture file",
    "d": "gfwd takes datagrams that are sent to it, and none from a mirror port",
    "Y": "gfwd reads no YAF file",
    "4": "rules for any source take IPv6 too: write the source 0.0.0.0/0 instead of default",
    "6": "rules for any source take IPv4 too: write the source ::/0 instead of default",
}


def import_command(line: str, ports: Ports | None) -> Imported:
    """Turn a command line. `ports` stand in for the one that it listens on. Raises ConfigError."""
    return import_file(line, COMMAND_LINE, ports)


def import_file(text: str, path: str, ports: Ports | None) -> Imported:
    """Turn all command lines in the text of a script, a unit file or the like. Raises ConfigError."""
    report = Report()
    by_ports: dict[Ports, list[Entry]] = defaultdict(list)
    for command in commands(text, path, _PROGRAMS, _LETTERS):
        listened = _listened(command, report) if ports is None else ports
        collectors = _collectors(command, report)
        if collectors:
            _remark(command, report)
            say_what_cannot_be_reached(None, collectors, command.place, report)
            by_ports[listened].append(Entry(None, collectors, command.place))
    report.stop_at_errors()
    if not by_ports and not report.remarks:
        raise ConfigError([Problem(path, 0, 0, "no -R in it: it repeats nothing, so there is nothing to forward")])
    return imported(path, [(some, united(entries, report)) for some, entries in by_ports.items()], report)


def _collectors(command: Command, report: Report) -> tuple[Collector, ...]:
    found: dict[Collector, None] = {}
    repeaters = [value for letter, value in command.options if letter == "R"]
    for repeater in repeaters:
        host, slash, port_text = repeater.partition("/")
        port = port_number(port_text) if slash else DEFAULT_PORT
        if port is None:
            report.error(command.place, f"-R {quote(repeater)}: {service_text(port_text)}")
            continue
        collector = read_collector(host, port, command.place, report)
        if collector in found:
            report.warning(command.place, f"{collector} would get each datagram more than once; gfwd sends one copy")
        elif collector is not None:
            found[collector] = None
    if len(repeaters) > REPEATERS_MAX:
        report.note(command.place, f"{len(repeaters)} repeaters: it would take no more than {REPEATERS_MAX}")
    return tuple(found)


def _listened(command: Command, report: Report) -> Ports:
    given = [value for letter, value in command.options if letter == "p"]
    default = SFCAPD_PORT if command.program == "sfcapd" else DEFAULT_PORT
    port = port_number(given[-1]) if given else default
    if port is None:
        report.error(command.place, f"-p {service_text(given[-1])}")
        port = default
    return ((port, port),)


def _remark(command: Command, report: Report) -> None:
    """Say what else the command line does."""
    given = {option.letter: option.value for option in command.options}
    if "A" not in given:
        report.warning(command.place, f"without -A, it sends from its own address. {SOURCE_KEPT}")
    if any(letter in given for letter in _STORING):
        report.warning(
            command.place,
            f"gfwd stores nothing: keep {command.program} without -R as a collector on a host or port of its own, and "
            "add it to the collectors",
        )
    if "b" in given:
        report.note(command.place, f"-b {given['b']}: start gfwd run with --address {given['b']}")
    for letter, value in command.options:
        if letter in _WARNED:
            report.warning(command.place, f"-{letter}: {_WARNED[letter]}")
        elif letter == "" and not value.isdigit():  # a number is what newer versions take behind -v
            report.warning(command.place, f"{quote(value)} is passed over: it is no option")
        elif letter and letter not in _LETTERS:
            report.warning(command.place, f"-{letter} is passed over: it is not known what it does")
