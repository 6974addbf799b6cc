"""What the exporters of the lab send: the datagrams of a capture, or NetFlow v5 of the lab's own making."""

import struct
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from itertools import count, cycle
from typing import NamedTuple

from gfwd.daemon.lab.host import MTU
from gfwd.errors import GfwdError
from gfwd.native.core import Core, Limits, Worker
from gfwd.plan.blueprint import Blueprint, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.plan.taps import WHOLE
from gfwd.rules.model import ALL_PORTS, Collector, Prefix, Rule, RuleSet
from gfwd.rules.space import RuleSpace

CABLES = Prefix(4, 0xC6120000, 22)
"""Where the addresses of the lab's own cables are: in 198.18.0.0/15, which is for trying networks out (RFC 2544)."""

PAYLOAD_MAX = MTU - 28
"""Bytes of UDP payload that fit in one packet."""

_SLOTS = 256
_BUFFER_BYTES = 65_536  # captures hold what offloads have put together, up to IP's own limit
_TAP_BYTES = 2_048
_VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
_IPV4, _IPV6 = 0x0800, 0x86DD


class Stream(NamedTuple):
    """What one socket of an exporter sends to one port. source: an IPv4 address in host order."""

    source: int
    source_port: int
    port: int


class Datagram(NamedTuple):
    stream: Stream
    payload: bytes


class LeftOut(Enum):
    """Why a datagram of a capture is not sent."""

    IPV6 = "over IPv6, and the lab speaks IPv4 only for now"
    TOO_LONG = f"with more than {PAYLOAD_MAX:,} bytes, which do not fit in one packet"
    SOURCE = f"from an address that no exporter can have, or that is the lab's own ({CABLES})"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Datagrams without end. what: for people. streams: all that they belong to. broken: where a capture is damaged."""

    what: str
    datagrams: Iterator[Datagram]
    streams: tuple[Stream, ...]
    left_out: Mapping[LeftOut, int]
    broken: str | None = None


# ---- a capture ----


def from_capture(path: str, wanted: int) -> Traffic:
    """The first `wanted` datagrams of a capture that the lab can send, over and over; raises GfwdError without any.

    Of a damaged capture, that is what comes before the damage.
    """
    datagrams: list[Datagram] = []
    left_out = Counter(dict.fromkeys(LeftOut, 0))
    # Its collector has no address, so that nothing leaves, and no port for that is needed.
    nobody = Collector("nobody.invalid", None, None)
    space = RuleSpace(RuleSet("", (Rule(None, ALL_PORTS, (nobody,), None, 1),)))
    plan = Blueprint(space=space, routes={nobody: Route(0, ())}, ports=(PlanPort(keep_tags=True),), taps=(WHOLE,))
    with Core(Limits(rules=1, collectors=1, neighbours=1, frame_bytes=_TAP_BYTES)) as core:
        port = core.port_pcap_in(core.region(rings=1, slots=_SLOTS, buffer_bytes=_BUFFER_BYTES), path)
        worker = core.worker(rx=[(port, 0)], tx=[])
        core.publish(compile_plan(plan))
        for frame in _udp_frames(worker):
            datagram = _decode(frame)
            if isinstance(datagram, LeftOut):
                left_out[datagram] += 1
            elif len(datagrams) < wanted:
                datagrams.append(datagram)
            else:
                break
        left_out[LeftOut.TOO_LONG] += core.work().tap_lost
        broken = core.port_error(port)
    if not datagrams:
        raise GfwdError(f"{path}: error: {broken or 'no UDP datagram over IPv4 in it that the lab could send'}")
    streams = tuple(dict.fromkeys(datagram.stream for datagram in datagrams))
    damage = None if broken is None else f"{path}: warning: {broken}; what comes before that is sent"
    return Traffic(f"{len(datagrams):,} datagrams of {path}", cycle(datagrams), streams, left_out, damage)


def _udp_frames(worker: Worker) -> Iterator[bytes]:
    """The frames that hold a whole UDP datagram, as the core finds them: it hands out what it taps."""
    while worker.step():  # deals with fewer than the tap has room for
        while (record := worker.take_tapped()) is not None:
            yield record.frame


def _decode(frame: bytes) -> Datagram | LeftOut:
    """Ethernet, VLAN tags, IPv4 and UDP of a frame whose lengths have been checked."""
    at = 14
    (kind,) = struct.unpack_from("!H", frame, 12)
    while kind in _VLAN_TYPES:
        (kind,) = struct.unpack_from("!H", frame, at + 2)
        at += 4
    if kind == _IPV6:
        return LeftOut.IPV6
    source = int.from_bytes(frame[at + 12 : at + 16])
    at += (frame[at] & 0xF) * 4  # header length in words
    source_port, port, length = struct.unpack_from("!HHH", frame, at)
    payload = frame[at + 8 : at + length]
    if not _is_host(source):
        return LeftOut.SOURCE
    return LeftOut.TOO_LONG if len(payload) > PAYLOAD_MAX else Datagram(Stream(source, source_port, port), payload)


def _is_host(source: int) -> bool:
    """Whether a host of the lab can have the address."""
    address = IPv4Address(source)
    ordinary = 1 << 24 <= source < 224 << 24 and not address.is_loopback
    return ordinary and not CABLES.holds(Prefix(4, source, 32))


# ---- NetFlow v5 ----

_EXPORTERS = tuple(int(IPv4Address(address)) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"))
_NETFLOW_PORT = 2_055
_RECORDS = 10

RULES = """\
# source   dst port  collectors                    priority
192.0.2.1  2055      198.51.100.10 203.0.113.10    A
192.0.2.2  2055      198.51.100.10:9995            A
default    *         203.0.113.10
"""
"""Rules for these exporters: one goes to both collectors, one to another port, all else behind the router."""


def of_own_making() -> Traffic:
    """NetFlow v5 of three exporters in turn, each with a running sequence."""
    streams = tuple(Stream(source, 40_000, _NETFLOW_PORT) for source in _EXPORTERS)
    what = f"NetFlow v5 of {len(streams)} exporters"
    return Traffic(what, _netflow(streams), streams, dict.fromkeys(LeftOut, 0))


def _netflow(streams: Sequence[Stream]) -> Iterator[Datagram]:
    """Header and records as Cisco has described them ("NetFlow Export Datagram Format", version 5)."""
    booted = time.time()
    for turn in count():
        now = time.time()
        uptime_ms = int((now - booted) * 1_000) + 60_000
        header = struct.pack("!HHIII", 5, _RECORDS, uptime_ms, int(now), int(now % 1 * 1e9))
        records = b"".join(_record(turn * _RECORDS + n, uptime_ms) for n in range(_RECORDS))
        for engine, stream in enumerate(streams):
            sequence = turn * _RECORDS & 0xFFFFFFFF  # flows that this exporter has sent before
            yield Datagram(stream, header + struct.pack("!IBBH", sequence, 0, engine, 0) + records)


def _record(n: int, uptime_ms: int) -> bytes:
    """A flow of one second: TCP, from a client of 10.0.0.0/16 to a server."""
    client, server = 0x0A000000 + n % 65_536, int(IPv4Address("198.51.100.80"))
    packets = 4 + n % 60
    return struct.pack(
        "!IIIHHIIIIHHBBBBHHBBH",
        *(client, server, 0),  # source, destination, next hop
        *(1, 2, packets, packets * 700),  # interfaces, packets, bytes
        *(uptime_ms - 1_000, uptime_ms),  # first and last packet
        *(1_024 + n % 60_000, 443),  # ports
        *(0, 0x1B, 6, 0),  # padding, TCP flags, protocol, type of service
        *(64_496, 64_511, 24, 24, 0),  # autonomous systems, prefix lengths, padding
    )
