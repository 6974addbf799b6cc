"""A collector under check, in virtual time."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.health.machine import Machine, State
from gfwd.health.watch import Outcome, Verdict, Watch, patience
from gfwd.health.words import check_text, result_text, time_text, why_down
from gfwd.rules.model import Check

ICMP = Check("icmp", interval=10)
GOOD = Outcome(Verdict.SUCCESS, "an answer after 0.4 ms", "icmp 10.2.2.6")
BAD = Outcome(Verdict.FAILURE, "no answer", "icmp 10.2.2.6")
OTHER = Outcome(Verdict.FAILURE, "No route to host", "icmp 10.2.2.6")


def watch(check: Check = ICMP, drawn: float = 0.5) -> Watch:
    return Watch(check, 0, lambda: drawn)


def tried(its: Watch, *outcomes: Outcome) -> None:
    """One try after the other, each with its outcome at once."""
    for outcome in outcomes:
        now = its.deadline()
        number = its.advance(now)
        assert number is not None
        its.judged(number, outcome, now)


@pytest.mark.parametrize("drawn", [0.0, 0.5, 0.999])
def test_the_schedule(drawn):
    """The first try at some moment of the first interval, then one an interval, give or take a tenth."""
    its = watch(drawn=drawn)
    times = []
    for _ in range(4):
        times.append(its.deadline())
        tried(its, GOOD)
    assert times[0] == pytest.approx(10 * drawn)
    assert [later - earlier for earlier, later in pairwise(times)] == [pytest.approx(9 + 2 * drawn)] * 3


def test_not_before_it_is_due():
    its = watch()
    assert its.advance(4.9) is None
    assert its.advance(5) == 1
    assert its.advance(5) is None


def test_down_after_three_and_up_after_two():
    its = watch()
    tried(its, GOOD, BAD, BAD)
    assert its.state is State.UP
    tried(its, BAD)
    assert (its.state, its.since) == (State.DOWN, 35)
    assert why_down(its) == "no answer, 3 times in a row (icmp 10.2.2.6)"
    tried(its, GOOD)
    assert (its.state, result_text(its)) == (State.DOWN, "an answer after 0.4 ms")
    tried(its, GOOD)
    assert (its.state, its.since) == (State.UP, 55)
    assert its.change == (State.DOWN, State.UP, 20)


def test_why_it_is_down():
    its = watch()
    tried(its, BAD, BAD, OTHER)
    assert why_down(its) == "3 tries in a row have failed, at last: No route to host (icmp 10.2.2.6)"
    its = watch(ICMP._replace(fall=1))
    tried(its, BAD)
    assert why_down(its) == "no answer (icmp 10.2.2.6)"


def test_no_result_in_time_is_a_failure_and_comes_before_the_next_try():
    its = watch(ICMP._replace(fall=1))
    assert its.advance(5) == 1
    assert its.deadline() == 5 + patience(ICMP) + 2.5 < 5 + 9
    assert its.advance(its.deadline()) is None
    assert (its.state, result_text(its)) == (State.DOWN, "no result in 4.5 s")
    assert why_down(its) == "no result in 4.5 s"
    its.judged(1, GOOD, 10)  # it is too late
    assert its.in_a_row == 1
    assert its.deadline() == 15
    assert its.advance(15) == 2
    its.judged(1, GOOD, 15)  # that was the one before
    assert its.last is not None and its.last.verdict is Verdict.FAILURE


def test_what_says_nothing_changes_nothing():
    its = watch()
    tried(its, BAD, BAD)
    tried(its, Outcome(Verdict.OPEN, "asked"))
    assert (its.state, its.in_a_row, result_text(its)) == (State.UNKNOWN, 2, "no answer")
    tried(its, Outcome(Verdict.UNTRIED, "not permitted"))
    assert (its.state, its.in_a_row, result_text(its)) == (State.UNKNOWN, 2, "cannot be checked: not permitted")
    tried(its, BAD)
    assert its.state is State.DOWN and its.trouble is None


@pytest.mark.parametrize(("interval", "seconds"), [(1, 0.5), (2, 1), (4, 2), (5, 2), (3600, 2)])
def test_patience(interval, seconds):
    assert patience(Check("icmp", interval=interval)) == seconds


outcomes = st.sampled_from([GOOD, BAD, OTHER, Outcome(Verdict.OPEN, ""), Outcome(Verdict.UNTRIED, "no")])
steps = st.tuples(st.floats(0, 12) | st.just(None), outcomes | st.none())


@given(st.integers(1, 20), st.lists(steps, max_size=50), st.randoms(use_true_random=False))
def test_any_story(interval, story, random):
    """Whatever comes, and whenever: tries keep their distance, each counts once at most, and what counts is what the
    machine is told.
    """
    check = Check("icmp", interval=interval, rise=2, fall=3)
    its = Watch(check, 0, random.random)
    twin = Machine(2, 3)
    now = 0.0
    begun: list[float] = []
    open_try = None
    for wait, outcome in story:
        now = max(now, its.deadline()) if wait is None else now + wait
        late = open_try is not None and now >= begun[-1] + patience(check) + interval / 4
        number = its.advance(now)
        if late:
            twin.take(is_success=False)
            open_try = None
        if number is not None:
            assert open_try is None
            assert number == len(begun) + 1
            begun.append(now)
            open_try = number
        if outcome is not None and begun:
            its.judged(len(begun), outcome, now)
            if open_try is not None and outcome.verdict in (Verdict.SUCCESS, Verdict.FAILURE):
                twin.take(is_success=outcome.verdict is Verdict.SUCCESS)
            open_try = None
        assert its.state is twin.state
        assert now < its.deadline() < math.inf
        assert its.deadline() <= now + 1.1 * interval
    assert all(later - earlier >= 0.899 * interval for earlier, later in pairwise(begun))


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (Check("arp"), "arp"),
        (Check("icmp"), "icmp"),
        (Check("tcp", port=9995), "tcp:9995"),
        (Check("http", url="http://10.2.2.6:8080/health"), "http://10.2.2.6:8080/health"),
    ],
)
def test_checks_as_they_are_written(check, text):
    assert check_text(check) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (35, "35 s"), (119, "119 s"), (121, "2 min"), (7_300, "2 h"), (172_800, "2 d")]
)
def test_times(seconds, text):
    assert time_text(seconds) == text
