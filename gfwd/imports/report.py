"""Remarks and errors, gathered while a configuration is read; and the reading of the file itself."""

import os
from typing import Final, NamedTuple

from gfwd.errors import ConfigError, Problem

LARGEST_FILE: Final = 1 << 24
"""Bytes of a configuration. The largest that anybody has is a thousand times smaller; a disk or a capture is larger."""


class Place(NamedTuple):
    """A line of a file."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class Report:
    """What is said about a configuration.

    error    the program itself would not start with this, so nothing is turned
    warning  this is left out, or means something else in gfwd
    note     nothing is lost
    """

    def __init__(self) -> None:
        self.remarks: list[Problem] = []
        self.errors: list[Problem] = []

    def error(self, place: Place, text: str, column: int = 0) -> None:
        self.errors.append(Problem(place.path, place.line, column, text))

    def warning(self, place: Place, text: str) -> None:
        self.remarks.append(Problem(place.path, place.line, 0, text, "warning"))

    def note(self, place: Place, text: str) -> None:
        self.remarks.append(Problem(place.path, place.line, 0, text, "note"))

    def stop_at_errors(self) -> None:
        """Raises ConfigError with all errors so far, if there is one."""
        if self.errors:
            raise ConfigError(sorted(self.errors))


def read_text(path: str) -> str:
    """The text of a configuration file. Bytes that are not UTF-8 become stand-ins. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([Problem(path, 0, 0, f"cannot read the configuration: {reason}")]) from None
    if len(data) > LARGEST_FILE:
        raise ConfigError([Problem(path, 0, 0, f"larger than {LARGEST_FILE >> 20} MiB: this is no configuration")])
    return data.decode("utf-8", "surrogateescape")


def split_lines(text: str) -> list[str]:
    """The lines as an editor numbers them: str.splitlines() would also part them at form feeds and the like."""
    return text.replace("\r\n", "\n").removeprefix("\ufeff").split("\n")


def is_command_line(argument: str) -> bool:
    """Whether a command's argument is a command line itself, and not a file's name."""
    return len(argument.split()) > 1 and not os.path.exists(argument)
