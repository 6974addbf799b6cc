"""Of next hops that are as good as each other: which of them get nothing for now.

One that does not answer, or whose port has no carrier, leaves what it had to the others, and has it again once it has
answered. Where that is so of all, each keeps what it has, and what it loses is counted there.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence

from gfwd.native.core import NeighbourState
from gfwd.plan.blueprint import Hop

_CHANGE_S = 1.0  # from one change to the next, each of which publishes a plan


def in_use(hops: Sequence[Hop], left_out: Collection[int]) -> tuple[Hop, ...]:
    """Those of a collector's address that copies go to. left_out: neighbour slots."""
    return tuple(hop for hop in hops if hop.neighbour not in left_out) or tuple(hops)


class Equals:
    """`now` is the same clock everywhere, in seconds. state: of a neighbour, by its slot. has_link: whether the port of
    that number is up, and has a carrier.
    """

    def __init__(self, state: Callable[[int], NeighbourState], has_link: Callable[[int], bool]) -> None:
        self._state, self._has_link = state, has_link
        self._changed = -math.inf
        self._due: float | None = None

    def deadline(self) -> float | None:
        """When `left_out` would say something else than it has said; None: not before something happens."""
        return self._due

    def left_out(self, ways: Iterable[Sequence[Hop]], before: frozenset[int], now: float) -> frozenset[int]:
        """The slots that nothing is to go to. before: those so far, which stay so where it is too early to change."""
        several = {hop for hops in ways if len(hops) > 1 for hop in hops}
        after = frozenset(hop.neighbour for hop in several if self._is_out(hop, before))
        self._due = None
        if after == before:
            return before
        if now < self._changed + _CHANGE_S:
            self._due = self._changed + _CHANGE_S
            return before
        self._changed = now
        return after

    def _is_out(self, hop: Hop, before: Collection[int]) -> bool:
        """Who was out comes back when it has answered, and not when it is only asked again."""
        state = self._state(hop.neighbour)
        is_silent = state is not NeighbourState.READY if hop.neighbour in before else state is NeighbourState.FAILED
        return is_silent or not self._has_link(hop.egress)
