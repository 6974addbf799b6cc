"""A receiver, as others write it → a collector; and what gfwd cannot do for a receiver, whoever wrote it."""

import re
from typing import Final

from gfwd.imports.entries import Source
from gfwd.imports.report import Place, Report
from gfwd.rules.fields import FieldError, parse_collector, parse_source, quote
from gfwd.rules.model import LAST_PORT, Collector

SOURCE_KEPT: Final = (
    "gfwd always keeps the exporter's address as the source: let reverse-path filters on the way to the collectors "
    "know, and collectors that tell exporters apart"
)

_NUMBER: Final = re.compile(r"[0-9]{1,9}")


def number(text: str, least: int, most: int) -> int | None:
    """Read a decimal number; None where the text is none, or it is out of bounds."""
    value = int(text) if _NUMBER.fullmatch(text) else None
    return value if value is not None and least <= value <= most else None


def port_number(text: str) -> int | None:
    """Read a port, 1 to 65535; None where the text is none."""
    return number(text, 1, LAST_PORT)


def read_collector(host: str, port: int, place: Place, report: Report, column: int = 0) -> Collector | None:
    """The collector, or None where the report has been told why there is none."""
    try:
        return parse_collector(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except FieldError as error:
        if _is_address(host):
            report.warning(place, f"left out: {error.text}")
        else:
            report.error(place, error.text, column)
        return None


def say_what_cannot_be_reached(source: Source, collectors: tuple[Collector, ...], place: Place, report: Report) -> None:
    """Warn of collectors that gfwd, which keeps the source address, cannot send to from all of these exporters."""
    for collector in collectors:
        if collector.address is None:
            continue
        family = collector.address.family
        if source is not None and family != source.family:
            report.warning(
                place,
                f"{collector} is left out: gfwd keeps the exporter's IPv{source.family} address as the source, "
                f"and so reaches IPv{source.family} collectors only",
            )
        elif source is None and family == 6:
            report.warning(
                place,
                f"{collector} gets what IPv6 exporters send: gfwd keeps the exporter's address as the source, and so "
                "cannot send to it for IPv4 exporters; name an IPv4 collector for those",
            )


def is_name(text: str) -> bool:
    """Whether a text is a DNS name, and no address."""
    try:
        return ":" not in text and parse_collector(text).address is None
    except FieldError:
        return False


def service_text(text: str) -> str:
    """What to say of a port that is no number."""
    return f"{quote(text)} is not a port: write its number, 1 to {LAST_PORT}"


def _is_address(text: str) -> bool:
    try:
        return parse_source(text) is not None
    except FieldError:
        return False
