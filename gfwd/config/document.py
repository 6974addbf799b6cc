"""The text of gfwd.toml → its data, and where all of it stands; or all that keeps it from being TOML.

tomllib reads, and stops at the first mistake. So the statement that holds it is taken out, and the rest is read again.
"""

import re
import tomllib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from gfwd.config.places import Lines, Place, find_places
from gfwd.config.statements import Kind, Statement, statements
from gfwd.errors import Problem
from gfwd.rules.fields import quote
from gfwd.rules.file import split_lines, take_out_binary_lines

_MOST_MISTAKES: Final = 20
"""Each means reading once more; who has as many will not mind to mend these first."""

_WHERE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_TWICE: Final = "the same name stands further up: keep one of the two"
_IN_OUR_WORDS: Final = {
    "Invalid value": 'the value is none: write text in quotes, "514", a number, 2, or a list, ["one", "two"]',
    "Unclosed array": "the list is not closed: text needs quotes, two entries a comma between them, the end a ]",
    "Expected newline": "more stands behind the value: text needs quotes",
    "Illegal character '\\n'": "the text is not closed: its quotes end before the line does",
    "Invalid statement": "this is no statement: write KEY = VALUE, or [TABLE]",
    "Cannot ": _TWICE,
    "Duplicate ": _TWICE,
    "maximum recursion": "this is nested too deep",
    "Exceeds the limit": "no number is as long here",
}
"""How a message of tomllib or of Python begins that does not say what would be right → what does."""


class Document(NamedTuple):
    """What can be read of a text.

    problems: why it is not TOML; then all else is about what is left without the statements that are wrong.
    """

    text: str
    lines: Lines
    data: dict[str, Any]
    root: Place
    problems: list[Problem]


def read_document(text: str, path: str) -> Document:
    """Read a text, whose file's name is only used in messages. Whatever it is, nothing is raised."""
    lines = split_lines(text)
    problems = take_out_binary_lines(lines, path)
    text = "\n".join(lines)
    places = Lines(text)  # stay as they are, whatever is taken out
    left = list(statements(text))
    data: dict[str, Any] = {}
    for _ in range(_MOST_MISTAKES):
        try:
            data = tomllib.loads(text)
            break
        except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError, and int() has others
            first, offset, reason = _mistake(error, text, left)
            problems.append(Problem(path, *places.of(offset), reason))
            text = _without(text, left, first)
    else:
        problems.append(Problem(path, len(lines), 1, f"of the mistakes, {_MOST_MISTAKES} are named: mend these first"))
        left = []
    return Document(text, places, data, find_places(text, left), problems)


def _mistake(error: Exception, text: str, left: Sequence[Statement]) -> tuple[int, int, str]:
    """Which statement is wrong, at which offset, and why."""
    reason = str(error)
    where = _WHERE.search(reason)
    if where is None:
        number = next((number for number, one in enumerate(left) if _fails(text[one.start : one.end])), 0)
        offset = left[number].start
    else:
        reason = reason[: where.start()]
        offset = len(text)
        if where[1] is not None:
            offset = _offset(text, int(where[1]), int(where[2]))
        number = max((number for number, one in enumerate(left) if one.start <= offset), default=0)
        if where[1] is None or reason.startswith("Cannot "):  # which is said of the end of a statement that is right
            offset = left[number].start
    shown = text[left[number].start : left[number].end].partition("\n")[0]
    ours = next((words for start, words in _IN_OUR_WORDS.items() if reason.startswith(start)), None)
    return number, offset, f"{quote(shown.rstrip())}: {ours or f'not TOML: {reason[0].lower()}{reason[1:]}'}"


def _offset(text: str, line: int, column: int) -> int:
    """The offset of a place as tomllib names it."""
    start = 0
    for _ in range(line - 1):
        start = text.index("\n", start) + 1
    return start + column - 1


def _fails(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return True
    return False


def _without(text: str, left: list[Statement], first: int) -> str:
    """Take out a statement, with all that belongs to it: the header of a table takes its keys along."""
    behind = first + 1
    while left[first].kind is Kind.HEADER and behind < len(left) and left[behind].kind is not Kind.HEADER:
        behind += 1
    start, end = left[first].start, left[behind - 1].end
    del left[first:behind]
    return text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
