"""Who sent what: for each exporter its versions, rates, records, sampling and clock."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from gfwd.netflow.message import FlowSet, Kind, Message
from gfwd.netflow.template import Record

EXPORTERS_MOST: Final = 65_536
_VERSIONS_MOST: Final = 16  # of one exporter
_SAMPLING_MOST: Final = 8
_RAREST: Final = 1e-12  # of sampling probabilities that are believed
_NS: Final = 1_000_000_000


@dataclass(slots=True)
class Exporter:
    """bytes: of payload. first, last: ns since 1970. records: as far as templates are known. nameless_sets: data whose
    template is unknown. sampling: one packet of so many, each value that it said. skew: s, by how much its clock is
    ahead of the capture's (behind: less than 0), least and most.
    """

    first: int
    last: int
    datagrams: int = 0
    bytes: int = 0
    records: int = 0
    nameless_sets: int = 0
    flaws: int = 0
    protocols: Counter[tuple[str | None, int | str | None]] = field(default_factory=Counter)
    sampling: set[float] = field(default_factory=set)
    skew: tuple[int, int] | None = None

    def rate(self) -> float | None:
        """Datagrams a second, from the first to the last; None where there is no time between them."""
        return None if self.last <= self.first else (self.datagrams - 1) * _NS / (self.last - self.first)


class Summary:
    """exporters: in the order in which they were first seen. not_told_apart: datagrams of those that found no room."""

    def __init__(self, most: int = EXPORTERS_MOST) -> None:
        self.exporters: dict[str, Exporter] = {}
        self.not_told_apart = 0
        self._most = most

    def take(self, time: int, exporter: str, size: int, message: Message) -> None:
        """time: when the datagram was captured, ns since 1970. size: bytes of its payload."""
        its = self.exporters.get(exporter)
        if its is None:
            if len(self.exporters) >= self._most:
                self.not_told_apart += 1
                return
            its = self.exporters[exporter] = Exporter(time, time)
        its.datagrams += 1
        its.bytes += size
        its.first, its.last = min(its.first, time), max(its.last, time)
        its.flaws += message.flaw is not None
        protocol = message.protocol, message.version
        if protocol in its.protocols or len(its.protocols) < _VERSIONS_MOST:
            its.protocols[protocol] += 1
        else:
            its.protocols[None, None] += 1
        for flow_set in message.sets:
            _take_set(its, flow_set)
        _take_sampling(its, message)
        if message.unix_secs is not None:
            ahead = message.unix_secs - time // _NS
            least, most = its.skew or (ahead, ahead)
            its.skew = min(least, ahead), max(most, ahead)


def _take_set(its: Exporter, flow_set: FlowSet) -> None:
    if flow_set.kind is not Kind.DATA:
        return
    if flow_set.n_records is None:
        its.nameless_sets += 1
        return
    its.records += flow_set.n_records
    template = flow_set.template
    if template is None or not template.has_sampling:
        return
    if template.is_options or not its.sampling:  # some say it with every flow: then the first ones are enough
        for record in flow_set.records() or ():
            _add(its, sampling_of(record))


def _take_sampling(its: Exporter, message: Message) -> None:
    """Of NetFlow v5's header, or of sFlow's samples."""
    _add(its, message.sampling)
    if message.rates is not None:
        for rate in message.rates():
            _add(its, rate)


def sampling_of(record: Record) -> float | None:
    """One packet of so many, as a record says it: NetFlow v9's elements 34 and 50, or RFC 5477 §8.2's. Sampling by time
    (307, 308) is not told in packets.
    """
    for name in ("samplingInterval", "samplerRandomInterval"):
        value = record.get(name)
        if isinstance(value, int) and value > 0:
            return value
    taken, left = record.get("samplingPacketInterval"), record.get("samplingPacketSpace")
    if isinstance(taken, int) and isinstance(left, int) and taken > 0:
        return (taken + left) / taken
    size, population = record.get("samplingSize"), record.get("samplingPopulation")
    if isinstance(size, int) and isinstance(population, int) and size > 0:
        return population / size
    probability = record.get("samplingProbability")
    return round(1 / probability, 3) if isinstance(probability, float) and _RAREST <= probability <= 1 else None


def _add(its: Exporter, sampling: float | None) -> None:
    if sampling and len(its.sampling) < _SAMPLING_MOST:
        its.sampling.add(sampling)
