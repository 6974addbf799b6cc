"""One name, in virtual time, with answers as they may come."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.dns.choice import ADDRESSES_MOST, preferred, settled
from gfwd.dns.name import Answer, Bad, Good, Name
from gfwd.dns.records import State, Terms
from gfwd.rules.model import FAMILIES, Address

V4 = tuple(Address(4, 0x0A020200 + n) for n in range(4))
V6 = tuple(Address(6, (0x20010DB8 << 96) + n) for n in range(4))
TERMS = Terms(10, 3_600, 0)
TIMEOUT = Bad("no answer in 2 s (192.0.2.53)")
GONE: Answer = dict.fromkeys(FAMILIES, Bad("there is no such name (NXDOMAIN)", is_final=True))


def name(terms: Terms = TERMS, drawn: float = 0.5) -> Name:
    return Name("flow.example.net", terms, 0.0, lambda: drawn)


def told(its: Name, answer: Answer, now: float) -> None:
    number = its.advance(now)
    assert number is not None
    its.answered(number, answer, now)


def good(*addresses: Address, ttl: int | None = 100) -> Answer:
    return {family: Good(tuple(a for a in addresses if a.family == family), ttl) for family in FAMILIES}


@pytest.mark.parametrize(("drawn", "share"), [(0.0, 0.7), (0.5, 0.8), (0.999, 0.9)])
def test_asked_again_before_the_ttl_is_over(drawn, share):
    its = name(drawn=drawn)
    assert its.deadline() == 0
    told(its, good(V4[0]), 0)
    assert its.deadline() == pytest.approx(100 * share, abs=0.1)
    assert its.advance(its.deadline() - 0.1) is None
    assert its.advance(its.deadline()) == 2
    assert its.advance(95) is None  # one lookup at a time
    assert its.deadline() == 100  # when its TTL is over


@pytest.mark.parametrize(("ttl", "counts_as"), [(0, 10), (1, 10), (60, 60), (1 << 31, 3_600), (None, 3_600)])
def test_a_ttl_is_bounded_both_ways(ttl, counts_as):
    its = name()
    told(its, good(V4[0], ttl=ttl), 0)
    assert its.ttl(0) == counts_as
    assert its.deadline() == pytest.approx(0.8 * counts_as)


def test_what_was_answered_last_stays_and_is_asked_for_ever_less_often():
    its = name(drawn=0.0)
    told(its, good(V4[0]), 0)
    times = []
    for _ in range(9):
        now = its.deadline()
        while its.advance(now) is None:
            now = its.deadline()
        its.answered(its._number, dict.fromkeys(FAMILIES, TIMEOUT), now)
        times.append(now)
    assert [round(b - a) for a, b in pairwise(times)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (its.state, its.addresses, its.trouble) == (State.STALE, V4[:1], TIMEOUT.why)
    assert its.age(times[-1]) == times[-1] and its.ttl(times[-1]) == 0
    assert (its.lookups, its.failures) == (10, 9)
    its.ask_soon(times[-1])
    told(its, good(V4[1]), times[-1])
    assert (its.state, its.addresses, its.trouble) == (State.FRESH, V4[1:2], None)


def test_an_end_to_what_is_stale():
    its = name(Terms(10, 3_600, 50))
    told(its, good(V4[0]), 0)
    told(its, GONE, its.deadline())
    assert its.is_final
    its.advance(149)
    assert (its.state, its.addresses) == (State.STALE, V4[:1])
    its.advance(150)
    assert (its.state, its.addresses, its.age(150)) == (State.GONE, (), None)


def test_one_family_that_cannot_be_asked_for_keeps_what_it_has():
    its = name()
    told(its, good(V4[0], V6[0]), 0)
    told(its, {4: Good((V4[1],), 100), 6: TIMEOUT}, 90)
    assert its.addresses == (V4[1], V6[0])
    assert (its.trouble, its.is_final) == (TIMEOUT.why, False)
    assert its.deadline() < 93  # the other one is asked for again soon
    number = its.advance(100)
    assert its.state is State.STALE and its.age(100) == 100
    assert number is not None
    its.answered(number, {4: Good((V4[1],), 100), 6: Good((), None)}, 101)
    assert [str(its.state), *its.addresses] == [str(State.FRESH), V4[1]]


def test_a_server_that_never_says_one_family_is_not_asked_too_often_nor_too_late():
    its = name(drawn=0.0)
    for _ in range(8):
        now = its.deadline()
        told(its, {4: Good((V4[0],), 20), 6: TIMEOUT}, now)
    assert its.deadline() == pytest.approx(now + 14)  # before the TTL of the one that is answered
    assert its.state is State.FRESH


def test_what_comes_of_an_older_lookup_changes_nothing():
    its = name()
    first = its.begin()
    its.answered(first, good(V4[0]), 0)
    second = its.begin()
    its.answered(first, good(V4[1]), 1)
    assert its.addresses == V4[:1]
    its.answered(second, good(V4[2]), 2)
    its.answered(second, good(V4[3]), 3)
    assert its.addresses == V4[2:3]


def test_what_changes_during_a_lookup_is_asked_for_behind_it():
    its = name()
    number = its.begin()
    its.ask_soon(5)
    its.answered(number, good(V4[0]), 6)
    assert its.deadline() == 6


addresses = st.lists(st.sampled_from([*V4, *V6]), max_size=6).map(tuple)
halves = st.builds(Good, addresses, st.none() | st.integers(0, 5_000)) | st.sampled_from([TIMEOUT, Bad("no", True)])
steps = st.tuples(st.floats(0, 2_000) | st.none(), halves, halves)


def of(half: Good | Bad, family: int) -> Good | Bad:
    return (
        half._replace(addresses=tuple(a for a in half.addresses if a.family == family))
        if isinstance(half, Good)
        else half
    )


@given(st.lists(steps, max_size=40), st.integers(0, 500), st.floats(0, 0.999))
def test_any_story(story, max_stale, drawn):
    """Whatever is answered, and whenever: addresses are those of the last good answers that are not over, families in
    order; nothing that is still answered loses its place; a name is always asked for again.
    """
    terms = Terms(10, 3_600, max_stale)
    its = name(terms, drawn)
    now = 0.0
    last: dict[int, tuple[tuple[Address, ...], float]] = {}  # by family: what was answered, and when it is over
    for wait, v4, v6 in story:
        now = max(now, min(its.deadline(), now + 1e6)) if wait is None else now + wait
        before = its.addresses
        number = its.advance(now)
        if number is not None:
            answer: Answer = {4: of(v4, 4), 6: of(v6, 6)}
            before = its.addresses
            its.answered(number, answer, now)
            ttls = [one.ttl for one in answer.values() if isinstance(one, Good) and one.ttl is not None]
            for family, one in answer.items():
                if isinstance(one, Good):
                    ttl = min(ttls, default=3_600) if one.ttl is None else one.ttl
                    over = now + terms.bounded(ttl) + max_stale if max_stale else math.inf
                    last[family] = one.addresses, over
            assert (its.trouble is None) == all(isinstance(one, Good) for one in answer.values())
        hold = {a for found, over in last.values() if now < over for a in found}
        assert set(its.addresses) == hold
        assert len(its.addresses) == len(hold)
        assert [a.family for a in its.addresses] == sorted(a.family for a in its.addresses)
        kept = [a for a in before if a in hold]
        assert [a for a in its.addresses if a in kept] == kept
        assert (its.state in (State.FRESH, State.STALE)) == bool(hold)
        assert now <= its.deadline() <= now + 3_600
        assert (its.age(now) is None) == (its.ttl(now) is None) == (not hold)


@given(st.lists(st.sampled_from([*V4, *V6]), unique=True), st.lists(st.sampled_from([*V4, *V6])))
def test_settled(before, now):
    found = settled(settled((), before), now)
    assert set(found) == set(now) and len(found) == len(set(now))
    for family in FAMILIES:
        mine = [a for a in found if a.family == family]
        there = [a for a in before if a in now and a.family == family]
        assert mine[: len(there)] == there
    assert settled(found, reversed(now)) == found


def test_more_than_anybody_needs():
    """Those that are in use stay, wherever they stand in the answer."""
    many = [Address(4, n) for n in range(1, 201)]
    found = settled((), many)
    assert found == tuple(many[:ADDRESSES_MOST])
    assert settled(found, [*many[ADDRESSES_MOST:], *many[:ADDRESSES_MOST]]) == found
    assert settled(found, [*V6, *many[:0:-1]])[:31] == found[1:]


def test_preferred():
    both = (V4[0], V4[1], V6[0])
    assert preferred(both, "first") == preferred(both, "all") == both
    assert preferred(both, "prefer-v4") == both[:2]
    assert preferred(both, "prefer-v6") == both[2:]
    assert preferred(V4, "prefer-v6") == V4
    assert preferred((), "prefer-v6") == ()
