"""Sampling and limits in a real core: by chance one in N, of a flood N a second, and together no more than alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from math import sqrt

import pytest

from gfwd.native.core import Core, Limits, NeighbourState, RunEnd
from gfwd.plan.blueprint import PlanPort
from gfwd.rules import classic
from gfwd.rules.model import Exporters, Options, Prefix, RuleSet
from tests.cores import Rig, mac, plan_of_rules, running, with_options
from tests.flows import IPFIX, V9, flow_set, message
from tests.frames import datagram

OWN, EXPORTER = 0x0A020201, 0x0A020203
SEEDS = 0x3954_7011_5475_3176, 0x7011_3954_5101_8200  # small ones would put all in one place of the cache
START, SECOND = 1_700_000_000_000_000_000, 1_000_000_000
EARLY = SECOND // 10
LIMITS = Limits(rules=1, collectors=2, neighbours=2, exporters=8, flows=64)
ONE, TWO = "default * 192.0.2.1\n", "default * 192.0.2.1 192.0.2.2\n"


@contextmanager
def rig(ruleset: RuleSet, limits: Limits = LIMITS) -> Iterator[Rig]:
    with Rig(limits, (0,), (512,), 512, seeds=SEEDS) as its:
        for slot in range(limits.neighbours):
            its.core.set_neighbour(slot, mac(slot), NeighbourState.READY)
        its.core.publish(plan_of_rules(ruleset))
        yield its


def rules(text: str, options: Mapping[str, Options]) -> RuleSet:
    return with_options(classic.parse(text, "some.rules"), options)


def fed(its: Rig, count: int, gap: int = 0, payload: bytes = b"", exporters: int = 1) -> list[tuple[int, bytes]]:
    """Datagrams that come so many ns after each other, exporters in turn: the numbers of those that left, and they."""
    left: list[tuple[int, bytes]] = []
    for first in range(0, count, 128):
        for number in range(first, min(count, first + 128)):
            frame = datagram(4, EXPORTER + number % exporters, OWN, (number % 65_536, 514), payload)
            assert its.core.arrive(0, frame, time=START + number * gap)
        its.worker.step()
        left += [(first + (int.from_bytes(frame[34:36]) - first) % 65_536, frame) for frame in its.left(0)]
        its.worker.step()
    return left


# -- Sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_in", [2, 3, 10, 100])
def test_chance_takes_one_in_so_many(one_in: int) -> None:
    """Within five standard deviations; the seed is fixed, so it is so always or never."""
    count = 20_000
    with rig(rules(ONE, {"192.0.2.1": Options(sample=one_in)})) as its:
        taken = [number for number, _ in fed(its, count)]
        ledger = its.core.collectors(1)[0]
    assert (ledger.wanted, ledger.sent, ledger.drops["sampled_out"]) == (count, len(taken), count - len(taken))
    spread = 5 * sqrt(count / one_in * (1 - 1 / one_in))
    assert abs(len(taken) - count / one_in) < spread
    # Nor is there a rhythm: after one that was taken, the next is taken as often as any.
    follows = sum(after - before == 1 for before, after in pairwise(taken))
    assert abs(follows - len(taken) / one_in) < 5 * sqrt(len(taken) / one_in) + 1


def test_collectors_are_sampled_each_by_itself() -> None:
    with rig(rules(TWO, {"192.0.2.1": Options(sample=2), "192.0.2.2": Options(sample=2)})) as its:
        copies = Counter(Counter(number for number, _ in fed(its, 8_000)).values())
    assert abs(copies[2] - 2_000) < 5 * sqrt(8_000 * 3 / 16)
    assert abs(copies[1] - 4_000) < 5 * sqrt(8_000 / 4)


def test_workers_sample_each_by_itself() -> None:
    """Of pairs of datagrams, one to each of two workers, half have the same fate."""
    pairs = 1_000
    with Core(LIMITS, SEEDS) as core:
        core.port_mem(core.region(rings=4, slots=64, buffer_bytes=256), 2)
        workers = [core.worker([(0, ring)], [(0, ring)]) for ring in range(2)]
        core.set_neighbour(0, mac(0), NeighbourState.READY)
        core.publish(plan_of_rules(rules(ONE, {"192.0.2.1": Options(sample=2)})))
        alike = 0
        for number in range(pairs):
            fates = set()
            for ring, worker in enumerate(workers):
                assert core.arrive(0, datagram(4, EXPORTER, OWN, (number, 514)), ring)
                worker.step()
                fates.add(core.leave(0, ring) is None)
                worker.step()
            alike += len(fates) == 1
    assert abs(alike - pairs / 2) < 5 * sqrt(pairs / 4)


@pytest.mark.parametrize(
    ("payload", "is_template"),
    [
        (message(V9, flow_set(0, bytes(8))), True),
        (message(V9, flow_set(1, bytes(8))), True),
        (message(V9, flow_set(256, bytes(8)), flow_set(0)), True),
        (message(V9, flow_set(2, bytes(8))), False),
        (message(V9, flow_set(256, bytes(8), length=0), flow_set(0)), False),
        (message(V9, flow_set(0, bytes(8), length=13)), False),
        (message(V9, flow_set(0, b"", length=3)), False),
        (message(IPFIX, flow_set(2, bytes(8))), True),
        (message(IPFIX, flow_set(3, bytes(8))), True),
        (message(IPFIX, flow_set(256, bytes(8)), flow_set(3)), True),
        (message(IPFIX, flow_set(0, bytes(8))), False),
        (message(IPFIX, flow_set(2, bytes(8)), length=16), False),
        (message(IPFIX, flow_set(2, bytes(8)), length=65_535), True),
        (message(IPFIX, flow_set(2, bytes(8)))[:19], False),
        (b"\0\5" + message(V9, flow_set(0, bytes(8)))[2:], False),
    ],
)
def test_no_template_is_left_out(payload: bytes, is_template: bool) -> None:
    with rig(rules(ONE, {"192.0.2.1": Options(sample=0xFFFF_FFFF)})) as its:
        assert len(fed(its, 200, payload=payload)) == (200 if is_template else 0)


# -- Limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 7, 50, 1_000])
@pytest.mark.parametrize("whose", ["collector", "exporter"])
def test_of_a_steady_flood_so_many_a_second_pass(limit: int, whose: str) -> None:
    """Twenty seconds, four times as many as may pass; at the start a tenth of a second's worth more."""
    limited = rules(ONE, {"192.0.2.1": Options(limit=limit)})
    if whose == "exporter":
        limited = classic.parse(ONE, "some.rules")._replace(exporters=Exporters(limit=limit))
    gap, period = SECOND // (4 * limit), SECOND // limit
    count = 20 * SECOND // gap
    with rig(limited) as its:
        passed = [number * gap for number, _ in fed(its, count, gap)]
        frames = its.core.frames()
    for second in range(1, 20):
        assert sum(second * SECOND <= at < (second + 1) * SECOND for at in passed) in (
            limit,
            limit + (SECOND % limit > 0),
        )
    for first in range(0, len(passed), 1 + len(passed) // 100):
        for last in range(first, len(passed)):
            assert last - first + 1 <= (passed[last] - passed[first] + EARLY) // period + 1
    cause = "rate_limited" if whose == "exporter" else "collector_limit"
    assert (frames.forwarded, frames.drops[cause]) == (len(passed), count - len(passed))


def test_each_exporter_has_its_own_limit_and_the_rest_have_one() -> None:
    """The table has room for two; the others are one, with the limit of all, whatever their prefix says."""
    exporters = Exporters(limit=10, limits=((Prefix(4, EXPORTER + 1, 32), 20), (Prefix(4, EXPORTER + 2, 32), None)))
    ruleset = classic.parse(ONE, "some.rules")._replace(exporters=exporters)
    limits = Limits(rules=1, collectors=2, neighbours=2, exporters=2, flows=64)
    with rig(ruleset, limits) as its:
        passed = Counter(number % 4 for number, _ in fed(its, 40_000, SECOND // 4_000, exporters=4))
    seconds = 10
    assert passed[0] == 10 * seconds + 1  # a tenth of a second's worth is one
    assert passed[1] == 20 * seconds + 2
    assert passed[2] + passed[3] == 10 * seconds + 1


def test_a_clock_that_was_set_back_stops_nobody() -> None:
    with rig(rules(ONE, {"192.0.2.1": Options(limit=10)})) as its:
        sent = []
        for start in (START, START - 3_600 * SECOND, START - 2 * 3_600 * SECOND):
            for number in range(1_000):
                frame = datagram(4, EXPORTER, OWN, (number, 514))
                assert its.core.arrive(0, frame, time=start + number * (SECOND // 100))
                if number % 100 == 99:
                    its.worker.step()
                    sent += its.left(0)
                    its.worker.step()
        assert len(sent) == 3 * (10 * 10 + 1)


def test_workers_share_the_limit_of_a_collector() -> None:
    """Four workers in threads, and the clock on the wall: no more than the time between start and end allows."""
    workers, limit, count = 4, 200, 4_000
    with Core(LIMITS) as core:
        core.port_mem(core.region(rings=2 * workers, slots=64, buffer_bytes=256), workers)
        its = [core.worker([(0, ring)], [(0, ring)]) for ring in range(workers)]
        core.set_neighbour(0, mac(0), NeighbourState.READY)
        core.publish(plan_of_rules(rules(ONE, {"192.0.2.1": Options(limit=limit)}), ports=(PlanPort(),)))
        left, began = 0, time.time_ns()
        ends: list[list[RunEnd]] = []
        with running(its[0]) as a, running(its[1]) as b, running(its[2]) as c, running(its[3]) as d:
            ends = [a, b, c, d]
            arrived = [0] * workers
            while sum(arrived) < count or core.frames().received < count:
                for ring in range(workers):
                    if arrived[ring] < count // workers:
                        frame = datagram(4, EXPORTER + ring, OWN, (arrived[ring] % 65_536, 514))
                        arrived[ring] += core.arrive(0, frame, ring)
                    left += core.leave(0, ring) is not None
                assert time.time_ns() - began < 60 * SECOND
        passed = core.collectors(1)[0]
        spent = time.time_ns() - began
        assert all(end == [RunEnd.STOPPED] for end in ends)
    assert passed.sent + passed.drops["collector_limit"] == count
    assert passed.sent <= (spent + EARLY) * limit // SECOND + 1
    assert passed.sent >= limit // 10  # what may come too early is there from the start
