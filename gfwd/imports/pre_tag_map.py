"""pmacct's pre_tag_map and the tag filters of its receivers, as far as they tell exporters apart.

A row `set_tag=100 ip=10.0.0.0/8` gives its tag to datagrams of exporters that no earlier row matches; what none
matches has the tag 0. A filter `tag=100,105-110` or `tag=-150` lets tags through. As in pretag.c and util.c.
"""

import re
from typing import Final, NamedTuple

from gfwd.imports.entries import Source
from gfwd.imports.report import Place, Report, split_lines
from gfwd.rules.fields import FieldError, parse_source, quote
from gfwd.rules.model import ADDRESS_BITS, Prefix

_TAG: Final = re.compile(r"(-?)([0-9]{1,20})(?:-([0-9]{1,20}))?")


class TagRange(NamedTuple):
    """A filter's item."""

    first: int
    last: int
    is_negative: bool


class Row(NamedTuple):
    """Exporters and their tag."""

    source: Source
    tag: int
    place: Place


def parse_filter(text: str) -> tuple[TagRange, ...] | None:
    """Read a list of tags and ranges; None where it is none."""
    found = []
    for item in text.split(","):
        match = _TAG.fullmatch(item)
        if match is None:
            return None
        first = int(match[2])
        last = int(match[3] or first)
        if last < first:
            return None
        found.append(TagRange(first, last, bool(match[1])))
    return tuple(found)


def lets_through(ranges: tuple[TagRange, ...], tag: int) -> bool:
    """Whether a filter does; none at all lets everything through. The first item that decides, decides."""
    for item in ranges:
        if item.first <= tag <= item.last:
            return not item.is_negative
        if item.is_negative:
            return True
    return not ranges


def tag_of(rows: tuple[Row, ...], source: Source) -> tuple[int, Place | None]:
    """The tag of all exporters within `source` for which no row names something narrower, and the row's place."""
    for row in rows:
        if row.source is None or (source is not None and row.source.holds(source)):
            return row.tag, row.place
    return 0, None


def parse_map(text: str, path: str, report: Report) -> tuple[Row, ...] | None:
    """Read a map. None where rows look at more than the exporter's address, which the report is told."""
    rows: list[Row] = []
    is_simple = True
    for line, content in enumerate(split_lines(text), 1):
        fields = content.split()
        if not fields or fields[0][0] in "!#":
            continue
        place = Place(path, line)
        try:
            rows.append(_row(fields, place))
        except FieldError as error:
            report.warning(place, error.text)
            is_simple = False
    return tuple(rows) if is_simple else None


def _row(fields: list[str], place: Place) -> Row:
    values = dict(field.partition("=")[::2] for field in fields)
    others = [key for key in values if key not in ("id", "set_tag", "ip")]
    if others:
        raise FieldError(f"{quote(others[0])}: rules look at the exporter's address and the port only")
    tag = values.get("set_tag", values.get("id", ""))
    if not re.fullmatch(r"[0-9]{1,20}", tag):
        raise FieldError(f"{quote(tag)} is not a tag that rules can stand for: it is a number")
    return Row(_source(values["ip"]) if "ip" in values else None, int(tag), place)


def _source(text: str) -> Source:
    """Read an address or prefix; bits behind its length do not count."""
    address_text, slash, length_text = text.partition("/")
    address = parse_source(address_text)
    if address is None:
        raise FieldError(f"{quote(text)} is not an address")
    bits = ADDRESS_BITS[address.family]
    if not slash:
        return address
    if not re.fullmatch(r"[0-9]{1,3}", length_text) or int(length_text) > bits:
        raise FieldError(f"{quote(text)} is not a prefix: its length is a number from 0 to {bits}")
    spare = bits - int(length_text)
    return Prefix(address.family, address.value >> spare << spare, int(length_text))
