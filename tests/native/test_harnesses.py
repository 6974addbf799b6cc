"""Parts of the core on their own, under ASan and UBSan: what they read and write, byte by byte."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from gfwd.native._core import ffi
from gfwd.native.core import DROP_CAUSES
from tests import options
from tests.cores import plan_of
from tests.frames import World, random_frame, random_world
from tests.native.conftest import Harness
from tests.oracle import twin

pytestmark = pytest.mark.skipif("GFWD_CORE" in os.environ, reason="sanitized in every run: once is enough")

Built = Callable[[str], Harness]
FATES = (
    *DROP_CAUSES,
    twin.PASSED,
    twin.PUNTED,
    twin.PENDING,
    twin.FORWARDED,
    "suspect",
    "tapped",
    "fragment",
)  # as in enum fw_fate
FIRST_FRAGMENT = 0x100  # as in parse.h


def world_of(rng: Random, rules: int, ports: int = 1) -> World:
    """A drawn world with no fewer rules."""
    while True:
        world = random_world(rng, ports)
        if len(world.rules.rules) >= rules:
            return world


def sample(frame: bytes, world: World) -> bytes:
    """A frame as parse_frames wants it: its length, how much of it must be there to go on, and where it ends."""
    parsed = twin.parse(frame, world.config, 0)
    if isinstance(parsed, str):
        return struct.pack("=III", len(frame), 0, FATES.index(parsed)) + frame
    if isinstance(parsed, twin.Datagram):
        fate = FATES.index(twin.FORWARDED) + (0 if parsed.fragment is None else FIRST_FRAGMENT)
    else:
        fate = FATES.index(twin.PASSED) + FIRST_FRAGMENT if parsed.is_first else FATES.index("fragment")
    return struct.pack("=III", len(frame), parsed.ip_at + parsed.ip_length, fate) + frame


@pytest.mark.parametrize("seed", range(4))
def test_parser_stays_inside_of_cut_and_changed_frames(seed: int, harness: Built, tmp_path: Path) -> None:
    rng = Random(f"parse {seed}")
    world = world_of(rng, 10)
    while world.config.ports[0].out_only:  # where all is let pass
        world = world_of(rng, 10)
    plan, samples = tmp_path / "plan", tmp_path / "frames"
    plan.write_bytes(plan_of(world).plan)
    samples.write_bytes(b"".join(sample(random_frame(rng, world), world) for _ in range(500)))
    assert harness("parse_frames")(plan, samples, "200000") == "500 frames\n"


def test_checksums_are_those_of_the_rfcs(harness: Built) -> None:
    harness("checksums")()


def test_parts_make_the_datagram_again(harness: Built) -> None:
    harness("translate")()


def test_rings_lose_nothing_between_threads(harness: Built) -> None:
    harness("rings")()


def test_waiting_queues_keep_bounds_and_order(harness: Built) -> None:
    harness("waiting")()


def test_fragments_that_wait_are_in_one_place(harness: Built) -> None:
    harness("fragments")()


def test_loops_are_found_by_what_comes_back(harness: Built) -> None:
    harness("loops")()


def test_limits_hold_in_every_interval_and_templates_are_seen(harness: Built) -> None:
    harness("admission")()


SECTIONS = ("targets", "nodes", "options", "specials", "choices", "members", "counters", "paces4", "paces6")


def whole_plan(rng: Random) -> bytes:
    """A plan that has some of everything."""
    while True:
        world = options.drawn(rng, world_of(rng, 20), set(options.KINDS))
        plan = plan_of(world).plan
        head = ffi.from_buffer("struct fw_plan *", plan)
        if len(plan) < 1 << 20 and all(getattr(head, f"n_{section}") for section in SECTIONS):
            return plan


@pytest.mark.parametrize("seed", range(4))
def test_no_plan_leads_outside(seed: int, harness: Built, tmp_path: Path) -> None:
    rng = Random(f"plans {seed}")
    plan = tmp_path / "plan"
    plan.write_bytes(whole_plan(rng) if seed else plan_of(world_of(rng, 40)).plan)
    harness("plans")(plan, "4000")


def test_unknown_sources_are_kept_and_read_whole(harness: Built) -> None:
    harness("unknown")()
