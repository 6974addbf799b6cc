"""The exceptions that a user of gfwd can meet. What str() gives is what the user reads."""

from collections.abc import Iterable
from typing import Literal, NamedTuple


class Problem(NamedTuple):
    """One remark on a configuration file: what is wrong, and what would be right.

    `line` and `column` count from 1, a column being one character. Line 0 stands for the file as a whole, and column 0
    for the line as a whole. A note says what is good to know where nothing is wrong.
    """

    path: str
    line: int
    column: int
    text: str
    kind: Literal["error", "warning", "note"] = "error"

    def __str__(self) -> str:
        place = ":".join([self.path, *(str(number) for number in (self.line, self.column) if number)])
        return f"{place}: {self.kind}: {self.text}"


class GfwdError(Exception):
    """The work failed, for a reason that the user can understand; str() is one or more lines."""

    exit_status = 1


class UsageError(GfwdError):
    """The command line is wrong."""

    exit_status = 2


class ConfigError(GfwdError):
    """A configuration file is wrong; it carries everything that is wrong with it, in the order of the lines."""

    exit_status = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
