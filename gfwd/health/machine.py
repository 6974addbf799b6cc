"""One collector: from the results of tries to whether it is there, as a table of states and events.

    UNKNOWN  nothing has succeeded yet; it counts as up, so that a start loses nothing
    UP       it was there, and too few tries in a row have failed since to say otherwise
    DOWN     enough tries in a row have failed, and since then too few in a row have succeeded

One success is enough to leave UNKNOWN, where it changes nothing for the copies; leaving DOWN takes `rise` of them.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    UNKNOWN = auto()
    UP = auto()
    DOWN = auto()


class Event(Enum):
    SUCCESS = auto()
    FAILURE = auto()
    RISEN = auto()  # a success, and now there are `rise` or more in a row
    FALLEN = auto()  # a failure, and now there are `fall` or more in a row


def _table() -> dict[tuple[State, Event], State]:
    unknown, up, down = State
    success, failure, risen, fallen = Event
    return {
        (unknown, success): up,
        (unknown, failure): unknown,
        (unknown, risen): up,
        (unknown, fallen): down,
        (up, success): up,
        (up, failure): up,
        (up, risen): up,
        (up, fallen): down,
        (down, success): down,
        (down, failure): down,
        (down, risen): up,
        (down, fallen): down,
    }


TABLE: Final = _table()


class Machine:
    """rise, fall: as in rules.model.Check. in_a_row: how many tries in a row have had the result of the last one."""

    __slots__ = ("_fall", "_last", "_rise", "in_a_row", "state")

    def __init__(self, rise: int, fall: int) -> None:
        self._rise, self._fall = rise, fall
        self._last: bool | None = None
        self.state = State.UNKNOWN
        self.in_a_row = 0

    def take(self, *, is_success: bool) -> bool:
        """The result of one more try. Returns whether the state is another one now."""
        self.in_a_row = self.in_a_row + 1 if is_success is self._last else 1
        self._last = is_success
        if is_success:
            event = Event.RISEN if self.in_a_row >= self._rise else Event.SUCCESS
        else:
            event = Event.FALLEN if self.in_a_row >= self._fall else Event.FAILURE
        before, self.state = self.state, TABLE[self.state, event]
        return self.state is not before
