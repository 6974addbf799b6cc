"""A command line → its options and operands, as getopt(3) reads them; it may stand in a script or a unit file."""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gfwd.errors import ConfigError, Problem
from gfwd.imports.report import Place, split_lines
from gfwd.rules.fields import quote

COMMAND_LINE = "command line"
"""The path in remarks on a command line that stands in no file."""

_SHELL: Final = re.compile(r"[;&|].*|[0-9]*[<>].*")  # where the shell's part of a line begins


class Option(NamedTuple):
    """A letter with its argument; an empty letter goes before an operand."""

    letter: str
    value: str


class Command(NamedTuple):
    """A program's options and operands, in their order."""

    program: str
    options: tuple[Option, ...]
    place: Place


def commands(text: str, path: str, programs: Sequence[str], letters: str) -> list[Command]:
    """The command lines in a text that start one of the programs. Raises ConfigError where there is none.

    The program need not be named where the text begins with an option. `letters` are those of getopt(3), in which a
    colon stands behind an option that takes an argument, and two behind one whose argument is joined on, or missing.
    """
    if text.lstrip().startswith("-"):
        text = f"{programs[0]} {text}"
    found = []
    unreadable = []
    name = re.compile(r"(?:.*[/=@!+:-])?(" + "|".join(map(re.escape, programs)) + ")")  # also ExecStart=-/bin/…
    for line, content in _joined_lines(text):
        if not any(program in content for program in programs):
            continue
        try:
            words = shlex.split(content, comments=True)
        except ValueError as error:
            unreadable.append(Problem(path, line, 0, f"cannot read this as a command line: {error}"))  # or it is prose
            continue
        for at, word in enumerate(words):
            match = name.fullmatch(word)
            if match:
                place = Place(path, line)
                found.append(Command(match[1], tuple(_options(words[at + 1 :], letters, place)), place))
                break
    if unreadable and not found:
        raise ConfigError(unreadable)
    if not found:
        shown = quote(text.strip().partition("\n")[0])
        raise ConfigError([Problem(path, 0, 0, f"no command line of {' or '.join(programs)} in it: {shown}")])
    return found


def _joined_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; one that ends in a backslash goes on in the next."""
    start, parts = 1, list[str]()
    for number, line in enumerate(split_lines(text), 1):
        if not parts:
            start = number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield start, " ".join([*parts, line])
        parts = []
    if parts:
        yield start, " ".join(parts)


def _options(words: Sequence[str], letters: str, place: Place) -> Iterator[Option]:
    queue = iter(words)
    for word in queue:
        if _SHELL.fullmatch(word):
            return
        if word == "--":
            break
        if len(word) < 2 or word[0] != "-":
            yield Option("", word)
            continue
        rest = word[1:]
        while rest:
            letter, rest = rest[0], rest[1:]
            kind = letters.partition(letter)[2][:2] if letter.isalnum() else ""
            if kind == "::":
                yield Option(letter, rest)
                rest = ""
            elif kind[:1] == ":":
                value = rest or next(queue, None)
                if value is None:
                    raise ConfigError([Problem(place.path, place.line, 0, f"-{letter} needs an argument")])
                yield Option(letter, value)
                rest = ""
            else:
                yield Option(letter, "")
    yield from (Option("", word) for word in queue)
