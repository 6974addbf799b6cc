"""Sources that no rule wants, through memory ports: against a dict, in a flood, and read while the worker writes."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.native.core import Core, Limits, NeighbourState, Unknown, bench_cursor
from gfwd.plan.blueprint import PlanPort
from tests.cores import Rig, mac, plan_from
from tests.frames import checksum, datagram

SANITIZED = "GFWD_CORE" in os.environ
LIMITS = Limits(rules=4, collectors=4, neighbours=4, exporters=16, flows=64, frame_bytes=512, ring_slots=16)
RULES = "10.0.0.1 514 192.0.2.1 A\n"
OWN = {4: 0x0A020201, 6: 0x20010DB8 << 96 | 1}
SLOTS = 1_024


def rig(*, slots: int = SLOTS, region_of: Sequence[int] = (0,)) -> Rig:
    its = Rig(LIMITS, region_of, (512,), slots)
    its.core.set_neighbour(0, mac(0), NeighbourState.READY)
    its.core.publish(plan_from(RULES, ports=(PlanPort(),) * len(region_of)))
    return its


def drive(its: Rig, frames: Sequence[bytes]) -> None:
    for frame in frames:
        while not its.core.arrive(0, frame):
            its.worker.step()
    while its.worker.step():
        pass
    its.left(0)


@dataclass
class Twin:
    """What a dict would remember of a source and port."""

    payload: bytes = b""
    source_port: int = 0
    packets: int = 0
    bytes: int = 0


def by_key(found: Sequence[Unknown]) -> dict[tuple[int, bytes, int], Unknown]:
    entries = {(entry.family, entry.address, entry.port): entry for entry in found if entry.family}
    assert len(entries) == sum(entry.family != 0 for entry in found)
    return entries


def others(found: Sequence[Unknown]) -> int:
    return sum(entry.packets for entry in found if entry.family == 0)


sources = st.one_of(
    st.tuples(st.just(4), st.integers(0x0A000001, 0x0A000004)),
    st.tuples(st.just(6), st.integers(0x20010DB8 << 96 | 5, 0x20010DB8 << 96 | 7)),
)
datagrams = st.tuples(sources, st.sampled_from((514, 2055)), st.integers(1, 65_535), st.binary(max_size=40))


@given(st.lists(datagrams, max_size=40))
def test_few_sources_are_told_apart_as_a_dict_would(drawn: list) -> None:
    twins: dict[tuple[int, bytes, int], Twin] = {}
    frames, before = [], time.time_ns()
    for (family, source), port, source_port, payload in drawn:
        frames.append(datagram(family, source, OWN[family], (source_port, port), payload))
        if (source, port) == (0x0A000001, 514):  # has a rule
            continue
        twin = twins.setdefault((family, source.to_bytes(4 if family == 4 else 16), port), Twin())
        twin.packets += 1
        twin.bytes += len(frames[-1])
        twin.source_port, twin.payload = source_port, payload
    with rig() as its:
        drive(its, frames)
        found = its.core.unknown()
        no_rule = its.core.frames().drops["no_rule"]
    entries = by_key(found)
    assert others(found) == 0
    assert sum(twin.packets for twin in twins.values()) == no_rule
    seen = {key: Twin(it.payload, it.source_port, it.packets, it.bytes) for key, it in entries.items()}
    assert seen == {key: Twin(t.payload[:24], t.source_port, t.packets, t.bytes) for key, t in twins.items()}
    for key, entry in entries.items():
        assert entry.length == len(twins[key].payload)
        assert before <= entry.first <= entry.last <= time.time_ns()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_all_of_it_is_counted(seed: int) -> None:
    """More sources than there is room for, some of them again and again: none counts too much, and none is lost."""
    rng = Random(f"unknown {seed}")
    numbers = [rng.randrange(400) if rng.random() < 0.7 else rng.randrange(1 << 24) for _ in range(20_000)]
    sent = dict.fromkeys(numbers, 0)
    with rig() as its:
        for at in range(0, len(numbers), 1_000):
            for number in numbers[at : at + 1_000]:
                sent[number] += 1
            drive(its, [datagram(4, 0x0B000000 + n, OWN[4], (9, 514), b"x") for n in numbers[at : at + 1_000]])
            found = its.core.unknown()
            assert sum(entry.packets for entry in found) == its.core.frames().drops["no_rule"] == at + 1_000
            for (_, address, _), entry in by_key(found).items():
                assert 0 < entry.packets <= sent[int.from_bytes(address) - 0x0B000000]
    assert len(by_key(found)) == LIMITS.unknown


def flood_frames(first: int, number: int) -> bytes:
    """So many frames of 60 bytes, each from a source of its own."""
    frame = bytearray(datagram(4, 0, OWN[4], (9, 514), bytes(18)))
    out = bytearray()
    for source in range(first, first + number):
        struct.pack_into("!HI", frame, 24, 0, source)
        frame[24:26] = bytes(2)
        struct.pack_into("!I", frame, 26, source)
        struct.pack_into("!H", frame, 24, checksum(bytes(frame[14:34])))
        out += frame
    return bytes(out)


def test_a_flood_pushes_out_nobody_who_repeats() -> None:
    """Two hundred that repeat keep their places and their counts, while a million come that never do."""
    repeaters, rings = 200, 50
    per_round = rings * (SLOTS - 1)  # full rings: each source comes once
    rounds = 2 if SANITIZED else 20
    again = [datagram(4, 0x0B000000 + i, OWN[4], (9, 2055), i.to_bytes(4)) for i in range(repeaters)]
    with rig(region_of=(0, 0)) as its:
        drive(its, again * 2)
        for at in range(rounds):
            frames = flood_frames(0x0C000000 + at * per_round, per_round)
            its.worker.bench(bytearray(frames), 60, bench_cursor(), rings)
            drive(its, again)
        found = its.core.unknown()
        frames_in = its.core.frames()
    entries = by_key(found)
    for i in range(repeaters):
        entry = entries[4, (0x0B000000 + i).to_bytes(4), 2055]
        assert (entry.packets, entry.payload) == (2 + rounds, i.to_bytes(4))
    assert frames_in.drops["no_rule"] == frames_in.received == rounds * per_round + repeaters * (2 + rounds)
    assert sum(entry.packets for entry in found) == frames_in.received
    assert len(entries) == LIMITS.unknown


def test_what_has_a_rule_is_not_there() -> None:
    with rig() as its:
        drive(its, [datagram(4, 0x0A000001, OWN[4], (9, 514), b"known")] * 5)
        assert [entry.packets for entry in its.core.unknown()] == [0]


def test_each_worker_has_its_own() -> None:
    with Core(LIMITS) as core:
        core.port_mem(core.region(rings=4, slots=64), 2)
        workers = [core.worker([(0, ring)], [(0, ring)]) for ring in range(2)]
        core.set_neighbour(0, mac(0), NeighbourState.READY)
        core.publish(plan_from(RULES))
        for number in range(10):
            assert core.arrive(0, datagram(4, 0x0B000000, OWN[4], (number, 514)), ring=number % 2)
        for worker in workers:
            worker.step()
        found = [entry for entry in core.unknown() if entry.family]
        assert sorted((entry.source_port, entry.packets) for entry in found) == [(8, 5), (9, 5)]


def test_reading_while_the_worker_writes() -> None:
    """Every entry is whole: its payload says how many came before it, and its length and counts go with that."""
    frames = bytearray().join(
        datagram(4, 0x0B000000 + i % 40, OWN[4], (i, 514), struct.pack("!II", i, i) + bytes(18 - 8))
        for i in range(4_000)
    )
    with rig(region_of=(0, 0)) as its:
        rounds = 100 if SANITIZED else 2_000
        writer = threading.Thread(target=its.worker.bench, args=(frames, 60, bench_cursor(), rounds))
        writer.start()
        try:
            while writer.is_alive():
                for entry in its.core.unknown()[1:]:
                    one, other = struct.unpack_from("!II", entry.payload)
                    assert one == other == entry.source_port and entry.bytes == 60 * entry.packets
                    assert 0x0B000000 + one % 40 == int.from_bytes(entry.address) and entry.first <= entry.last
        finally:
            writer.join()
        assert sum(entry.packets for entry in its.core.unknown()) == its.core.frames().received
