"""An event: something that an operator may want to know."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Level(IntEnum):
    """How bad it is; the numbers are those of syslog (RFC 5424, 6.2.1)."""

    ERROR = 3  # something does not work
    WARNING = 4  # something may not be as it should be
    INFO = 6

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Event:
    """message: for people. fields: what it is about, for machines. at: seconds since the epoch."""

    kind: "Kind"
    message: str
    fields: Mapping[str, object]
    at: float = field(default_factory=time.time)

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event. name: stays as it is, for whoever looks for it. fields: those that each of its events has.

    is_long: its messages may have several lines.
    """

    name: str
    level: Level
    fields: tuple[str, ...]
    is_long: bool = False

    def __call__(self, message: str, **fields: object) -> Event:
        return Event(self, message, fields)


Say = Callable[[Event], None]
"""Takes an event for the log. May be called in any thread, and never waits."""
