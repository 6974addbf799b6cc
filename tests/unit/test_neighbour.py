"""The neighbour machine in virtual time."""

from collections import Counter
from heapq import heapify, heappop, heappush
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.l2.neighbour import TABLE, Ask, Event, Neighbour, State, Tell, Timing
from gfwd.l2.pace import Turns

USED = (State.READY, State.STALE, State.PROBE, State.SEARCH)
MAC, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
ALL = Ask(None)
PENDING, READY, FAILED = Tell(State.PENDING, None), Tell(State.READY, MAC), Tell(State.FAILED, None)


def machine(timing: Timing = Timing()) -> Neighbour:  # noqa: B008 (frozen)
    return Neighbour(timing, lambda: 0.0)


def ready() -> Neighbour:
    its = machine()
    its.wanted(0)
    its.answered(MAC, 0.5)
    return its


def due(its: Neighbour) -> float:
    assert its.deadline is not None
    return its.deadline


def until(its: Neighbour, state: State) -> list:
    """All that it does until it is in that state, each with its time."""
    done = []
    while its.state is not state:
        now = due(its)
        done += [(now, action) for action in its.advance(now)]
    return done


def test_every_pair_is_defined():
    assert set(TABLE) == set(product(State, Event))


def test_resolved_by_the_first_answer():
    its = machine()
    assert its.wanted(10) == [PENDING, ALL]
    assert its.deadline == 11
    assert its.answered(MAC, 10.5) == [READY]
    assert (its.state, its.mac, its.deadline) == (State.READY, MAC, 40.5)


def test_three_questions_then_failed_then_again_and_again():
    its = machine()
    its.wanted(0)
    assert until(its, State.FAILED) == [(1, ALL), (2, ALL), (3, FAILED)]
    asked = []
    while due(its) < 200:
        now = due(its)
        assert its.advance(now) == [ALL]
        asked.append(now)
    assert asked == [4, 6, 10, 18, 34, 66, 98, 130, 162, 194]
    assert its.answered(MAC, 195) == [READY]


def test_confirmed_before_it_is_stale():
    its = ready()
    assert its.deadline == 30.5
    assert its.advance(30.4) == []
    assert its.advance(30.5) == [Ask(MAC)]
    assert its.state is State.PROBE
    assert its.answered(MAC, 30.6) == []  # the core knows
    assert (its.state, its.deadline) == (State.READY, 60.6)


def test_the_one_that_had_it_then_everyone_then_failed():
    its = ready()
    assert until(its, State.SEARCH) == [(30.5, Ask(MAC)), (31.5, Ask(MAC)), (32.5, Ask(MAC)), (33.5, ALL)]
    assert its.mac == MAC
    assert until(its, State.FAILED) == [(34.5, ALL), (35.5, ALL), (36.5, FAILED)]
    assert its.mac is None


def test_a_mac_that_moves_is_found_by_everyone():
    its = ready()
    until(its, State.SEARCH)
    assert its.takes_answer(OTHER, 34)
    assert its.answered(OTHER, 34) == [Tell(State.READY, OTHER)]


def test_what_is_unasked_makes_us_ask_and_changes_nothing():
    its = ready()
    assert its.heard(MAC, 5) == []
    assert its.state is State.READY
    assert its.heard(OTHER, 6) == [Ask(MAC)]
    assert (its.state, its.mac) == (State.PROBE, MAC)
    assert not its.takes_answer(OTHER, 6.1)  # it was not asked
    assert its.takes_answer(MAC, 6.1)
    assert its.answered(MAC, 6.1) == []
    # Again, but the last question is too fresh.
    assert its.heard(OTHER, 6.2) == []
    assert (its.state, its.mac, its.deadline) == (State.STALE, MAC, 7)
    assert not its.takes_answer(MAC, 6.3)  # nor was it, since
    assert its.heard(OTHER, 6.4) == []
    assert its.advance(7) == [Ask(MAC)]


def test_a_failed_one_is_asked_as_soon_as_it_is_heard():
    its = machine()
    its.wanted(0)
    until(its, State.FAILED)
    its.advance(due(its))
    assert its.heard(MAC, 5) == [ALL]
    assert its.state is State.FAILED
    assert its.answered(MAC, 5.1) == [READY]


def test_nobody_wants_it():
    its = machine()
    assert its.heard(MAC, 1) == its.silent(2) == its.lost(2) == its.answered(MAC, 3) == its.advance(4) == []
    assert (its.state, its.mac, its.deadline) == (State.EMPTY, None, None)
    assert not its.takes_answer(MAC, 4)


def test_an_answer_that_comes_long_after_the_question_is_none():
    its = machine()
    its.wanted(0)
    until(its, State.FAILED)
    assert its.takes_answer(MAC, 5)  # to the last question, at 2
    assert not its.takes_answer(MAC, 5.1)
    assert its.advance(6) == [ALL]
    assert its.takes_answer(MAC, 6.1)


def test_who_has_to_wait_for_a_turn_is_stale_until_then():
    turns = iter([0.0, 32.0])
    its = Neighbour(Timing(), lambda: 0.0, lambda _: next(turns))
    its.wanted(0)
    its.answered(MAC, 0.5)
    assert its.advance(30.5) == []
    assert (its.state, its.mac, its.deadline) == (State.STALE, MAC, 32)
    assert its.heard(OTHER, 31) == []  # another doubt is no other turn
    assert its.advance(31.9) == []
    assert its.advance(32) == [Ask(MAC)]
    assert its.state is State.PROBE


def test_many_that_go_stale_together_do_not_ask_together():
    """In no second more questions than the burst and the rate, and nobody is forgotten; MACs are used on meanwhile."""
    turns = Turns(rate=200, burst=50)
    many = [Neighbour(Timing(), lambda: 0.0, turns.turn) for _ in range(600)]
    asked: list[tuple[float, int]] = []

    def answer(number: int, actions: list, now: float) -> None:
        if any(isinstance(action, Ask) for action in actions):
            asked.append((now, number))
            many[number].answered(MAC, now)

    for number, its in enumerate(many):
        answer(number, its.wanted(0), 0)
    queue = [(due(its), number) for number, its in enumerate(many)]
    heapify(queue)
    while queue[0][0] < 70:
        now, number = heappop(queue)
        its, knew = many[number], many[number].mac
        answer(number, its.advance(now), now)
        assert its.mac == (knew or its.mac)
        heappush(queue, (due(its), number))
    times = [now for now, _ in asked]
    assert all(later - first >= 0.999 for first, later in zip(times, times[251:], strict=False))
    assert times.count(0) > 40  # of a burst, something is had at once
    assert Counter(number for _, number in asked) == dict.fromkeys(range(600), 3)  # at the start, and every 30 s


def test_an_entry_that_the_kernel_lost_is_looked_for_and_used_on():
    its = ready()
    assert its.lost(5) == [ALL]
    assert (its.state, its.mac) == (State.SEARCH, MAC)
    assert its.silent(6) == [FAILED]


def test_an_entry_that_was_deleted_under_our_question_is_asked_for_again():
    its = machine(Timing(broadcast_tries=1, retransmit=5))
    its.wanted(0)
    assert its.lost(0.1) == []
    assert its.deadline == 1
    assert its.advance(1) == [ALL]
    assert until(its, State.FAILED) == [(6, FAILED)]


def test_what_the_administrator_fixed_is_not_asked_for():
    its = machine()
    its.wanted(0)
    assert its.answered(MAC, 1, is_fixed=True) == [READY]
    assert its.deadline is None
    assert its.answered(MAC, 2) == []
    assert its.deadline == 32


def test_a_link_that_comes_up_starts_anew():
    its = machine()
    its.wanted(0)
    until(its, State.FAILED)
    assert its.wanted(3.5) == [PENDING, ALL]
    assert its.wanted(3.6) == []
    assert until(its, State.FAILED) == [(4.5, ALL), (5.5, ALL), (6.5, FAILED)]
    assert its.deadline == 7.5


@pytest.mark.parametrize("drawn", [0.0, 0.5, 0.999])
def test_jitter_is_up_to_a_quarter_and_never_late(drawn):
    its = Neighbour(Timing(), lambda: drawn)
    its.wanted(0)
    its.answered(MAC, 0)
    assert its.deadline == 30 * (1 - drawn / 4)


events = st.one_of(
    st.sampled_from(["wanted", "doubted", "silent", "lost", "advance"]).map(lambda name: (name, ())),
    st.tuples(st.sampled_from(["answered", "heard"]), st.sampled_from([MAC, OTHER]).map(lambda mac: (mac,))),
)
waits = st.floats(0, 3) | st.just("deadline")


@given(st.lists(st.tuples(waits, events), max_size=60), st.randoms(use_true_random=False))
def test_any_story(story, random):
    """Whatever comes: a MAC that is used was an answer, questions keep their distance, and an answer always helps."""
    its = Neighbour(Timing(), random.random)
    its.wanted(0)
    now, answers, asked, told = 0.0, set(), [0.0], PENDING
    for wait, (name, arguments) in story:
        now = max(now, its.deadline or now) if wait == "deadline" else now + wait
        if name == "answered":
            answers |= set(arguments)
        for action in getattr(its, name)(*arguments, now):
            if isinstance(action, Ask):
                assert action.mac is None or action.mac == its.mac
                asked.append(now)
            else:
                assert action != told
                assert action.state is not State.READY or action.mac in answers
                told = action
        assert (told.mac, told.mac is not None) == (its.mac, its.state in USED)
        assert its.deadline is not None
    assert all(later - earlier >= 0.999 for earlier, later in pairwise(asked))
    # Left alone it asks within the longest back-off, and the answer makes it ready.
    for _ in range(3):
        if any(isinstance(action, Ask) for action in its.advance(due(its))):
            break
    its.answered(MAC, due(its))
    assert (its.state, its.mac) == (State.READY, MAC)
