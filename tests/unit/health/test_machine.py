"""The table of a collector's states."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.health.machine import TABLE, Event, Machine, State


def states(rise: int, fall: int, tries: str) -> str:
    """The states after each try, by their first letters; + is a success, - a failure."""
    its = Machine(rise, fall)
    shown = ""
    for one in tries:
        before = its.state
        assert its.take(is_success=one == "+") == (its.state is not before)
        shown += its.state.name[0]
    return shown


def test_every_pair_is_defined():
    assert set(TABLE) == set(product(State, Event))


@pytest.mark.parametrize(
    ("rise", "fall", "tries", "then"),
    [
        (2, 3, "+", "U"),
        (2, 3, "---", "UUD"),
        (2, 3, "--+--+--", "UUUUUUUU"),
        (2, 3, "---+-++", "UUDDDDU"),
        (2, 3, "---+-+-+-", "UUDDDDDDD"),
        (1, 1, "-+-+", "DUDU"),
        (3, 1, "+-++-+++", "UDDDDDDU"),
    ],
)
def test_stories(rise, fall, tries, then):
    assert states(rise, fall, tries) == then


def test_unknown_until_something_has_succeeded():
    its = Machine(2, 3)
    assert its.state.name == "UNKNOWN"
    assert not its.take(is_success=False)
    assert its.state.name == "UNKNOWN"
    assert its.take(is_success=True)
    assert its.state.name == "UP"


def twin(rise: int, fall: int, results: list[bool]) -> State:
    """The state after all of these results, seen from the whole list: what the last run that was long enough says."""
    for end in range(len(results), 0, -1):
        if results[max(0, end - fall) : end] == [False] * fall:
            after = results[end:]
            has_risen = any(after[i : i + rise] == [True] * rise for i in range(len(after) - rise + 1))
            return State.UP if has_risen else State.DOWN
    return State.UP if any(results) else State.UNKNOWN


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.booleans(), max_size=40))
def test_the_machine_and_its_stupid_twin_agree(rise, fall, results):
    its = Machine(rise, fall)
    for n, result in enumerate(results, 1):
        its.take(is_success=result)
        assert its.state is twin(rise, fall, results[:n])
        run = next((i for i in range(1, n) if results[n - 1 - i] is not result), n)
        assert its.in_a_row == run
