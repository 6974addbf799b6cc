"""Forwarders that point at each other: cores with a wire of memory between them.

What leaves one for an address of another arrives there; what leaves for anybody else has reached its collector. A loop
may pass on a few copies of a datagram, until it is known for one; it never goes on.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random

import pytest

from gfwd.native.core import Limits, NeighbourState
from gfwd.plan.blueprint import PlanPort
from gfwd.rules import classic
from gfwd.rules.model import Address, Options, Prefix
from tests.cores import Rig, balances, mac, plan_of_rules, with_options
from tests.frames import datagram
from tests.oracle.sums import ipv4_header_checksum

SECOND = 1_000_000_000
HOP = 150_000  # ns from one forwarder to the next
ALICE, BOB, CAROL = 0xC0000201, 0xC0000202, 0xC0000203  # 192.0.2.1 and so on
EXPORTER = 0x0A000001
LIMITS = Limits(rules=4, collectors=4, neighbours=4, exporters=64, flows=64)
COPIES_MAX = 8  # of one datagram, to all collectors together
COPIES_MAX_TTL = 40  # where a forwarder writes the TTL
HOPS_MAX = 1_000  # nobody counts them further: it goes on for ever


def plan(own: int, text: str, options: Mapping[str, Options]) -> bytes:
    ruleset = with_options(classic.parse(text, "loop.rules"), options)
    port = PlanPort(own=(Address(4, own),))
    return plan_of_rules(ruleset, ports=(port,), own=(Prefix(4, own, 32),))


@dataclass
class Wires:
    """Forwarders by their address, and the time."""

    rigs: dict[int, Rig]
    now: int = 1_700_000_000 * SECOND
    arrived: Counter[int] = field(default_factory=Counter)  # copies that reached a collector, by its address

    def carry(self, *frames: bytes) -> int:
        """Datagrams come from their exporters; how many copies there were of them when all was quiet."""
        way, copies = deque(frames), 0
        while way:
            one = way.popleft()
            rig = self.rigs.get(int.from_bytes(one[30:34]))
            if rig is None:
                self.arrived[int.from_bytes(one[30:34])] += 1
                continue
            self.now += HOP
            assert rig.core.arrive(0, one, time=self.now)
            rig.worker.step()
            left = rig.left(0)
            rig.worker.step()
            copies += len(left)
            way += left
            assert copies < HOPS_MAX * len(frames), "it goes round for ever"
        return copies

    def loops(self) -> int:
        """Datagrams that were dropped since they came back."""
        return self.dropped("loop")

    def dropped(self, cause: str) -> int:
        return sum(rig.core.frames().drops[cause] for rig in self.rigs.values())


@contextmanager
def wired(rules: Mapping[int, str], options: Mapping[str, Options]) -> Iterator[Wires]:
    with ExitStack() as stack:
        rigs = {own: stack.enter_context(Rig(LIMITS, (0,), (512,), 64)) for own in rules}
        for own, rig in rigs.items():
            for slot in range(LIMITS.neighbours):
                rig.core.set_neighbour(slot, mac(slot), NeighbourState.READY)
            rig.core.publish(plan(own, rules[own], options))
        yield Wires(rigs)
        for rig in rigs.values():
            assert balances(rig.core, LIMITS.collectors)


def from_exporter(number: int, to: int, exporters: int = 3) -> bytes:
    source = EXPORTER + number % exporters
    return datagram(4, source, to, (40_000, 514), number.to_bytes(4) + Random(number).randbytes(number % 50))


OWN_SOURCE = Options(own_source=True)
POINTING: dict[str, tuple[dict[int, str], dict[str, Options]]] = {
    "two": ({ALICE: "default * 192.0.2.2", BOB: "default * 192.0.2.1"}, {}),
    "two with collectors": (
        {ALICE: "default * 192.0.2.2 198.51.100.1", BOB: "default * 198.51.100.2 192.0.2.1"},
        {},
    ),
    "two on other ports": (
        {ALICE: "* 514 192.0.2.2:5514 A", BOB: "* 5514 192.0.2.1:514 198.51.100.2 A"},
        {},
    ),
    "one has its own source": (
        {ALICE: "default * 192.0.2.2", BOB: "default * 192.0.2.1"},
        {"192.0.2.2": OWN_SOURCE},
    ),
    "both have their own source": (
        {ALICE: "default * 192.0.2.2 198.51.100.1", BOB: "default * 192.0.2.1"},
        {"192.0.2.1": OWN_SOURCE, "192.0.2.2": OWN_SOURCE},
    ),
    "own source and source port": (
        {ALICE: "default * 192.0.2.2", BOB: "default * 192.0.2.1"},
        {"192.0.2.1": Options(own_source=True, source_port=999), "192.0.2.2": Options(source_port=999)},
    ),
    "three in a ring": (
        {ALICE: "default * 192.0.2.2", BOB: "default * 192.0.2.3", CAROL: "default * 192.0.2.1 198.51.100.3"},
        {},
    ),
    "three, each to both others": (
        {
            ALICE: "default * 192.0.2.2 192.0.2.3",
            BOB: "default * 192.0.2.1 192.0.2.3",
            CAROL: "default * 192.0.2.1 192.0.2.2",
        },
        {},
    ),
    "one to itself": ({ALICE: "default * 192.0.2.1 198.51.100.1"}, {}),
}


@pytest.mark.parametrize("name", POINTING)
def test_what_comes_back_is_stopped(name: str) -> None:
    rules, options = POINTING[name]
    with wired(rules, options) as wires:
        copies = [wires.carry(from_exporter(number, ALICE)) for number in range(200)]
        assert wires.loops() >= 200
    most = COPIES_MAX if name != "three, each to both others" else 2 * COPIES_MAX
    assert max(copies) <= most
    assert max(copies[10:]) < most  # once an exporter is under suspicion, it is found sooner


@pytest.mark.parametrize("name", POINTING)
def test_what_comes_back_is_stopped_among_many_others(name: str) -> None:
    """Sixty datagrams go round at a time, so that what comes back and what comes first are mixed. Two whose prints have
    one place push each other out, each time they come, until their TTL has run out; of so many, hardly any do.
    """
    rules, options = POINTING[name]
    with wired(rules, options) as wires:
        for first in range(0, 600, 60):
            copies = wires.carry(*(from_exporter(number, ALICE) for number in range(first, first + 60)))
            assert copies <= 60 * 2 * COPIES_MAX
        assert wires.loops() + wires.dropped("ttl_expired") >= 600
        assert wires.dropped("ttl_expired") <= 12


FIXED_TTLS = [
    {"192.0.2.1": Options(ttl=64)},
    {"192.0.2.2": Options(ttl=64)},
    {"192.0.2.1": Options(ttl=64), "192.0.2.2": Options(ttl=64)},
    {"192.0.2.1": Options(ttl=9), "192.0.2.2": Options(ttl=200)},
    {"192.0.2.1": Options(ttl=64, own_source=True)},
]


@pytest.mark.parametrize("options", FIXED_TTLS)
@pytest.mark.parametrize("name", ["two", "two with collectors"])
def test_a_fixed_ttl_hides_no_loop(name: str, options: dict[str, Options]) -> None:
    """What comes back may have the same TTL each time; but not for ever."""
    with wired(POINTING[name][0], options) as wires:
        for number in range(200):
            assert wires.carry(from_exporter(number, ALICE)) <= COPIES_MAX_TTL
        assert wires.loops() >= 200


@pytest.mark.parametrize("name", [name for name, (rules, _) in POINTING.items() if len(rules) == 2])
def test_once_the_loop_is_gone_nothing_is_dropped(name: str) -> None:
    rules, options = POINTING[name]
    with wired(rules, options) as wires:
        for number in range(20):
            wires.carry(from_exporter(number, ALICE))
        wires.rigs[BOB].core.publish(plan(BOB, "default * 198.51.100.9", {}))
        before = wires.loops()
        for number in range(20, 220):
            wires.carry(from_exporter(number, ALICE))
        assert wires.loops() == before
        assert wires.arrived[0xC6336409] == 200


@pytest.mark.parametrize("ttls", [(64,), (64, 63), (255, 64, 128)])
def test_exporters_that_change_their_ttl_lose_nothing(ttls: Sequence[int]) -> None:
    """Nor do those that say the same over and over: it comes with the same TTL."""
    with wired({ALICE: "default * 198.51.100.1"}, {}) as wires:
        for number in range(300):
            frame = with_ttl(from_exporter(number, ALICE, exporters=1), ttls[number % len(ttls)])
            for _ in range(3):
                wires.carry(frame)
        assert wires.arrived == {0xC6336401: 900}
        assert wires.loops() == 0


def test_suspicion_ends_after_4096_datagrams() -> None:
    """The datagram that came with another TTL, and the next 4,095. What is no suspect may come as often as it likes."""
    with wired({ALICE: "default * 198.51.100.1"}, {}) as wires:
        frames = [from_exporter(number, ALICE, exporters=1) for number in range(4_097)]
        lower = [with_ttl(frame, 63) for frame in frames]
        wires.carry(frames[0])
        for number, frame in enumerate(lower[:4_096]):  # all of them suspects, and remembered
            assert wires.carry(frame) == 1, number
        assert wires.carry(lower[4_096]) == 1  # no suspect any more, and not remembered: …
        assert wires.carry(frames[4_096]) == 1  # … so this one, a suspect, is the first of its kind
        assert wires.carry(frames[4_095]) == 0
        assert wires.loops() == 1


def test_who_waits_for_room_stays_a_suspect() -> None:
    """A frame that cannot leave is matched anew in each round, and counts once among the 4,096 all the same."""
    with Rig(LIMITS, (0,), (512,), 64) as rig:
        rig.core.set_neighbour(0, mac(0), NeighbourState.READY)
        rig.core.publish(plan(ALICE, "default * 198.51.100.1", {}))
        now = 1_700_000_000 * SECOND
        frames = [from_exporter(number, ALICE, exporters=1) for number in range(40)]
        others = [from_exporter(number, ALICE, exporters=3) for number in range(1, 200, 3)]  # all of another exporter

        def arrive(arriving: Sequence[bytes]) -> None:
            assert all(rig.core.arrive(0, frame, time=now) for frame in arriving)
            rig.worker.step()
            rig.worker.step()  # gives the emptied slots back

        arrive([with_ttl(frames[0], 65)])
        arrive(frames)  # suspects, and remembered
        arrive(others[: 63 - 41])
        assert rig.core.frames().forwarded == 63, "the ring is full"
        arrive([with_ttl(frame, 63) for frame in frames])
        for _ in range(2 * 4_096 // len(frames)):
            rig.worker.step()
        assert rig.core.frames().received == 63, "nothing could leave"
        assert len(rig.left(0)) == 63
        rig.worker.step()
        ledger = rig.core.frames()
        assert (ledger.received, ledger.drops["loop"]) == (63 + len(frames), len(frames))


def with_ttl(frame: bytes, ttl: int) -> bytes:
    changed = bytearray(frame)
    changed[22] = ttl
    changed[24:26] = ipv4_header_checksum(bytes(changed[14:34])).to_bytes(2)
    return bytes(changed)
