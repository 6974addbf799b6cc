"""Where each key and each value of a TOML text stands, which no reader of TOML tells.

The text has been read by tomllib before, so nothing is checked here: it is known to be TOML.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from gfwd.config.statements import Kind, Statement

# Groups are not possessive: re of Python 3.11.2, which Debian 12 has, gets those wrong.
_BLANK: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_KEY: Final = re.compile(r'"(?:[^"\\]|\\.)*"|' r"'[^']*+'|[^\s.=\]'\"]++")
_BETWEEN: Final = re.compile(r"[ \t]*\.[ \t]*")
_SCALAR: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|'
    r"'''(?:[^']|'{1,2}(?!'))*'{3,5}|"
    r'"(?:[^"\\]|\\.)*"|'
    r"'[^']*+'|"
    r"[^,\]}\n#]++",
    re.DOTALL,
)


class Place:
    """Where something stands, as offsets into the text: `key` its name, or itself in a list; `value` its value.

    inside: the places of what it holds, by key or by number.
    """

    __slots__ = ("inside", "key", "value")

    def __init__(self, key: int) -> None:
        self.key = key
        self.value = key
        self.inside: dict[str | int, Place] = {}

    def at(self, *path: str | int) -> "Place":
        """The place of what lies deeper; where that is not written down, the last one on the way that is."""
        place = self
        for step in path:
            if step not in place.inside:
                break
            place = place.inside[step]
        return place


def find_places(text: str, statements: Iterable[Statement]) -> Place:
    """The places of all that is in a text that is known to be TOML."""
    root = table = Place(0)
    for start, _, kind in statements:
        if kind is Kind.HEADER:
            table = _enter(text, start, root)
        elif kind is Kind.PAIR:
            _assign(text, start, table)
    return root


def _enter(text: str, position: int, root: Place) -> Place:
    """Read the header of a table, and return its place: of [[tables]], that of the one that begins here."""
    start = position
    is_one_of_many = text.startswith("[[", position)
    table = root
    for key, offset in _key(text, _skip(text, position + 1 + is_one_of_many))[0]:
        table = table.inside.setdefault(key, Place(offset))
        last = len(table.inside) - 1
        if last in table.inside:  # a name on the way through [[tables]] means the last of them
            holder, table = table, table.inside[last]
        else:
            holder = table
    if is_one_of_many:
        table = holder.inside[len(holder.inside)] = Place(start)
    return table


def _assign(text: str, position: int, table: Place) -> int:
    """Read KEY = VALUE, and return what is behind it."""
    keys, position = _key(text, position)
    for key, offset in keys:
        table = table.inside.setdefault(key, Place(offset))
    return _value(text, _skip(text, position + 1), table)


def _value(text: str, position: int, place: Place) -> int:
    """Read a value, note where it and what is in it stands, and return what is behind it."""
    place.value = position
    if text[position] not in "[{":
        scalar = _SCALAR.match(text, position)
        assert scalar is not None
        return scalar.end()
    is_list = text[position] == "["
    position = _skip(text, position + 1)
    while text[position] not in "]}":
        if is_list:
            entry = place.inside[len(place.inside)] = Place(position)
            position = _value(text, position, entry)
        else:
            position = _assign(text, position, place)
        position = _skip(text, position)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return position + 1


def _key(text: str, position: int) -> tuple[list[tuple[str, int]], int]:
    """Read a key, dotted or not: its parts, each with its offset, and where the = or the ] behind it stands."""
    parts = []
    while True:
        part = _KEY.match(text, position)
        assert part is not None
        parts.append((_meaning(part.group()), position))
        between = _BETWEEN.match(text, part.end())
        if between is None:
            return parts, _skip(text, part.end())
        position = between.end()


def _meaning(key: str) -> str:
    if key[0] == '"' and "\\" in key:
        meaning = tomllib.loads(f"key = {key}")["key"]
        assert isinstance(meaning, str)
        return meaning
    return key[1:-1] if key[0] in "\"'" else key


def _skip(text: str, position: int) -> int:
    """Go past blanks, line ends and comments."""
    blank = _BLANK.match(text, position)
    assert blank is not None  # nothing at all is blank, too
    return blank.end()


class Lines:
    """Offsets into a text → lines and columns, which count from 1."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def of(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1
