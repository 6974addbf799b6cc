"""The one door between Python and the C core.

Names, limits and sizes are asked from C (fw_abi.h), never written down again here. Everything that C refuses becomes a
`CoreError` with C's own words; lengths are checked before they cross.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from enum import Enum
from threading import Lock
from typing import Any, NamedTuple

from gfwd.errors import GfwdError
from gfwd.native._core import ffi, lib

NONE: int = lib.fw_none()
"""Stands for "no rule", "no node" … wherever the core expects a number."""

ABI: int = lib.FW_ABI
WAITING_MAX: int = lib.FW_WAITING_MAX
TARGETS_MAX: int = lib.FW_TARGETS_MAX
SHARES: int = lib.FW_SHARES
PORTS_MAX: int = lib.FW_PORTS_MAX
TAPS_MAX: int = lib.FW_TAPS_MAX
TAP_SOURCES_MAX: int = lib.FW_TAP_SOURCES_MAX
XDP_HEADROOM: int = lib.FW_XDP_HEADROOM
DROP_CAUSES: tuple[str, ...] = tuple(ffi.string(lib.fw_drop_name(i)).decode() for i in range(lib.FW_DROP_CAUSES))
"""Names of the drop causes, in the order of C's `enum fw_fate`."""

FORWARD: int = lib.FW_FORWARD
WAIT: int = lib.FW_WAIT
DENIED: int = lib.FW_DROP_DENIED
PUNTS_NEIGHBOURHOOD: int = lib.FW_PUNTS_NEIGHBOURHOOD
PUNTS_CLOSED: int = lib.FW_PUNTS_CLOSED
PUNTS_TOO_BIG: int = lib.FW_PUNTS_TOO_BIG
BALANCES: dict[str, int] = {
    "exporter": lib.FW_BALANCE_EXPORTER,
    "flow": lib.FW_BALANCE_FLOW,
    "round-robin": lib.FW_BALANCE_ROUND_ROBIN,
}

COUNTS: dict[int, str] = {
    lib.FW_COUNTS_DATAGRAMS: "datagrams",
    lib.FW_COUNTS_FLOWS: "flows",
    lib.FW_COUNTS_RECORDS: "records",
}
"""What sequence numbers count, by C's enum fw_counts."""

_MAC_BYTES = 6
_RECORD_ROOM = 65536


class CoreError(GfwdError):
    """The core refused something; the text is the core's."""


class NeighbourState(Enum):
    """State of a neighbour slot, as the workers see it."""

    EMPTY = lib.FW_NEIGH_EMPTY
    PENDING = lib.FW_NEIGH_PENDING
    READY = lib.FW_NEIGH_READY
    FAILED = lib.FW_NEIGH_FAILED


class RunEnd(Enum):
    """Why `Worker.run` came back."""

    STOPPED = lib.FW_RUN_STOPPED
    ENDED = lib.FW_RUN_ENDED
    FAILED = lib.FW_RUN_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes of a core's tables; fixed for its life, so that the path never allocates.

    rules, collectors: counter slots. neighbours: slots, each with room for WAITING_MAX waiting copies per worker.
    exporters: counted apart, per worker; the rest under "other". flows: places in the match cache, per worker.
    frame_bytes: longest frame that can wait, or be punted, tapped or injected. ring_slots: records in each such ring.
    unknown: sources without a rule that are told apart, per worker; the rest is added up.
    fragments: datagrams whose fragments are followed, and fragments that wait for the first one, per worker.
    streams: whose sequence numbers are followed, per worker.
    """

    rules: int
    collectors: int
    neighbours: int
    exporters: int = 65_536
    flows: int = 65_536
    frame_bytes: int = 2_048
    ring_slots: int = 1_024
    unknown: int = 1_024
    fragments: int = 1_024
    streams: int = 16_384


class FrameLedger(NamedTuple):
    """received = forwarded + passed + punted + pending + Σ drops."""

    received: int
    forwarded: int
    passed: int
    punted: int
    pending: int
    drops: dict[str, int]


class CopyLedger(NamedTuple):
    """wanted = sent + pending + Σ drops; sent_bytes are those of the frames, without CRC."""

    wanted: int
    sent: int
    sent_bytes: int
    pending: int
    drops: dict[str, int]


class Work(NamedTuple):
    """What stands outside the ledgers; see struct fw_work."""

    swapped: int
    copied: int
    fragments_made: int
    cache_hits: int
    lookups: int
    tapped: int
    tap_lost: int
    injected: int
    inject_lost: int
    plans: int
    numberless: int
    unfollowed: int
    ipfix: int
    ipfix_lost: int


class Count(NamedTuple):
    packets: int
    bytes: int


class Exporter(NamedTuple):
    """Datagrams of ours from one source; family 0 and an empty address: all that found no room in the table, or
    that no rule wants.
    """

    family: int
    address: bytes
    packets: int
    bytes: int


class Unknown(NamedTuple):
    """Datagrams of ours from one source to one port that no rule wants; see struct fw_unknown.

    first, last: ns since 1970. source_port, length, payload: of the last datagram: where it came from, the bytes of its
    payload, and as many of them as are kept. family 0 and an empty address: all that are not told apart.
    """

    family: int
    address: bytes
    port: int
    source_port: int
    length: int
    payload: bytes
    packets: int
    bytes: int
    first: int
    last: int


class Findings(NamedTuple):
    """What sequence numbers say; see struct fw_findings."""

    datagrams: int
    in_order: int
    counted: int
    lost: int
    reordered: int
    doubled: int
    strays: int
    restarts: int
    unproven: int


class Stream(NamedTuple):
    """Datagrams of ours whose sequence numbers go on from each other; see struct fw_stream.

    agent: of sFlow, for whom the exporter sends; empty: it is NetFlow. counts: one of COUNTS. first, last: ns since
    1970. family 0 and an empty address: all that gave up their places.
    """

    family: int
    address: bytes
    source_port: int
    agent: bytes
    version: int
    domain: int
    counts: str
    first: int
    last: int
    findings: Findings


class TapCount(NamedTuple):
    """Of one who looks: datagrams that he looks for, those of them that he has got or can take, and those that he has
    lost, since there was no room; see struct fw_tap_count.
    """

    matched: int
    taken: int
    lost: int


class Record(NamedTuple):
    """A frame that the core handed out; rule and generation are those of the plan that it met (tap only, else NONE).

    mtu: of a frame that was too big to leave, the bytes of IP that could have left; 0: it was for us. interruption: of
    IPFIX, another number than before where some between the two were not handed out. The others are for taps only.
    fate: FORWARD, WAIT, or the place of the drop cause in DROP_CAUSES. taps: a bit for each number of those who get it;
    templates: of those who get it beside their sample; gaps: of both, of those who have lost some since the last record
    of this worker.
    """

    time: int
    port: int
    rule: int
    generation: int
    mtu: int
    frame: bytes
    interruption: int = 0
    fate: int = 0
    taps: int = 0
    templates: int = 0
    gaps: int = 0


class Bench(NamedTuple):
    """Nanoseconds over all packets of a measurement: forwarding, and the card's part before and after it."""

    packets: int
    forward_ns: int
    fill_ns: int
    drain_ns: int


class XdpPort(NamedTuple):
    """An AF_XDP port as it turned out, and what was counted before the core saw anything; see struct fw_xdp_port.

    refused: the errno with which the driver refused native mode, 0 where it did not. ours = received + lost + unread,
    the last being those that no worker has taken yet. unsent: of the frames that the core has sent, those that the
    kernel has not taken yet.
    """

    is_native: bool
    refused: int
    is_zero_copy: bool
    ours: int
    passed: int
    lost: int
    unread: int
    unsent: int


class Region:
    """Memory that ports share: buffers move inside one, and are copied between two."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle


class Umem:
    """Memory that AF_XDP ports share."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle


class NeedsCopies(CoreError):
    """This AF_XDP port cannot share zero-copy memory with those before it."""


def xdp_queues(interface: str) -> tuple[int, int]:
    """RX and TX queues that an interface of Linux has now."""
    error, rx, tx = _error(), ffi.new("unsigned *"), ffi.new("unsigned *")
    if lib.fw_xdp_queues(interface.encode(), rx, tx, error) != 0:
        raise _refused(error, f"xdp:{interface}")
    return rx[0], tx[0]


def _error() -> Any:
    return ffi.new("char[]", lib.FW_ERROR_BYTES)


def _text(error: Any) -> str:
    return str(ffi.string(error).decode(errors="replace"))


def _refused(error: Any, what: str = "") -> CoreError:
    text = _text(error)
    return CoreError(f"{what}: error: {text}" if what else text)


def _drops(array: Any) -> dict[str, int]:
    return dict(zip(DROP_CAUSES, list(array), strict=True))


class Core(AbstractContextManager["Core"]):
    """Ports, workers, neighbour slots and the plan in force.

    Set up in this order: regions, ports, workers with their rings; then publish. Use as a context manager, or call
    `close()`: it frees everything, and no worker may be running then.
    """

    def __init__(self, limits: Limits, seeds: tuple[int, int] | None = None) -> None:
        """seeds: what chance is made of, 64 bits each; None: random, so that nobody can foretell it."""
        self.limits = limits
        error = _error()
        sizes = ffi.new(
            "struct fw_limits *",
            {
                "rules": limits.rules,
                "collectors": limits.collectors,
                "neighbours": limits.neighbours,
                "exporters": limits.exporters,
                "flows": limits.flows,
                "frame_bytes": limits.frame_bytes,
                "ring_slots": limits.ring_slots,
                "unknown": limits.unknown,
                "fragments": limits.fragments,
                "streams": limits.streams,
                "seeds": seeds or [int.from_bytes(os.urandom(8)) for _ in range(2)],
            },
        )
        # Publishing, counting and looking through plans happen one after the other, whichever threads ask.
        self._plans = Lock()
        self._handle = lib.fw_core_new(sizes, error)
        if self._handle == ffi.NULL:
            raise _refused(error)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free everything. Calling it twice does no harm."""
        if self._handle != ffi.NULL:
            lib.fw_core_free(self._handle)
            self._handle = ffi.NULL

    @property
    def _core(self) -> Any:
        if self._handle == ffi.NULL:
            raise CoreError("the core is closed")
        return self._handle

    # ---- ports and workers ----

    def region(self, rings: int, slots: int, buffer_bytes: int = 2_048) -> Region:
        """Room for so many rings of so many slots; a slot's buffer holds one frame."""
        error = _error()
        handle = lib.fw_region_new(self._core, rings, slots, buffer_bytes, error)
        if handle == ffi.NULL:
            raise _refused(error)
        return Region(handle)

    def port_mem(self, region: Region, ring_pairs: int = 1) -> int:
        """A memory port with so many RX and TX rings; returns its number."""
        error = _error()
        return _number(lib.fw_port_mem(self._core, region._handle, ring_pairs, error), error)

    def port_pcap_in(self, region: Region, path: str | os.PathLike[str]) -> int:
        """A capture file (pcap or pcapng) to read from; returns the port's number."""
        error = _error()
        return _number(lib.fw_port_pcap_in(self._core, region._handle, os.fsencode(path), error), error, path)

    def port_pcap_out(self, region: Region, path: str | os.PathLike[str]) -> int:
        """A capture file (pcap) to write to, emptied first; returns the port's number."""
        error = _error()
        return _number(lib.fw_port_pcap_out(self._core, region._handle, os.fsencode(path), error), error, path)

    def umem(self, sockets: int, tx_queues: int, buffer_bytes: int = 2_048, *, copies: bool = False) -> Umem:
        """Memory for so many sockets and TX queues of all AF_XDP ports; see fw_umem_new.

        copies: the kernel copies between card and memory, even where a driver could do without.
        """
        error = _error()
        handle = lib.fw_umem_new(self._core, sockets, tx_queues, buffer_bytes, copies, error)
        if handle == ffi.NULL:
            raise _refused(error)
        return Umem(handle)

    def port_xdp(self, umem: Umem, interface: str, rx_queues: int, tx_queues: int) -> int:
        """The first so many queues of an interface of Linux; nothing is redirected yet. Returns the port's number.

        Raises NeedsCopies where it takes memory with `copies`.
        """
        error = _error()
        number = lib.fw_port_xdp(self._core, umem._handle, interface.encode(), rx_queues, tx_queues, error)
        if number == -2:
            raise NeedsCopies(f"xdp:{interface}: error: {_text(error)}")
        return _number(number, error, f"xdp:{interface}")

    def xdp_redirect(self, port: int, *, on: bool = True) -> None:
        """From now on, what the plan in force calls ours comes to this AF_XDP port; or nothing does."""
        error = _error()
        with self._plans:
            if lib.fw_xdp_redirect(self._core, port, on, error) != 0:
                raise _refused(error)

    def xdp(self, port: int) -> XdpPort:
        """What an AF_XDP port is, and has counted."""
        s = ffi.new("struct fw_xdp_port *")
        if lib.fw_xdp_read(self._core, port, s) != 0:
            raise CoreError(f"port {port} is no AF_XDP port")
        return XdpPort(bool(s.is_native), s.refused, bool(s.is_zero_copy), s.ours, s.passed, s.lost, s.unread, s.unsent)

    def port_netmap(self, name: str) -> int:
        """A port of netmap by its name in netmap(4), such as netmap:ix0, netmap:ix0^ or vale0:a; returns its number."""
        error = _error()
        return _number(lib.fw_port_netmap(self._core, name.encode(), error), error, name)

    def rings(self, port: int) -> tuple[int, int]:
        """RX and TX rings of a port."""
        rx, tx = ffi.new("unsigned *"), ffi.new("unsigned *")
        if lib.fw_port_rings(self._core, port, rx, tx) != 0:
            raise CoreError(f"there is no port {port}")
        return rx[0], tx[0]

    def port_fail(self, port: int, why: str) -> None:
        """Tell the core that a port is gone: what should leave by it is dropped as port_failed."""
        lib.fw_port_fail(self._core, port, why.encode())

    def port_error(self, port: int) -> str | None:
        """What went wrong on a port since it was opened."""
        text = lib.fw_port_error(self._core, port)
        return None if text == ffi.NULL else ffi.string(text).decode(errors="replace")

    def port_close(self, port: int) -> None:
        """Write what is still to be written. Raises CoreError where that fails."""
        error = _error()
        if lib.fw_port_close(self._core, port, error) != 0:
            raise _refused(error)

    def worker(self, rx: Iterable[tuple[int, int]], tx: Iterable[tuple[int, int]]) -> "Worker":
        """A worker that reads and writes these rings, each a (port, ring). A ring belongs to one worker."""
        error = _error()
        handle = lib.fw_worker_new(self._core, error)
        if handle == ffi.NULL:
            raise _refused(error)
        try:
            for take, rings in ((lib.fw_worker_rx, rx), (lib.fw_worker_tx, tx)):
                for port, ring in rings:
                    if take(handle, port, ring, error) != 0:
                        raise _refused(error)
        except BaseException:
            lib.fw_worker_free(handle)
            raise
        return Worker(self, handle)

    # ---- the two doors into the running core ----

    def publish(self, plan: bytes | bytearray) -> int:
        """Check a plan and make it the one in force for all workers; returns its generation, which tapped records have.

        Raises CoreError, and then nothing has changed.
        """
        error = _error()
        with self._plans:
            if lib.fw_publish(self._core, ffi.from_buffer(plan), len(plan), error) != 0:
                raise _refused(error)
            return int(lib.fw_generation(self._core))

    def set_neighbour(self, slot: int, mac: bytes | None, state: NeighbourState) -> None:
        """Store a neighbour's MAC (6 bytes; None where the state needs none) and state, as one."""
        if mac is not None and len(mac) != _MAC_BYTES:
            raise CoreError(f"a MAC address has {_MAC_BYTES} bytes, not {len(mac)}")
        if slot < 0 or lib.fw_set_neighbour(self._core, slot, ffi.NULL if mac is None else mac, state.value) != 0:
            raise CoreError(f"neighbour slot {slot}: there are {self.limits.neighbours}, and READY needs a MAC")

    # ---- reading ----

    def plans(self) -> int:
        """Plans in memory: the one in force, and those that a worker has not passed yet."""
        with self._plans:
            return int(lib.fw_plans(self._core))

    def lookup(self, family: int, address: bytes, port: int) -> int | None:
        """The rule number that the full lookup finds; address in network order (4 or 16 bytes)."""
        if len(address) != (4 if family == 4 else 16):
            raise CoreError(f"an IPv{family} address of {len(address)} bytes")
        with self._plans:
            rule = lib.fw_lookup(self._core, family, address, port)
        return None if rule == NONE else int(rule)

    def frames(self) -> FrameLedger:
        """The frame ledger, over all workers."""
        s = ffi.new("struct fw_frame_ledger *")
        lib.fw_read_frames(self._core, s)
        return FrameLedger(s.received, s.forwarded, s.passed, s.punted, s.pending, _drops(s.drops))

    def collectors(self, n: int) -> list[CopyLedger]:
        """The copy ledgers of the first n collector slots, over all workers."""
        s = ffi.new("struct fw_copy_ledger[]", n)
        lib.fw_read_collectors(self._core, s, n)
        return [CopyLedger(c.wanted, c.sent, c.sent_bytes, c.pending, _drops(c.drops)) for c in s]

    def rules(self, n: int) -> list[Count]:
        """Datagrams and bytes of the first n rule slots, over all workers."""
        s = ffi.new("struct fw_count[]", n)
        lib.fw_read_rules(self._core, s, n)
        return [Count(c.packets, c.bytes) for c in s]

    def taps(self) -> list[TapCount]:
        """What those who look have got, by their numbers, over all workers and since the start."""
        s = ffi.new("struct fw_tap_count[]", TAPS_MAX)
        lib.fw_read_taps(self._core, s)
        return [TapCount(int(c.matched), int(c.taken), int(c.lost)) for c in s]

    def exporters(self) -> list[Exporter]:
        """What each exporter sent. One that two workers saw stands there twice."""
        room = lib.fw_read_exporters(self._core, ffi.NULL, 0)
        s = ffi.new("struct fw_exporter[]", room)
        n = min(room, lib.fw_read_exporters(self._core, s, room))
        return [_exporter(s[i]) for i in range(n)]

    def exporter_entries(self) -> int:
        """How many exporters() has, without a look at them: one of each worker's stands for those without room."""
        return int(lib.fw_read_exporters(self._core, ffi.NULL, 0))

    def unknown(self) -> list[Unknown]:
        """Whose datagrams no rule wants. One that two workers saw stands there twice."""
        room = lib.fw_read_unknown(self._core, ffi.NULL, 0)
        s = ffi.new("struct fw_unknown[]", room)
        return [_unknown(s[i]) for i in range(lib.fw_read_unknown(self._core, s, room))]

    def streams(self) -> list[Stream]:
        """What sequence numbers say, by whose they are. One that two workers saw stands there twice."""
        room = lib.fw_read_streams(self._core, ffi.NULL, 0)
        s = ffi.new("struct fw_stream[]", room)
        return [_stream(s[i]) for i in range(lib.fw_read_streams(self._core, s, room))]

    def work(self) -> Work:
        """What the workers did besides; see struct fw_work."""
        s = ffi.new("struct fw_work *")
        lib.fw_read_work(self._core, s)
        return Work(*(int(getattr(s, field)) for field in Work._fields))

    # ---- the wire behind a memory port ----

    def arrive(self, port: int, frame: bytes, ring: int = 0, time: int = 0) -> bool:
        """A frame arrives at a memory port; False: its ring is full, or the frame is longer than a buffer.

        time: ns since 1970; 0: it has no stamp, and where somebody wants to know, the clock is asked.
        """
        answer = lib.fw_mem_arrive(self._core, port, ring, ffi.from_buffer(frame), len(frame), time)
        if answer < 0:
            raise CoreError(f"port {port} is no memory port with a ring {ring}")
        return bool(answer)

    def leave(self, port: int, ring: int = 0) -> bytes | None:
        """A frame that has left through a memory port; None: there is none."""
        buffer = _room()
        n = lib.fw_mem_leave(self._core, port, ring, buffer, _RECORD_ROOM)
        if n < -1:
            raise CoreError(f"port {port} is no memory port with a ring {ring}")
        return None if n < 0 else bytes(ffi.buffer(buffer, n))


class Exchanger(AbstractContextManager["Exchanger"]):
    """The least that a forwarder can do: ring to ring between two memory ports, two MAC addresses, no look inside.

    copies: what leaves is a copy of the frame, not its buffer.
    """

    def __init__(self, core: Core, ports: tuple[int, int], *, copies: bool = False) -> None:
        error = _error()
        self._handle = lib.fw_exchanger_new(core._core, *ports, copies, error)
        if self._handle == ffi.NULL:
            raise _refused(error)

    def __exit__(self, *_: object) -> None:
        lib.fw_exchanger_free(self._handle)

    def bench(self, frames: bytearray, frame_bytes: int, cursor: Any, rounds: int) -> Bench:
        """Rounds of full rings; see `Worker.bench`."""
        s = ffi.new("struct fw_bench *")
        n = len(frames) // frame_bytes
        lib.fw_bench_exchange(self._handle, ffi.from_buffer(frames), n, frame_bytes, cursor, rounds, s)
        return Bench(s.packets, s.forward_ns, s.fill_ns, s.drain_ns)


class Worker:
    """One thread's share of the work. Lives as long as its core."""

    def __init__(self, core: Core, handle: Any) -> None:
        self.core = core
        self._worker = handle
        self._tapped: tuple[Any, Any] | None = None  # a head, and room for a frame: they come by the thousand

    @property
    def _handle(self) -> Any:
        self.core._core  # noqa: B018 (raises where it is closed, and its workers with it)
        return self._worker

    def step(self) -> int:
        """One round over all rings; returns how many frames were dealt with."""
        return int(lib.fw_worker_step(self._handle))

    def run(self) -> RunEnd:
        """Rounds until `stop()`, the end of all inputs, or a broken port. Runs without the interpreter's lock."""
        return RunEnd(lib.fw_worker_run(self._handle))

    def stop(self) -> None:
        """End `run()`, from any thread."""
        lib.fw_worker_stop(self._handle)

    def rounds(self) -> int:
        """How many it has begun: one that hangs begins none, an idle one begins one a second."""
        return int(lib.fw_worker_rounds(self._handle))

    def fileno(self) -> int:
        """Becomes readable when frames were punted; `punted()` takes them."""
        return int(lib.fw_worker_bell(self._handle))

    def punted(self) -> Iterator[Record]:
        """All frames for Python, oldest first."""
        with suppress(BlockingIOError):
            os.read(self.fileno(), 4096)
        return iter(self.take_punted, None)

    def take_punted(self) -> Record | None:
        """The oldest frame for Python, if any."""
        return self._take(lib.fw_punt_take, ffi.new("struct fw_record *"), _room())

    def take_tapped(self) -> Record | None:
        """The oldest tapped datagram, if any. For one thread."""
        if self._tapped is None:
            self._tapped = ffi.new("struct fw_record *"), _room()
        return self._take(lib.fw_tap_take, *self._tapped)

    def take_ipfix(self) -> Record | None:
        """The oldest datagram of IPFIX whose sequence number is to be followed, if any."""
        return self._take(lib.fw_ipfix_take, ffi.new("struct fw_record *"), _room())

    def inject(self, port: int, frame: bytes) -> bool:
        """Send a frame; False: the ring is full. Raises CoreError where it never could be sent."""
        answer = lib.fw_inject(self._handle, port, ffi.from_buffer(frame), len(frame))
        if answer not in (0, 1):
            raise CoreError(f"port {port}: a frame of {len(frame)} bytes cannot leave there")
        return bool(answer)

    def bench(self, frames: bytearray, frame_bytes: int, cursor: Any, rounds: int, number_at: int = 0) -> Bench:
        """Rounds of full rings through this worker, from memory port 0 to port 1; `cursor` says which frame is next.

        number_at: where frames have a number of 32 bits that goes up each time that all have come; 0: nowhere.
        """
        s = ffi.new("struct fw_bench *")
        n, data = len(frames) // frame_bytes, ffi.from_buffer(frames)
        if lib.fw_bench_core(self._handle, 0, 1, data, n, frame_bytes, number_at, cursor, rounds, s) != 0:
            raise CoreError("bench: no such port, no frames, or no room for a number in them")
        return Bench(s.packets, s.forward_ns, s.fill_ns, s.drain_ns)

    def _take(self, take: Any, head: Any, buffer: Any) -> Record | None:
        n = take(self._handle, head, buffer, _RECORD_ROOM)
        if n < 0:
            return None
        return Record(
            head.time,
            head.port,
            head.rule,
            head.generation,
            head.mtu,
            ffi.buffer(buffer, n)[:],
            head.interruption,
            head.fate,
            head.taps,
            head.templates,
            head.gaps,
        )


def bench_cursor() -> Any:
    """Where the next frame of a measurement is taken from; carries on from one call to the next."""
    return ffi.new("uint32_t *")


def struct_bytes(name: str) -> int:
    """Size of struct fw_`name`."""
    return int(ffi.sizeof(f"struct fw_{name}"))


def plan_head(fields: dict[str, int]) -> bytes:
    """The head of a plan (struct fw_plan) with these fields set."""
    return bytes(ffi.buffer(ffi.new("struct fw_plan *", fields)))


def plan_field(plan: bytes, name: str) -> int:
    """What the head of a plan says."""
    return int(getattr(ffi.from_buffer("struct fw_plan *", plan), name))


def plan_changed(plan: bytearray, fields: dict[str, int]) -> None:
    """Set these fields of the head of a plan."""
    head = ffi.from_buffer("struct fw_plan *", plan)
    for name, value in fields.items():
        setattr(head, name, value)


def _room() -> Any:
    return ffi.new("uint8_t[]", _RECORD_ROOM)


def _number(n: int, error: Any, path: str | os.PathLike[str] | None = None) -> int:
    if n < 0:
        raise _refused(error, "" if path is None else os.fspath(path))
    return int(n)


_ADDRESS_BYTES = {0: 0, 4: 4, 6: 16}


def _exporter(e: Any) -> Exporter:
    return Exporter(int(e.family), bytes(e.address[0 : _ADDRESS_BYTES[e.family]]), int(e.packets), int(e.bytes))


def _unknown(e: Any) -> Unknown:
    return Unknown(
        family=int(e.family),
        address=bytes(e.address[0 : _ADDRESS_BYTES[e.family]]),
        port=int(e.port),
        source_port=int(e.source_port),
        packets=int(e.packets),
        bytes=int(e.bytes),
        first=int(e.first),
        last=int(e.last),
        length=int(e.length),
        payload=bytes(e.payload[0 : min(e.length, lib.FW_UNKNOWN_PAYLOAD)]),
    )


def _stream(e: Any) -> Stream:
    return Stream(
        family=int(e.family),
        address=bytes(e.address[0 : _ADDRESS_BYTES[e.family]]),
        source_port=int(e.source_port),
        agent=bytes(e.agent[0 : _ADDRESS_BYTES[e.agent_family]]),
        version=int(e.version),
        domain=int(e.domain),
        counts=COUNTS[e.counts],
        first=int(e.first),
        last=int(e.last),
        findings=Findings(*(int(getattr(e.findings, field)) for field in Findings._fields)),
    )
