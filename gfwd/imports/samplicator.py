"""samplicator (https://github.com/sleinen/samplicator): its configuration file, or the command line of samplicate.

A line of the file reads `SOURCE[/MASK]: RECEIVER…`, a receiver `HOST[/PORT[/FREQUENCY[,TTL]]]`, PORT also being a
range 7000-7010 or 7000+10, that many ports from 7000 on; IPv6 addresses stand in brackets. A datagram goes to the
receivers of every line that matches, and to those of the command line. As in its read_config.c and samplicate.c.
"""

import re
from collections.abc import Callable, Iterator
from socket import AF_INET, inet_pton
from typing import Final

from gfwd.errors import ConfigError, Problem
from gfwd.imports.command import COMMAND_LINE, Command, commands
from gfwd.imports.entries import Entry, Source
from gfwd.imports.imported import Imported, imported
from gfwd.imports.receivers import (
    SOURCE_KEPT,
    is_name,
    number,
    port_number,
    read_collector,
    say_what_cannot_be_reached,
    service_text,
)
from gfwd.imports.report import Place, Report, split_lines
from gfwd.imports.sources import MASK_PREFIXES_MAX, masked, united
from gfwd.rules.classic import COLLECTORS_MAX
from gfwd.rules.fields import FieldError, parse_ports, parse_source, quote
from gfwd.rules.model import LAST_PORT, Collector, Ports, Prefix

DEFAULT_PORT: Final = 2000

_LETTERS: Final = "hu:b:d:t:m:p:s:x:c:fSn46"
_ITSELF: Final = frozenset("bdfhmu")  # buffers, the process and its debugging: nothing that a datagram could tell
_WARNED: Final = {
    "x": "gfwd never waits between datagrams: slow collectors need larger socket buffers",
    "n": "gfwd keeps and updates the UDP checksum of each datagram; it does not leave it out",
    "4": "rules for any source take IPv6 too: write the source 0.0.0.0/0 instead of default",
    "6": "rules for any source take IPv4 too: write the source ::/0 instead of default",
    "t": "gfwd does not end where nothing comes in: let the collectors' monitoring watch that",
}
_RECEIVER: Final = re.compile(
    r"(?:\[(?P<inner>[^\]]*)\](?P<junk>[^/]*)|(?P<host>[^/\[][^/]*))"
    r"(?:/(?P<port>[^/]*)(?:/(?P<frequency>[^,]*)(?:,(?P<ttl>.*))?)?)?"
)
_RANGE: Final = re.compile(r"(?P<first>[0-9]+)(?P<sign>[-+])(?P<other>[0-9]+)")


def import_file(text: str, path: str, ports: Ports | None) -> Imported:
    """Turn a configuration file. `ports`: where samplicate listens, None being its default. Raises ConfigError."""
    report = Report()
    start = Place(path, 1)
    if ports is None:
        report.note(start, f"taken to come in on port {DEFAULT_PORT}, samplicate's default: name another with --port")
    report.note(start, f"samplicate without -S sends from its own address. {SOURCE_KEPT}")
    return _turned(list(_file_entries(text, path, report)), path, ports, report)


def import_command(line: str, ports: Ports | None, read: Callable[[str], str]) -> Imported:
    """Turn a command line and the files that it names, which `read` reads. Raises ConfigError."""
    report = Report()
    command = commands(line, COMMAND_LINE, ("samplicate", "samplicator"), _LETTERS)[0]
    _remark_options(command, report)
    entries: list[Entry] = []
    receivers: list[Collector] = []
    for letter, value in command.options:
        if letter == "c":
            entries += _file_entries(read(value), value, report)
        elif letter == "p" and ports is None:
            ports = _listened(value, command.place, report)
        elif letter == "":
            receivers += _receivers(value, command.place, 0, report)
    if receivers:
        say_what_cannot_be_reached(None, tuple(receivers), command.place, report)
        entries.append(Entry(None, tuple(receivers), command.place))
    return _turned(entries, COMMAND_LINE, ports, report)


def _turned(entries: list[Entry], path: str, ports: Ports | None, report: Report) -> Imported:
    report.stop_at_errors()
    if not entries and not any(remark.kind == "warning" for remark in report.remarks):
        raise ConfigError([Problem(path, 0, 0, "no receivers in it: write lines such as 10.0.0.0/8: 192.0.2.7/2055")])
    return imported(path, [(ports or ((DEFAULT_PORT, DEFAULT_PORT),), united(entries, report))], report)


def _remark_options(command: Command, report: Report) -> None:
    given = {option.letter: option.value for option in command.options}
    if "S" not in given:
        report.warning(command.place, f"without -S, samplicate sends from its own address. {SOURCE_KEPT}")
    if "s" in given:
        report.note(command.place, f"-s {given['s']}: start gfwd run with --address {given['s']}")
    for letter in given:
        if letter in _WARNED:
            report.warning(command.place, f"-{letter}: {_WARNED[letter]}")
        elif letter and letter not in _ITSELF and letter not in _LETTERS:
            report.error(command.place, f"samplicate has no option -{letter}")


def _listened(text: str, place: Place, report: Report) -> Ports | None:
    try:
        return parse_ports(str(port_number(text) or text))
    except FieldError as error:
        report.error(place, f"-p {error.text}")
        return None


# Lines


def _file_entries(text: str, path: str, report: Report) -> Iterator[Entry]:
    for line, whole in enumerate(split_lines(text), 1):
        content = whole.partition("#")[0].rstrip()
        if content:
            yield from _line_entries(content, Place(path, line), report)


def _line_entries(content: str, place: Place, report: Report) -> Iterator[Entry]:
    """The entries of a line: one, or, where its mask has gaps, one for each prefix."""
    bracket = content.find("]") if content.lstrip().startswith("[") else 0
    colon = content.find(":", max(bracket, 0))
    if colon < 0 or bracket < 0:
        report.error(place, "no colon behind the source: write lines such as 10.0.0.0/8: 192.0.2.7/2055")
        return
    collectors: list[Collector] = []
    words = list(re.finditer(r"\S+", content[colon + 1 :]))
    for word in words:
        collectors += _receivers(word.group(), place, colon + 2 + word.start(), report)
    sources = _sources(content[:colon].strip(), place, report)
    if not words:
        report.note(place, "no receivers: samplicator passes over this line, and so does gfwd")
    elif collectors:
        if len(sources) > 1:
            report.note(
                place, f"its mask has gaps, so {len(sources):,} prefixes, each with a rule, stand for this line"
            )
        for source in sources:
            say_what_cannot_be_reached(source, tuple(collectors), place, report)
            yield Entry(source, tuple(collectors), place)


def _sources(text: str, place: Place, report: Report) -> list[Source]:
    """The source of a line: nothing where none can be turned, which the report has been told."""
    address_text, slash, mask_text = (part.strip() for part in text.partition("/"))
    address_text = address_text.removeprefix("[").removesuffix("]").strip()
    try:
        address = parse_source(address_text)
    except FieldError as error:
        if is_name(address_text):
            report.warning(place, f"left out: the source {quote(address_text)} is a name: write its addresses")
        else:
            report.error(place, error.text, 1)
        return []
    if address is None:
        report.error(place, '"*" is no source of samplicator: it writes 0.0.0.0/0', 1)
        return []
    mask = _mask(address, mask_text if slash else str(address.length))
    if mask is None:
        report.error(place, f"{quote(mask_text)} is neither the length of a prefix nor a netmask", 1)
        return []
    if (address.value if address.family == 4 else mask) == 0:
        return [None]  # it asks for no more than this, whatever the family of the datagram
    try:
        prefixes = masked(address.family, address.value, mask)
    except ValueError:
        report.warning(
            place, f"left out: the mask has so many gaps that it takes more than {MASK_PREFIXES_MAX:,} prefixes"
        )
        return []
    if not prefixes:
        report.warning(
            place,
            f"left out: {quote(text)} has bits set behind its mask, so samplicator finds no datagram for this line",
        )
    elif address.family == 6 and prefixes[0].length > 8:
        report.warning(
            place,
            "samplicator compares only the first 8 bits of an IPv6 address (match_addr_p in samplicate.c), gfwd all "
            "that the prefix has",
        )
    return list(prefixes)


def _mask(address: Prefix, text: str) -> int | None:
    """The bits of an address that count."""
    if address.family == 4 and "." in text:
        try:
            return int.from_bytes(inet_pton(AF_INET, text), "big")
        except (OSError, ValueError):
            return None
    bits = address.length  # an address is a prefix of full length
    length = number(text, 0, bits)
    return None if length is None else (1 << bits) - (1 << bits - length)


# Receivers


def _receivers(text: str, place: Place, column: int, report: Report) -> list[Collector]:
    """The collectors that a receiver stands for: one, or one for each port of a range."""
    match = _RECEIVER.fullmatch(text)
    if match is None:
        report.error(place, f"{quote(text)} is not a receiver: write HOST/PORT, an IPv6 address in brackets", column)
        return []
    if match["junk"]:
        report.warning(
            place, f"samplicator passes over {quote(match['junk'])} behind the bracket: a port stands behind a slash"
        )
    ports = _ports(match["port"])
    if ports is None:
        report.error(place, f"{quote(text)}: {service_text(match['port'])}", column)
        return []
    if len(ports) > COLLECTORS_MAX:
        report.warning(
            place,
            f"{quote(text)} stands for {len(ports):,} receivers: those behind the {COLLECTORS_MAX}th are left out",
        )
    if not _remark_frequency_and_ttl(match, place, column, report):
        return []
    host = match["host"] if match["inner"] is None else match["inner"].strip()
    found: list[Collector] = []
    for port in ports[:COLLECTORS_MAX]:
        collector = read_collector(host, port, place, report, column)
        if collector is None:
            break  # what is wrong with the host is said once
        found.append(collector)
    return found


def _ports(text: str | None) -> range | None:
    """The ports of a receiver, or None for a text that means none."""
    if text is None:
        return range(DEFAULT_PORT, DEFAULT_PORT + 1)
    several = _RANGE.fullmatch(text)
    first = port_number(several["first"] if several else text)
    if first is None:
        return None
    if several is None:
        return range(first, first + 1)
    other = number(several["other"], 1, LAST_PORT)
    if other is None:
        return None
    last = other if several["sign"] == "-" else first + other - 1
    return range(first, last + 1) if first <= last <= LAST_PORT else None


def _remark_frequency_and_ttl(match: re.Match[str], place: Place, column: int, report: Report) -> bool:
    """Say what a frequency and a TTL mean here. Returns whether they are sound."""
    if match["frequency"]:
        frequency = number(match["frequency"], 1, (1 << 31) - 1)
        if frequency is None:
            report.error(place, f"{quote(match['frequency'])} is not a frequency: write a number from 1", column)
            return False
        if frequency > 1:
            report.warning(
                place,
                f"{match.group()} gets one datagram in {frequency:,}, from gfwd all of them: let the exporter sample",
            )
    if match["ttl"] is not None:
        if number(match["ttl"], 1, 255) is None:
            report.error(place, f"{quote(match['ttl'])} is not a TTL: write a number from 1 to 255", column)
            return False
        report.warning(
            place, f"{match.group()} gets TTL {match['ttl']}; gfwd keeps the datagram's own, minus one, as routers do"
        )
    return True
