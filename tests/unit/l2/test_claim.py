"""One own address in virtual time: RFC 5227 and RFC 4862, second by second."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.l2.claim import TABLE, TIMINGS, Claim, Do, Event, State


def claim(family: int = 4, drawn: float = 0.0) -> Claim:
    return Claim(TIMINGS[6 if family == 6 else 4], lambda: drawn, 0)


def until(its: Claim, end: float) -> list[tuple[float, Do]]:
    """All that it does by then, each with its time."""
    done = []
    while its.deadline is not None and its.deadline <= end:
        now = its.deadline
        done += [(now, do) for do in its.advance(now)]
    return done


def ours(family: int = 4) -> Claim:
    its = claim(family)
    until(its, 100)
    return its


def test_every_pair_is_defined():
    assert set(TABLE) == set(product(State, Event))


def test_three_probes_two_announcements_and_silence():
    its = claim()
    assert until(its, 100) == [(0, Do.PROBE), (1, Do.PROBE), (2, Do.PROBE), (4, Do.ANNOUNCE), (6, Do.ANNOUNCE)]
    assert (its.state, its.deadline) == (State.OURS, None)


def test_with_ipv6_one_of_each():
    assert until(claim(6), 100) == [(0, Do.PROBE), (1, Do.ANNOUNCE)]


@pytest.mark.parametrize("drawn", [0.0, 0.5, 0.999])
def test_chance_is_within_what_the_rfc_gives_it(drawn):
    times = [now for now, do in until(claim(4, drawn), 100) if do is Do.PROBE]
    assert 0 <= times[0] <= 1
    assert all(1 <= later - earlier <= 2 for earlier, later in pairwise(times))


def test_it_is_used_from_the_start_and_sure_later():
    its = claim()
    assert its.is_used
    assert not its.is_sure
    until(its, 4)
    assert its.is_used
    assert its.is_sure


def test_one_that_is_taken_is_left_alone_and_tried_again():
    its = claim()
    its.advance(0)
    assert its.conflict(0.5) == [Do.SAY_TAKEN]
    assert (its.is_used, its.deadline) == (False, 60.5)
    assert its.conflict(10) == []
    assert its.deadline == 70  # he is still there
    assert its.advance(70) == [Do.PROBE]
    assert not its.is_used  # he may be
    assert its.conflict(70.1) == []  # which is said once
    assert until(its, 140) == [
        (130.1, Do.PROBE),
        (131.1, Do.PROBE),
        (132.1, Do.PROBE),
        (134.1, Do.SAY_FREE),
        (134.1, Do.ANNOUNCE),
        (136.1, Do.ANNOUNCE),
    ]
    assert its.is_used


def test_one_that_is_ours_is_defended_once_in_a_while_and_never_given_up():
    its = ours()
    assert its.conflict(200) == [Do.SAY_CLAIMED, Do.DEFEND]
    assert [do for now in range(1, 10) for do in its.conflict(200 + now)] == []
    assert its.conflict(210) == [Do.DEFEND]
    assert its.conflict(265) == [Do.SAY_CLAIMED, Do.DEFEND]
    assert (its.state, its.is_used) == (State.OURS, True)


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=80), st.randoms(use_true_random=False))
def test_any_story(story, random):
    """Defences keep their distance; what is taken is not announced; left alone, it ends as ours and is silent."""
    its = Claim(TIMINGS[4], random.random, 0)
    now, defended, said = 0.0, -100.0, []
    for wait, is_conflict in story:
        now = now + wait if is_conflict or its.deadline is None else max(now, its.deadline)
        for do in its.conflict(now) if is_conflict else its.advance(now):
            assert do not in (Do.ANNOUNCE, Do.DEFEND) or its.state is State.OURS
            if do is Do.DEFEND:
                assert now - defended >= 10
                defended = now
            if do in (Do.SAY_TAKEN, Do.SAY_FREE):
                said.append(do)
    assert all(one is not other for one, other in pairwise(said))
    assert said[:1] in ([], [Do.SAY_TAKEN])
    until(its, now + 200)
    assert (its.state, its.deadline, its.is_used) == (State.OURS, None, True)
