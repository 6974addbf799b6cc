"""The core measured on memory rings: what a packet costs, with rules, collectors, exporters and frame sizes varied.

Frames are written into the RX ring afresh before every round, as a card would, and that is timed apart. Beside the
core, round about with it, runs the least that a forwarder can do: a ring-to-ring exchange that rewrites two MAC
addresses; and the same with a copy of every frame. Compare inside one run.
"""

import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gfwd import system
from gfwd.daemon import callgrind
from gfwd.daemon.bench_next_hops import AskedNextHops
from gfwd.daemon.workload import BUFFER_BYTES, NUMBER_AT, Case, frames, rules_text, ruleset
from gfwd.errors import GfwdError
from gfwd.native.core import Bench, Core, Exchanger, Limits, NeighbourState, Worker, bench_cursor
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules.model import ALL_PORTS, Address
from gfwd.rules.space import RuleSpace

_RING_SLOTS = 1_024
_RING_FRAMES = _RING_SLOTS - 1  # a ring of netmap's kind is full with one slot empty
_IN, _OUT = 0, 1
_MAC = bytes.fromhex("020000000001")
_OWN = Address(4, 0x0A020201), Address(6, (0x20010DB8 << 96) + 1)
_FIRST_NEIGHBOUR = 0x0A020202
_PASSES_UNTIL_SURE = 34  # datagrams of each exporter, until it is known what its numbers count
_COUNTED_ROUNDS = 100  # callgrind is slow, and exact

BASE = Case()
MANY_RULES = Case(rules=100_000)
FOUR_COLLECTORS = Case(collectors=4)
HALF_A_FLOOD = Case(rules=100_000, flood=50)
FLOOD = Case(rules=100_000, flood=100)
RESOLVED = Case(option="resolved")
FOLLOWED = Case(option="followed")
CASES = (
    Case(rules=10),
    Case(rules=1_000),
    BASE,
    RESOLVED,
    FOLLOWED,
    MANY_RULES,
    Case(collectors=2),
    FOUR_COLLECTORS,
    Case(frame_bytes=60),
    Case(frame_bytes=1_514),
    HALF_A_FLOOD,
    FLOOD,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Medians over all repeats; spread is (largest - smallest) / median of ns_per_packet.

    swap_ns is the exchange's cost, copy_ns what it costs more when every frame is copied, and fill_ns the card's part,
    in none of the others. load_s is rules text to published plan, and rss_mb the most memory that the
    process had by then. instructions_per_packet is None where they were not counted.
    """

    case: Case
    ns_per_packet: float
    spread: float
    mpps: float
    swap_ns: float
    copy_ns: float
    fill_ns: float
    load_s: float
    rss_mb: float
    instructions_per_packet: float | None = None

    def as_json(self) -> dict[str, Any]:
        result = asdict(self)
        return {**result.pop("case"), **result}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Result":
        rest = dict(values)
        case = Case(**{field.name: rest.pop(field.name) for field in fields(Case)})
        return cls(case=case, **rest)


class Effort(NamedTuple):
    """How long to measure: `repeats` times `rounds` full rings; and whether to count instructions as well."""

    repeats: int
    rounds: int
    instructions: bool


def measure(case: Case, effort: Effort) -> Result:
    """Measure in this process."""
    text = rules_text(case)
    started = time.perf_counter()
    plan = _plan(text, case.option)
    with _forwarder(plan, case.option) as worker:
        load_s, rss_mb = time.perf_counter() - started, _most_memory_mb()
        datagrams = frames(case)
        run = _Runner(datagrams, case.frame_bytes, effort.rounds, case.option)
        bench = _numbered(worker) if case.option == "followed" else worker.bench
        with _exchanger() as exchanger, _exchanger(copies=True) as copier:
            runs = [(run(bench), run(exchanger.bench), run(copier.bench)) for _ in range(effort.repeats)]
    costs = [_cost(core) for core, _, _ in runs]
    median = statistics.median(costs)
    return Result(
        case=case,
        ns_per_packet=median,
        spread=(max(costs) - min(costs)) / median,
        mpps=1_000 / median,
        swap_ns=statistics.median(_cost(swap) for _, swap, _ in runs),
        copy_ns=statistics.median(_cost(copy) - _cost(swap) for _, swap, copy in runs),
        fill_ns=statistics.median(core.fill_ns / core.packets for core, _, _ in runs),
        load_s=load_s,
        rss_mb=rss_mb,
        instructions_per_packet=_instructions(plan, datagrams, case) if effort.instructions else None,
    )


def measure_all(cases: Sequence[Case], effort: Effort) -> Iterator[Result]:
    """Measure each case in a process of its own, so that its memory is its own; a single one right here."""
    if len(cases) == 1:
        yield measure(cases[0], effort)
        return
    for case in cases:
        options = ["--case", str(case), "--repeats", str(effort.repeats), "--rounds", str(effort.rounds)]
        if effort.instructions:
            options.append("--instructions")
        command = [*own_command(), "bench", "core", "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise GfwdError(f"error: bench: {case}: {done.stderr.strip() or f'ended with status {done.returncode}'}")
        yield Result.from_json(json.loads(done.stdout))


def own_command() -> list[str]:
    """How to start this very program again: as it was started, without its arguments."""
    if system.is_binary:
        return [sys.argv[0]]
    return [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]]


# ---- what the results say together ----


class Finding(NamedTuple):
    """A figure that matters, its unit, and the most that it should be; no goal: None."""

    what: str
    figure: float
    unit: str
    goal: float | None


def findings(results: Sequence[Result]) -> list[Finding]:
    """What can be said about these results; what needs a case that was not measured is left out."""
    of = {result.case: result for result in results}
    base, few, many = of.get(BASE), of.get(Case(rules=10)), of.get(MANY_RULES)
    resolved, followed = of.get(RESOLVED), of.get(FOLLOWED)
    four, half, flood = of.get(FOUR_COLLECTORS), of.get(HALF_A_FLOOD), of.get(FLOOD)
    found = []
    if base:
        found += [
            Finding("10,000 rules, one collector, 188 bytes", base.ns_per_packet, "ns", 17),
            Finding("the same, against the exchange of buffers", base.ns_per_packet / base.swap_ns, "×", 3),
        ]
        if base.instructions_per_packet is not None:
            found.append(Finding("the same, instructions", base.instructions_per_packet, "", 120))
    if base and resolved:
        asked = resolved.instructions_per_packet, base.instructions_per_packet
        price = (
            resolved.ns_per_packet / base.ns_per_packet if asked[0] is None or asked[1] is None else asked[0] / asked[1]
        )
        found.append(Finding("a next hop that is found and confirmed, against a named one", price, "×", 1.02))
    if base and followed:
        price = followed.ns_per_packet - base.ns_per_packet
        found.append(Finding("to follow sequence numbers", price, "ns", 10))
    if few and many:
        found.append(Finding("100,000 rules against 10", many.ns_per_packet / few.ns_per_packet, "×", 1.2))
    if flood:
        found.append(Finding("sources that never repeat, 100,000 rules", flood.ns_per_packet, "ns", 150))
    if many and half and flood:
        alone = (many.ns_per_packet + flood.ns_per_packet) / 2
        found.append(Finding("half of them known exporters, against both apart", half.ns_per_packet / alone, "×", None))
    if base and four:
        further = (four.ns_per_packet - base.ns_per_packet) / (FOUR_COLLECTORS.collectors - 1)
        found.append(Finding("each further collector, beyond a copy of the frame", further - base.copy_ns, "ns", 10))
    if many:
        found += [
            Finding("100,000 rules, text to published", many.load_s, "s", 2),
            Finding("the same, memory of the process", many.rss_mb, "MB", 200),
        ]
    return found


# ---- running ----


class _Runner:
    """Runs a forwarder over the same frames again and again, each time after passes that make the caches its own."""

    def __init__(self, datagrams: bytearray, frame_bytes: int, rounds: int, option: str) -> None:
        self._frames = datagrams, frame_bytes
        self._rounds = rounds
        passes = _PASSES_UNTIL_SURE if option == "followed" else 1
        self._pass = _rounds_for(passes * len(datagrams) // frame_bytes)

    def __call__(self, forwarder: Callable[..., Bench]) -> Bench:
        cursor = bench_cursor()
        forwarder(*self._frames, cursor, self._pass)
        return forwarder(*self._frames, cursor, self._rounds)


def _numbered(worker: Worker) -> Callable[..., Bench]:
    """Each exporter's datagrams have numbers that go on from each other."""
    return partial(worker.bench, number_at=NUMBER_AT)


def _rounds_for(n: int) -> int:
    """So many rounds bring n frames."""
    return -(-n // _RING_FRAMES)


def _cost(run: Bench) -> float:
    return run.forward_ns / run.packets


def _most_memory_mb() -> float:
    """The most memory that this process has had so far."""
    # What getrusage() says on Linux may be that of the process which started this one; FreeBSD has no such file.
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text("ascii"), re.MULTILINE) if status.exists() else None
    kib = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib * 1_024 / 1e6


# ---- the forwarders ----


class _Plan(NamedTuple):
    """A compiled plan, and how many counter slots it refers to. A collector has the neighbour slot of its number."""

    data: bytes
    rules: int
    collectors: int


def _plan(text: str, option: str) -> _Plan:
    rules = ruleset(text, option)
    space = RuleSpace(rules)
    collectors = rules.collectors()
    routes = {
        collector: Route(slot, (Hop(collector.address, _OUT, slot),))
        for slot, collector in enumerate(collectors)
        if collector.address is not None
    }
    ports = PlanPort(), PlanPort(mac=_MAC, own=_OWN)
    follow = ALL_PORTS if option == "followed" else ()
    data = compile_plan(Blueprint(space=space, routes=routes, ports=ports, exporters=rules.exporters, follow=follow))
    return _Plan(data, len(space.ranked), len(collectors))


@contextmanager
def _forwarder(plan: _Plan, option: str) -> Iterator[Worker]:
    """A core with the plan in force."""
    limits = Limits(rules=plan.rules, collectors=plan.collectors, neighbours=plan.collectors)
    with Core(limits) as core:
        _add_ports(core)
        worker = core.worker(rx=[(_IN, 0)], tx=[(_OUT, 0)])
        core.publish(plan.data)
        with _next_hops(core, worker, plan.collectors, option):
            yield worker


def _next_hops(core: Core, worker: Worker, n: int, option: str) -> AbstractContextManager[object]:
    """Whose MACs are named once and for all, or found and confirmed."""
    if option == "resolved":
        return AskedNextHops(
            core, worker, _OUT, _OWN[0], _MAC, [Address(4, _FIRST_NEIGHBOUR + slot) for slot in range(n)]
        )
    for slot in range(n):
        core.set_neighbour(slot, _MAC, NeighbourState.READY)
    return nullcontext()


@contextmanager
def _exchanger(*, copies: bool = False) -> Iterator[Exchanger]:
    with Core(Limits(rules=1, collectors=1, neighbours=1)) as core:
        _add_ports(core)
        with Exchanger(core, (_IN, _OUT), copies=copies) as exchanger:
            yield exchanger


def _add_ports(core: Core) -> None:
    """Two memory ports in one region, as two cards of one netmap have them."""
    region = core.region(rings=4, slots=_RING_SLOTS, buffer_bytes=BUFFER_BYTES)
    core.port_mem(region)
    core.port_mem(region)


# ---- instructions ----


def _instructions(plan: _Plan, datagrams: bytearray, case: Case) -> float | None:
    """Instructions of the core for a packet, with warm caches.

    Python is a hundred times slower under callgrind, so what runs there is given the compiled plan and the frames.
    """
    sizes = (plan.rules, plan.collectors, len(plan.data), case.frame_bytes, case.option)
    with tempfile.NamedTemporaryFile(prefix="gfwd-") as file:
        file.writelines((json.dumps(sizes).encode(), b"\n", plan.data, datagrams))
        file.flush()
        command = [*own_command(), "bench", "counted", file.name]
        counted = callgrind.count(command, inside="fw_worker_step", since="fw_bench_core")
    if counted is None:
        return None
    instructions, packets = counted
    return instructions / int(packets)


def run_counted(path: str) -> int:
    """What runs under callgrind: the caches get warm, then come the rounds that count. Returns their packets."""
    with open(path, "rb") as file:
        rules, collectors, plan_bytes, frame_bytes, option = json.loads(file.readline())
        plan = _Plan(file.read(plan_bytes), rules, collectors)
        datagrams = bytearray(file.read())
    with _forwarder(plan, option) as worker:
        bench = _numbered(worker) if option == "followed" else worker.bench
        return _Runner(datagrams, frame_bytes, _COUNTED_ROUNDS, option)(bench).packets
