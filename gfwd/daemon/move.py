"""A change of addresses that waits for its neighbours: copies go on where they went until these are known."""

from collections.abc import Iterable

from gfwd.daemon.course import Setting
from gfwd.native.core import NeighbourState

LONGEST_S = 3.0
"""So long new neighbours have to answer; slots that nothing leads to yet are kept for longer."""
_LONGEST_IN_ALL_S = 4.0
_AGAIN_S = 1.0
_LOOK_S = 0.05


class Move:
    """setting: with the new addresses. instead_of: a move that this one takes the place of; None: there was none. `now`
    is the same clock everywhere, in seconds.
    """

    def __init__(self, setting: Setting, now: float, instead_of: "Move | None" = None) -> None:
        self.setting = setting
        self._since: float = now if instead_of is None else instead_of._since
        # Names that go on moving must not hold up each other, nor slots that nothing leads to yet be given back.
        self._until = min(now + LONGEST_S, self._since + _LONGEST_IN_ALL_S)
        self._next = now

    def deadline(self) -> float:
        """When it wants to be looked at."""
        return self._next

    def is_due(self, now: float) -> bool:
        return self._next <= now

    def begin(self, now: float) -> None:
        """A try to make it; where that fails, the next one is in a while."""
        self._next = now + _AGAIN_S

    def waits(self, now: float, states: Iterable[NeighbourState]) -> bool:
        """Whether it is too early. states: of the neighbours on the new ways."""
        known = NeighbourState.READY, NeighbourState.FAILED
        if now >= self._until or all(state in known for state in states):
            return False
        self._next = min(now + _LOOK_S, self._until)
        return True
