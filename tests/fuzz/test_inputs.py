"""Hostile bytes, as a capture file and as frames on the wire: all of it is counted, and nothing breaks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.daemon.replay import Replay, replay
from gfwd.native.core import CoreError, Limits
from gfwd.rules import classic
from tests import captures
from tests.cores import STATES, Rig, balances, plan_of, with_buffers
from tests.frames import World, random_frame, random_world
from tests.oracle import twin
from tests.oracle.twin import Twin

Edit = tuple[int, bytes]
"""Bytes to put in at a place, counted in 65,536ths of the whole."""

BUFFER = 512
RULES = classic.parse("default * 192.0.2.9 2001:db8::9", "fuzz.rules")
EDGES = [
    b"",
    b"\0",
    b"\xff",
    b"\0" * 4,
    b"\xff" * 4,
    b"\0\0\0\x80",
    b"\x80\0\0\0",
    b"\x0a\x0d\x0d\x0a",
    b"\x4d\x3c\x2b\x1a",
]
EDITS = st.lists(st.tuples(st.integers(0, 65_535), st.sampled_from(EDGES) | st.binary(max_size=8)), max_size=6)


def changed(data: bytes, edits: Sequence[Edit], keep: int) -> bytes:
    """The bytes with some of them written over, and cut to a share of their length, in 65,536ths."""
    made = bytearray(data)
    for place, new in edits:
        at = place * len(made) >> 16
        made[at : at + len(new)] = new
    return bytes(made[: (keep + 1) * len(made) >> 16])


def like(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Samples, whole or cut, with a few bytes changed; or any bytes at all."""
    keep = st.just(65_535) | st.integers(0, 65_535)
    return st.builds(changed, st.sampled_from(samples), EDITS, keep) | st.binary(max_size=200)


# -- Capture files ----------------------------------------------------------------------------------------------------

SMALL = [capture.data for capture in captures.all_captures() if len(capture.data) < 10_000]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captures")


@settings(max_examples=400)
@given(data=like(SMALL))
def test_any_bytes_as_a_capture(folder: Path, data: bytes) -> None:
    capture, output = folder / "in", folder / "out"
    capture.write_bytes(data)
    try:
        outcome = replay(Replay(capture=str(capture), output=str(output), rules=RULES))
    except CoreError as error:
        said: str | None = str(error)
    else:
        said = outcome.problem
        frames, copies = outcome.ledger.frames, outcome.ledger.copies()
        assert frames.received == frames.forwarded + frames.passed + sum(frames.drops.values())
        assert frames.received * 16 <= len(data)  # a frame takes up that much of a file at least
        assert copies.wanted == copies.sent + sum(copies.drops.values())
        assert output.stat().st_size == 24 + 16 * copies.sent + copies.sent_bytes
    if said is not None:
        where = re.search(r" \(at byte (\d+)\)$", said)
        assert where is not None and int(where[1]) <= len(data), said


# -- Frames -----------------------------------------------------------------------------------------------------------


def worlds() -> list[tuple[World, bytes, list[bytes]]]:
    """Worlds of one port with plans, and frames that mean something there."""
    found = []
    for seed in range(6):
        rng = Random(f"fuzz {seed}")
        world = with_buffers(random_world(rng, 1), [BUFFER])
        found.append((world, plan_of(world).plan, [random_frame(rng, world) for _ in range(100)]))
    return found


WORLDS = worlds()
AT = st.sampled_from(range(len(WORLDS)))


@settings(max_examples=300)
@given(data=st.data(), at=AT)
def test_any_frames_on_the_wire(data: st.DataObject, at: int) -> None:
    world, plan, samples = WORLDS[at]
    frames = [frame for frame in data.draw(st.lists(like(samples), max_size=20)) if len(frame) <= BUFFER]
    neighbours, collectors = world.rules.neighbours, len(world.rules.collectors)
    limits = Limits(
        rules=len(world.rules.rules),
        collectors=collectors,
        neighbours=len(neighbours),
        exporters=4,
        flows=16,
        frame_bytes=BUFFER,
        ring_slots=32,
    )
    expected = Twin(world.rules.rules, world.config)
    outputs = [output.frame for frame in frames for output in expected.forward(frame).outputs]
    with Rig(limits, (0,), (BUFFER,), slots=256) as rig:
        for slot, neighbour in enumerate(neighbours):
            rig.core.set_neighbour(slot, neighbour.mac, STATES[neighbour.state])
        rig.core.publish(plan)
        for frame in frames:
            assert rig.core.arrive(0, frame)
        assert rig.worker.step() == len(frames)
        left = rig.left(0)
        assert left == outputs
        assert len(left) <= sum(ledger.wanted for ledger in rig.core.collectors(collectors))
        assert len(rig.punted()) == rig.core.frames().punted == expected.ledger.frames[twin.PUNTED]
        assert rig.core.frames().received == len(frames)
        assert balances(rig.core, collectors)
