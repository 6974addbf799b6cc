"""The core measured on memory rings: what a packet costs, with rules, collectors, exporters and frame sizes varied.

Frames are written into the RX ring afresh before every round, as a card would, and that is timed apart. Beside every case
runs the least that a forwarder can do, a ring-to-ring exchange that rewrites two MAC addresses, on the same rings and
frames, round about with it; compare inside one run.
"""

import random
import resource
import statistics
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from gfwd.native.core import Bench, Core, Limits, NeighbourState, Worker, bench_cursor
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules import classic
from gfwd.rules.model import address_text
from gfwd.rules.space import RuleSpace

FRAME_BYTES = 188
"""The thesis' frame: 212 bytes on the wire are 188 in a ring, without CRC, preamble and gap."""

_FLOOD_SOURCES = 1 << 18  # before the first one comes again: four times what a worker remembers
_RING_SLOTS = 1_024
_IN, _OUT = 0, 1
_GATEWAY = 0x0A020201  # gfwd's own address
_PORTS = (514, 2_055, 4_739, 6_343, 9_995, 9_996)
_COLLECTORS = tuple(0xC6336401 + i for i in range(4))
_MAC = bytes.fromhex("020000000001")
_HEADERS = 42  # Ethernet, IPv4, UDP
_SEED = 2018


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One measurement. flood: share of datagrams whose source was never seen before, in percent."""

    rules: int = 10_000
    collectors: int = 1
    exporters: int = 10_000
    frame_bytes: int = FRAME_BYTES
    flood: int = 0


CASES = (
    *(Case(rules=rules) for rules in (10, 1_000, 10_000, 100_000)),
    *(Case(collectors=collectors) for collectors in (2, 4)),
    *(Case(frame_bytes=frame_bytes) for frame_bytes in (60, 1_514)),
    Case(rules=100_000, flood=50),
    Case(rules=100_000, flood=100),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Medians over all repeats; spread is (largest - smallest) / median of ns_per_packet.

    fill_ns is the card's part, in neither of the other two. load_s is rules text to published plan, and rss_mb the most
    that the process had taken by then.
    """

    case: Case
    ns_per_packet: float
    spread: float
    mpps: float
    swap_ns: float
    fill_ns: float
    load_s: float
    rss_mb: float
    instructions_per_packet: float | None = None

    def as_json(self) -> dict[str, Any]:
        result = asdict(self)
        return {**result.pop("case"), **result}


def measure(case: Case, *, repeats: int, rounds: int) -> Result:
    """Run a case: `repeats` times `rounds` full rings through the core, and through the exchange beside it."""
    text = rules_text(case)
    started = time.perf_counter()
    with _forwarder(text, case) as worker, _exchanger() as exchanger:
        load_s = time.perf_counter() - started
        rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024  # kilobytes, on Linux and FreeBSD
        frames, cursor = b"".join(_frames(case)), bench_cursor()
        ports = (_IN, _OUT)
        worker.bench(ports, frames, case.frame_bytes, cursor, rounds)  # caches warm, exporters known
        pairs = [
            (
                worker.bench(ports, frames, case.frame_bytes, cursor, rounds),
                exchanger.bench_swap(ports, frames, case.frame_bytes, cursor, rounds),
            )
            for _ in range(repeats)
        ]
    costs = [_cost(run) for run, _ in pairs]
    median = statistics.median(costs)
    return Result(
        case=case,
        ns_per_packet=median,
        spread=(max(costs) - min(costs)) / median,
        mpps=1_000 / median,
        swap_ns=statistics.median(_cost(swap) for _, swap in pairs),
        fill_ns=statistics.median(run.fill_ns / run.packets for run, _ in pairs),
        load_s=load_s,
        rss_mb=rss_mb,
    )


def _cost(run: Bench) -> float:
    return run.forward_ns / run.packets


# ---- the two forwarders ----


@contextmanager
def _forwarder(text: str, case: Case) -> Iterator[Worker]:
    """A core with two memory ports and the rules in force."""
    ruleset = classic.parse(text, "bench")
    space = RuleSpace(ruleset)
    collectors = dict.fromkeys(collector for rule in ruleset.rules for collector in rule.collectors)
    limits = Limits(rules=len(space.ranked), collectors=len(collectors), neighbours=len(collectors))
    with Core(limits) as core:
        _add_ports(core)
        worker = core.worker(rx=[(_IN, 0)], tx=[(_OUT, 0)])
        routes = {}
        for slot, collector in enumerate(collectors):
            core.set_neighbour(slot, _MAC, NeighbourState.READY)
            if collector.address is not None:
                routes[collector] = Route(slot, (Hop(collector.address, _OUT, slot),))
        core.publish(compile_plan(Blueprint(space=space, routes=routes, ports=(PlanPort(), PlanPort(mac=_MAC)))))
        yield worker


@contextmanager
def _exchanger() -> Iterator[Core]:
    with Core(Limits(rules=1, collectors=1, neighbours=1)) as core:
        _add_ports(core)
        yield core


def _add_ports(core: Core) -> None:
    """Two ports in one region, as two cards of one netmap have them."""
    region = core.region(rings=4, slots=_RING_SLOTS)
    core.port_mem(region)
    core.port_mem(region)


# ---- what they are given ----


def rules_text(case: Case) -> str:
    """A rules file of the usual mix, the same for the same case.

    70 % single sources, 20 % prefixes of /8 to /30 that overlap, 10 % `*`; of the ports, half are single, a third ranges
    and lists, the rest `*`. The closer a rule looks, the better its priority, so that a search has to look everywhere.
    """
    rng = random.Random(_SEED)
    collectors = " ".join(address_text(4, address) for address in _COLLECTORS[: case.collectors])
    lines = [f"{_source(rng, i)} {_ports(rng)} {collectors} {'AABC'[_share(i)]}" for i in range(case.rules - 1)]
    return "\n".join([*lines, f"default * {collectors}"])


def _share(i: int) -> int:
    """Of ten rules, seven for a single source (0 and 1), two for a prefix (2), one for any source (3)."""
    return (0, 0, 0, 0, 1, 1, 1, 2, 2, 3)[i % 10]


def _source(rng: random.Random, i: int) -> str:
    address, length = rng.getrandbits(32), rng.randint(8, 30)
    match _share(i):
        case 3:
            return "*"
        case 2:
            return f"{address_text(4, address >> 32 - length << 32 - length)}/{length}"
        case _:
            return address_text(4, address)


def _ports(rng: random.Random) -> str:
    ports = sorted(rng.sample(range(1, 65_536), 3))
    return rng.choice(
        (
            *(str(rng.choice((*_PORTS, ports[0]))) for _ in range(3)),
            f"{ports[0]}-{ports[1]}",
            ",".join(map(str, ports)),
            "*",
        )
    )


def _frames(case: Case) -> Iterator[bytes]:
    """Datagrams of `exporters` known sources, or for `flood` percent of never-repeating ones, in random order."""
    rng = random.Random(_SEED)
    singles = [line.split()[0] for i, line in enumerate(rules_text(case).splitlines()[:-1]) if _share(i) <= 1]
    known = [int.from_bytes(bytes(map(int, text.split(".")))) for text in singles[: case.exporters]]
    known += (rng.getrandbits(32) for _ in range(case.exporters - len(known)))
    n = case.exporters if case.flood == 0 else _FLOOD_SOURCES
    for i in range(n):
        source = known[i % len(known)] if rng.randrange(100) >= case.flood else rng.getrandbits(32)
        yield _frame(source, rng.choice(_PORTS) if case.flood else _PORTS[source % len(_PORTS)], case.frame_bytes)


def _frame(source: int, port: int, size: int) -> bytes:
    total = size - 14
    ip = struct.pack("!BBHHHBBHII", 0x45, 0, total, 1, 0x4000, 64, 17, 0, source, _GATEWAY)
    checksum = sum(struct.unpack("!10H", ip))
    checksum = (checksum & 0xFFFF) + (checksum >> 16)
    checksum = ~(checksum + (checksum >> 16)) & 0xFFFF
    udp = struct.pack("!HHHH", 40_000, port, total - 20, 0x1234)  # gfwd updates a sum, it does not judge it
    return bytes(12) + b"\x08\x00" + ip[:10] + struct.pack("!H", checksum) + ip[12:] + udp + bytes(size - _HEADERS)
