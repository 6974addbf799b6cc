"""The core against its twin: a million frames of every kind, met with rules drawn at random, and every byte compared.

A drawn world goes the whole way, from rules text to published plan, and its frames through memory ports. Neighbours
change state meanwhile, and another plan is published while copies wait. What leaves must be the same bytes in the same
order, what is punted and tapped too, and all counters must agree.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from random import Random

import pytest

from gfwd.native.core import DROP_CAUSES, FORWARD, NONE, WAIT, WAITING_MAX, CopyLedger, Core, Limits, NeighbourState
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.plan.taps import with_taps
from gfwd.rules import classic
from gfwd.rules.model import Address
from gfwd.rules.space import RuleSpace
from tests import frames
from tests.cores import STATES, Compiled, Rig, plan_of, with_buffers
from tests.fragments import Stream
from tests.frames import BITS, World, random_frame, random_rules, random_world
from tests.options import copies_at_most, drawn, each_target, with_options
from tests.oracle import sums, twin
from tests.oracle.memory import SECOND
from tests.oracle.taps import FATES, Tapped, TapTwin, drawn_taps
from tests.oracle.twin import Datagram, Fragment, Outcome, Output, Parsed, Receiver, Twin, TwinRule, TwinTarget

SANITIZED = "GFWD_CORE" in os.environ  # then all is slow, and a share of the frames has to do
SEEDS = 12 if SANITIZED else 24
WORLDS = 5 if SANITIZED else 21  # of each seed
FRAMES = 1_000 if SANITIZED else 2_000  # in each world
BATCH = 200  # frames that arrive together, at most
SLOTS = 1_024  # room for all copies of a batch, as a drawn rule names five collectors at most
FRAME_BYTES = 4_096  # longest frame that is sent
MOST_TOGETHER = 16  # fragments that leave when the first one of theirs comes
PAIRS_WANTED = 60_000 if SANITIZED else 1_000_000


def test_a_run_compares_a_million_pairs() -> None:
    assert SEEDS * WORLDS * FRAMES >= PAIRS_WANTED


@pytest.mark.parametrize("seed", range(SEEDS))
def test_core_does_what_its_twin_does(seed: int) -> None:
    for number in range(WORLDS):
        with closing(Comparison(Random(f"{seed}/{number}"), f"seed {seed}, world {number}")) as comparison:
            compared = comparison.run(FRAMES)
        assert compared == FRAMES


def test_drawn_worlds_reach_every_place() -> None:
    """Of frames and of copies; not those that need a port that is broken or full, or Python to be behind."""
    reached: Counter[str] = Counter()
    for number in range(120):
        with closing(Comparison(Random(f"places/{number}"), f"places, world {number}")) as comparison:
            comparison.run(200)
            reached += comparison.twin.ledger.frames + sum(comparison.twin.ledger.copies.values(), Counter())
    beyond = {"tx_full", "punt_full", "port_failed", "host_full", twin.NEIGHBOUR_PENDING_FULL}
    places = {twin.FORWARDED, twin.PASSED, twin.PUNTED, twin.PENDING, twin.SENT}
    assert {place for place, n in reached.items() if n} - places == set(DROP_CAUSES) - beyond


Punted = tuple[int, int, bytes, int]
"""Port, time, frame, and the MTU that it is too long for; 0: it is not that."""


# -- One world --------------------------------------------------------------------------------------------------------


class Comparison:
    """A world in the core and in the twin, fed alike. Half-way it gives place to another one, on the same ports."""

    def __init__(self, rng: Random, name: str) -> None:
        self.rng, self.name = rng, name
        first = random_world(rng)
        worlds = [first, random_world(rng, len(first.config.ports))]
        self.ports = range(len(first.config.ports))
        buffers = [rng.choice((192, 256, 1_024, FRAME_BYTES)) for _ in range(rng.choice((1, 2)))]
        self.region_of = [rng.randrange(len(buffers)) for _ in self.ports]
        sizes = [buffers[region] for region in self.region_of]
        self.worlds = [with_options(rng, narrowed(rng, with_buffers(world, sizes))) for world in worlds]
        # How many of the frames were here before. A core that has to wait asks twice whether they are suspects.
        self.again = rng.choice((0, 0, 0.1, 0.4))
        self.is_slow = self.again == 0 and all(len(egresses(world)) <= 1 for world in self.worlds)
        # Ports that always have room are the twin's. Where all leaves by one, a short ring makes the core wait instead.
        most = max(copies_at_most(world.rules.rules) * frames_at_most(world) for world in self.worlds)
        self.is_slow &= most < SLOTS // 4
        slots = (
            rng.choice([n for n in (8, 64, 256, SLOTS) if n > most])
            if self.is_slow
            else SLOTS
            if most < SLOTS // 4
            else 4 * SLOTS
        )
        self.fit = (slots - 1) // most  # so many frames have room for all their copies
        self.batch = min(BATCH, slots - 1 if self.is_slow else self.fit)
        self.pieces, self.in_pieces = Stream(rng), rng.choice((0, 0.02, 0.3))
        self.seeds = rng.getrandbits(64), rng.getrandbits(64)
        self.rig = Rig(self._limits(), self.region_of, buffers, slots, self.seeds)
        self.core = self.rig.core
        self.generation = 0
        self.now = 1_700_000_000 * SECOND + rng.randrange(SECOND)
        self.gap = rng.choice((1_000, 1_000_000, 20 * 1_000_000))  # between two frames, in ns, at most
        self.sent: deque[Datagram] = deque(maxlen=64)  # of those that can come again, the last
        self.habits: dict[int, tuple[int, int, int]] = {}
        self.tap_twin = TapTwin()
        self.outputs: list[list[bytes]] = [[] for _ in self.ports]
        self.punted: list[Punted] = []  # these two by the twin, the next two by the core
        self.tapped: list[Tapped] = []
        self.got_punted: list[Punted] = []
        self.got_tapped: list[Tapped] = []
        self.rules: Counter[int] = Counter()  # datagrams by rule number, and bytes
        self.rule_bytes: Counter[int] = Counter()
        self.exporters: dict[tuple[int, int], list[int]] = {}  # family and address: datagrams and bytes
        self.strangers = [0, 0]  # of whom no rule wants anything: all together
        self.moved = 0  # copies that left in their own buffer
        self.taps = 0
        self._start()

    def close(self) -> None:
        self.core.close()

    def run(self, count: int) -> int:
        """Send so many frames, half of them in each world; returns how many were compared."""
        self.compare(self._fed(count // 2))
        self._publish(1)
        return self.compare(count // 2 + self._fed(count - count // 2))

    # ---- both at once ----

    def _fed(self, count: int) -> int:
        """Frames arrive in batches by ports at random; in between, neighbours answer, fail and are forgotten."""
        sent = 0
        ingress = self.rng.choice(self.ports)
        while sent < count:
            longest = self.world.config.ports[ingress].buffer
            leaving = 0  # frames whose copies may be in the rings at once
            for _ in range(min(count - sent, self.rng.randint(1, self.batch))):
                frame = self._drawn_frame(ingress)
                parsed = self.twin.parse(frame, ingress)
                if isinstance(parsed, Datagram) and self._shares_its_place(parsed):
                    continue
                together = 1 + self.twin.waiting_for(parsed)
                if together > min(self.fit, MOST_TOGETHER):
                    continue
                leaving += together
                if leaving > self.fit and not self.is_slow:
                    self._drain()
                    leaving = together
                if len(frame) <= longest:
                    self._arrive(frame, parsed, ingress)
                    sent += 1
                else:
                    assert not self.core.arrive(ingress, frame), self.name
            if self._pause():
                ingress = self.rng.choice(self.ports)
                if self.rng.random() < 0.4:
                    self._change_a_neighbour()
        self._drain()
        return sent

    def _drawn_frame(self, ingress: int) -> bytes:
        self.now = moved_on(self.rng, self.now, self.gap)
        if self.rng.random() < 0.5 and (piece := self.pieces.next()) is not None:
            return piece
        if self.sent and self.rng.random() < self.again:
            return sent_again(self.rng, self.rng.choice(self.sent))
        frame = random_frame(self.rng, self.world)
        if self.rng.random() < self.in_pieces:
            parsed = self.twin.parse(frame, ingress)
            if isinstance(parsed, Datagram) and self.pieces.send(parsed):
                return self._drawn_frame(ingress)
        return frame

    def _shares_its_place(self, datagram: Datagram) -> bool:
        """Whether the core knows others' TTL where it would keep this one's. That is rare, and the twin has room."""
        habit = *datagram.exporter, datagram.port
        if habit not in self.habits.values():
            return self.habits.setdefault(self.twin.memory.habit_place(*habit), habit) != habit
        return False

    def _arrive(self, frame: bytes, parsed: Parsed, ingress: int) -> None:
        if not self.core.arrive(ingress, frame, time=self.now):
            self._drain()
            assert self.core.arrive(ingress, frame, time=self.now), self.name
        if isinstance(parsed, Datagram):
            self.sent.append(parsed)
        self._expect(self.twin.take(parsed, self.now), frame, ingress)

    def _pause(self) -> bool:
        """Between two batches. Returns whether the core has read by now all that the twin has.

        Where a full ring makes the core wait, the wire may be slow, and the worker too.
        """
        speed = self.rng.random() if self.is_slow else 0
        if speed < 0.5:
            self._drain()
        elif speed < 0.8:
            self._step()
        return speed < 0.5

    def _change_a_neighbour(self) -> None:
        slot = self.rng.randrange(self.n_neighbours)
        state = self.rng.choice(("ready", "ready", "pending", "failed"))
        mac = self.rng.randbytes(6)
        ours = NeighbourState.EMPTY if state == "pending" and self.rng.random() < 0.5 else STATES[state]
        self.core.set_neighbour(slot, mac if state == "ready" else None, ours)
        self._leave(self.twin.set_neighbour(("neighbour", slot), state, mac))
        # What waited and what arrives next may meet in one round, but not where a full ring would drop instead of wait.
        if not self.is_slow or self.rng.random() < 0.5:
            self._drain()

    def _step(self) -> bool:
        """One round of the worker. Python takes what is its own; what has left stays where it is."""
        busy = self.rig.worker.step() > 0
        for it in self.rig.punted():
            assert (it.rule, it.generation) == (NONE, 0), self.name
            self.got_punted.append((it.port, it.time, it.frame, it.mtu))
        for it in self.rig.tapped():
            assert it.generation == self.generation, self.name
            rules = None if it.rule == NONE else self.compiled.outcomes[it.rule]
            assert it.gaps == 0, self.name
            self.got_tapped.append(self._without_waiting(Tapped.of(it, rules)))
        return busy

    def _drain(self) -> None:
        """Let the worker go round until nothing comes any more, and compare what came."""
        got: list[list[bytes]] = [[] for _ in self.ports]
        busy = True
        while busy:
            busy = self._step()
            for port in self.ports:
                left = self.rig.left(port)
                got[port] += left
                busy |= left != []  # now there is room for more
        for port in self.ports:
            assert got[port] == self.outputs[port], f"{self.name}: what left by port {port}"
            self.outputs[port].clear()
        assert self.got_punted == self.punted, self.name
        assert self.got_tapped == self.tapped, self.name
        self.taps += len(self.tapped)
        for done in (self.got_punted, self.punted, self.got_tapped, self.tapped):
            done.clear()

    # ---- the twin's side ----

    def _expect(self, outcome: Outcome, frame: bytes, ingress: int) -> None:
        self._leave(outcome.outputs)
        if outcome.place == twin.PUNTED:
            self.punted.append((ingress, self.now, frame, 0))
        self.punted += ((ingress, self.now, its.beginning, its.mtu) for its in outcome.too_big)
        if outcome.datagram is not None:
            self._count_all(outcome, outcome.datagram)
            if isinstance(outcome.datagram, Datagram):
                self._tap(outcome, outcome.datagram, frame, ingress)
        for earlier in outcome.before:
            self._leave(earlier.outputs)
            if earlier.datagram is not None:
                self._count_all(earlier, earlier.datagram)

    def _count_all(self, outcome: Outcome, datagram: Datagram | Fragment) -> None:
        self._count(datagram, is_wanted=bool(outcome.rules))
        for rule in outcome.rules if outcome.counted else ():
            self.rules[rule.counter] += 1
            self.rule_bytes[rule.counter] += len(datagram.frame)
        if outcome.last is not None:
            is_at_home = self.region_of[outcome.last.egress] == self.region_of[datagram.ingress]
            self.moved += is_at_home and outcome.copies[-1].place == twin.SENT

    def _leave(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            self.outputs[output.egress].append(output.frame)

    def _count(self, datagram: Datagram | Fragment, *, is_wanted: bool) -> None:
        counts = self.strangers
        if is_wanted:
            counts = self.exporters.setdefault((datagram.family, datagram.source), [0, 0])
        counts[0] += 1
        counts[1] += len(datagram.frame)

    def _tap(self, outcome: Outcome, datagram: Datagram, frame: bytes, ingress: int) -> None:
        has_none = not outcome.rules and outcome.place != twin.DENIED
        rules = None if has_none else tuple(rule.order for rule in outcome.rules)
        number = None if rules is None else self.compiled.outcomes.index(rules)
        taps, templates = self.tap_twin.look(self.drawn_taps, datagram, number)
        if taps | templates:
            fate = FATES[outcome.place]
            tapped = Tapped(frame, ingress, self.now, rules, fate, taps, templates)
            self.tapped.append(self._without_waiting(tapped))

    def _without_waiting(self, tapped: Tapped) -> Tapped:
        """Where rings are short, what waits in the core behind others that have no room is sent by the twin."""
        return replace(tapped, fate=FORWARD) if self.is_slow and tapped.fate == WAIT else tapped

    # ---- all counters ----

    def compare(self, received: int) -> int:
        """Compare every counter of the core with the twin's; returns how many frames both have received."""
        self._drain()
        expected, got = self.twin.ledger, self.core.frames()
        assert got.received == received, self.name
        drops = {cause: n for cause, n in got.drops.items() if n}
        copies = self.core.collectors(self.n_collectors)
        assert {
            **got._replace(drops=drops)._asdict(),
            "copies": without_bytes(total(copies)),
        } == expected.as_dict(), self.name
        by_collector = expected.by_collector()
        for collector, ledger in enumerate(copies):
            assert without_bytes(ledger) == by_collector.get(collector, without_bytes(total([]))), self.name
            assert ledger.sent_bytes == expected.sent_bytes[collector], self.name
        counts = self.core.rules(self.n_rules)
        assert [c.packets for c in counts] == [self.rules[number] for number in range(self.n_rules)], self.name
        assert [c.bytes for c in counts] == [self.rule_bytes[number] for number in range(self.n_rules)], self.name
        self._compare_exporters()
        work = self.core.work()
        assert work.swapped + work.copied == total(copies).sent, self.name
        assert work.swapped == self.moved, self.name
        assert work.fragments_made == self.twin.fragments_made, self.name
        assert (work.tapped, work.tap_lost) == (self.taps, 0), self.name
        taps = self.core.taps()
        assert [one.matched for one in taps] == self.tap_twin.matched, self.name
        assert [(one.taken, one.lost) for one in taps] == [(n, 0) for n in self.tap_twin.taken], self.name
        return got.received

    def _compare_exporters(self) -> None:
        """In the order of the first datagram that a rule wants; all that find no room are one, which comes first."""
        listed = [
            (family, address.to_bytes(BITS[family] // 8), *counts)
            for (family, address), counts in self.exporters.items()
        ]
        room = self.core.limits.exporters
        beyond = [(n, size) for _, _, n, size in listed[room:]]
        rest = [sum(column) for column in zip(self.strangers, *beyond, strict=True)]
        assert [tuple(it) for it in self.core.exporters()] == [(0, b"", *rest), *listed[:room]], self.name

    # ---- life ----

    def _limits(self) -> Limits:
        self.n_collectors = sum(len(world.rules.collectors) for world in self.worlds)
        self.n_neighbours = sum(len(world.rules.neighbours) for world in self.worlds)
        self.n_rules = max(len(world.rules.rules) for world in self.worlds)
        return Limits(
            rules=self.n_rules,
            collectors=self.n_collectors,
            neighbours=self.n_neighbours,
            exporters=self.rng.choice((1, 8, 4_096)),
            flows=self.rng.choice((1, 64, 4_096)),
            frame_bytes=FRAME_BYTES,
            ring_slots=SLOTS,
            fragments=self.rng.choice((1, 3, 16, 1_024)),
        )

    def _start(self) -> None:
        neighbours = [neighbour for world in self.worlds for neighbour in world.rules.neighbours]
        for slot, neighbour in enumerate(neighbours):
            self.core.set_neighbour(slot, neighbour.mac, STATES[neighbour.state])
        limits = self.core.limits
        self.twin = Twin((), self.worlds[0].config, WAITING_MAX, self.seeds, limits.exporters, limits.fragments)
        self._publish(0)

    def _publish(self, number: int) -> None:
        """Put a world in force. The second one's collectors and neighbours come behind the first one's."""
        self.world = self.worlds[number]
        before = self.worlds[:number]
        collectors = sum(len(world.rules.collectors) for world in before)
        neighbours = sum(len(world.rules.neighbours) for world in before)
        self.compiled: Compiled = plan_of(self.world, first_collector=collectors, first_neighbour=neighbours)
        self.drawn_taps = drawn_taps(
            Random(f"{self.name}, {self.rng.choice((0, 1, 7))}"), self.world, self.compiled.outcomes
        )
        self.core.publish(with_taps(self.compiled.plan, self.drawn_taps))
        self.generation += 1
        self.twin.config = self.world.config
        move = Move(collectors, neighbours, self.compiled.turns, self.compiled.numbers)
        self.twin.rules = [move.rule(rule) for rule in self.world.rules.rules]


def narrowed(rng: Random, world: World) -> World:
    """The world, now and then with an MTU that many frames come close to, or are much longer than."""
    if rng.random() < 0.6:
        return world
    mtus = (0, rng.randint(60, 140), rng.randint(68, 100), rng.choice((1260, 1261, 1280, rng.randint(200, 1400))))
    ports = [replace(port, mtu=rng.choice(mtus)) for port in world.config.ports]
    return replace(world, config=replace(world.config, ports=ports))


def frames_at_most(world: World) -> int:
    """Of one copy."""
    mtu = min((port.mtu for port in world.config.ports if port.mtu), default=65_535)
    return min(64, FRAME_BYTES // max(8, (mtu - 60) // 8 * 8) + 1)


def egresses(world: World) -> set[int]:
    """The ports that the world's copies leave by."""
    return {target.egress for target in each_target(world.rules.rules).values() if target.address is not None}


def moved_on(rng: Random, now: int, gap: int) -> int:
    """A later time, or the same; now and then much later, or before, as where a clock is set back by hours."""
    chance = rng.random()
    if chance < 0.002:
        return now - rng.randrange(5 * 3_600 * SECOND)
    if chance < 0.01:
        return now + rng.randrange(3 * SECOND)
    return now + (int(rng.random() * gap) if chance < 0.7 else 0)


def sent_again(rng: Random, datagram: Datagram) -> bytes:
    """The datagram as it is when it comes once more: with the same TTL or another, now and then not quite the same."""
    frame = bytearray(datagram.frame)
    ip_at, udp_at = datagram.ip_at, datagram.udp_at
    frame[ip_at + (8 if datagram.family == 4 else 7)] = rng.choice((datagram.ttl, datagram.ttl, 62, 63, 64, 2, 255))
    change = rng.random()
    if change < 0.1:
        frame[udp_at + 2 : udp_at + 4] = rng.choice(frames.WELL_KNOWN).to_bytes(2, "big")
    elif change < 0.15:
        frame[udp_at + 1] ^= 1
    elif change < 0.2 and datagram.payload:
        frame[udp_at + 8 + rng.randrange(len(datagram.payload))] ^= 1 << rng.randrange(8)
    elif change < 0.25 and datagram.family == 4:
        frame[ip_at + 5] ^= 1
    elif change < 0.3:
        frame[ip_at + (15 if datagram.family == 4 else 23)] ^= 1  # another exporter says the same
    if datagram.family == 4:
        checksum = sums.ipv4_header_checksum(bytes(frame[ip_at:udp_at]))
        frame[ip_at + 10 : ip_at + 12] = checksum.to_bytes(2, "big")
    return bytes(frame)


@dataclass(frozen=True)
class Move:
    """The same rules, with collectors, neighbours, turns and counters whose numbers are those of the plan."""

    collectors: int
    neighbours: int
    turns: Mapping[str, int]
    counters: Sequence[int]

    def rule(self, rule: TwinRule) -> TwinRule:
        return replace(rule, targets=tuple(map(self.receiver, rule.targets)), counter=self.counters[rule.order])

    def receiver(self, receiver: Receiver) -> Receiver:
        if isinstance(receiver, TwinTarget):
            return self.target(receiver)
        members = tuple(map(self.target, receiver.members))
        return replace(receiver, members=members, turn=self.turns.get(receiver.name, 0))

    def target(self, target: TwinTarget) -> TwinTarget:
        assert target.neighbour is not None
        return replace(
            target,
            collector=target.collector + self.collectors,
            neighbour=target.neighbour + self.neighbours,
            backups=tuple(map(self.target, target.backups)),
        )


def total(ledgers: Sequence[CopyLedger]) -> CopyLedger:
    """The copy ledger in all."""
    drops: Counter[str] = Counter()
    for ledger in ledgers:
        drops.update(ledger.drops)
    return CopyLedger(
        wanted=sum(ledger.wanted for ledger in ledgers),
        sent=sum(ledger.sent for ledger in ledgers),
        sent_bytes=sum(ledger.sent_bytes for ledger in ledgers),
        pending=sum(ledger.pending for ledger in ledgers),
        drops=dict(drops),
    )


def without_bytes(ledger: CopyLedger) -> dict[str, object]:
    """A copy ledger as the twin writes it."""
    drops = {cause: n for cause, n in ledger.drops.items() if n}
    return {"wanted": ledger.wanted, "sent": ledger.sent, "pending": ledger.pending, "drops": drops}


# -- What a drawn world leaves out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", ["default * 192.0.2.9 unknown.example.net", "default * unknown.example.net"])
def test_a_name_without_address_counts_wherever_the_others_leave(rules: str) -> None:
    """Frames come in by port 0, which has no TX ring, and leave by port 1; one of the two collectors has no address."""
    ruleset = classic.parse(rules, "two.rules")
    space = RuleSpace(ruleset)
    routes = {
        collector: Route(slot, () if collector.address is None else (Hop(collector.address, 1, 0),))
        for slot, collector in enumerate(ruleset.rules[0].collectors)
    }
    with Core(Limits(rules=1, collectors=2, neighbours=1)) as core:
        region = core.region(rings=4, slots=16)
        core.port_mem(region)
        core.port_mem(region)
        worker = core.worker(rx=[(0, 0)], tx=[(1, 0)])
        core.publish(compile_plan(Blueprint(space=space, routes=routes, ports=(PlanPort(), PlanPort()))))
        core.arrive(0, frames.datagram(4, 0x0A020203, 0x0A020201, (1, 514)))
        worker.step()
        assert [ledger.drops["no_collector"] for ledger in core.collectors(2)][len(routes) - 1] == 1


@pytest.mark.parametrize("collectors", [1, 2])
def test_a_frame_that_fits_once_its_tags_are_exchanged_is_sent(collectors: int) -> None:
    """It comes in with a tag, leaves with another, and is as long as a buffer all the time."""
    payload = bytes(1_024 - 46)
    frame = frames.datagram(4, 0x0A020203, 0x0A020201, (1, 514), payload, [(0x8100, 30)])
    assert len(frame) == 1_024
    rules = "default * " + " ".join(f"192.0.2.{host}" for host in range(collectors))
    ruleset = classic.parse(rules, "tags.rules")
    routes = {
        collector: Route(slot, (Hop(collector.address, 1, 0),))
        for slot, collector in enumerate(ruleset.rules[0].collectors)
        if collector.address
    }
    ports = (PlanPort(), PlanPort(tags=bytes.fromhex("81000028")))
    with Rig(Limits(rules=1, collectors=2, neighbours=1), (0, 0), (1_024,), 16) as rig:
        rig.core.set_neighbour(0, b"\2\0\0\0\0\x09", NeighbourState.READY)
        rig.core.publish(compile_plan(Blueprint(space=RuleSpace(ruleset), routes=routes, ports=ports)))
        rig.core.arrive(0, frame)
        rig.worker.step()
        assert [len(left) for left in rig.left(1)] == [1_024] * collectors


# -- The full lookup --------------------------------------------------------------------------------------------------

RULES = 1_000 if SANITIZED else 2_000  # in each big rule set


@pytest.mark.parametrize("seed", range(2 if SANITIZED else 4))
def test_lookup_finds_what_the_twin_finds(seed: int) -> None:
    """At both ends of every rule's prefix and ports, and one beyond each."""
    rng = Random(f"lookup {seed}")
    text, rules = big_rule_set(rng, RULES)
    ruleset = classic.parse(text, "big.rules")
    space = RuleSpace(ruleset)
    by_line = {rule.line: number for number, rule in enumerate(space.ranked)}
    numbers = [by_line[rule.line] for rule in ruleset.rules]
    assert len(numbers) == len(rules) == len(space.ranked)
    hop = Hop(Address(4, 1), 0, 0)
    routes = {collector: Route(0, (hop,)) for rule in ruleset.rules for collector in rule.collectors}
    holders = Holders(rules)
    with Core(Limits(rules=len(rules), collectors=1, neighbours=1)) as core:
        core.port_mem(core.region(rings=2, slots=2))
        core.worker(rx=[(0, 0)], tx=[(0, 0)])
        core.publish(compile_plan(Blueprint(space=space, routes=routes, ports=(PlanPort(),))))
        for (family, address), ports in edges(rules).items():
            near = holders.of(family, address)
            packed = address.to_bytes(BITS[family] // 8)
            if rng.random() < 0.001:  # the short way must be right, too
                assert near == [rule for rule in rules if holds(rule, family, address)]
            for port in ports:
                winner = twin.match(near, Datagram(b"", 0, family, address, 0, port, 0, 0, 0))
                expected = None if winner is None else numbers[winner.order]
                assert core.lookup(family, packed, port) == expected, (seed, family, hex(address), port)


@pytest.mark.parametrize("seed", range(2 if SANITIZED else 8))
def test_lookup_finds_all_that_apply(seed: int) -> None:
    """Rules together, exceptions and denied exporters: at both ends of every prefix, and one beyond each."""
    rng = Random(f"together {seed}")
    for _ in range(4):
        world = drawn(rng, random_world(rng, 1), {"together", "excepted", "exporters"})
        rules, config, compiled = world.rules.rules, world.config, plan_of(world)
        others = [*config.allow, *config.deny, *(prefix for rule in rules for prefix in rule.excepted)]
        points = edges(rules)
        every_port = sorted(set().union(*points.values()))
        for place in chain.from_iterable(map(edges_of, others)):
            points.setdefault(place, set()).update(rng.sample(every_port, min(len(every_port), 8)))
        limits = Limits(
            rules=len(rules), collectors=len(world.rules.collectors), neighbours=len(world.rules.neighbours)
        )
        with Core(limits) as core:
            core.port_mem(core.region(rings=2, slots=2))
            core.worker(rx=[(0, 0)], tx=[(0, 0)])
            core.publish(compiled.plan)
            for (family, address), ports in points.items():
                packed = address.to_bytes(BITS[family] // 8)
                for port in ports:
                    datagram = Datagram(b"", 0, family, address, 0, port, 0, 0, 0)
                    applying = tuple(rule.order for rule in twin.applying(rules, datagram))
                    number = core.lookup(family, packed, port)
                    got = None if number is None else compiled.outcomes[number]
                    assert got == (() if twin.is_denied(config, datagram) else applying or None), (hex(address), port)


def big_rule_set(rng: Random, count: int) -> tuple[str, list[TwinRule]]:
    """Many small rule sets in one file: their prefixes nest in each other, within a set and across.

    Of the rules for very many sources only some are kept, or a twin that looks at each of them would take too long.
    """
    lines: list[str] = []
    rules: list[TwinRule] = []
    while len(rules) < count:
        drawn = random_rules(rng)
        written = [line for line in drawn.text.splitlines() if line.partition("#")[0].strip()]
        for line, rule in zip(written, drawn.rules, strict=True):
            if (rule.source and rule.source[2] > 16) or rng.random() < 0.1:
                lines.append(line)
                rules.append(replace(rule, order=len(rules)))
    return "\n".join(lines), rules


def holds(rule: TwinRule, family: int, address: int) -> bool:
    return rule.source is None or twin.within(rule.source, family, address)


class Holders:
    """The rules whose source holds an address, found by the lengths that prefixes have."""

    def __init__(self, rules: Sequence[TwinRule]) -> None:
        self.by_source: dict[twin.Prefix | None, list[TwinRule]] = {}
        for rule in rules:
            self.by_source.setdefault(rule.source, []).append(rule)
        self.lengths = sorted({(source[0], source[2]) for source in self.by_source if source})

    def of(self, family: int, address: int) -> list[TwinRule]:
        """In the order of the file."""
        found = list(self.by_source.get(None, ()))
        for its_family, length in self.lengths:
            if its_family == family:
                rest = BITS[family] - length
                found += self.by_source.get((family, address >> rest << rest, length), ())
        return sorted(found, key=lambda rule: rule.order)


def edges(rules: Sequence[TwinRule]) -> dict[tuple[int, int], set[int]]:
    """For each address at an end of a rule's prefix, or one beyond, the ports at its ranges' ends, or one beyond."""
    found: dict[tuple[int, int], set[int]] = {}
    for rule in rules:
        ports = {port & 0xFFFF for low, high in rule.ports for port in (low - 1, low, high, high + 1)}
        for place in edges_of(rule.source):
            found.setdefault(place, {0, 65_535}).update(ports)
    return found


def edges_of(source: twin.Prefix | None) -> list[tuple[int, int]]:
    """Both ends of a prefix, and one beyond each; of any source, the ends of all addresses."""
    if source is None:
        return [(family, address) for family, bits in BITS.items() for address in (0, (1 << bits) - 1)]
    family, first, length = source
    size = 1 << BITS[family] - length
    near = (first - 1, first, first + size - 1, first + size)
    return [(family, address & (1 << BITS[family]) - 1) for address in near]
