"""A name's addresses of one family: the table, and time."""

from __future__ import annotations

import math

from gfwd.dns.records import TABLE, Event, Records, State, Terms
from gfwd.rules.model import Address

ONE = (Address(4, 0x0A020203),)


def test_every_state_knows_every_event():
    assert set(TABLE) == {(state, event) for state in State for event in Event}


def test_an_answer_mends_everything():
    assert {TABLE[state, Event.ANSWER] for state in State} == {State.FRESH}


def test_a_failure_changes_nothing():
    assert all(TABLE[state, Event.FAILURE] is state for state in State)


def test_a_life():
    its = Records()
    assert (its.state, its.addresses, its.deadline()) == (State.ASKING, (), math.inf)
    its.answer(ONE, 10, 5, 100)
    assert (its.state, its.deadline()) == (State.FRESH, 110)
    its.advance(109.9)
    assert its.state is State.FRESH
    its.advance(110)
    assert (its.state, its.addresses, its.deadline()) == (State.STALE, ONE, 115)
    its.advance(115)
    assert (its.state, its.addresses, its.deadline()) == (State.GONE, (), math.inf)
    its.answer((), 10, 5, 200)
    assert (its.state, its.addresses) == (State.FRESH, ())


def test_without_an_end_it_stays():
    its = Records()
    its.answer(ONE, 10, 0, 0)
    its.advance(1e9)
    assert (its.state, its.addresses) == (State.STALE, ONE)
    its.limit(60)  # who wants an end to it after all, has it at once
    its.advance(1e9)
    assert (its.state, its.addresses) == (State.GONE, ())


def test_bounds_of_a_ttl():
    terms = Terms(10, 3_600)
    assert [terms.bounded(ttl) for ttl in (0, 9, 10, 300, 3_600, 86_400)] == [10, 10, 10, 300, 3_600, 3_600]
