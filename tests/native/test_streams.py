"""Sequence numbers in the core, through memory ports: against gfwd.netflow's reading of the same datagrams."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.native.core import Core, CoreError, Limits, NeighbourState, Stream
from gfwd.netflow.cache import Sender, TemplateCache
from gfwd.netflow.decode import decode
from gfwd.netflow.message import NETFLOW, SFLOW
from gfwd.netflow.streams import Streams
from gfwd.plan.blueprint import PlanPort
from tests import captures
from tests.cores import Rig, mac, plan_from, running
from tests.frames import MORE_FRAGMENTS, datagram, ethernet, ipv4, udp
from tests.netflow import a_set, ipfix, sflow, v5, v9

SANITIZED = "GFWD_CORE" in os.environ
LIMITS = Limits(rules=4, collectors=4, neighbours=4, exporters=16, flows=64, frame_bytes=512, ring_slots=16, streams=64)
RULES = "10.0.0.1 2055 192.0.2.1 A\n10.0.0.1 6343 192.0.2.1 A\n10.0.0.1 4739 192.0.2.1 A\n"
OWN = {4: 0x0A020201, 6: 0x20010DB8 << 96 | 1}
ASKED = ((2055, 2055), (4739, 4739), (6343, 6343))
SLOTS = 1_024
WRAP = 1 << 32
MINUTE = 60 * 10**9

Spec = tuple[str, int, int, int, int, int]
"""Kind, source, source port, domain, number, records."""


def rig(limits: Limits = LIMITS, *, slots: int = SLOTS, regions: Sequence[int] = (0,)) -> Rig:
    its = Rig(limits, regions, (2048,), slots)
    its.core.set_neighbour(0, mac(0), NeighbourState.READY)
    its.core.publish(plan_from(RULES, ports=(PlanPort(),) * len(regions), follow=ASKED))
    return its


def drive(its: Rig, frames: Sequence[bytes], times: Sequence[int] | None = None) -> None:
    for at, frame in enumerate(frames):
        while not its.core.arrive(0, frame, time=0 if times is None else times[at]):
            its.worker.step()
            its.left(0)
    while its.worker.step():
        its.left(0)


def payload_of(kind: str, domain: int, number: int, count: int, uptime: int) -> bytes:
    number %= WRAP
    match kind:
        case "v5":
            return v5(count, number, records=0, uptime=uptime)
        case "v9":
            return v9(sequence=number, source=domain, count=count, uptime=uptime)
        case _:
            return sflow(sequence=number, uptime=uptime, sub_agent=domain)


PORTS = {"v5": 2055, "v9": 2055, "sflow": 6343}
SOURCES = {4: (0x0A000001, 0x0A000002), 6: (0x20010DB8 << 96 | 5, 0x20010DB8 << 96 | 6)}


def found_by(streams: Sequence[Stream]) -> dict[tuple[object, ...], tuple[object, ...]]:
    """As Streams says it, by stream."""
    found: dict[tuple[object, ...], tuple[object, ...]] = {}
    for one in streams:
        if one.family == 0:
            assert not any(one.findings)
            continue
        agent = str(ip_address(one.agent)) if one.agent else None
        key = str(ip_address(one.address)), one.source_port, one.version, one.domain, agent
        assert key not in found
        found[key] = one.counts, one.findings._asdict()
    return found


def twin_of(streams: Streams) -> dict[tuple[object, ...], tuple[object, ...]]:
    found: dict[tuple[object, ...], tuple[object, ...]] = {}
    for stream, counts, its in streams.findings():
        key = stream.exporter, stream.source_port, stream.version, stream.source_id or 0, stream.agent
        findings = {name: getattr(its, name) for name in its.__slots__}
        found[key] = counts, findings
    return found


@st.composite
def courses(draw: st.DrawFn) -> list[tuple[int, int, int, str, int, int, int, int]]:
    """Several streams among each other: each goes on, or loses, repeats, comes late, jumps, or begins anew."""
    rng = draw(st.randoms(use_true_random=False))
    streams = [
        (
            family := rng.choice((4, 6)),
            rng.choice(SOURCES[family]),
            rng.choice((40_000, 40_001)),
            rng.choice(("v5", "v9", "v9 by records", "sflow")),
            rng.choice((0, 1, 70_000)),
        )
        for _ in range(draw(st.integers(1, 4)))
    ]
    numbers = {stream: rng.choice((0, 5, WRAP - 40, WRAP // 2)) for stream in streams}
    uptimes = dict.fromkeys(streams, 100_000)
    late: dict[tuple[int, int, int, str, int], list[tuple[int, int, int]]] = {stream: [] for stream in streams}
    course = []
    for _ in range(draw(st.integers(1, 200))):
        stream = rng.choice(streams)
        kind, count = stream[3], rng.choice((0, 1, 1, 30))
        step = 1 if kind in ("v9", "sflow") else count
        event = rng.choices(("on", "lost", "hole", "again", "late", "back", "far", "boot"), (60, 8, 2, 8, 10, 2, 2, 2))[
            0
        ]
        number, uptime = numbers[stream], uptimes[stream]
        if event == "lost":
            late[stream].append((number, count, uptime))
            numbers[stream] += step
            continue
        if event == "hole":
            numbers[stream] = number = number + rng.choice((2, 100, 5_000))
        elif event == "boot":
            numbers[stream] = number = rng.choice((0, number - 3, 77))
            uptimes[stream] = uptime = rng.choice((0, uptime))
        elif event == "far":
            number += rng.choice((-200, -100_000, WRAP // 2 + 5))
        elif event in ("again", "late", "back") and late[stream]:
            at = len(late[stream]) - 1 if event == "again" else rng.randrange(len(late[stream]))
            number, count, uptime = late[stream][at]
            course.append((*stream, number, count, uptime))
            continue
        course.append((*stream, number, count, uptime))
        late[stream].append((number, count, uptime))
        if event != "far":
            numbers[stream] = number + step
            uptimes[stream] = uptime + 100
    return course


@given(courses())
def test_what_is_found_is_what_the_inspector_finds(course):
    streams, cache, frames = Streams(), TemplateCache(), []
    for family, source, source_port, way, domain, number, count, uptime in course:
        kind = way.partition(" ")[0]
        payload = payload_of(kind, domain, number, count, uptime)
        frames.append(datagram(family, source, OWN[family], (source_port, PORTS[kind]), payload))
        address = source.to_bytes(4 if family == 4 else 16)
        message = decode(SFLOW if kind == "sflow" else NETFLOW, payload, Sender(address, (source_port, 0)), cache)
        streams.take(str(ip_address(address)), source_port, message)
    with rig() as its:
        drive(its, frames)
        work = its.core.work()
        assert (work.numberless, work.unfollowed, work.ipfix) == (0, 0, 0)
        assert found_by(its.core.streams()) == twin_of(streams)


def one_stream(its: Rig) -> Stream:
    (found,) = (stream for stream in its.core.streams() if stream.family)
    return found


def test_only_ports_that_ask_are_followed():
    frames = [datagram(4, 0x0A000001, OWN[4], (9, port), v9(sequence=3)) for port in (2055, 2056, 9995)]
    with rig() as its:
        drive(its, frames)
        assert one_stream(its).findings.datagrams == 1
        its.core.publish(plan_from(RULES))
        drive(its, frames)
        assert one_stream(its).findings.datagrams == 1


NOT_FOLLOWED = [{}, {"follow": ((6343, 6343),)}, {"follow": ASKED, "listen": ((6343, 6343),)}]


@pytest.mark.parametrize("meanwhile", NOT_FOLLOWED, ids=["none", "others", "not ours"])
def test_what_came_while_nobody_followed_it_is_not_taken_for_lost(meanwhile):
    def frames(*numbers: int) -> list[bytes]:
        return [datagram(4, 0x0A000001, OWN[4], (9, 2055), v9(sequence=n)) for n in numbers]

    with rig() as its:
        drive(its, frames(1, 2, 4))
        its.core.publish(plan_from(RULES, follow=ASKED))  # the same ports: nothing has been missed
        drive(its, frames(6))
        its.core.publish(plan_from(RULES, **meanwhile))
        drive(its, frames(*range(7, 50)))
        its.core.publish(plan_from(RULES, follow=ASKED))
        drive(its, frames(50, 51, 53))
        found = one_stream(its).findings
        assert (found.datagrams, found.in_order, found.lost, found.unproven) == (4 + 3, 1 + 1, 2 + 1, 1)
        assert (found.restarts, found.strays, found.doubled) == (0, 0, 0)


def test_what_no_rule_wants_and_what_is_denied_has_come_all_the_same():
    with rig() as its:
        drive(its, [datagram(4, 0x0A000009, OWN[4], (9, 2055), v9(sequence=n)) for n in (1, 2, 4)])
        assert its.core.frames().drops["no_rule"] == 3
        assert one_stream(its).findings.lost == 1


@pytest.mark.parametrize("length", range(48))
def test_what_has_no_whole_header_is_counted_and_not_read(length):
    """Each length of each kind, in a frame that ends there: nothing is read past it (under ASan, if it were)."""
    whole = {"v5": 24, "v7": 24, "v9": 20, "sflow": 28, "sflow6": 40}
    six = struct.pack(">II16sIII", 5, 2, bytes(16), 0, 7, 9) + bytes(4)
    payloads = {
        "v5": v5(1, 7),
        "v7": b"\0\7" + v5(1, 7)[2:],
        "v9": v9(a_set(256, bytes(30)), sequence=7),
        "sflow": sflow(sequence=7) + bytes(20),
        "sflow6": six,
    }
    with rig() as its:
        for n, (kind, payload) in enumerate(payloads.items()):
            drive(its, [datagram(4, 0x0A000001, OWN[4], (9, PORTS.get(kind, 2055)), payload[:length])])
            expected = sum(length >= least for least in list(whole.values())[: n + 1])
            assert len(its.core.streams()) == 1 + expected, kind
            assert its.core.work().numberless == n + 1 - expected


def test_other_payloads_have_no_number():
    texts = (b"<13>Nov 23 12:00:00 host app: text", b"\x30\x29" + bytes(41), b"\0\5\0\5" + bytes(8), b"\0\0\0\5" * 8)
    with rig() as its:
        drive(its, [datagram(4, 0x0A000001, OWN[4], (9, 2055), text) for text in texts])
        assert its.core.work().numberless == len(texts)
        assert [stream.family for stream in its.core.streams()] == [0]


def test_a_first_fragment_says_it_and_later_ones_do_not():
    segment = udp(4, 0x0A000001, OWN[4], (9, 2055), v9(sequence=5) + bytes(996))
    first = ethernet(ipv4(segment[:504], 0x0A000001, OWN[4], ident=7, fragment=MORE_FRAGMENTS), 0x0800)
    later = ethernet(ipv4(segment[504:], 0x0A000001, OWN[4], ident=7, fragment=504 // 8), 0x0800)
    with rig() as its:
        drive(its, [first, later])
        assert one_stream(its).findings.datagrams == 1 and its.core.work().numberless == 0


def test_frames_that_wait_where_they_came_in_are_followed_once():
    """Everything leaves by a port that is full: reading stops, and what is read again has been followed before."""
    its = Rig(LIMITS, (0, 1), (2048, 2048), 64)
    with its:
        its.core.set_neighbour(0, mac(0), NeighbourState.READY)
        its.core.publish(plan_from(RULES, ports=(PlanPort(), PlanPort()), egress=(1, 1, 1), follow=ASKED))
        n, left = 0, 0
        for _ in range(30):
            while its.core.arrive(0, datagram(4, 0x0A000001, OWN[4], (9, 2055), v9(sequence=n))):
                n += 1
            its.worker.step()
            its.worker.step()
            left += sum(its.core.leave(1) is not None for _ in range(7))
        while its.worker.step() or its.core.frames().received < n:
            left += len(its.left(1))
        left += len(its.left(1))
        findings = one_stream(its).findings
        assert (findings.datagrams, findings.in_order, findings.doubled, findings.lost) == (n, n - 1, 0, 0)
        assert left == n == its.core.frames().forwarded


# ---- more than there is room for ----


def stream_frames(numbers: Sequence[int], sequence: int = 0) -> list[bytes]:
    """One datagram of each of so many sources."""
    return [datagram(4, 0x0B000000 + n, OWN[4], (9, 2055), v9(sequence=sequence)) for n in numbers]


def test_streams_beyond_the_table_are_counted_and_old_ones_make_room():
    first, more = range(64), range(64, 100)
    with rig() as its:
        start = 10 * MINUTE
        drive(its, stream_frames(first), [start] * 64)
        drive(its, stream_frames(first, 3), [start + 1] * 64)
        drive(its, stream_frames(more), [start + 14 * MINUTE] * len(more))
        assert its.core.work().unfollowed == len(more)
        assert len(its.core.streams()) == 1 + 64
        drive(its, stream_frames(more), [start + 16 * MINUTE] * len(more))
        found = {one.address: one for one in its.core.streams() if one.family}
        assert len(found) == 64
        assert all((0x0B000000 + n).to_bytes(4) in found for n in more)
        gone = next(one for one in its.core.streams() if one.family == 0)
        assert gone.findings.datagrams == 2 * len(more) and gone.findings.lost == 2 * len(more)
        # Those that are left go on where they were, whoever has come and gone around them.
        stay = [n for n in first if (0x0B000000 + n).to_bytes(4) in found]
        drive(its, stream_frames(stay, 4), [start + 16 * MINUTE] * len(stay))
        found = {one.address: one for one in its.core.streams() if one.family}
        assert all(found[(0x0B000000 + n).to_bytes(4)].findings.in_order == 1 for n in stay)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_and_goes_every_datagram_is_somewhere(seed):
    rng = Random(f"streams {seed}")
    now, sent = MINUTE, 0
    with rig() as its:
        for _ in range(40):
            now += rng.choice((0, 1, 20)) * MINUTE
            numbers = [rng.randrange(200) for _ in range(100)]
            drive(its, stream_frames(numbers, rng.randrange(50)), [now] * len(numbers))
            sent += len(numbers)
            found = its.core.streams()
            assert sum(one.findings.datagrams for one in found) + its.core.work().unfollowed == sent
            addresses = [one.address for one in found if one.family]
            assert len(addresses) == len(set(addresses)) <= LIMITS.streams


def test_reading_while_streams_come_and_go(tmp_path: Path):
    """What is read is a stream as it is or was: its source, and its number of datagrams, go with its source port."""
    capture, count = tmp_path / "in.pcap", 4_000 if SANITIZED else 40_000
    frames = [datagram(4, 0x0B000000 + n, OWN[4], (1_000 + n, 2055), v9(sequence=0)) for n in range(12)]
    # A table of four, all of it stale after as many datagrams.
    sent = [captures.Frame((1 + at // 4) * 16 * MINUTE, frames[at % 12], 0) for at in range(count)]
    capture.write_bytes(captures.pcap_file(sent))
    with Core(replace(LIMITS, streams=4)) as core:
        came, leaves = core.port_pcap_in(core.region(1, SLOTS), capture), core.port_mem(core.region(2, SLOTS))
        worker = core.worker([(came, 0)], [(leaves, 0)])
        core.publish(plan_from(RULES, ports=(PlanPort(), PlanPort()), egress=(leaves,) * 3, follow=ASKED))
        with running(worker) as ends:
            while not ends:
                for one in core.streams():
                    if one.family:
                        assert int.from_bytes(one.address) - 0x0B000000 == one.source_port - 1_000
                        assert one.first % (16 * MINUTE) == 0 and one.first <= one.last
        assert sum(one.findings.datagrams for one in core.streams()) == count


# ---- IPFIX ----


def test_ipfix_is_handed_out_and_what_finds_no_room_is_counted():
    payloads = [ipfix(a_set(256, bytes(8)), sequence=n) for n in range(40)]
    frames = [datagram(4, 0x0A000001, OWN[4], (9, 4739), one) for one in payloads]
    with rig() as its:
        drive(its, frames[:30], [1_000 + n for n in range(30)])
        work = its.core.work()
        assert (work.ipfix, work.ipfix_lost) == (16, 14)
        records = list(iter(its.worker.take_ipfix, None))
        assert [(record.frame, record.time, record.interruption) for record in records] == [
            (frame, 1_000 + n, records[0].interruption) for n, frame in enumerate(frames[:16])
        ]
        drive(its, frames[30:31])
        (record,) = iter(its.worker.take_ipfix, None)
        assert record.interruption != records[0].interruption and record.frame == frames[30]


def test_a_plan_with_half_a_table_of_ports_is_refused():
    plan = bytearray(plan_from(RULES, follow=ASKED))
    with rig() as its:
        its.core.publish(plan)
        at = plan.index(struct.pack("=I", 2048))
        plan[at : at + 4] = struct.pack("=I", 2047)
        with pytest.raises(CoreError, match="plan: follow has 2047 entries"):
            its.core.publish(plan)


@pytest.mark.parametrize("streams", [0, (1 << 20) + 1])
def test_limits_that_cannot_be(streams):
    with pytest.raises(CoreError, match="streams"):
        Core(Limits(rules=1, collectors=1, neighbours=1, streams=streams))
