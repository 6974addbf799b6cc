"""The core through its one door: what it refuses and how, and what it does with threads, full rings and neighbours."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gfwd.native._core import ffi
from gfwd.native.core import (
    DROP_CAUSES,
    FORWARD,
    NONE,
    PORTS_MAX,
    WAITING_MAX,
    Core,
    CoreError,
    Limits,
    NeighbourState,
    RunEnd,
    Worker,
)
from gfwd.plan.blueprint import PlanPort
from gfwd.plan.taps import Tap
from gfwd.rules import classic
from gfwd.rules.model import Exporters, Group, Options, Prefix, RuleSet
from tests import captures
from tests.cores import PATIENCE_S, Rig, balances, mac, plan_from, plan_of_rules, running, until
from tests.frames import arp_request, checksum, datagram

SANITIZED = "GFWD_CORE" in os.environ
LIMITS = Limits(rules=16, collectors=16, neighbours=4, exporters=16, flows=64, frame_bytes=512, ring_slots=16)
OWN, EXPORTER = 0x0A020201, 0x0A020203
TO_ONE = "default * 192.0.2.1"
TO_TWO = "default * 192.0.2.1 192.0.2.2"
PENDING, READY, FAILED = NeighbourState.PENDING, NeighbourState.READY, NeighbourState.FAILED


def numbered(number: int, size: int = 0) -> bytes:
    """A sound datagram that carries a number, and so many bytes more."""
    return datagram(4, EXPORTER, OWN, (40_000, 514), number.to_bytes(4) + bytes(size))


def not_to_be_cut(frame: bytes) -> bytes:
    """The same with DF, and with the header checksum that it has then."""
    header = frame[14:20] + b"\x40\x00" + frame[22:24] + bytes(2) + frame[26:34]
    return frame[:14] + header[:10] + checksum(header).to_bytes(2) + header[12:] + frame[34:]


def number_of(frame: bytes) -> int:
    return int.from_bytes(frame[42:46])


def numbers(frames: Sequence[bytes]) -> list[int]:
    return [number_of(frame) for frame in frames]


def collector_of(frame: bytes) -> int:
    """The last byte of the destination address."""
    return frame[33]


def dropped(drops: dict[str, int]) -> dict[str, int]:
    return {cause: n for cause, n in drops.items() if n}


def go_round(its: Rig) -> None:
    """Twice: the card gets its slots back when the worker asks it for more."""
    its.worker.step()
    its.worker.step()


@contextmanager
def rig(
    plan: bytes | None,
    *,
    limits: Limits = LIMITS,
    region_of: Sequence[int] = (0,),
    buffers: Sequence[int] = (512,),
    slots: int = 64,
    state: NeighbourState = READY,
) -> Iterator[Rig]:
    """A core with a plan, and all neighbours in that state."""
    with Rig(limits, region_of, buffers, slots) as its:
        for slot in range(limits.neighbours):
            its.core.set_neighbour(slot, mac(slot), state)
        if plan is not None:
            its.core.publish(plan)
        yield its


# -- Setting up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field", ["rules", "collectors", "neighbours", "exporters", "flows", "frame_bytes", "ring_slots", "unknown"]
)
@pytest.mark.parametrize("value", [0, (1 << 24) + 1, 0xFFFFFFFF])
def test_limits_have_bounds(field: str, value: int) -> None:
    with pytest.raises(CoreError, match=rf"^limits: {field} is {value}; it may be \d+ to \d+"):
        Core(replace(LIMITS, **{field: value}))


@pytest.mark.parametrize(
    ("rings", "slots", "size"),
    [(0, 8, 512), (1_025, 8, 512), (1, 1, 512), (1, 65_537, 512), (1, 8, 63), (1, 8, 65_537)],
)
def test_regions_have_bounds(rings: int, slots: int, size: int) -> None:
    with Core(LIMITS) as core, pytest.raises(CoreError) as refused:
        core.region(rings, slots, size)
    assert str(refused.value) == f"a region of {rings} rings, {slots} slots, {size} bytes: Invalid argument"


def test_a_region_has_its_rings_and_no_more() -> None:
    with Core(LIMITS) as core:
        region = core.region(rings=5, slots=8)
        assert core.port_mem(region, 2) == 0
        for pairs in (1, 0):
            with pytest.raises(CoreError, match=f"^the region has no {pairs} pairs of rings left$"):
                core.port_mem(region, pairs)
        assert core.port_mem(core.region(rings=2, slots=8)) == 1


def test_there_are_no_more_ports_than_the_core_has_numbers() -> None:
    with Core(LIMITS) as core:
        region = core.region(rings=2 * PORTS_MAX + 2, slots=2, buffer_bytes=64)
        assert [core.port_mem(region) for _ in range(PORTS_MAX)] == list(range(PORTS_MAX))
        with pytest.raises(CoreError, match=f"^more than {PORTS_MAX} ports$"):
            core.port_mem(region)


def test_a_worker_reads_no_more_rings_than_there_can_be_ports() -> None:
    with Core(LIMITS) as core:
        region = core.region(rings=2 * PORTS_MAX + 2, slots=2, buffer_bytes=64)
        pairs = (33, 32)
        assert sum(pairs) > PORTS_MAX
        rings = [(core.port_mem(region, n), n) for n in pairs]
        with pytest.raises(CoreError, match=f"^a worker reads no more than {PORTS_MAX} rings$"):
            core.worker([(port, ring) for port, n in rings for ring in range(n)], [])


@pytest.mark.parametrize(
    ("rx", "tx", "text"),
    [
        ([(1, 0)], [], "port 1: RX ring 0 does not exist"),
        ([(0, 2)], [], "port 0: RX ring 2 does not exist"),
        ([], [(0, 2)], "port 0: TX ring 2 does not exist"),
        ([(0, 0), (0, 0)], [], "port 0: RX ring 0 has a worker already"),
        ([], [(0, 1), (0, 1)], "port 0: TX ring 1 has a worker already"),
        ([], [(0, 0), (0, 1)], "a worker has one TX ring on each port"),
    ],
)
def test_rings_belong_to_one_worker(rx: list[tuple[int, int]], tx: list[tuple[int, int]], text: str) -> None:
    with Core(LIMITS) as core:
        core.port_mem(core.region(rings=4, slots=8), 2)
        with pytest.raises(CoreError) as refused:
            core.worker(rx, tx)
        assert str(refused.value) == text


def test_two_workers_share_no_ring() -> None:
    with Core(LIMITS) as core:
        core.port_mem(core.region(rings=2, slots=8))
        core.worker([(0, 0)], [(0, 0)])
        for rx, tx in (([(0, 0)], []), ([], [(0, 0)])):
            with pytest.raises(CoreError, match=r"has a worker already$"):
                core.worker(rx, tx)


def test_ports_and_workers_come_before_the_plan(tmp_path: Path) -> None:
    text = "^ports and workers come before the first plan$"
    capture = tmp_path / "some.pcap"
    capture.write_bytes(captures.pcap_file(captures.sample_frames()))
    with Rig(LIMITS, (0,), (512,)) as its:
        region = its.core.region(rings=4, slots=8)
        its.core.publish(plan_from(TO_ONE))
        with pytest.raises(CoreError, match=text):
            its.core.port_mem(region)
        with pytest.raises(CoreError, match=text[1:]):
            its.core.port_pcap_in(region, capture)
        with pytest.raises(CoreError, match=text[1:]):
            its.core.port_pcap_out(region, tmp_path / "out.pcap")
        with pytest.raises(CoreError, match=text):
            its.core.worker([], [])
        assert not (tmp_path / "out.pcap").exists()


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with Core(LIMITS) as core:
        region = core.region(rings=4, slots=8)
        for path, reason in ((tmp_path / "none", "No such file or directory"),):
            with pytest.raises(CoreError) as refused:
                core.port_pcap_in(region, path)
            assert str(refused.value) == f"{path}: error: cannot be opened: {reason}"
        with pytest.raises(CoreError) as refused:
            core.port_pcap_out(region, tmp_path / "none" / "out")
        assert str(refused.value) == f"{tmp_path / 'none' / 'out'}: error: cannot be written: No such file or directory"


def test_neighbours_have_slots_states_and_macs() -> None:
    with Core(LIMITS) as core:
        core.set_neighbour(LIMITS.neighbours - 1, None, PENDING)
        core.set_neighbour(0, None, FAILED)
        for slot, address, state in ((LIMITS.neighbours, mac(0), READY), (NONE, mac(0), READY), (0, None, READY)):
            with pytest.raises(CoreError, match=f"^neighbour slot {slot}: there are 4, and READY needs a MAC$"):
                core.set_neighbour(slot, address, state)
        for length in (0, 5, 7):
            with pytest.raises(CoreError, match=f"^a MAC address has 6 bytes, not {length}$"):
                core.set_neighbour(0, bytes(length), READY)


def test_lookup_wants_an_address_of_its_family() -> None:
    with rig(plan_from(TO_ONE)) as its:
        for family, length in ((4, 16), (6, 4), (4, 0), (6, 15)):
            with pytest.raises(CoreError, match=f"^an IPv{family} address of {length} bytes$"):
                its.core.lookup(family, bytes(length), 514)


def test_without_a_plan_nothing_happens() -> None:
    with rig(None) as its:
        assert its.core.arrive(0, numbered(1))
        assert its.worker.step() == 0
        assert its.core.lookup(4, bytes(4), 514) is None
        assert (its.core.plans(), its.core.frames().received) == (0, 0)
        its.core.publish(plan_from(TO_ONE))
        assert its.worker.step() == 1
        assert numbers(its.left(0)) == [1]


def test_a_closed_capture_takes_nothing_more(tmp_path: Path) -> None:
    with Core(LIMITS) as core:
        region = core.region(rings=4, slots=8, buffer_bytes=512)
        core.port_mem(region)
        out = core.port_pcap_out(region, tmp_path / "out.pcap")
        worker = core.worker([(0, 0)], [(out, 0)])
        core.publish(plan_from("default * 192.0.2.1", ports=(PlanPort(), PlanPort()), egress=(out,)))
        core.set_neighbour(0, bytes(6), NeighbourState.READY)
        core.port_close(out)
        assert core.arrive(0, numbered(1))
        assert worker.run() is RunEnd.FAILED


def test_a_port_that_drains_loses_nothing_however_small_its_ring(tmp_path: Path) -> None:
    """The ring has fewer slots than a burst has copies: the port is asked again when its room is used up."""
    rules = "* 514 192.0.2.1 A\n* 515 192.0.2.1 192.0.2.2 A\ndefault * 192.0.2.3"
    sent = [datagram(4, EXPORTER, OWN, (40_000, 514 + min(number, 1)), bytes(20)) for number in range(15)]
    (tmp_path / "in.pcap").write_bytes(captures.pcap_file([captures.Frame(0, frame, 0) for frame in sent]))
    with Core(LIMITS) as core:
        region = core.region(rings=3, slots=16, buffer_bytes=512)
        core.port_pcap_in(region, tmp_path / "in.pcap")
        for name in ("a.pcap", "b.pcap"):
            core.port_pcap_out(region, tmp_path / name)
        worker = core.worker([(0, 0)], [(1, 0), (2, 0)])
        core.publish(plan_from(rules, ports=(PlanPort(),) * 3, egress=(1, 1, 2)))
        for slot in range(3):
            core.set_neighbour(slot, mac(slot), NeighbourState.READY)
        assert worker.run() is RunEnd.ENDED
        assert [ledger.sent for ledger in core.collectors(3)] == [15, 14, 0]


def test_a_worker_that_could_not_be_made_leaves_nothing_behind() -> None:
    with Core(LIMITS) as core:
        region = core.region(rings=4, slots=8, buffer_bytes=512)
        core.port_mem(region)
        with pytest.raises(CoreError, match="port 9: TX ring 0 does not exist"):
            core.worker([(0, 0)], [(9, 0)])
        assert core.worker([(0, 0)], [(0, 0)]).step() == 0


def test_the_wire_is_only_behind_memory_ports(tmp_path: Path) -> None:
    with Core(LIMITS) as core:
        region = core.region(rings=4, slots=8, buffer_bytes=512)
        core.port_mem(region)
        core.port_pcap_out(region, tmp_path / "out.pcap")
        for port, ring in ((0, 1), (1, 0), (2, 0)):
            with pytest.raises(CoreError, match=f"port {port} is no memory port with a ring {ring}"):
                core.arrive(port, bytes(60), ring)
            with pytest.raises(CoreError, match=f"port {port} is no memory port with a ring {ring}"):
                core.leave(port, ring)


def test_a_closed_core_says_so() -> None:
    core = Core(LIMITS)
    core.close()
    with pytest.raises(CoreError, match="the core is closed"):
        core.frames()


def test_closing_twice_does_no_harm() -> None:
    core = Core(LIMITS)
    core.close()
    core.close()


# -- Plans that are refused -------------------------------------------------------------------------------------------

NESTED = """
10.0.0.0/8     1-5,7  192.0.2.1    A
10.1.0.0/16    514    192.0.2.2    B
2001:db8::/32  514    2001:db8::1  B
default        *      192.0.2.9
"""  # nodes: 10.0.0.0/8, 10.1.0.0/16, 2001:db8::/32; rules: the first, the third, the second, the last

SECTIONS = [
    "listen",
    "any",
    "ports",
    "targets",
    "rules",
    "nodes",
    "ranges",
    "own4",
    "own6",
    "top4",
    "segments4",
    "segments6",
    "options",
    "specials",
    "choices",
    "members",
    "counters",
    "paces4",
    "paces6",
]
KINDS = {
    "ports": "struct fw_plan_port",
    "targets": "struct fw_plan_target",
    "rules": "struct fw_plan_rule",
    "any": "uint32_t",
    "nodes": "struct fw_plan_node",
    "ranges": "struct fw_plan_range",
    "top4": "uint32_t",
    "segments4": "struct fw_plan_segment4",
    "segments6": "struct fw_plan_segment6",
    "specials": "struct fw_plan_special",
    "choices": "struct fw_plan_choice",
    "members": "uint32_t",
    "counters": "uint32_t",
    "paces4": "struct fw_plan_pace4",
    "paces6": "struct fw_plan_pace6",
}

# Section ("head": the plan's head), entry, field ("": the entry itself), value, and what the core says.
EDITS: list[tuple[str, int, str, int, str]] = [
    ("head", 0, "abi", 0, "plan: cut short, or made for another version of the core"),
    ("head", 0, "bytes", 8, "plan: cut short, or made for another version of the core"),
    *(("head", 0, name, 8, f"plan: section {name} lies outside") for name in SECTIONS),
    *(("head", 0, name, 1 << 62, f"plan: section {name} lies outside") for name in SECTIONS),
    *(("head", 0, f"n_{name}", NONE, f"plan: section {name} lies outside") for name in SECTIONS[2:]),
    ("head", 0, "n_own4", 0, "plan: no own IPv4 address, not even one that nothing matches"),
    ("head", 0, "n_ports", 2, "plan: made for 2 ports, there are 1"),
    ("head", 0, "n_ports", 0, "plan: made for 0 ports, there are 1"),
    ("ports", 0, "tags_bytes", 5, "plan: port 0 has VLAN tags of 5 bytes"),
    ("targets", 0, "family", 5, "plan: target 0 is of family 5"),
    ("targets", 1, "collector", 16, "plan: target 1 counts as collector 16, there is room for 16"),
    ("targets", 1, "egress", 1, "plan: target 1 leaves by port 1, neighbour 2; there are 1 and 4"),
    ("targets", 1, "neighbour", 4, "plan: target 1 leaves by port 0, neighbour 4; there are 1 and 4"),
    ("head", 0, "only_egress", 1, "plan: all leaves by port 1, there are 1"),
    ("rules", 2, "n_targets", 0, "plan: rule 2 is special 0, there are 0"),
    ("rules", 2, "n_targets", 129, "plan: rule 2 has 129 targets from 2"),
    ("rules", 2, "first_target", 4, "plan: rule 2 has 1 targets from 4"),
    ("rules", 2, "first_target", NONE, f"plan: rule 2 has 1 targets from {NONE}"),
    ("rules", 2, "counter", 16, "plan: rule 2 counts in 16, there is room for 16"),
    ("any", 65_535, "", 4, "plan: port 65535 leads to rule 4, there are 4"),
    ("nodes", 1, "parent", 1, "plan: node 1 has node 1 as its parent"),
    ("nodes", 0, "parent", 2, "plan: node 0 has node 2 as its parent"),
    ("nodes", 1, "n_ranges", 0, "plan: node 1 has 0 ranges from 2"),
    ("nodes", 1, "first_range", 4, "plan: node 1 has 1 ranges from 4"),
    ("nodes", 1, "best", 1, "plan: node 1 names 1 as its best rule, and it is 0"),
    ("ranges", 0, "lo", 6, "plan: node 0 has a range 6-5 for rule 0"),
    ("ranges", 1, "lo", 5, "plan: node 0 has a range 5-7 for rule 0"),
    ("ranges", 1, "rule", 4, "plan: node 0 has a range 7-7 for rule 4"),
    ("segments4", 0, "start", 1, "plan: IPv4 segments do not start at 0"),
    ("head", 0, "n_segments4", 0, "plan: IPv4 segments do not start at 0"),
    ("segments4", 2, "start", 0, "plan: IPv4 segment 2 is out of order, or of an unknown node"),
    ("segments4", 2, "node", 3, "plan: IPv4 segment 2 is out of order, or of an unknown node"),
    ("head", 0, "top4_shift", 15, "plan: top4 has 9 entries for a shift of 15"),
    ("head", 0, "top4_shift", 32, "plan: top4 has 9 entries for a shift of 32"),
    ("head", 0, "n_top4", 8, "plan: top4 has 8 entries for a shift of 29"),
    ("top4", 8, "", 5, "plan: top4 entry 7 is wrong"),
    ("top4", 0, "", 1, "plan: top4 entry 0 is wrong"),
    ("top4", 1, "", 0, "plan: top4 entry 0 is wrong"),
    ("segments6", 0, "start_lo", 1, "plan: IPv6 segments do not start at 0"),
    ("head", 0, "n_segments6", 0, "plan: IPv6 segments do not start at 0"),
    ("segments6", 1, "start_hi", 0, "plan: IPv6 segment 1 is out of order"),
    ("segments6", 1, "node", 3, "plan: IPv6 segment 1 is of an unknown node"),
]


# A denied exporter, two groups, options and limits. Rules: denied, 10.0.0.0/8, default; special are all three.
SPECIAL = """
10.0.0.0/8  *  192.0.2.1 192.0.2.2  A
default     *  192.0.2.2
"""
SPECIAL_EDITS: list[tuple[str, int, str, int, str]] = [
    ("head", 0, "n_options", 1, "plan: 1 options for 3 targets"),
    ("members", 4_095, "", 3, "plan: member 4095 is target 3, there are 3"),
    ("members", 4_098, "", NONE, f"plan: member 4098 is target {NONE}, there are 3"),
    ("choices", 1, "n_members", 0, "plan: choice 1 has 0 members from 4096"),
    ("choices", 1, "n_members", 4, "plan: choice 1 has 4 members from 4096"),
    ("choices", 1, "first_member", 4_098, "plan: choice 1 has 2 members from 4098"),
    ("choices", 1, "first_member", NONE, f"plan: choice 1 has 2 members from {NONE}"),
    ("choices", 1, "balance", 3, "plan: choice 1 cannot be made among 2"),
    ("choices", 1, "balance", 0, "plan: choice 1 cannot be made among 2"),
    ("choices", 0, "n_members", 4_095, "plan: choice 0 cannot be made among 4095"),
    ("choices", 2, "turn", 16, "plan: choice 2 takes turns 16, there is room for 16"),
    ("counters", 1, "", 16, "plan: a rule counts in 16, there is room for 16"),
    ("specials", 1, "fate", len(DROP_CAUSES), f"plan: special 1 has a fate of {len(DROP_CAUSES)}"),
    ("specials", 0, "fate", FORWARD, "plan: special 0 has 0 choices from 0"),
    ("specials", 1, "n_choices", 0, "plan: special 1 has 0 choices from 0"),
    ("specials", 1, "n_choices", 4, "plan: special 1 has 4 choices from 0"),
    ("specials", 1, "n_choices", 129, "plan: special 1 has 129 choices from 0"),
    ("specials", 1, "first_choice", 2, "plan: special 1 has 2 choices from 2"),
    ("specials", 1, "n_counters", 3, "plan: special 1 has 3 counters from 0"),
    ("specials", 2, "first_counter", NONE, f"plan: special 2 has 1 counters from {NONE}"),
    ("rules", 1, "special", 3, "plan: rule 1 is special 3, there are 3"),
    ("head", 0, "n_paces4", 0, "plan: limits of exporters do not start at 0"),
    ("head", 0, "n_paces6", 0, "plan: limits of exporters do not start at 0"),
    ("paces4", 0, "start", 1, "plan: limits of exporters do not start at 0"),
    ("paces6", 0, "start_hi", 1, "plan: limits of exporters do not start at 0"),
    ("paces6", 0, "start_lo", 1, "plan: limits of exporters do not start at 0"),
    ("paces4", 1, "start", 0, "plan: IPv4 limit 1 is out of order"),
    ("paces4", 1, "start", 0x0B00_0000, "plan: IPv4 limit 2 is out of order"),
    ("paces6", 1, "start_hi", 0, "plan: IPv6 limit 1 is out of order"),
]


def special_plan() -> bytes:
    ruleset = classic.parse(SPECIAL, "special.rules")
    one, two = (one._replace(options=Options(ttl=9)) for one in ruleset.rules[0].collectors)
    groups = Group("hashed", "exporter", (one, two)), Group("turning", "round-robin", (one, two))
    rules = (ruleset.rules[0]._replace(receivers=groups), ruleset.rules[1]._replace(receivers=(two,)))
    some4, some6 = Prefix(4, 0x0A08_0000, 16), Prefix(6, 0x2001_0DB8 << 96, 32)
    exporters = Exporters(deny=(Prefix(4, 0x0A09_0000, 16),), limit=5, limits=((some4, 10), (some6, None)))
    return plan_of_rules(ruleset._replace(rules=rules, exporters=exporters))


def edited(plan: bytes, section: str, entry: int, field: str, value: int) -> bytearray:
    changed = bytearray(plan)
    head = ffi.from_buffer("struct fw_plan *", changed)
    if section == "head":
        setattr(head, field, value)
        return changed
    entries: Any = ffi.cast(f"{KINDS[section]} *", ffi.cast("char *", head) + getattr(head, section))
    if field:
        setattr(entries[entry], field, value)
    else:
        entries[entry] = value
    return changed


@pytest.mark.parametrize(("section", "entry", "field", "value", "text"), EDITS)
def test_a_wrong_plan_is_refused_and_the_old_one_stays(
    section: str, entry: int, field: str, value: int, text: str
) -> None:
    plan = plan_from(NESTED)
    with rig(plan_from(TO_ONE)) as its:
        its.core.publish(plan)
        with pytest.raises(CoreError) as refused:
            its.core.publish(edited(plan, section, entry, field, value))
        assert str(refused.value) == text
        assert its.core.plans() == 1
        assert [its.core.lookup(4, bytes((10, second, 0, 1)), 514) for second in (0, 1)] == [3, 2]
        assert its.core.lookup(4, bytes((10, 1, 0, 1)), 7) == 0


@pytest.mark.parametrize(("section", "entry", "field", "value", "text"), SPECIAL_EDITS)
def test_a_wrong_plan_with_options_is_refused(section: str, entry: int, field: str, value: int, text: str) -> None:
    plan = special_plan()
    with rig(None) as its:
        its.core.publish(plan)
        with pytest.raises(CoreError) as refused:
            its.core.publish(edited(plan, section, entry, field, value))
        assert str(refused.value) == text
        assert [its.core.lookup(4, bytes((10, second, 0, 1)), 514) for second in (8, 9)] == [1, 0]


def test_a_plan_without_any_collector_denies() -> None:
    exporters = Exporters(deny=(Prefix(4, 0, 0),))
    with rig(plan_of_rules(RuleSet("none.rules", (), exporters))) as its:
        for number in range(3):
            its.core.arrive(0, numbered(number))
        its.worker.step()
        assert dropped(its.core.frames().drops) == {"denied": 3}


@pytest.mark.parametrize("length", [0, 1, 8, 100, 1_000])
def test_a_cut_plan_is_refused(length: int) -> None:
    plan = plan_from(NESTED)
    with rig(None) as its, pytest.raises(CoreError, match=r"^plan: cut short"):
        its.core.publish(plan[:length])


def test_a_plan_for_other_ports_is_refused() -> None:
    with rig(None) as its, pytest.raises(CoreError, match=r"^plan: made for 2 ports, there are 1$"):
        its.core.publish(plan_from(TO_ONE, ports=(PlanPort(), PlanPort())))


def test_every_worker_must_reach_every_collector() -> None:
    with Core(LIMITS) as core:
        region = core.region(rings=4, slots=8)
        core.port_mem(region)
        core.port_mem(region)
        core.worker([(0, 0)], [(0, 0)])
        with pytest.raises(CoreError, match=r"^plan: a worker has no TX ring on port 1$"):
            core.publish(plan_from(TO_TWO, ports=(PlanPort(), PlanPort()), egress=(0, 1)))


def test_more_rules_than_there_are_counters() -> None:
    rules = "".join(f"10.0.0.{host} * 192.0.2.1 A\n" for host in range(17))
    with rig(None) as its, pytest.raises(CoreError, match=r"^plan: rule 16 counts in 16, there is room for 16$"):
        its.core.publish(plan_from(rules))


def test_without_an_own_ipv4_address_all_of_ipv4_is_passed() -> None:
    with rig(plan_from(TO_ONE, own=(Prefix(6, 1, 128),))) as its:
        its.core.arrive(0, numbered(1))
        its.worker.step()
        assert its.core.frames().passed == 1


# -- Plans come and go ------------------------------------------------------------------------------------------------


def test_a_plan_is_freed_when_the_worker_has_passed_it() -> None:
    with rig(plan_from(TO_ONE)) as its:
        its.core.publish(plan_from(TO_TWO))
        assert its.core.plans() == 1  # nobody has read the first one
        its.worker.step()
        its.core.publish(plan_from(TO_ONE))
        assert its.core.plans() == 2
        its.worker.step()
        assert its.core.plans() == 1
        assert its.core.work().plans == 2


def test_plans_are_freed_while_the_worker_sleeps() -> None:
    with rig(plan_from(TO_ONE)) as its, running(its.worker) as ends:
        for _ in range(20):
            time.sleep(0.003)  # long enough for it to fall asleep; should it not, the test holds as well
            its.core.publish(plan_from(TO_TWO))
            until(lambda: its.core.plans() == 1)
    assert ends == [RunEnd.STOPPED]


def test_a_worker_that_was_stopped_says_so() -> None:
    with rig(plan_from(TO_ONE)) as its, running(its.worker) as ends:
        its.core.arrive(0, numbered(1))
        until(lambda: its.core.frames().received == 1)
        time.sleep(0.003)  # it finds nothing for a while
    assert ends == [RunEnd.STOPPED]


def test_stop_ends_the_next_run_as_well() -> None:
    with rig(plan_from(TO_ONE)) as its:
        its.worker.stop()
        assert its.worker.run() is RunEnd.STOPPED
        with running(its.worker):
            assert its.core.arrive(0, numbered(7))
            until(lambda: its.core.frames().received == 1)
        assert numbers(its.left(0)) == [7]


@pytest.mark.skipif(not Path("/proc/self/timerslack_ns").exists(), reason="only Linux has a timer slack")
def test_who_has_run_a_worker_naps_as_before() -> None:
    """And so do the processes that it starts."""
    slack = Path(f"/proc/{threading.get_native_id()}/timerslack_ns")
    before = slack.read_text("ascii")
    assert int(before) > 1
    with rig(plan_from(TO_ONE)) as its:
        its.worker.stop()
        its.worker.run()
    assert slack.read_text("ascii") == before


def test_no_frame_is_lost_while_plans_change() -> None:
    """Frames arrive and leave in this thread, the worker runs in another, and a third one publishes all the time."""
    count = 50_000 if SANITIZED else 200_000
    plans = [plan_from(f"default * 192.0.2.{collector}") for collector in (1, 2)]
    done = threading.Event()
    published: list[int] = []

    def publish_all_the_time(core: Core) -> None:
        while not done.is_set():
            core.publish(plans[len(published) % 2])
            published.append(core.plans())
            time.sleep(0.0005)

    left: list[bytes] = []
    with rig(plans[1], slots=512) as its:
        publisher = threading.Thread(target=publish_all_the_time, args=(its.core,))
        with running(its.worker):
            publisher.start()
            try:
                sent = 0
                while sent < count:
                    frame = numbered(sent)
                    while not its.core.arrive(0, frame):  # full: the worker is behind, or waits for room to send
                        left += its.left(0)
                    sent += 1
                    if sent % 64 == 0:
                        left += its.left(0)

                def all_left() -> bool:
                    left.extend(its.left(0))
                    return len(left) >= count

                until(all_left)
            finally:
                done.set()
                publisher.join(PATIENCE_S)
            until(lambda: its.core.plans() == 1)
        assert its.left(0) == []
        assert numbers(left) == list(range(count))
        assert {collector_of(frame) for frame in left} <= {1, 2}
        assert all(frame[:6] == mac(0) and frame[22] == 63 for frame in left)
        assert (its.core.frames().received, its.core.frames().forwarded) == (count, count)
        assert balances(its.core, 1)
        assert set(published) <= {1, 2}  # the one in force, and the one that the worker has not passed yet


def pcap_forwarder(core: Core, capture: Path, slots: int) -> tuple[Worker, int]:
    """A capture that leaves by a memory port with so many slots; and the port's number."""
    port_in = core.port_pcap_in(core.region(rings=1, slots=64), capture)
    port_out = core.port_mem(core.region(rings=2, slots=slots))
    worker = core.worker([(port_in, 0)], [(port_out, 0)])
    core.set_neighbour(0, mac(0), READY)
    core.publish(plan_from(TO_ONE, ports=(PlanPort(), PlanPort()), egress=(port_out,)))
    return worker, port_out


def test_a_worker_ends_when_all_of_a_capture_has_left(tmp_path: Path) -> None:
    """Its last frames are in the ring when the file is at its end, and must wait there for room."""
    capture = tmp_path / "in.pcap"
    capture.write_bytes(captures.pcap_file([captures.Frame(0, numbered(number), 0) for number in range(20)]))
    ends: list[RunEnd] = []
    left: list[bytes] = []
    with Core(LIMITS) as core:
        worker, port = pcap_forwarder(core, capture, slots=8)
        thread = threading.Thread(target=lambda: ends.append(worker.run()))
        thread.start()
        try:
            until(lambda: core.frames().received == 7)  # now there is no room for more
            time.sleep(0.01)

            def has_ended() -> bool:
                left.extend(iter(lambda: core.leave(port), None))
                return bool(ends)

            until(has_ended)
        finally:
            worker.stop()
            thread.join(PATIENCE_S)
        left.extend(iter(lambda: core.leave(port), None))
        assert ends == [RunEnd.ENDED]
        assert numbers(left) == list(range(20))


def test_a_worker_ends_when_its_output_cannot_be_written(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    capture = tmp_path / "in.pcap"
    capture.write_bytes(captures.pcap_file(captures.sample_frames() * 1_000))
    with Core(LIMITS) as core:
        region = core.region(rings=2, slots=16)
        ports = core.port_pcap_in(region, capture), core.port_pcap_out(region, full)
        worker = core.worker([(ports[0], 0)], [(ports[1], 0)])
        core.set_neighbour(0, mac(0), READY)
        core.publish(plan_from(TO_ONE, ports=(PlanPort(), PlanPort()), egress=(1,)))
        assert worker.run() is RunEnd.FAILED
        assert core.port_error(ports[0]) is None
        assert core.port_error(ports[1]) == "cannot be written: No space left on device"
        with pytest.raises(CoreError, match=r"^cannot be written: No space left on device$"):
            core.port_close(ports[1])


def test_two_workers_share_a_core() -> None:
    with Core(LIMITS) as core:
        core.port_mem(core.region(rings=4, slots=64), 2)
        workers = [core.worker([(0, ring)], [(0, ring)]) for ring in range(2)]
        core.set_neighbour(0, mac(0), READY)
        core.publish(plan_from(TO_ONE))
        with running(workers[0]), running(workers[1]):
            for number in range(20):
                assert core.arrive(0, numbered(number), ring=number % 2)
            until(lambda: core.frames().received == 20)
        for ring in range(2):
            left = iter(lambda: core.leave(0, ring), None)  # noqa: B023
            assert numbers(list(left)) == list(range(ring, 20, 2))
        assert [(it.address, it.packets) for it in core.exporters() if it.family] == [(EXPORTER.to_bytes(4), 10)] * 2
        assert core.rules(1)[0].packets == 20


# -- Frames for Python, and from it -----------------------------------------------------------------------------------


def test_inject_is_bounded_and_in_order() -> None:
    limits = replace(LIMITS, ring_slots=4)
    with rig(plan_from(TO_ONE), limits=limits) as its:
        made = [bytes((number,)) * 60 for number in range(5)]
        assert [its.worker.inject(0, frame) for frame in made] == [True] * 4 + [False]
        assert its.worker.step() == 4
        assert its.left(0) == made[:4]
        assert its.worker.inject(0, made[4])
        its.worker.step()
        assert its.left(0) == [made[4]]
        assert its.core.work().injected == 5
        assert its.core.frames().received == 0  # they are in no ledger


@pytest.mark.parametrize(("port", "length"), [(1, 60), (PORTS_MAX, 60), (NONE, 60), (0, 513), (0, 1_000)])
def test_inject_refuses_what_can_never_leave(port: int, length: int) -> None:
    with rig(plan_from(TO_ONE), buffers=(1_024,)) as its:
        with pytest.raises(CoreError) as refused:
            its.worker.inject(port, bytes(length))
        assert str(refused.value) == f"port {port}: a frame of {length} bytes cannot leave there"
        assert its.worker.inject(0, bytes(512))


def test_an_injected_frame_for_a_full_port_is_lost_and_counted() -> None:
    with rig(plan_from(TO_ONE), slots=4) as its:
        made = [bytes((number,)) * 60 for number in range(7)]
        assert all(its.worker.inject(0, frame) for frame in made)
        assert its.worker.step() == 7
        assert its.left(0) == made[:3]
        work = its.core.work()
        assert (work.injected, work.inject_lost) == (3, 4)


def test_a_frame_of_65536_bytes_cannot_leave() -> None:
    with rig(plan_from(TO_ONE), buffers=(65_536,), limits=replace(LIMITS, frame_bytes=65_536)) as its:
        with pytest.raises(CoreError, match="cannot leave there"):
            its.worker.inject(0, bytes(65_536))
        assert its.worker.inject(0, bytes(65_535))


def test_a_full_punt_ring_is_counted() -> None:
    plan = plan_from(TO_ONE, ports=(PlanPort(punts=True),))
    asked = [arp_request(EXPORTER, OWN + at) for at in range(5)]
    with rig(plan, limits=replace(LIMITS, ring_slots=3)) as its:
        for frame in asked:
            assert its.core.arrive(0, frame)
        its.worker.step()
        assert its.core.frames().punted == 3
        assert dropped(its.core.frames().drops) == {"punt_full": 2}
        taken = its.punted()
        assert [(it.port, it.rule, it.generation, it.time) for it in taken] == [(0, NONE, 0, 0)] * 3
        assert [it.frame for it in taken] == asked[:3]
        its.core.arrive(0, asked[4])
        its.worker.step()
        assert [it.frame for it in its.punted()] == [asked[4]]
        assert balances(its.core, 1)


def test_a_frame_too_long_to_be_punted_is_counted() -> None:
    plan = plan_from(TO_ONE, ports=(PlanPort(punts=True),))
    with rig(plan, limits=replace(LIMITS, frame_bytes=64)) as its:
        its.core.arrive(0, arp_request(EXPORTER, OWN) + bytes(10))
        its.worker.step()
        assert dropped(its.core.frames().drops) == {"punt_full": 1}
        assert its.punted() == []


def test_tap_takes_one_in_so_many() -> None:
    with rig(plan_from(TO_ONE, taps=[Tap(every=3)])) as its:
        for number in range(10):
            its.core.arrive(0, numbered(number))
        its.worker.step()
        tapped = its.tapped()
        assert [it.frame for it in tapped] == [numbered(number) for number in (2, 5, 8)]
        assert [(it.port, it.rule, it.generation) for it in tapped] == [(0, 0, 1)] * 3
        assert (its.core.work().tapped, its.core.work().tap_lost) == (3, 0)
        assert len(its.left(0)) == 10


def test_a_full_tap_loses_and_counts() -> None:
    with rig(plan_from(TO_ONE, taps=[Tap()]), limits=replace(LIMITS, ring_slots=2, frame_bytes=64)) as its:
        its.core.arrive(0, numbered(0, size=100))  # longer than the tap's records
        for number in range(1, 6):
            its.core.arrive(0, numbered(number))
        its.worker.step()
        assert [number_of(it.frame) for it in its.tapped()] == [1, 2]
        assert (its.core.work().tapped, its.core.work().tap_lost) == (2, 4)
        assert numbers(its.left(0)) == list(range(6))  # who looks on delays nobody


def test_tap_shows_what_no_rule_wants() -> None:
    with rig(plan_from("10.9.9.9 * 192.0.2.1 A", taps=[Tap()])) as its:
        its.core.arrive(0, numbered(3))
        its.worker.step()
        assert [(number_of(it.frame), it.rule) for it in its.tapped()] == [(3, NONE)]


# -- Rings that are full ----------------------------------------------------------------------------------------------

TWO_PORTS = (PlanPort(), PlanPort())


def test_a_slow_collector_delays_no_other() -> None:
    """Two egress ports, and nobody takes what leaves by the second one."""
    plan = plan_from(TO_TWO, ports=TWO_PORTS, egress=(0, 1))
    left: list[bytes] = []
    with rig(plan, region_of=(0, 0), slots=8) as its:
        for number in range(20):
            assert its.core.arrive(0, numbered(number))
            assert its.worker.step() == 1
            left += its.left(0)
        assert numbers(left) == list(range(20))
        assert numbers(its.left(1)) == list(range(7))
        first, second = its.core.collectors(2)
        assert (first.sent, second.sent, dropped(second.drops)) == (20, 7, {"tx_full": 13})
        assert (its.core.frames().forwarded, dropped(its.core.frames().drops)) == (20, {})
        its.core.arrive(0, numbered(99))
        its.worker.step()
        assert numbers(its.left(1)) == [99]


def test_a_frame_that_none_could_take_is_dropped_as_tx_full() -> None:
    rules = "* 514 192.0.2.1 A\n* 515 192.0.2.2 A"
    with rig(plan_from(rules, ports=TWO_PORTS, egress=(1, 0)), region_of=(0, 0), slots=8) as its:
        for number in range(7):
            its.core.arrive(0, numbered(number))
        go_round(its)
        assert its.core.arrive(0, numbered(7))
        go_round(its)
        assert (its.core.frames().forwarded, dropped(its.core.frames().drops)) == (7, {"tx_full": 1})
        assert balances(its.core, 2)


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_with_one_egress_port_reading_stops(copies: int) -> None:
    """Nothing is lost, and nothing is read, until there is room for all copies of a datagram."""
    rules = "default * " + " ".join(f"192.0.2.{host}" for host in range(1, copies + 1))
    with rig(plan_from(rules), slots=8) as its:
        for number in range(7):
            assert its.core.arrive(0, numbered(number))
        assert not its.core.arrive(0, numbered(7))
        at_once = 7 // copies
        left: list[bytes] = []
        while len(left) < 7 * copies:
            read = its.worker.step()
            assert read == min(at_once, 7 - len(left) // copies)
            assert its.core.frames().received == len(left) // copies + read
            assert its.worker.step() == 0
            left += its.left(0)
        expected = [(number, host) for number in range(7) for host in range(1, copies + 1)]
        assert [(number_of(frame), collector_of(frame)) for frame in left] == expected
        assert its.core.frames().forwarded == 7
        assert dropped(its.core.frames().drops) == {}
        assert balances(its.core, copies)


def test_a_ring_that_is_partly_full_takes_the_rest() -> None:
    """Frames that follow each other are sent as one, but no more of them than there is room for."""
    with rig(plan_from(TO_ONE), slots=128) as its:
        for first in (0, 100):
            for number in range(first, first + 100):
                assert its.core.arrive(0, numbered(number))
            go_round(its)
        assert its.core.frames().received == 127
        assert numbers(its.left(0)) == list(range(127))
        go_round(its)
        assert numbers(its.left(0)) == list(range(127, 200))


def test_more_copies_than_a_ring_can_ever_hold() -> None:
    rules = "default * " + " ".join(f"192.0.2.{host}" for host in range(1, 5))
    with rig(plan_from(rules), slots=3) as its:
        for number in range(2):
            its.core.arrive(0, numbered(number))
        left: list[bytes] = []
        for _ in range(2):
            assert its.worker.step() == 1
            left += its.left(0)
        assert [(number_of(frame), collector_of(frame)) for frame in left] == [(0, 1), (0, 2), (1, 1), (1, 2)]
        assert [ledger.drops["tx_full"] for ledger in its.core.collectors(4)] == [0, 0, 2, 2]
        assert balances(its.core, 4)


def test_frames_longer_than_the_buffers_of_the_other_region() -> None:
    plan = plan_from(TO_ONE, ports=TWO_PORTS, egress=(1,))
    with rig(plan, region_of=(0, 1), buffers=(512, 128)) as its:
        sizes = [128 - len(numbered(0)), 129 - len(numbered(0)), 512 - len(numbered(0))]
        for number, size in enumerate(sizes):
            assert its.core.arrive(0, numbered(number, size))
        assert not its.core.arrive(0, numbered(3, sizes[2] + 1))
        its.worker.step()
        assert numbers(its.left(1)) == [0]
        assert dropped(its.core.frames().drops) == {"too_big": 2}
        assert (its.core.work().swapped, its.core.work().copied) == (0, 1)
        assert balances(its.core, 1)


VLAN = bytes.fromhex("8100001e")


@pytest.mark.parametrize("collectors", [1, 2])
@pytest.mark.parametrize(("size", "tags", "sent"), [(124, VLAN, 1), (125, VLAN, 0), (128, b"", 1), (120, VLAN * 2, 1)])
def test_frames_that_outgrow_a_buffer(collectors: int, size: int, tags: bytes, sent: int) -> None:
    """The tags of the egress port come on top, also of a frame that keeps its buffer."""
    rules = "default * " + " ".join(f"192.0.2.{host}" for host in range(collectors))
    plan = plan_from(rules, ports=(PlanPort(), PlanPort(tags=tags)), egress=(1, 1))
    with rig(plan, region_of=(0, 0), buffers=(128,)) as its:
        assert its.core.arrive(0, numbered(1, size - len(numbered(1))))
        its.worker.step()
        assert [len(frame) for frame in its.left(1)] == [size + len(tags)] * sent * collectors
        assert dropped(its.core.frames().drops) == ({} if sent else {"too_big": 1})
        assert balances(its.core, collectors)


def test_a_frame_longer_than_the_buffer_it_would_be_copied_to() -> None:
    """It would fit without its tag, but it is not copied without it."""
    plan = plan_from(TO_ONE, ports=TWO_PORTS, egress=(1,))
    with rig(plan, region_of=(0, 1), buffers=(512, 128)) as its:
        for size in (128, 130, 132):
            frame = datagram(4, EXPORTER, OWN, (1, 514), bytes(size - 46), [(0x8100, 30)])
            assert len(frame) == size and its.core.arrive(0, frame)
        its.worker.step()
        assert [len(frame) for frame in its.left(1)] == [124]
        assert dropped(its.core.frames().drops) == {"too_big": 2}


@pytest.mark.parametrize("collectors", [1, 2])
@pytest.mark.parametrize("trailer", [0, 20])
def test_mtu_is_of_the_ip_packet(collectors: int, trailer: int) -> None:
    rules = "default * " + " ".join(f"192.0.2.{host}" for host in range(collectors))
    with rig(plan_from(rules, ports=(PlanPort(mtu=100),))) as its:
        for number, packet in enumerate((99, 100, 101)):
            whole = not_to_be_cut(numbered(number, packet + 14 - len(numbered(0))))
            its.core.arrive(0, whole + bytes(trailer))
        its.worker.step()
        assert numbers(its.left(0)) == [number for number in (0, 1) for _ in range(collectors)]
        assert dropped(its.core.frames().drops) == {"too_big": 1}
        assert balances(its.core, collectors)


# -- Neighbours -------------------------------------------------------------------------------------------------------


def fill(its: Rig, count: int, first: int = 0) -> None:
    """So many numbered frames, a few at a time."""
    for start in range(first, first + count, 32):
        for number in range(start, min(start + 32, first + count)):
            assert its.core.arrive(0, numbered(number))
        go_round(its)


def drained(its: Rig) -> list[bytes]:
    """All that leaves until nothing more does."""
    left: list[bytes] = []
    while its.worker.step():
        left += its.left(0)
    return left + its.left(0)


def test_a_neighbours_queue_is_bounded_and_keeps_its_order() -> None:
    with rig(plan_from(TO_ONE), state=PENDING) as its:
        fill(its, WAITING_MAX + 10)
        assert its.core.frames().pending == WAITING_MAX
        assert dropped(its.core.frames().drops) == {"neighbour_pending_full": 10}
        its.core.set_neighbour(0, mac(9), READY)
        its.core.arrive(0, numbered(5_000))  # behind those that waited
        left = drained(its)
        assert numbers(left) == [*range(WAITING_MAX), 5_000]
        assert {frame[:6] for frame in left} == {mac(9)}
        ledger = its.core.frames()
        assert (ledger.forwarded, ledger.pending) == (WAITING_MAX + 1, 0)
        assert balances(its.core, 1)


@pytest.mark.parametrize("rules", [TO_ONE, TO_TWO])
def test_who_comes_while_others_wait_waits_behind_them(rules: str) -> None:
    """The neighbour is there, but its port's ring is full of those that waited. The other port has room."""
    plan = plan_from(
        f"{rules}\n10.9.9.9 * 192.0.2.9 A", ports=TWO_PORTS, egress=(1, 1, 0) if rules == TO_TWO else (1, 0)
    )
    copies = 2 if rules == TO_TWO else 1
    with rig(plan, region_of=(0, 0), slots=8, state=PENDING) as its:
        for number in range(20):
            assert its.core.arrive(0, numbered(number))
            go_round(its)
        for slot in range(copies):
            its.core.set_neighbour(slot, mac(slot), READY)
        its.worker.step()
        left = its.left(1)
        for number in range(20, 24):
            assert its.core.arrive(0, numbered(number))
            its.worker.step()
        left += its.left(1)
        left += [frame for _ in range(10) if its.worker.step() for frame in its.left(1)]
        for collector in range(1, copies + 1):
            assert numbers([frame for frame in left if collector_of(frame) == collector]) == list(range(24))
        assert dropped(its.core.frames().drops) == {}
        assert balances(its.core, copies)


def test_every_neighbour_has_its_own_room() -> None:
    rules = "* 514 192.0.2.1 A\n* 515 192.0.2.2 A"
    with rig(plan_from(rules), state=PENDING) as its:
        fill(its, WAITING_MAX)
        its.core.arrive(0, datagram(4, EXPORTER, OWN, (1, 515), bytes(4)))
        its.worker.step()
        assert [ledger.pending for ledger in its.core.collectors(2)] == [WAITING_MAX, 1]


def test_who_waited_for_a_neighbour_that_failed_is_dropped() -> None:
    with rig(plan_from(TO_ONE), state=PENDING) as its:
        fill(its, 5)
        its.core.set_neighbour(0, None, FAILED)
        its.core.arrive(0, numbered(5))
        assert drained(its) == []
        assert dropped(its.core.frames().drops) == {"neighbour_failed": 6}
        assert its.core.frames().pending == 0
        assert balances(its.core, 1)


def test_a_datagram_that_waits_for_several_is_counted_once() -> None:
    with rig(plan_from(TO_TWO), state=PENDING) as its:
        its.core.arrive(0, numbered(1))
        its.worker.step()
        assert (its.core.frames().received, its.core.frames().pending) == (1, 1)
        assert [ledger.pending for ledger in its.core.collectors(2)] == [1, 1]
        its.core.set_neighbour(1, mac(1), READY)
        assert [collector_of(frame) for frame in drained(its)] == [2]
        assert (its.core.frames().forwarded, its.core.frames().pending) == (1, 0)
        its.core.set_neighbour(0, None, FAILED)
        assert drained(its) == []
        assert (its.core.frames().forwarded, its.core.frames().pending) == (1, 0)
        assert [dropped(ledger.drops) for ledger in its.core.collectors(2)] == [{"neighbour_failed": 1}, {}]
        assert balances(its.core, 2)


def test_the_cause_is_that_of_the_copy_that_gave_up_last() -> None:
    """The second collector's port has short buffers, which only shows when the copy leaves."""
    plan = plan_from(TO_TWO, ports=TWO_PORTS, egress=(0, 1))
    with rig(plan, region_of=(0, 1), buffers=(512, 64), state=PENDING) as its:
        its.core.arrive(0, numbered(1, 100))
        its.worker.step()
        its.core.set_neighbour(0, None, FAILED)
        its.worker.step()
        assert (its.core.frames().pending, dropped(its.core.frames().drops)) == (1, {})
        its.core.set_neighbour(1, mac(1), READY)
        its.worker.step()
        assert (its.core.frames().pending, dropped(its.core.frames().drops)) == (0, {"too_big": 1})
        assert balances(its.core, 2)


def test_a_datagram_too_long_to_wait_is_dropped() -> None:
    with rig(plan_from(TO_ONE), limits=replace(LIMITS, frame_bytes=64), state=PENDING) as its:
        its.core.arrive(0, numbered(1, 100))
        its.worker.step()
        assert dropped(its.core.frames().drops) == {"neighbour_pending_full": 1}
        assert balances(its.core, 1)


def test_copies_that_wait_survive_a_new_plan() -> None:
    """They go where the old plan sent them; with the new plan's MAC, as that is the port's."""
    with rig(plan_from(TO_ONE), state=PENDING) as its:
        fill(its, 3)
        its.core.publish(plan_from("default * 192.0.2.77", ports=(PlanPort(mac=mac(77)),)))
        fill(its, 2, first=3)
        its.core.set_neighbour(0, mac(1), READY)
        left = drained(its)
        assert numbers(left) == [0, 1, 2, 3, 4]
        assert [collector_of(frame) for frame in left] == [1, 1, 1, 77, 77]
        assert {frame[6:12] for frame in left} == {mac(77)}
        assert balances(its.core, 1)


def test_a_neighbour_that_answers_wakes_a_sleeping_worker() -> None:
    with rig(plan_from(TO_ONE), state=PENDING) as its:
        with running(its.worker):
            for number in range(10):
                its.core.arrive(0, numbered(number))
            until(lambda: its.core.frames().pending == 10)
            its.core.set_neighbour(0, mac(0), READY)
            until(lambda: its.core.frames().forwarded == 10)
        assert numbers(its.left(0)) == list(range(10))
