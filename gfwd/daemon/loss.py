"""Loss proof: what never came to a gfwd that runs, by exporters' sequence numbers; beside it, what gfwd lost itself.

The core reads the sequence numbers of NetFlow and sFlow. Those of IPFIX count data records, and only who keeps its
templates can count these: the core hands such datagrams out, and they are followed here. It hands out no more than
there is room for; across such a gap nothing is known, and nothing is taken for lost.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from gfwd.daemon.capture.datagrams import ETHERNET, Skipped, address_text, datagram
from gfwd.daemon.report import Report
from gfwd.metrics.ledger import Ledger
from gfwd.native.core import Core, Findings, Record, Stream, Worker
from gfwd.netflow.cache import Sender, TemplateCache
from gfwd.netflow.decode import decode
from gfwd.netflow.loss import Findings as FindingsHere
from gfwd.netflow.message import IPFIX, NETFLOW, SFLOW
from gfwd.netflow.streams import Found, Streams

_STALE_S: Final = 15 * 60.0  # as in the core: so long a stream is silent, before another one may have its place
_LOOK_S: Final = 0.01  # so long a look is at most, and what is left waits: all else is to have its turn
_SOON_S: Final = 0.01
_IDLE_S: Final = 0.2


class LossTotal(NamedTuple):
    """Of all exporters of a protocol that count the same; the rest as in core.Findings."""

    protocol: str
    counts: str
    findings: Findings


class _Ipfix:
    """What one worker hands out. Each datagram of a stream comes by the same worker, so templates are known to it."""

    def __init__(self, worker: Worker, most: int) -> None:
        self.streams = Streams(most, _STALE_S)
        self._worker = worker
        self._cache = TemplateCache()
        self._interruption = 0  # as the last record said it

    def take(self, until: float) -> bool:
        """Follows what is there, until then at most (time.monotonic()). Whether there was anything."""
        record = first = self._worker.take_ipfix()
        while record is not None:
            self._follow(record)
            record = self._worker.take_ipfix() if time.monotonic() < until else None
        return first is not None

    def _follow(self, record: Record) -> None:
        if record.interruption != self._interruption:
            self._interruption = record.interruption
            self.streams.interrupt()
        found = datagram(ETHERNET, record.frame)
        if isinstance(found, Skipped):
            return  # the core has looked: it is UDP, and it is whole
        session = found.source_port, found.destination, found.destination_port
        message = decode(IPFIX, found.payload, Sender(found.source, session), self._cache)
        if found.cut:
            message.step = None  # of a first fragment, nobody knows how many records the others hold
        self.streams.take(address_text(found.source), found.source_port, message, time.monotonic())


class LossProof:
    """Of a core and its workers. is_on: whether some port asks for it."""

    def __init__(self, core: Core, workers: Sequence[Worker]) -> None:
        self.is_on = False
        self._core = core
        self._ipfix = [_Ipfix(worker, core.limits.streams) for worker in workers]
        self._next_look = 0.0

    def deadline(self) -> float | None:
        """When `advance` wants to be called next (time.monotonic()); None: never."""
        return self._next_look if self.is_on else None

    def advance(self, now: float) -> None:
        """Follow what has been handed out, or some of it."""
        if not self.is_on or now < self._next_look:
            return
        found = [its.take(time.monotonic() + _LOOK_S / len(self._ipfix)) for its in self._ipfix]
        self._next_look = time.monotonic() + (_SOON_S if any(found) else _IDLE_S)

    def answer(self, report: Report) -> dict[str, Any]:
        """All of it, as objects of JSON."""
        work, streams = report.work, self._core.streams()
        return {
            "is_on": self.is_on,
            "streams": [*map(_of_core, (one for one in streams if one.family)), *map(_of_ipfix, self._followed_here())],
            "gone": self._gone(streams)._asdict(),
            "not_followed": {
                "numberless": work.numberless,
                "streams_without_room": work.unfollowed + sum(its.streams.not_told_apart for its in self._ipfix),
                "ipfix_without_room": work.ipfix_lost,
            },
            "inside": _inside(report.ledger, report),
        }

    def totals(self) -> list[LossTotal]:
        """By protocol; those of streams that gave up their places are "other", whatever their protocol."""
        streams = self._core.streams()
        found = {("other", "any"): [self._gone(streams)]}
        for one in streams:
            if one.family:
                found.setdefault((_protocol(one), one.counts), []).append(one.findings)
        for _, counts, its in self._followed_here():
            found.setdefault((IPFIX, counts), []).append(_as_core(its))
        return [LossTotal(protocol, counts, _sum(all_of_it)) for (protocol, counts), all_of_it in found.items()]

    def _gone(self, streams: Sequence[Stream]) -> Findings:
        """Of all that gave up their places, here and in the core."""
        here = (_as_core(its.streams.gone) for its in self._ipfix)
        return _sum([*(one.findings for one in streams if not one.family), *here])

    def _followed_here(self) -> Iterator[Found]:
        for its in self._ipfix:
            yield from its.streams.findings()


def _as_core(its: FindingsHere) -> Findings:
    return Findings(*(getattr(its, name) for name in Findings._fields))


def _protocol(one: Stream) -> str:
    return SFLOW if one.agent else NETFLOW


def _sum(findings: Iterable[Findings]) -> Findings:
    columns = zip(*findings, strict=True)
    sums = [sum(column) for column in columns]
    return Findings(*sums) if sums else Findings(*(0 for _ in Findings._fields))


def _of_core(one: Stream) -> dict[str, Any]:
    """As gfwd inspect --loss says it, with when the first and the last datagram came (s since 1970)."""
    has_domain = one.agent or one.version != 7
    return {
        "exporter": address_text(one.address),
        "source_port": one.source_port,
        "protocol": _protocol(one),
        "version": one.version,
        "source_id": one.domain if has_domain else None,
        "agent": address_text(one.agent) if one.agent else None,
        "counts": one.counts,
        **one.findings._asdict(),
        "first": one.first / 1e9,
        "last": one.last / 1e9,
    }


def _of_ipfix(found: Found) -> dict[str, Any]:
    return {
        **found.stream._asdict(),
        "counts": found.counts,
        **asdict(found.findings),
        "first": None,
        "last": None,
    }


def _inside(ledger: Ledger, report: Report) -> dict[str, Any]:
    """What the ledgers say of the same time: all exporters, all ports."""
    copies = ledger.copies()
    return {
        "ports": {port.name: {"ours": port.ours, "lost": port.lost} for port in report.ports if port.ours is not None},
        "frames": {"received": ledger.frames.received, "drops": _some(ledger.frames.drops)},
        "copies": {"wanted": copies.wanted, "sent": copies.sent, "pending": copies.pending},
        "collectors": {
            name: {"wanted": its.wanted, "sent": its.sent, "drops": _some(its.drops)}
            for name, its in ledger.collectors.items()
        },
    }


def _some(drops: dict[str, int]) -> dict[str, int]:
    return {cause: n for cause, n in drops.items() if n}
