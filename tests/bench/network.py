"""The benchmark's network: exporters, a forwarder and a collector, each in a network namespace of its own.

    exporters: e0 ── in0 :forwarder: out0 ── c0 :collector

What exporters send is made by generator.c, and arrives at in0 as from a card; what comes to the collector is counted
by sink.c. veth takes frames for its peer in the sender's own context. So all that the kernel does for receiving runs on
the generator's core, and all that it does for sending, and counting, on the forwarder's.
"""

import ctypes
import fcntl
import ipaddress
import json
import os
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from gfwd.daemon.namespaces import Namespace
from gfwd.errors import GfwdError
from tests.bench import programs

IN, OUT = "in0", "out0"
IN_ADDRESS = "192.0.2.1"
COLLECTOR = "198.51.100.1"
"""The collector of `gfwd.daemon.workload`'s rules."""

PORT = 2_055
FIRST_EXPORTER = "10.64.0.1"
OUT_MAC = "02:00:00:00:02:01"
COLLECTOR_MAC = "02:00:00:00:02:02"
_EXPORTERS_MAC, _IN_MAC = "02:00:00:00:01:01", "02:00:00:00:01:02"
_EXPORTERS_GATEWAY = "192.0.2.2"

GENERATOR_CORE, FORWARDER_CORE = 0, 1

_SIOCETHTOOL, _ETHTOOL_SGRO = 0x8946, 0x2C  # linux/sockios.h, linux/ethtool.h


class Generated(NamedTuple):
    """What the generator sent, and how long that took."""

    sent: int
    seconds: float


class Arrived(NamedTuple):
    """Datagrams that the collector got so far; other: what was not for it. at: seconds on some clock."""

    right: int
    other: int
    at: float


@contextmanager
def going_first() -> Iterator[None]:
    """The calling process runs before all others meanwhile, so that instruments are read when they should be."""
    before = os.sched_getaffinity(0), os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(PermissionError):  # then figures are a little less exact
        os.sched_setaffinity(0, {GENERATOR_CORE})
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, before[1], before[2])
        os.sched_setaffinity(0, before[0])


class Network(AbstractContextManager["Network"]):
    """The three namespaces, ready, with neighbours that are known for good. frame: see `flow_frame`."""

    def __init__(self, exporters: int, frame: bytes) -> None:
        self._exporters = exporters
        self._programs = programs.build()
        with ExitStack() as opened:
            self.exporter, self.forwarder, self.collector = (opened.enter_context(Namespace()) for _ in range(3))
            self._frame = opened.enter_context(open(os.memfd_create("frame"), "w+b"))
            self._frame.write(frame)
            self._frame.flush()
            self._wire()
            self._opened = opened.pop_all()

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _wire(self) -> None:
        ends = (
            (self.exporter, "e0", _EXPORTERS_MAC, _EXPORTERS_GATEWAY),
            (self.forwarder, IN, _IN_MAC, IN_ADDRESS),
            (self.forwarder, OUT, OUT_MAC, "198.51.100.254"),
            (self.collector, "c0", COLLECTOR_MAC, COLLECTOR),
        )
        for (near, name, mac, _), (far, far_name, far_mac, _) in (ends[:2], ends[2:]):
            there = f"/proc/{os.getpid()}/fd/{far.fileno()}"
            peer = ("type", "veth", "peer", "name", far_name, "address", far_mac, "netns", there)
            _ip(near, "link", "add", name, "address", mac, *peer)
        for namespace, name, _, address in ends:
            with namespace.inside(), suppress(FileNotFoundError):  # no IPv6, so nothing to find out about it either
                Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6").write_text("1")
            _ip(namespace, "address", "add", f"{address}/24", "dev", name)
            _ip(namespace, "link", "set", name, "up")
        _ip(self.forwarder, "route", "add", "10.64.0.0/10", "via", _EXPORTERS_GATEWAY)
        for address, mac, name in ((_EXPORTERS_GATEWAY, _EXPORTERS_MAC, IN), (COLLECTOR, COLLECTOR_MAC, OUT)):
            _ip(self.forwarder, "neighbour", "add", address, "lladdr", mac, "dev", name, "nud", "permanent")

    def start(self, command: Sequence[str], **streams: Any) -> "Program":
        """Start a forwarder on its core."""
        return Program(self.forwarder, command, FORWARDER_CORE, **streams)

    def program(self, name: str) -> str:
        return str(self._programs[name])

    def accept_frames(self) -> None:
        """Let in0 take frames where no XDP program is on it, which has that effect too.

        It is GRO that makes a veth poll as a card does; without, frames from XDP find no queue there.
        """
        value = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_SGRO, 1))
        request = struct.pack("=16sQ16x", IN.encode(), ctypes.addressof(value))
        with self.forwarder.socket() as socket:
            fcntl.ioctl(socket, _SIOCETHTOOL, request)

    def received(self) -> int:
        """Frames that have come to the forwarder."""
        with self.forwarder.inside():
            return int(_dev_line(Path("/proc/thread-self/net/dev").read_text("ascii"), IN)[1])

    def generate(self, count: int, rate: float, seconds: float) -> "Generating":
        """Start to send so many frames, so many a second (0: as fast as it goes), and not longer than that."""
        sending = (str(count), str(round(rate)), str(seconds))
        command = (self.program("generator"), "e0", str(self._exporters), *sending)
        self._frame.seek(0)
        return Generating(self.exporter, command, GENERATOR_CORE, stdin=self._frame, stdout=subprocess.PIPE)


class Program:
    """A running program that has a core for itself as far as that can be had; ends with the context, children too.

    It is a session of its own, with the highest priority: what else runs on the machine disturbs less.
    """

    def __init__(self, namespace: Namespace, command: Sequence[str], core: int, **streams: Any) -> None:
        alone = ("setsid", "sh", "-c", '{ echo -20 > /proc/$$/autogroup; } 2>/dev/null; exec "$@"', "sh")
        pinned = ("nice", "-n", "-20", "taskset", "-c", str(core))
        self.process = namespace.start((*alone, *pinned, *command), **streams)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to end; where it does not, make it."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        self._signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _signal(self, number: int) -> None:
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _processes(self) -> list[int]:
        """All of its session."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if int((entry / "stat").read_text().rpartition(") ")[2].split()[3]) == self.process.pid:
                    found.append(int(entry.name))
        return found

    def used_and_waited(self) -> tuple[float, float]:
        """Seconds that it had a core, and that it waited for one, so far, with all its processes and threads."""
        used, waited = 0, 0
        for pid in self._processes():
            for thread in Path(f"/proc/{pid}/task").glob("*"):
                with suppress(OSError):
                    ran, queued, _ = map(int, (thread / "schedstat").read_text().split())
                    used, waited = used + ran, waited + queued
        return used / 1e9, waited / 1e9


class Generating(Program):
    """A generator at work."""

    def wait(self) -> Generated:
        """Until it has sent all."""
        output, _ = self.process.communicate()
        if self.process.returncode != 0:
            raise GfwdError("benchmark: error: the generator did not end well")
        return Generated(**json.loads(output))


class Sink(AbstractContextManager["Sink"]):
    """Counts at the collector."""

    def __init__(self, network: Network, address: str = COLLECTOR, port: int = PORT) -> None:
        first = ("sh", "-c", 'chrt -r 1 true 2> /dev/null && exec chrt -r 1 "$@"; exec "$@"', "sh")
        command = (*first, "taskset", "-c", str(GENERATOR_CORE), network.program("sink"), "c0", address, str(port))
        self._process = network.collector.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._readline() != "counting\n":
            raise GfwdError("benchmark: error: nothing counts at the collector")

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def read(self) -> Arrived:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counted = json.loads(self._readline())
        return Arrived(counted["right"], counted["other"], counted["ns"] / 1e9)

    def settled(self) -> Arrived:
        """When nothing arrives any more."""
        arrived = self.read()
        while True:
            time.sleep(0.05)
            later = self.read()
            if later[:2] == arrived[:2]:
                return later
            arrived = later

    def _readline(self) -> str:
        assert self._process.stdout is not None
        line: str = self._process.stdout.readline()
        return line


def flow_frame(records: int) -> bytes:
    """A NetFlow v5 datagram (Cisco's format: 24 bytes, and 48 a record) of the first exporter."""
    times = struct.pack("!II", 950_000, 960_000)
    record = struct.pack("!4s4s4sHHII8sHHBBBBHHBBH", *(bytes([10, 1, 1, i]) for i in (1, 2, 3)), 1, 2, 10, 1_000, times,
                         40_001, 443, 0, 0x18, 6, 0, 100, 200, 24, 24, 0)  # fmt: skip
    header = struct.pack("!HHIIIIBBH", 5, records, 1_000_000, int(time.time()), 0, 0, 0, 0, 0)
    payload = header + record * records
    source, destination = (ipaddress.IPv4Address(address).packed for address in (FIRST_EXPORTER, IN_ADDRESS))
    udp = struct.pack("!HHH", 40_000, PORT, 8 + len(payload))
    ip = struct.pack("!BBHHHBB", 0x45, 0, 28 + len(payload), 1, 0x4000, 64, 17)
    pseudo = source + destination + struct.pack("!HH", 17, 8 + len(payload))
    return b"".join(
        (
            *(bytes.fromhex(mac.replace(":", "")) for mac in (_IN_MAC, _EXPORTERS_MAC)),
            b"\x08\x00",
            *(ip, _checksum(ip + source + destination), source, destination),
            *(udp, _checksum(pseudo + udp + payload), payload),
        )
    )


def _checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF or 0xFFFF).to_bytes(2)


def _dev_line(text: str, name: str) -> list[str]:
    """The numbers of an interface in /proc/net/dev."""
    return next(line.split(":")[1].split() for line in text.splitlines() if line.strip().startswith(f"{name}:"))


def _ip(namespace: Namespace, *arguments: str) -> None:
    with namespace.start(("ip", *arguments), stderr=subprocess.PIPE) as process:
        _, error = process.communicate()
    if process.returncode != 0:
        raise GfwdError(f"benchmark: error: ip {' '.join(arguments)}: {error.strip()}")
