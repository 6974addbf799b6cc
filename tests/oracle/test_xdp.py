"""The XDP program against the twin: what is ours comes to the core, and nothing else does.

User space cannot hand a frame back to the kernel. So what the core would pass must not come to it at all, or it is lost
to the host; and what the core would count as ours must come, but for a few kinds of frames: what is to another MAC,
later fragments that come before their first, IPv6 with more than six extension headers, and frames too short or too odd
to show their port.

Frames go over a veth to a core in this process, one at a time, so that each verdict is known.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from random import Random
from typing import NamedTuple

import pytest

from gfwd.native.core import Core, Limits, NeighbourState
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules import classic
from gfwd.rules.model import Prefix
from gfwd.rules.space import RuleSpace
from tests import edges, frames
from tests.cores import STATES, mac, plan_from, plan_of
from tests.e2e.live import Wire, cable, host, require
from tests.fragments import Stream, split
from tests.frames import DESTINATION_OPTIONS, FRAGMENT, GFWD_MAC, HOP_BY_HOP, ROUTING, World, random_frame, random_world
from tests.oracle import sums, twin
from tests.oracle.twin import Datagram, Twin

SANITIZED = "GFWD_CORE" in os.environ
SEEDS = 3 if SANITIZED else 10
FRAMES = 200 if SANITIZED else 1_000  # of each seed and mode
LONGEST = 3_014  # frame on this cable
BUFFER = 4_096 - 256  # what a buffer of the core's holds
EXTENSIONS_MAX = 6  # that the program looks through
PATIENCE_S = 60.0

_SOL_PACKET, _PACKET_AUXDATA = 263, 8  # linux/if_packet.h
_HAS_TAG = 1 << 4  # TP_STATUS_VLAN_VALID


class Cable:
    """e0 of a stranger — in0 of ours. Neither kernel has an address, so they say nothing themselves.

    A driver takes native XDP up to some MTU: beyond it, the core falls back to the generic mode.
    """

    def __init__(self, stack: ExitStack, *, is_native: bool) -> None:
        stranger, self.us = host(stack), host(stack)
        cable(stranger, "e0", self.us, "in0", mtu=3_000 if is_native else 9_000)
        self.us.set_mac("in0", GFWD_MAC.hex(":"))
        self.end = stack.enter_context(Wire(stranger, "e0"))
        self.end.socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self.is_native = is_native

    def left(self) -> list[bytes]:
        """What has come out at the other end, with the outer VLAN tag, which the kernel there takes off."""
        found = []
        with suppress(BlockingIOError):
            while True:
                frame, notes, _, _ = self.end.socket.recvmsg(16_384, socket.CMSG_SPACE(20))
                status, _, _, _, _, tci, kind = struct.unpack("=IIIHHHH", notes[0][2])  # struct tpacket_auxdata
                tag = struct.pack(">HH", kind, tci) if status & _HAS_TAG else b""
                found.append(frame[:12] + tag + frame[12:])
        return found


class Rig:
    """A core with in0 as its only port, and a worker that the test's own thread is."""

    def __init__(self, wire: Cable, plan: bytes, world: World | None = None) -> None:
        self.wire = wire
        rules = 2 if world is None else len(world.rules.rules)
        collectors = 2 if world is None else len(world.rules.collectors)
        neighbours = 2 if world is None else len(world.rules.neighbours)
        self.core = Core(Limits(rules=rules, collectors=collectors, neighbours=neighbours, frame_bytes=4_096))
        with ExitStack() as stack:
            stack.callback(self.core.close)
            with wire.us.inside():
                self.port = self.core.port_xdp(self.core.umem(1, 1, 4_096), "in0", 1, 1)
            self.worker = self.core.worker([(self.port, 0)], [(self.port, 0)])
            if world is not None:
                for slot, neighbour in enumerate(world.rules.neighbours):
                    self.core.set_neighbour(slot, neighbour.mac, STATES[neighbour.state])
            self.core.publish(plan)
            self.core.xdp_redirect(self.port)
            assert self.core.xdp(self.port).is_native == wire.is_native
            stack.pop_all()

    def verdict(self, frame: bytes) -> bool:
        """Send a frame; whether the XDP program takes it for ours."""
        before = self.core.xdp(self.port)
        self.wire.end.send(frame)
        end = time.monotonic() + PATIENCE_S
        while (after := self.core.xdp(self.port)).ours + after.passed == before.ours + before.passed:
            assert time.monotonic() < end, f"never seen: {frame.hex()}"
        assert after.lost == 0 and after.ours + after.passed == before.ours + before.passed + 1
        return after.ours > before.ours

    def forward(self, number: int) -> None:
        """Until the core has dealt with so many frames since it is there."""
        end = time.monotonic() + PATIENCE_S
        while self.core.frames().received < number:
            assert time.monotonic() < end, f"{self.core.frames().received} of {number} frames came to the core"
            self.worker.step()
        assert self.core.frames().received == number


@pytest.fixture(scope="module", params=["native", "generic"])
def wire(request) -> Iterator[Cable]:
    require()
    with ExitStack() as stack:
        yield Cable(stack, is_native=request.param == "native")


# ---- frames drawn at random ----


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_ours_comes_and_nothing_else(wire: Cable, seed: int) -> None:
    rng = Random(f"xdp {seed}")
    drawn = random_world(rng, 1)
    port = replace(
        drawn.config.ports[0], mac=GFWD_MAC, buffer=BUFFER, has_host_stack=True, punts_closed=False, out_only=False
    )
    world = replace(drawn, config=replace(drawn.config, ports=[port]))
    rig = Rig(wire, plan_of(world).plan, world)
    with rig.core:
        wire.left()
        its_twin, outputs, seen = Twin(world.rules.rules, world.config, 1_024), [], Counter[tuple[str, bool]]()
        followed = Followed()
        for frame in _frames(rng, world):
            place = _place(frame, world)
            # What waits for a first fragment does so for two seconds, but how fast this goes, nobody knows.
            if its_twin.waiting_for(its_twin.parse(frame, 0)):
                continue
            wanted = _is_to_come(frame, place, followed)
            comes = rig.verdict(frame)
            followed.see(frame, comes=comes)
            assert wanted in (comes, None), f"seed {seed}: {place}, and {'comes' if comes else 'passes'}: {frame.hex()}"
            seen[place, comes] += 1
            if comes:
                outcome = its_twin.forward(frame, 0)
                rig.forward(sum(n for (_, came), n in seen.items() if came))
                outputs += [output.frame for output in outcome.outputs]
        for _ in range(rig.core.frames().drops[twin.FRAGMENT_LOST]):
            its_twin.ledger.move_frame(twin.FRAGMENT_LOST)
        assert _counted(rig.core) == its_twin.ledger.as_dict()
        left = wire.left()
        end = time.monotonic() + PATIENCE_S
        while len(left) < len(outputs) and time.monotonic() < end:
            left += wire.left()
        assert left == outputs, f"seed {seed}"
    assert len({place for place, _ in seen}) > 4 and {comes for _, comes in seen} == {True, False}
    assert seen["later", True] > 5


def _frames(rng: Random, world: World) -> Iterator[bytes]:
    """Those that can be sent on this cable; some of them to another MAC, some in fragments."""
    count, pieces = 0, Stream(rng)
    while count < FRAMES:
        frame = random_frame(rng, world)
        if rng.random() < 0.5 and (piece := pieces.next()) is not None:
            frame = piece
        elif rng.random() < 0.3 and isinstance(parsed := twin.parse(frame, world.config, 0), Datagram):
            pieces.send(parsed)
            continue
        if 14 <= len(frame) <= LONGEST:
            count += 1
            is_elsewhere = rng.random() < 0.03
            yield rng.choice((b"\xff" * 6, bytes.fromhex("020000000002"))) + frame[6:] if is_elsewhere else frame


def _place(frame: bytes, world: World) -> str:
    """Where the twin puts the frame by parsing it."""
    parsed = twin.parse(frame, world.config, 0)
    if isinstance(parsed, Datagram):
        return "ours"
    return parsed if isinstance(parsed, str) else twin.PASSED if parsed.is_first else "later"


class Look(NamedTuple):
    """Of an IP packet whose lengths are right: what the XDP program sees of it."""

    is_first: bool  # fragment
    is_later: bool  # fragment
    is_udp: bool
    key: bytes  # what its fragments have in common
    shows_port: bool
    extensions: int


def _look(frame: bytes) -> Look:
    """Raises IndexError where headers are cut."""
    ip_at = 14
    while sums.u16(frame, ip_at - 2) in twin.VLAN_TYPES:
        ip_at += 4
    if frame[ip_at] >> 4 == 4:
        payload = sums.u16(frame, ip_at + 2) - 4 * (frame[ip_at] & 15)
        field, key = sums.u16(frame, ip_at + 6), frame[ip_at + 4 : ip_at + 6] + frame[ip_at + 12 : ip_at + 20]
        is_later, more = field & 0x1FFF != 0, field & 0x2000 != 0
        return Look(more and not is_later, is_later, frame[ip_at + 9] == 17, key, payload >= 4, 0)
    header, at, extensions = frame[ip_at + 6], ip_at + 40, 0
    is_first = is_later = False
    key = b""
    while header in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS) and not (is_first or is_later):
        if at + 8 > len(frame):
            raise IndexError
        if header == FRAGMENT:
            field, key = sums.u16(frame, at + 2), frame[at + 4 : at + 8] + frame[ip_at + 8 : ip_at + 40]
            is_later = field >> 3 != 0
            is_first = field & 1 != 0 and not is_later
        header, at, extensions = frame[at], at + (8 if header == FRAGMENT else 8 + 8 * frame[at + 1]), extensions + 1
    shows_port = ip_at + 40 + sums.u16(frame, ip_at + 4) - at >= 4
    return Look(is_first, is_later, header == 17, key, shows_port, extensions)


class Followed:
    """Datagrams of which the first fragment came, and when: the program follows them for two seconds."""

    def __init__(self) -> None:
        self._since: dict[bytes, float] = {}

    def see(self, frame: bytes, *, comes: bool) -> None:
        with suppress(IndexError):
            look = _look(frame)
            if frame[:6] == GFWD_MAC and look.is_first and look.is_udp and look.extensions <= EXTENSIONS_MAX:
                self._since.pop(look.key, None)
                if comes:
                    self._since[look.key] = time.monotonic()

    def follows(self, key: bytes) -> bool | None:
        """None: it may or may not."""
        age = time.monotonic() - self._since.get(key, float("-inf"))
        return True if age < 1.5 else None if age < 2.5 else False


def _is_to_come(frame: bytes, place: str, followed: Followed) -> bool | None:
    """Whether the XDP program must take the frame for ours; None: it may or may not."""
    if place == twin.PASSED or frame[:6] != GFWD_MAC:
        return False
    if place == twin.SHORT:
        return None  # its port may or may not be in sight: see tests/edges.py
    look = _look(frame)
    if look.extensions > EXTENSIONS_MAX:
        return False
    if look.is_later:
        return followed.follows(look.key)
    return True if look.shows_port else None


def _counted(core: Core) -> dict:
    """The core's ledgers as the twin writes its own."""
    ledger = core.frames()
    copies = core.collectors(core.limits.collectors)
    drops = Counter[str]()
    for collector in copies:
        drops.update(collector.drops)
    return {
        **ledger._replace(drops=_named(ledger.drops))._asdict(),
        "copies": {
            "wanted": sum(collector.wanted for collector in copies),
            "sent": sum(collector.sent for collector in copies),
            "pending": sum(collector.pending for collector in copies),
            "drops": _named(drops),
        },
    }


def _named(drops: dict[str, int]) -> dict[str, int]:
    return {cause: n for cause, n in drops.items() if n}


# ---- edges ----


@pytest.fixture(scope="module", params=["native", "generic"])
def rig(request) -> Iterator[Rig]:
    """One that listens where the edges are sent to, and has a collector of each family."""
    require()
    ruleset = classic.parse("0.0.0.0/0 * 10.1.0.2 A\n::/0 * fd01::2 A", "edges.rules")
    plan = Blueprint(
        space=RuleSpace(ruleset),
        routes={
            collector: Route(slot, (Hop(collector.address, 0, slot),))
            for slot, collector in enumerate(ruleset.collectors())
            if collector.address is not None
        },
        ports=(PlanPort(mac=GFWD_MAC),),
        own=(Prefix(4, edges.OWN4, 32), Prefix(6, edges.OWN6, 128)),
        listen=((edges.LISTENED, edges.LISTENED),),
    )
    with ExitStack() as stack:
        made = Rig(Cable(stack, is_native=request.param == "native"), compile_plan(plan))
        stack.enter_context(made.core)
        for slot in range(2):
            made.core.set_neighbour(slot, mac(slot), NeighbourState.READY)
        yield made


@pytest.mark.parametrize("edge", edges.EDGES)
def test_edge(rig: Rig, edge: str) -> None:
    frame, place = edges.EDGES[edge]
    before = rig.core.frames()
    assert rig.verdict(frame) == (place != twin.PASSED)
    if place != twin.PASSED:
        rig.forward(before.received + 1)
    after = rig.core.frames()
    counted = {**_gone_up(before.drops, after.drops), **_gone_up(before._asdict(), after._asdict())}
    assert counted == ({} if place == twin.PASSED else {place: 1, "received": 1})


LONG = bytes(range(256)) * 2


def pieces(family: int, ident: int, port: int = edges.LISTENED, payload: bytes = LONG) -> list[bytes]:
    """A datagram in three fragments."""
    source, own = {4: (edges.SOURCE4, edges.OWN4), 6: (edges.SOURCE6, edges.OWN6)}[family]
    return split(frames.datagram(family, source, own, (40_000, port), payload), 14, (10, 40), ident)


@pytest.mark.parametrize("family", [4, 6])
def test_later_fragments_follow_the_first(rig: Rig, family: int) -> None:
    first, second, third = pieces(family, 700)
    before = rig.core.frames()
    assert not rig.verdict(second), "it came before the first: the kernel's"
    assert [rig.verdict(piece) for piece in (first, third, second, third)] == [True] * 4
    rig.forward(before.received + 4)
    assert rig.core.frames().forwarded == before.forwarded + 4
    for other in pieces(family, 701)[1:]:
        assert not rig.verdict(other)


@pytest.mark.parametrize("family", [4, 6])
def test_fragments_of_what_is_not_ours_are_the_kernels(rig: Rig, family: int) -> None:
    assert [rig.verdict(piece) for piece in pieces(family, 710, edges.UNHEARD)] == [False] * 3


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_not_ours_does_not_follow_what_was(rig: Rig, family: int) -> None:
    """An identification comes again, for a datagram to another port."""
    before = rig.core.frames()
    assert [rig.verdict(piece) for piece in pieces(family, 720)] == [True] * 3
    assert [rig.verdict(piece) for piece in pieces(family, 720, edges.UNHEARD)] == [False] * 3
    rig.forward(before.received + 3)


@pytest.mark.parametrize("family", [4, 6])
def test_nothing_follows_after_two_seconds(rig: Rig, family: int) -> None:
    first, second, _ = pieces(family, 730)
    before = rig.core.frames()
    assert rig.verdict(first)
    time.sleep(2.1)
    assert not rig.verdict(second)
    rig.forward(before.received + 1)


def test_networks_of_ours(wire: Cable) -> None:
    """Own addresses may be prefixes of any length."""
    rng = Random("networks")
    for _ in range(10):
        length4, length6 = rng.randint(1, 32), rng.randint(1, 128)
        address4, address6 = rng.getrandbits(32), rng.getrandbits(128)
        own = (
            Prefix(4, address4 >> (32 - length4) << (32 - length4), length4),
            Prefix(6, address6 >> (128 - length6) << (128 - length6), length6),
        )
        made = Rig(wire, plan_from("* 514 10.1.0.2 fd01::2 A", ports=(PlanPort(mac=GFWD_MAC),), own=own))
        with made.core:
            for family, address, length in ((4, address4, length4), (6, address6, length6)):
                bits = frames.BITS[family]
                for flipped in range(bits):
                    frame = frames.datagram(family, 1, address ^ 1 << (bits - 1 - flipped), (1, 514))
                    assert made.verdict(frame) == (flipped >= length), (family, length, flipped)


def test_when_told_to_stop_nothing_comes_any_more(wire: Cable) -> None:
    own = (Prefix(4, edges.OWN4, 32),)
    made = Rig(wire, plan_from("* 514 10.1.0.2 A", ports=(PlanPort(mac=GFWD_MAC),), own=own))
    frame, _ = edges.EDGES["IPv4"]
    with made.core:
        assert made.verdict(frame)
        made.core.xdp_redirect(made.port, on=False)
        assert not made.verdict(frame)
        made.core.xdp_redirect(made.port)
        assert made.verdict(frame)


def _gone_up(before: dict, after: dict) -> dict[str, int]:
    return {name: n - before[name] for name, n in after.items() if isinstance(n, int) and n != before[name]}
