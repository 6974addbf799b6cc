"""What inspect is fuzzed with: a function a decoder, that takes any bytes, and raises where something is wrong.

Hypothesis calls some of it (test_inspect.py), atheris all (atheris_inspect.py); what either has found is kept in
corpus/, a folder a target, and fed to it again by test_corpus.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite
from pathlib import Path

from gfwd.cli import inspect_text
from gfwd.daemon.capture.datagrams import RAW, Datagram, datagram
from gfwd.daemon.capture.file import CaptureFile, Frame
from gfwd.daemon.capture.fragments import Reassembly
from gfwd.daemon.inspect import Seen
from gfwd.metrics.guess import BYTES, guess
from gfwd.netflow.cache import Sender, TemplateCache
from gfwd.netflow.decode import decode
from gfwd.netflow.message import NETFLOW, SFLOW, SNMP, SYSLOG, Message
from gfwd.netflow.streams import Streams
from gfwd.netflow.summary import Summary
from tests.netflow import SENDER

DATA = Path(__file__).parents[1] / "data"
CORPUS = Path(__file__).parent / "corpus"
SECOND = 10**9


def real() -> list[bytes]:
    """Payloads that exporters have sent."""
    with (DATA / "exporters.pcap").open("rb") as file:
        frames = [datagram(frame.link_type, frame.data) for frame in CaptureFile(file).frames()]
    return [one.payload for one in frames if isinstance(one, Datagram)]


class Inspector:
    """All that inspect does with a datagram, with the state that it keeps between them."""

    def __init__(self) -> None:
        self.cache = TemplateCache(templates=100, fields=1_000)
        self.streams = Streams(most=20)
        self.summary = Summary(most=20)

    def take(self, protocol: str | None, payload: bytes, source: bytes = b"\xc0\x00\x02\x01") -> Message:
        message = decode(protocol, payload, Sender(source, SENDER.session), self.cache)
        seen = Seen(0, Datagram(source, 1, source, 2055, payload, False), message)
        text = json.dumps(seen.plain(), allow_nan=False)
        lines = [*inspect_text.datagrams([seen], with_records=True)]
        assert all(line.isprintable() for line in lines)
        self.streams.take(seen.exporter, 1, message)
        self.summary.take(0, seen.exporter, len(payload), message)
        check(message, payload)
        # What it becomes is bounded by what it was: a name and a value for a byte or two.
        assert len(text) + sum(map(len, lines)) < 2_000 + 1_000 * len(payload)
        return message

    def check_bounds(self) -> None:
        assert len(self.cache) <= 100
        assert self.cache.fields <= 1_000
        assert len([*self.streams.findings()]) <= 20
        assert len(self.summary.exporters) <= 20
        assert all(isfinite(one) for its in self.summary.exporters.values() for one in its.sampling)


def check(message: Message, payload: bytes) -> None:
    """Sets lie within the datagram, and records within their sets."""
    assert sum(one.length for one in message.sets) <= len(payload)
    for one in message.sets:
        records = one.records()
        if one.template is not None and records is not None:
            assert len(records) == one.n_records
            assert len(records) * one.template.least <= len(one.body)
            assert sum(len(one.template.fields) for _ in records) <= 2 * len(one.body)
    for sample in message.samples() if message.samples is not None else ():
        assert sample.length + 8 * len(sample.records) <= 2 * len(payload)


# ---- the targets ----


def any_datagram(protocol: str, payload: bytes) -> None:
    """Twice: the second time, its templates are known from the first one."""
    inspector = Inspector()
    for _ in range(2):
        inspector.take(protocol, payload)
    inspector.check_bounds()


def any_capture(data: bytes) -> None:
    """Frames and all that is in them, as inspect reads a file."""
    file, reassembly, inspector = (
        CaptureFile(io.BytesIO(data)),
        Reassembly(datagrams=20, most_bytes=50_000),
        Inspector(),
    )
    n = found = 0
    for frame in file.frames():
        n += 1
        for one in reassembly.take(frame):
            found += len(one.frames)
            inspector.take(*_guessed(one.datagram))
        assert len(reassembly) <= 20 and reassembly.bytes <= 50_000
    found += sum(len(one.frames) for one in reassembly.finish())
    assert found + reassembly.skipped.total() == n <= len(data) // 12
    inspector.check_bounds()


def any_fragments(data: bytes) -> None:
    """IP packets one after the other: a byte that says how many seconds later, two bytes of length, the packet."""
    reassembly, at, now, n, found = Reassembly(datagrams=20, most_bytes=50_000), 0, 0, 0, 0
    while at + 3 <= len(data):
        now += data[at] * SECOND
        packet = data[at + 3 : at + 3 + int.from_bytes(data[at + 1 : at + 3])]
        at += 3 + len(packet)
        n += 1
        for one in reassembly.take(Frame(now, packet, len(packet), RAW)):
            found += len(one.frames)
            assert len(one.datagram.payload) <= sum(len(frame.data) for frame in one.frames)
        assert len(reassembly) <= 20 and reassembly.bytes <= 50_000
    found += sum(len(one.frames) for one in reassembly.finish())
    assert found + reassembly.skipped.total() == n
    assert reassembly.bytes == 0


def _guessed(its: Datagram) -> tuple[str | None, bytes]:
    return guess(its.payload[:BYTES], len(its.payload), its.destination_port).protocol, its.payload


TARGETS: dict[str, Callable[[bytes], None]] = {
    "netflow": partial(any_datagram, NETFLOW),  # all versions, IPFIX too
    "sflow": partial(any_datagram, SFLOW),
    "syslog": partial(any_datagram, SYSLOG),
    "snmp": partial(any_datagram, SNMP),
    "capture": any_capture,
    "fragments": any_fragments,
}


def kept(target: str) -> Iterator[Path]:
    """The files of its corpus."""
    return (path for path in sorted((CORPUS / target).iterdir()) if path.is_file())
