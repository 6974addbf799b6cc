"""The sequence numbers of all exporters: one Sequence for each exporter, source port and domain, bounded.

What a number counts is the protocol's to say, but not every exporter obeys: there are CGNs whose NetFlow v9 counts
records, as v5 does; softflowd's IPFIX counts the records of the datagram itself, too, and leaves options out. So every
way to count that is known is tried, and the one by which most datagrams stand in order is believed; the protocol's own,
where several do equally well. Loss makes no other way look better: a number that is right by chance is rare.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

from gfwd.netflow.loss import Findings, Sequence
from gfwd.netflow.message import IPFIX, NETFLOW, SFLOW, Kind, Message

STREAMS_MOST: Final = 16_384
_SURE: Final = 32  # datagrams in order by one way to count: then no other is tried any more


class _Way(NamedTuple):
    """A way to count. place: message → the number it has by that, and by how much it moves the number on."""

    counts: str
    place: Callable[[Message], tuple[int, int | None]]


def _as_it_says(message: Message) -> tuple[int, int | None]:
    return message.sequence or 0, message.step


def _datagrams(message: Message) -> tuple[int, int | None]:
    return message.sequence or 0, 1


def _by_header(message: Message) -> tuple[int, int | None]:
    """As many records as the header says."""
    return message.sequence or 0, message.count


def _so_far(message: Message) -> tuple[int, int | None]:
    """Data records, options not among them, to the end of the datagram."""
    if message.step is None:
        return message.sequence or 0, None
    n = sum(
        one.n_records or 0
        for one in message.sets
        if one.kind is Kind.DATA and one.template is not None and not one.template.is_options
    )
    return ((message.sequence or 0) - n) % (1 << 32), n


_WAYS: Final[dict[tuple[str | None, int | str | None], tuple[_Way, ...]]] = {
    (NETFLOW, 5): (_Way("flows", _as_it_says),),
    (NETFLOW, 7): (_Way("flows", _as_it_says),),
    (NETFLOW, 9): (_Way("datagrams", _as_it_says), _Way("records", _by_header)),
    (IPFIX, 10): (_Way("records", _as_it_says), _Way("records so far", _so_far), _Way("datagrams", _datagrams)),
    (SFLOW, 5): (_Way("datagrams", _as_it_says),),
}


class Stream(NamedTuple):
    """Whose sequence numbers go on from each other. agent: of sFlow, whose exporter may send for several."""

    exporter: str
    source_port: int
    protocol: str | None
    version: int | str | None
    source_id: int | None
    agent: str | None


class Found(NamedTuple):
    """counts: what the stream's numbers count."""

    stream: Stream
    counts: str
    findings: Findings


@dataclass(slots=True)
class _Followed:
    """number: it was the so many-th that was seen. last: when it was taken last. interruption: the last it knows of."""

    number: int
    ways: list[tuple[_Way, Sequence]]
    last: float
    interruption: int

    def best(self) -> tuple[_Way, Sequence]:
        """By which most stand in order; of equals, the first."""
        return max(self.ways, key=lambda one: one[1].findings.in_order)


class Streams:
    """without: datagrams that have no sequence number. not_told_apart: those of streams that found no room. gone: what
    was found out about streams that gave up their places.

    A new one that finds no room takes the place of the one that has been silent for longest, where that is more than
    stale_s; None: never.
    """

    def __init__(self, most: int = STREAMS_MOST, stale_s: float | None = None) -> None:
        self.without = 0
        self.not_told_apart = 0
        self.gone = Findings()
        self._most = most
        self._stale_s = stale_s
        self._seen = 0
        self._interruption = 0
        self._streams: dict[Stream, _Followed] = {}  # the one that was taken last stands last

    def take(self, exporter: str, source_port: int, message: Message, now: float = 0.0) -> None:
        """The next datagram. now: in s, of a clock that only goes on."""
        if message.sequence is None:
            self.without += 1
            return
        agent = message.details.get("agent")
        stream = Stream(exporter, source_port, message.protocol, message.version, message.source_id, agent)
        its = self._streams.pop(stream, None)
        if its is None:
            if not self._make_room(now):
                self.not_told_apart += 1
                return
            self._seen += 1
            ways = [(way, Sequence()) for way in _WAYS[message.protocol, message.version]]
            its = _Followed(self._seen, ways, now, self._interruption)
        self._streams[stream] = its
        its.last = now
        for way, sequence in its.ways:
            if its.interruption != self._interruption:
                sequence.interrupt()
            number, step = way.place(message)
            sequence.take(number, step, message.sys_uptime)
        its.interruption = self._interruption
        if len(its.ways) > 1 and (best := its.best())[1].findings.in_order >= _SURE:
            its.ways = [best]

    def interrupt(self) -> None:
        """Some were not seen here, for whichever reason: of none is it known what should come next."""
        self._interruption += 1

    def findings(self) -> Iterator[Found]:
        """In the order in which they were first seen."""
        for stream, its in sorted(self._streams.items(), key=lambda one: one[1].number):
            way, sequence = its.best()
            yield Found(stream, way.counts, sequence.findings)

    def _make_room(self, now: float) -> bool:
        if len(self._streams) < self._most:
            return True
        stream, its = next(iter(self._streams.items()))
        if self._stale_s is None or now - its.last <= self._stale_s:
            return False
        found = its.best()[1].findings
        for field in fields(Findings):
            setattr(self.gone, field.name, getattr(self.gone, field.name) + getattr(found, field.name))
        del self._streams[stream]
        return True
