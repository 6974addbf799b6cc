"""What sequence numbers prove: worked by hand, and against streams that were lost, mixed up and doubled by chance."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.netflow.cache import TemplateCache
from gfwd.netflow.decode import decode
from gfwd.netflow.loss import Findings, Sequence
from gfwd.netflow.message import NETFLOW
from gfwd.netflow.streams import Streams
from tests.netflow import SENDER, a_set, ipfix, options_ipfix, template, v5, v9

WRAP = 1 << 32


def took(*datagrams: tuple[int, int | None], uptimes: tuple[int, ...] | None = None) -> Findings:
    """Of (number, step) each; the place in the list tells datagrams apart, but for those that are the same."""
    sequence = Sequence()
    for at, (number, step) in enumerate(datagrams):
        uptime = None if uptimes is None else uptimes[at]
        sequence.take(number % WRAP, step, uptime)
    return sequence.findings


def summary(its: Findings) -> dict[str, int]:
    """Without what is 0, and what is always there."""
    found = {name: getattr(its, name) for name in ("lost", "reordered", "doubled", "restarts", "strays", "unproven")}
    return {name: n for name, n in found.items() if n}


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        ([(0, 30), (30, 30), (60, 5)], {}),
        ([(0, 30), (60, 30)], {"lost": 30}),
        ([(0, 1), (1, 1), (3, 1), (2, 1), (4, 1)], {"reordered": 1}),
        ([(0, 1), (1, 1), (1, 1), (2, 1)], {"doubled": 1}),
        ([(WRAP - 1, 1), (0, 1), (1, 1)], {}),
        ([(WRAP - 2, 1), (1, 1)], {"lost": 2}),
        ([(3 << 30, 30), (0, 30), (30, 30), (60, 30)], {"restarts": 1}),  # a quarter of all numbers is no gap
        ([(3 << 30, 30), (5, 30), ((3 << 30) + 30, 30)], {"strays": 1}),
        ([(WRAP - 30, 30), (64 * 30, 30)], {"lost": 64 * 30}),
        # A word of one is enough for 3,000 datagrams of its size, for more it takes two.
        ([(0, 1), (3_001, 1)], {"lost": 3_000}),
        ([(0, 1), (3_002, 1)], {"strays": 1}),
        ([(0, 1), (3_002, 1), (3_003, 1)], {"lost": 3_001}),
        ([(0, 1), (3_002, 1), (3_005, 1), (3_003, 1)], {"lost": 3_001 + 1, "reordered": 1}),
        ([(0, 1), (3_002, 1), (3_003 + 64, 1)], {"lost": 3_001 + 64}),
        ([(0, 1), (3_002, 1), (3_003 + 65, 1)], {"strays": 2}),
        ([(1 << 30, 30), (2 << 30, 30), ((2 << 30) + 30, 30)], {"lost": (1 << 30) - 30}),
        ([(0, 1), (1 << 30, 1), (1, 1), ((1 << 30) + 1, 1), (2, 1)], {"strays": 2}),  # two exporters behind one key
        ([(5000, 1), (0, 1), (3, 1)], {"restarts": 1, "lost": 2}),
        ([(0, 10), (40, 10), (20, 10), (50, 1)], {"lost": 20, "reordered": 1}),
        ([(5000, 1), (5001, 1), (0, 1), (1, 1), (2, 1)], {"restarts": 1}),
        ([(5000, 1), (5001, 1), (7, 1), (5002, 1)], {"strays": 1}),
        ([(0, 3), (3, None), (90, 2), (92, 2)], {"unproven": 1}),
        ([(0, 0), (0, 3), (3, 0), (3, 1)], {}),  # datagrams of templates alone do not move it on
    ],
)
def test_worked_by_hand(datagrams, expected):
    its = took(*datagrams)
    assert summary(its) == expected
    assert its.datagrams == len(datagrams)


def test_an_uptime_that_falls_is_a_restart():
    assert summary(took((900, 1), (0, 1), (1, 1), uptimes=(90_000, 10, 20))) == {"restarts": 1}
    assert summary(took((9, 1), (900, 1), (901, 1), uptimes=(90_000, 10, 20))) == {"restarts": 1}
    assert summary(took((9, 1), (0, 1), (1, 1), uptimes=(90_000, 10, 20))) == {"restarts": 1}  # not late, not doubled
    assert summary(took((9, 1), (10, 1), uptimes=(WRAP - 1, 10))) == {}  # it wraps after 49.7 days


@given(number=st.integers(0, WRAP - 1), step=st.integers(0, 60), uptime=st.integers(0, WRAP - 1))
def test_one_datagram_alone_does_little(number, step, uptime):
    """Forged or broken, it is a stray, or a gap of no more than 3,000 of its size: the exporter goes on as before."""
    datagrams = [(1_000_000 + at, 1) for at in range(20)]
    forged = [*datagrams[:10], (number, step), *datagrams[10:]]
    uptimes = [90_000 + at for at in range(20)]
    its = took(*forged, uptimes=(*uptimes[:10], uptime, *uptimes[10:]))
    assert its.lost <= 3_000 * max(1, step) and its.in_order >= 8
    assert its.datagrams == 21


@given(
    steps=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    begin=st.integers(0, WRAP - 1),
    seed=st.integers(0, 1_000),
)
def test_what_was_done_to_a_stream_is_found(steps, begin, seed):
    """Lost and doubled here and there, and neighbours exchanged: the figures are those of what was done."""
    rng = Random(seed)
    datagrams, number = [], begin
    for step in steps:
        datagrams.append((number, step))
        number = (number + step) % WRAP
    kept = [datagrams[0], *(one for one in datagrams[1:] if rng.random() < 0.8)]
    lost = sum(step for one, step in datagrams if (one, step) not in kept)
    trailing = sum(step for one, step in datagrams[datagrams.index(kept[-1]) + 1 :])
    sent, doubled, swapped = list(kept), 0, 0
    for at in range(len(kept) - 2, 0, -1):
        chance = rng.random()
        if chance < 0.1:
            sent.insert(at, kept[at])
            doubled += 1
        elif chance < 0.2 and sent[at + 1] == kept[at + 1] != sent[at] and at + 2 < len(sent):
            sent[at], sent[at + 1] = sent[at + 1], sent[at]
            swapped += 1
    its = took(*sent)
    assert (its.doubled, its.reordered) == (doubled, swapped)
    assert its.lost == lost - trailing
    assert its.counted == sum(step for _, step in kept)
    assert its.restarts == its.strays == 0


# ---- what it is that exporters count ----


def found(*payloads: bytes) -> list[tuple[str, dict[str, int]]]:
    streams, cache = Streams(), TemplateCache()
    for payload in payloads:
        streams.take("192.0.2.1", 50_000, decode(NETFLOW, payload, SENDER, cache))
    return [(counts, summary(its)) for _, counts, its in streams.findings()]


def test_v5_counts_flows_and_v9_datagrams():
    assert found(v5(3, 0), v5(2, 3), v5(1, 6)) == [("flows", {"lost": 1})]
    assert found(v9(sequence=1), v9(sequence=2), v9(sequence=4)) == [("datagrams", {"lost": 1})]


def test_v9_of_a_cgn_that_counts_records():
    """Its templates may be unknown: the header says how many there are."""
    sent = [v9(a_set(300, bytes(40)), sequence=at, count=n) for n, at in ((8, 90), (3, 98), (8, 101), (8, 117))]
    assert found(*sent) == [("records", {"lost": 8})]


TEMPLATES = a_set(2, template(256, [(4, 1)])), a_set(3, options_ipfix(257, [(149, 4)], 1))


def data(n: int) -> bytes:
    return a_set(256, bytes(n))


def test_ipfix_counts_the_records_before_a_datagram():
    first = ipfix(*TEMPLATES, data(4), a_set(257, bytes(4)), sequence=0)
    rest = [ipfix(data(n), sequence=at) for n, at in ((2, 5), (3, 7), (1, 13))]
    assert found(first, *rest) == [("records", {"lost": 3})]


def test_softflowd_counts_its_own_records_too_but_no_options():
    first = ipfix(*TEMPLATES, data(4), a_set(257, bytes(4)), sequence=4)
    rest = [ipfix(data(n), sequence=at) for n, at in ((2, 6), (3, 9), (1, 15))]
    assert found(first, *rest) == [("records so far", {"lost": 5})]


def test_domains_and_ports_are_told_apart():
    streams, cache = Streams(), TemplateCache()
    for port, source, sequence in ((1, 0, 5), (2, 0, 90), (1, 1, 700), (1, 0, 6), (2, 0, 91), (1, 1, 701)):
        payload = v9(sequence=sequence, source=source)
        streams.take("192.0.2.1", port, decode(NETFLOW, payload, SENDER, cache))
    assert [(one.source_port, one.source_id, summary(its)) for one, _, its in streams.findings()] == [
        (1, 0, {}),
        (2, 0, {}),
        (1, 1, {}),
    ]


def test_more_streams_than_there_is_room_for_are_counted():
    streams, cache = Streams(most=3), TemplateCache()
    for source in range(10):
        payload = v9(source=source)
        streams.take("192.0.2.1", 1, decode(NETFLOW, payload, SENDER, cache))
    assert (len([*streams.findings()]), streams.not_told_apart) == (3, 7)


def test_who_is_silent_for_long_makes_room():
    streams, cache = Streams(most=2, stale_s=10), TemplateCache()

    def take(now: float, source: int, sequence: int) -> None:
        streams.take("192.0.2.1", 1, decode(NETFLOW, v9(sequence=sequence, source=source), SENDER, cache), now)

    def seen() -> list[int | None]:
        return [one.source_id for one, _, _ in streams.findings()]

    for now, source, sequence in ((0, 1, 0), (1, 2, 0), (2, 1, 5), (11, 3, 0)):
        take(now, source, sequence)
    assert (seen(), streams.not_told_apart) == ([1, 2], 1)  # the second one was silent for 10 s, and no longer
    take(11.5, 3, 0)
    assert (seen(), streams.not_told_apart) == ([1, 3], 1)
    assert streams.gone.datagrams == 1
    take(30, 2, 1)
    assert seen() == [3, 2] and (streams.gone.datagrams, streams.gone.lost) == (3, 4)


def test_what_nobody_has_seen_was_not_lost_for_certain():
    """Behind a gap of the tap all begins anew; what is missing beside it is lost all the same."""
    streams, cache = Streams(), TemplateCache()
    for sequence in (1, 2, None, 9, 10, 12, None, 12, 13):
        if sequence is None:
            streams.interrupt()
            continue
        payload = v9(sequence=sequence)
        streams.take("192.0.2.1", 1, decode(NETFLOW, payload, SENDER, cache))
    ((_, _, its),) = streams.findings()
    assert summary(its) == {"lost": 1, "unproven": 2}
