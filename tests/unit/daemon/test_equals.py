"""Which of several next hops are left out, with the time passed in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gfwd.daemon.equals import Equals, in_use
from gfwd.native.core import NeighbourState
from gfwd.plan.blueprint import Hop
from gfwd.rules.model import Address

EMPTY, PENDING, READY, FAILED = NeighbourState
FAR = Address(4, 1)
TWO = (Hop(FAR, 0, 0), Hop(FAR, 1, 1))
NONE: frozenset[int] = frozenset()


class Place:
    def __init__(self) -> None:
        self.states = {0: PENDING, 1: PENDING, 2: FAILED}
        self.up = {0: True, 1: True}
        self.equals = Equals(self.states.__getitem__, self.up.__getitem__)

    def out(self, now: float, before: frozenset[int] = NONE) -> frozenset[int]:
        return self.equals.left_out([TWO, (Hop(FAR, 0, 2),)], before, now)


def test_who_does_not_answer_is_out_until_he_has() -> None:
    place = Place()
    assert place.out(0) == NONE  # nobody has answered yet
    place.states |= {0: READY, 1: FAILED}
    assert place.out(1) == {1}
    place.states[1] = PENDING  # it is asked again, which is no answer
    assert place.out(3, frozenset({1})) == {1}
    place.states[1] = READY
    assert place.out(5, frozenset({1})) == NONE


def test_a_link_that_is_down() -> None:
    place = Place()
    place.states |= {0: READY, 1: READY}
    place.up[0] = False
    assert place.out(0) == {0}


def test_one_change_a_second() -> None:
    place = Place()
    place.states |= {0: READY, 1: FAILED}
    assert place.out(10) == {1} and place.equals.deadline() is None
    place.states[1] = READY
    assert place.out(10.5, frozenset({1})) == {1} and place.equals.deadline() == 11
    assert place.out(11, frozenset({1})) == NONE and place.equals.deadline() is None


@given(st.sets(st.integers(0, 1)))
def test_something_is_always_in_use(left_out: set[int]) -> None:
    used = in_use(TWO, left_out)
    assert used == (TWO if len(left_out) == 2 else tuple(hop for hop in TWO if hop.neighbour not in left_out))
