"""Buckets and turns, against what they promise."""

from hypothesis import given
from hypothesis import strategies as st

from gfwd.l2.pace import Bucket, Buckets, Turns

steps = st.lists(st.floats(0, 3), min_size=1, max_size=200)


@given(steps, st.integers(1, 50), st.integers(1, 50))
def test_a_bucket_gives_no_more_than_it_has(waits, rate, burst):
    bucket, now, taken = Bucket(rate, burst), 0.0, []
    for wait in waits:
        now += wait
        if bucket.takes(now):
            taken.append(now)
    for first, later in zip(taken, taken[burst:], strict=False):
        assert (later - first) * rate >= 1 - 1e-6


def test_a_bucket_of_nothing_gives_nothing():
    assert not any(Bucket(0, 0).takes(now) for now in range(100))


@given(steps, st.integers(1, 50), st.integers(0, 50))
def test_turns_are_in_order_and_no_more_than_there_are(waits, rate, burst):
    turns, now, given_ = Turns(rate, burst), 0.0, []
    for wait in waits:
        now += wait / rate
        given_.append(turns.turn(now))
        assert given_[-1] >= now
    assert given_ == sorted(given_)
    for first, later in zip(given_, given_[burst + 1 :], strict=False):
        assert (later - first) * rate >= 1 - 1e-6


def test_a_burst_is_had_at_once_and_the_rest_in_turn():
    turns = Turns(rate=10, burst=3)
    assert [round(turns.turn(5), 6) for _ in range(6)] == [5, 5, 5, 5.1, 5.2, 5.3]
    assert [round(turns.turn(100), 6) for _ in range(5)] == [100, 100, 100, 100.1, 100.2]


def test_each_has_a_bucket_of_his_own():
    buckets = Buckets(rate=1, burst=2, most=10)
    assert [buckets.takes("a", 0) for _ in range(3)] == [True, True, False]
    assert buckets.takes("b", 0)
    assert [buckets.takes("a", 1) for _ in range(2)] == [True, False]


def test_many_take_no_more_room_than_there_is():
    buckets = Buckets(rate=1, burst=1, most=10)
    for number in range(1_000):
        assert buckets.takes(number, 0)
    assert not buckets.takes(999, 0)
    assert len(buckets._of) == 10
