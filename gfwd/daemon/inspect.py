"""Inspect: what datagrams say, one by one as they were captured, or as they go through a gfwd that runs."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, Self

from gfwd.daemon.capture.datagrams import Datagram, Skipped, address_text, datagram
from gfwd.daemon.capture.file import Frame
from gfwd.daemon.capture.fragments import Captured, Reassembly
from gfwd.daemon.capture.source import Source
from gfwd.daemon.capture.writer import CaptureWriter
from gfwd.errors import GfwdError, UsageError
from gfwd.metrics.guess import BYTES, PORTS, guess
from gfwd.metrics.words import many
from gfwd.netflow.cache import Sender, TemplateCache
from gfwd.netflow.decode import decode
from gfwd.netflow.message import IPFIX, Message
from gfwd.netflow.plain import plain
from gfwd.netflow.streams import STREAMS_MOST, Streams
from gfwd.netflow.summary import EXPORTERS_MOST, Summary
from gfwd.rules.model import ALL_PORTS, LAST_PORT, Ports, Prefix

if TYPE_CHECKING:
    from gfwd.daemon.tap.verdict import Live

_NS: Final = 1_000_000_000
_LINK_TYPES_SHOWN: Final = 4
_EXPORTERS_KEPT: Final = 65_536  # of which it is known whether they are asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """What to look into. exporters: none means all. ports: that datagrams were sent to. protocols: by such a port,
    where nobody is to guess. count: stop after so many. sample: one of so many. output: a pcap file for what matched.
    """

    exporters: tuple[Prefix, ...] = ()
    ports: Ports = ALL_PORTS
    protocols: Mapping[int, str] = field(default_factory=dict)
    count: int | None = None
    sample: int = 1
    output: str | None = None


class Seen(NamedTuple):
    """A datagram. time: ns since 1970. live: None in a capture."""

    time: int
    datagram: Datagram
    message: Message
    live: "Live | None" = None

    @property
    def exporter(self) -> str:
        return address_text(self.datagram.source)

    @property
    def destination(self) -> str:
        return address_text(self.datagram.destination)

    def plain(self) -> dict[str, Any]:
        """As --json prints it; time in seconds, to the microsecond."""
        return {
            "time": round(self.time / _NS, 6),
            "exporter": self.exporter,
            "source_port": self.datagram.source_port,
            "destination": self.destination,
            "destination_port": self.datagram.destination_port,
            **plain(self.message),
            **({} if self.live is None else {"verdict": self.live.verdict.as_json()}),
        }


class Inspection:
    """An inspection that is under way: a context manager. source: of the frames; it ends with the inspection. cache:
    all templates so far. matched: datagrams that the filters let through. tick: is called now and then with the
    source's offset.
    """

    def __init__(self, job: Inspect, source: Source, tick: Callable[[int], None] | None = None) -> None:
        """Raises GfwdError where the output cannot be opened."""
        self.cache = TemplateCache()
        self.matched = 0
        self._job = job
        self._source = source
        self._tick = tick
        self._frames = 0
        self._left_out: list[str] = []
        self._reassembly = Reassembly()
        self._is_behind_gap = False  # what is shown next
        self._cut = 0
        self._wanted: dict[bytes, bool] = {}
        self._ports = _by_number(job.ports)
        self._stack = ExitStack()
        self._writer: CaptureWriter | None = None
        try:
            self._stack.enter_context(source)
            if job.output is not None:
                self._writer = CaptureWriter(self._create(job.output))
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._stack:
                if self._writer is not None and kind is None:
                    self._writer.finish()
        except OSError as failed:
            raise self._unwritable(failed) from None

    # ---- what it finds ----

    def seen(self) -> Iterator[Seen]:
        """Every datagram that the filters let through, decoded. Templates are learned from all of them, also from
        those that are not of the sample.
        """
        job, shown = self._job, 0
        for found in self._captured():
            its, live = found.datagram, found.frames[-1].live
            if not (self._ports[its.destination_port] and self._is_wanted(its.source)):
                continue
            self._cut += its.cut
            message = self._decode(its)
            if live is not None and not live.is_of_sample:
                continue
            self.matched += 1
            if (self.matched - 1) % job.sample:
                continue
            if self._writer is not None:
                for frame in found.frames:
                    self._write(frame)
            yield Seen(found.time, its, message, live and live._replace(is_behind_gap=self._is_behind_gap))
            self._is_behind_gap = False
            shown += 1
            if shown == job.count:
                return

    def _captured(self) -> Iterator[Captured]:
        for frame in self._source.frames():
            self._frames += 1
            if self._tick is not None and self._frames % self._source.tick_frames == 0:
                self._tick(self._source.offset)
            if frame.live is None:
                yield from self._reassembly.take(frame)
            else:
                yield from self._live(frame, frame.live)
        yield from self._reassembly.finish()

    def _live(self, frame: Frame, live: "Live") -> Iterator[Captured]:
        """What a gfwd that runs shows of a datagram in fragments is the first one: the others are not waited for."""
        self._is_behind_gap |= live.is_behind_gap
        found = datagram(frame.link_type, frame.data)
        if isinstance(found, Skipped):
            self._reassembly.skipped[found] += 1
        else:
            yield Captured(found, (frame,))

    def _write(self, frame: Frame) -> None:
        try:
            if self._writer is not None:
                self._writer.put(frame)
        except OSError as error:
            raise self._unwritable(error) from None

    def _decode(self, found: Datagram) -> Message:
        payload, port = found.payload, found.destination_port
        protocol = self._job.protocols.get(port)
        if protocol is None:
            guessed = guess(payload[:BYTES], len(payload), port)
            protocol = guessed.protocol or PORTS.get(port)
        session = found.source_port, found.destination, port
        message = decode(protocol, payload, Sender(found.source, session), self.cache)
        if found.cut:  # v5 and v9 say in the header how far they go on; IPFIX does not
            message.step = message.step if message.protocol != IPFIX else None
        return message

    def _is_wanted(self, source: bytes) -> bool:
        if not self._job.exporters:
            return True
        wanted = self._wanted.get(source)
        if wanted is None:
            if len(self._wanted) >= _EXPORTERS_KEPT:
                self._wanted.clear()
            its = Prefix(4 if len(source) == 4 else 6, int.from_bytes(source), 8 * len(source))
            wanted = self._wanted[source] = any(prefix.holds(its) for prefix in self._job.exporters)
        return wanted

    # ---- what there is to say at the end ----

    def problem(self) -> str | None:
        """Where the capture is broken, if it is; all before that place was looked into."""
        broken = self._source.problem
        return None if broken is None else f"{self._source.name}: error: {broken}"

    def leave_out(self, n: int, why: str) -> None:
        """So many datagrams are not in what is made of them; the notes say so."""
        if n:
            self._left_out.append(f"{many(n, 'datagram')} {why}")

    def notes(self) -> list[str]:
        """What was not looked into, and what was forgotten: nothing is left out in silence."""
        lines = []
        skipped, fragments = self._reassembly.skipped, self._reassembly
        if skipped:
            causes = ", ".join(f"{n:,} {self._why(cause)}" for cause, n in skipped.most_common())
            lines.append(f"{skipped.total():,} of {many(self._frames, 'frame')} not looked into: {causes}")
        if fragments.whole:
            parts = many(fragments.parts, "fragment")
            lines.append(f"{many(fragments.whole, 'datagram')} put together from {parts}")
        if fragments.crowded:
            lines.append(
                f"{many(fragments.crowded, 'datagram')} in fragments given up, since there was no room for more"
            )
        if self._cut:
            lines.append(f"{many(self._cut, 'datagram')} not whole: first fragments, or cut when they were captured")
        if self.cache.withdrawals:
            lines.append(f"{many(self.cache.withdrawals, 'withdrawal')} of templates ignored, as RFC 7011 §8.4 asks")
        if self.cache.forgotten:
            lines.append(f"{many(self.cache.forgotten, 'template')} forgotten, since there was no room for more")
        if self._writer is not None and self._writer.left_out:
            n = many(self._writer.left_out, "frame")
            lines.append(
                f"{n} not written to {self._job.output}: a pcap file has one link type, that of its first frame"
            )
        return [f"{self._source.name}: note: {line}" for line in (*self._source.notes(), *lines, *self._left_out)]

    def _why(self, skipped: Skipped) -> str:
        """With the numbers of link types, by which people can look them up; a capture may have many of them."""
        if skipped is not Skipped.LINK:
            return skipped
        numbers = sorted(self._reassembly.link_types)
        more = ", …" if len(numbers) > _LINK_TYPES_SHOWN else ""
        return f"{skipped} ({', '.join(map(str, numbers[:_LINK_TYPES_SHOWN]))}{more})"

    # ---- what is written ----

    def _create(self, path: str) -> BinaryIO:
        source = self._source.file
        if source is not None and os.path.exists(path) and os.path.samefile(path, source):
            raise UsageError(f"{path}: error: is the capture itself; name another file to write to")
        try:
            return self._stack.enter_context(open(path, "wb"))
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> GfwdError:
        return GfwdError(f"{self._job.output}: error: cannot be written: {error.strerror}")


class Summed(NamedTuple):
    """Who sent what. templates: kept, by exporter. lost: by sequence numbers, by exporter and what they count."""

    summary: Summary
    templates: Counter[str]
    lost: dict[str, Counter[str]]

    def plain(self) -> Iterator[dict[str, Any]]:
        for name, its in self.summary.exporters.items():
            yield {
                "exporter": name,
                "datagrams": its.datagrams,
                "bytes": its.bytes,
                "first": round(its.first / _NS, 6),
                "last": round(its.last / _NS, 6),
                "rate": its.rate(),
                "versions": [
                    {"protocol": protocol, "version": version, "datagrams": n}
                    for (protocol, version), n in its.protocols.items()
                ],
                "records": its.records,
                "templates": self.templates[name],
                "sets_without_template": its.nameless_sets,
                "sampling": sorted(its.sampling),
                "lost": self.lost.get(name, {}),
                "clock_skew": its.skew,
                "flawed": its.flaws,
            }


def summary(inspection: Inspection) -> Summed:
    """Sums up all that is left to see."""
    found, streams = Summary(), Streams()
    for seen in inspection.seen():
        _look_for_gap(seen, streams)
        found.take(seen.time, seen.exporter, len(seen.datagram.payload), seen.message)
        streams.take(seen.exporter, seen.datagram.source_port, seen.message)
    _say_what_is_left_out(inspection, streams)
    inspection.leave_out(found.not_told_apart, f"not in the table, which has room for {EXPORTERS_MOST:,} exporters")
    lost: dict[str, Counter[str]] = {}
    for one in streams.findings():
        lost.setdefault(one.stream.exporter, Counter())[one.counts] += one.findings.lost
    templates = Counter({address_text(one): n for one, n in inspection.cache.by_exporter().items()})
    return Summed(found, templates, lost)


class Losses(NamedTuple):
    """What sequence numbers prove."""

    streams: Streams

    def plain(self) -> Iterator[dict[str, Any]]:
        for its in self.streams.findings():
            yield {**its.stream._asdict(), "counts": its.counts, **asdict(its.findings)}


def loss(inspection: Inspection) -> Losses:
    """Looks at the sequence numbers of all that is left to see."""
    streams = Streams()
    for seen in inspection.seen():
        _look_for_gap(seen, streams)
        streams.take(seen.exporter, seen.datagram.source_port, seen.message)
    _say_what_is_left_out(inspection, streams)
    return Losses(streams)


def _say_what_is_left_out(inspection: Inspection, streams: Streams) -> None:
    inspection.leave_out(
        streams.not_told_apart,
        f"whose sequence numbers were not followed, since there is room for {STREAMS_MOST:,} source ports and domains: "
        "look at fewer exporters (--exporter)",
    )


def _look_for_gap(seen: Seen, streams: Streams) -> None:
    if seen.live is not None and seen.live.is_behind_gap:
        streams.interrupt()


def _by_number(ports: Ports) -> bytes:
    """For each port, whether it is one of them."""
    table = bytearray(LAST_PORT + 1)
    for first, last in ports:
        table[first : last + 1] = b"\1" * (last + 1 - first)
    return bytes(table)
