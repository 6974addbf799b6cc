"""A configuration file → its text, and what in it is no text at all."""

import os
import re
from typing import Final

from gfwd.errors import ConfigError, Problem

_BYTE_ORDER_MARK: Final = "\ufeff"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")  # NUL, and the stand-ins for bytes that are not UTF-8


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """The text of a file; bytes that are not UTF-8 become stand-ins, which `take_out_binary_lines` finds.

    Raises ConfigError where the file, which `what` names in the message, cannot be read.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([Problem(name, 0, 0, f"cannot read {what}: {reason}")]) from None
    if data.startswith(_UTF16_MARKS):
        raise ConfigError([Problem(name, 1, 1, "this is UTF-16: save the file as UTF-8")])
    return data.decode("utf-8", "surrogateescape")


def split_lines(text: str) -> list[str]:
    """The lines as an editor numbers them: str.splitlines() would also part them at form feeds and the like."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.removeprefix(_BYTE_ORDER_MARK).split("\n")


def take_out_binary_lines(lines: list[str], path: str) -> list[Problem]:
    """Empty the lines that hold more than text, be it in a comment: they are the mark of a damaged file."""
    problems = []
    for number, line in enumerate(lines, 1):
        found = _NOT_TEXT.search(line)
        if found:
            code = ord(found.group())
            reason = "a NUL byte: is the file damaged?" if code == 0 else "not UTF-8: save the file as UTF-8"
            problems.append(Problem(path, number, found.start() + 1, reason))
            lines[number - 1] = ""
    return problems
