"""Several exporters and three collectors around a running gfwd, and a look at every datagram between them."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.live import PATIENCE_S, Collector, Live, arrived, cable, host, route, switch
from tests.net.network import Host

RULES = """\
10.9.0.11     514    10.1.0.2                   A
10.9.0.12     *      10.2.0.2                   A
10.9.0.13     2055   10.1.0.2 10.1.0.4:9995     A
10.9.0.14/31  2055   10.2.0.2:9996 10.1.0.2     B
default       *      10.2.0.2
"""
NEAR, COPIES, FAR = "near", "copies", "far"
ADDRESSES = {NEAR: "10.1.0.2", COPIES: "10.1.0.4", FAR: "10.2.0.2"}


@dataclass(frozen=True)
class Stream:
    """What one socket of an exporter sends to one port; places: where RULES send it, as (name in RULES, who, port)."""

    source: str
    source_port: int
    port: int
    places: tuple[tuple[str, str, int], ...]


STREAMS = (
    Stream("10.9.0.11", 40_000, 514, (("10.1.0.2", NEAR, 514),)),
    Stream("10.9.0.11", 40_001, 514, (("10.1.0.2", NEAR, 514),)),
    Stream("10.9.0.12", 40_000, 514, (("10.2.0.2", FAR, 514),)),
    Stream("10.9.0.12", 40_000, 2055, (("10.2.0.2", FAR, 2055),)),
    Stream("10.9.0.13", 2055, 2055, (("10.1.0.2", NEAR, 2055), ("10.1.0.4:9995", COPIES, 9995))),
    Stream("10.9.0.14", 40_000, 2055, (("10.2.0.2:9996", FAR, 9996), ("10.1.0.2", NEAR, 2055))),
    Stream("10.9.0.15", 40_000, 2055, (("10.2.0.2:9996", FAR, 9996), ("10.1.0.2", NEAR, 2055))),
    Stream("10.9.0.16", 514, 514, (("10.2.0.2", FAR, 514),)),
)
PORTS = {
    "two-armed": ("--in", "xdp:in0", "--out", "xdp:out0"),
    "two inputs": ("--in", "xdp:in0", "--in", "xdp:in1", "--out", "xdp:out0"),
    "one-armed": ("--port", "xdp:out0"),
}
KEPT = 1_000  # frames of each collector
_FILLER = os.urandom(4_096)
_IN_FLIGHT = 140  # copies: a veth keeps 256 packets, and what is more is lost
_WAVE = 60


def payload_of(stream: int, number: int) -> bytes:
    """Of every length from 8 to 300 bytes, and now and then as long as fits."""
    length = 1_464 if number % 64 == 63 else number * 7 % 293
    at = number % 2_048
    return struct.pack(">II", stream, number) + _FILLER[at : at + length]


class Network(AbstractContextManager["Network"]):
    """exporters — gfwd — switch with the collectors `near` and `copies`, and a router with `far` behind it.

    "two-armed": exporters on in0, the switch on out0; "two inputs": half of the exporters on in1; "one-armed": all on
    the switch. kept: a sample of the frames that came to each collector.
    """

    def __init__(self, gfwd: Sequence[str], folder: Path, shape: str, *, queues: int = 1) -> None:
        self._queues = queues
        with ExitStack() as stack:
            self.us, self._lan, self.near, copies, self._router, far = (host(stack) for _ in range(6))
            self.hosts = {NEAR: self.near, COPIES: copies, FAR: far}
            for at, interface, address in (
                (self.us, "out0", "10.1.0.1/24"),
                (self.near, "c0", "10.1.0.2/24"),
                (self._router, "r0", "10.1.0.3/24"),
                (copies, "c0", "10.1.0.4/24"),
            ):
                self._plug_in(at, interface, address)
            cable(self._router, "r1", far, "c0")
            self._router.address("r1", "10.2.0.1/24")
            self._router.sysctl("ipv4/ip_forward", 1)
            far.address("c0", "10.2.0.2/24")
            route(self.us, "10.2.0.0/24", via="10.1.0.3")
            self._collectors = {name: stack.enter_context(Collector(at, "c0")) for name, at in self.hosts.items()}
            self._senders = self._exporters(stack, shape)
            switch(self._lan, *(link.get("IFLA_IFNAME") for link in self._lan.ip.get_links() if link["index"] > 1))
            rules = folder / "streams.rules"
            rules.write_text(RULES)
            self._command: list[str | Path] = [*gfwd, "run", "--rules", rules, *PORTS[shape], "--json"]
            self._stack = stack.pop_all()
        self.sent = 0
        self.wanted = Counter[str]()  # copies, by the collector's name in RULES
        self.kept: dict[str, list[bytes]] = {name: [] for name in ADDRESSES}
        self._sent_by = [0 for _ in STREAMS]
        self.expected = {  # the number of the next datagram
            (who, stream.source, stream.source_port, port): [nth, 0]
            for nth, stream in enumerate(STREAMS)
            for _, who, port in stream.places
        }

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, *arguments: str) -> Live:
        """gfwd ends with the network at the latest."""
        return self._stack.enter_context(Live([*self._command, *arguments], self.us))

    def _plug_in(self, at: Host, interface: str, address: str) -> None:
        """Into the switch."""
        cable(at, interface, self._lan, f"p{len(self._lan.ip.get_links())}", queues=self._queues)
        at.address(interface, address)

    def _exporters(self, stack: ExitStack, shape: str) -> list[tuple[socket.socket, str]]:
        """For each stream its socket, and the address of gfwd that it sends to."""
        hosts = [host(stack) for _ in range(2 if shape == "two inputs" else 1)]
        targets = ["10.1.0.1"] if shape == "one-armed" else [f"10.0.{nth}.1" for nth in range(len(hosts))]
        for nth, at in enumerate(hosts):
            if shape == "one-armed":
                self._plug_in(at, "e0", "10.1.0.9/24")
            else:
                cable(at, "e0", self.us, f"in{nth}", queues=self._queues)
                at.address("e0", f"10.0.{nth}.2/24")
                self.us.address(f"in{nth}", f"{targets[nth]}/24")
        sources = sorted({stream.source for stream in STREAMS})
        for nth, source in enumerate(sources):
            hosts[nth % len(hosts)].address("e0", f"{source}/32")
        sockets: dict[tuple[str, int], socket.socket] = {}
        for stream in STREAMS:
            if (stream.source, stream.source_port) not in sockets:
                new = stack.enter_context(hosts[sources.index(stream.source) % len(hosts)].socket())
                new.bind((stream.source, stream.source_port))
                sockets[stream.source, stream.source_port] = new
        return [
            (sockets[stream.source, stream.source_port], targets[sources.index(stream.source) % len(hosts)])
            for stream in STREAMS
        ]

    # ---- sending, and looking at what comes ----

    def exchange(self, number: int) -> None:
        """Send so many datagrams, no faster than they arrive, and look at each; none is missing at the end."""
        from_macs = {NEAR: self.us.mac("out0"), COPIES: self.us.mac("out0"), FAR: self._router.mac("r1")}
        self._macs = {who: (self.mac(who), from_macs[who]) for who in ADDRESSES}
        end = self.sent + number
        while self.sent < end:
            for _ in range(min(_WAVE, end - self.sent)):
                self._send()
            self._receive(_IN_FLIGHT)
        self._receive(0)

    def _send(self) -> None:
        nth = (self.sent * 5 + self.sent // 64) % len(STREAMS)  # in changing order
        stream, (sender, target) = STREAMS[nth], self._senders[nth]
        sender.sendto(payload_of(nth, self._sent_by[nth]), (target, stream.port))
        self._sent_by[nth] += 1
        self.sent += 1
        self.wanted.update(name for name, _, _ in stream.places)

    def _receive(self, most: int) -> None:
        """Until no more than so many copies are under way."""
        deadline = time.monotonic() + PATIENCE_S
        while (missing := self.wanted.total() - self.arrived) > most:
            assert time.monotonic() < deadline, f"{missing} copies are missing; those that came: {self.expected}"
            select.select([one.fileno() for one in self._collectors.values()], [], [], 0.05)
            for who, collector in self._collectors.items():
                collector.look()
                for frame in collector.frames:
                    self._look_at(who, frame)
                collector.frames.clear()

    @property
    def arrived(self) -> int:
        return sum(number for _, number in self.expected.values())

    def _look_at(self, who: str, frame: bytes) -> None:
        """It is the next one of its stream, as it was sent, for this collector; its checksums are right."""
        came = arrived(frame)
        place = self.expected[who, came.source, came.ports[0], came.ports[1]]
        assert came.payload == payload_of(*place), f"to {who}: not number {place[1]} of {STREAMS[place[0]]}: {came}"
        place[1] += 1
        assert came.destination == ADDRESSES[who]
        assert came.ttl == (62 if who == FAR else 63)
        assert (came.to_mac, came.from_mac) == self._macs[who]
        if place[1] % 16 == 0 and len(self.kept[who]) < KEPT:
            self.kept[who].append(frame)

    def mac(self, who: str) -> bytes:
        return self.hosts[who].mac("c0")
