"""How a gfwd that runs stands → samples of all metrics (metrics/families.py)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gfwd import __version__
from gfwd.daemon.loss import LossTotal
from gfwd.daemon.reload import Tally
from gfwd.daemon.report import PortReport, Report
from gfwd.metrics import families as of
from gfwd.metrics.exposition import Sample, page
from gfwd.metrics.ledger import Ledger, RuleCount
from gfwd.native.core import NeighbourState


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that metrics tell of.

    report: with its rules, where some of them are to have metrics: rules_most, at most. rules: how many there are.
    exporters: how many are told apart. unknown: likewise pairs of source and port that no rule wants. losses: by
    sequence numbers. started: seconds since 1970. answers: of the listener, by HTTP status. cut_off: connections
    without an answer.
    """

    report: Report
    rules: int
    rules_most: int | None
    exporters: int
    unknown: int
    losses: Sequence[LossTotal]
    started: float
    reloads: Tally
    answers: Mapping[int, int]
    cut_off: int


def metrics_page(standing: Standing) -> bytes:
    """What Prometheus gets."""
    return page(of.FAMILIES, samples(standing))


def samples(standing: Standing) -> Iterator[Sample]:
    yield from _about(standing)
    yield from _frames(standing.report.ledger)
    yield from _copies(standing.report.ledger)
    yield from _collectors(standing.report.ledger)
    yield from _health(standing.report)
    yield from _names(standing.report)
    if standing.rules_most is not None:
        yield from _rules(standing.report.ledger.rules, standing.rules_most)
    for port in standing.report.ports:
        yield from _port(port)
    yield from _neighbours(standing.report)
    for answer in standing.report.answers:
        yield of.ANSWERED(answer.n, answer.port, answer.kind, answer.result)
    yield from _losses(standing)
    yield from _work(standing.report)


def _about(standing: Standing) -> Iterator[Sample]:
    reloads = standing.reloads
    yield of.BUILD_INFO(1, __version__)
    yield of.START_TIME(standing.started)
    yield of.RULES(standing.rules)
    yield of.COLLECTORS(len(standing.report.ledger.collectors))
    yield of.RELOADS(reloads.done, "done")
    yield of.RELOADS(reloads.failed, "failed")
    yield of.RELOAD_SUCCESSFUL(int(reloads.is_last_done))
    yield of.RELOAD_TIME(reloads.last_done, "done")
    if reloads.last_failed is not None:
        yield of.RELOAD_TIME(reloads.last_failed, "failed")
    yield of.EXPORTERS(standing.exporters)
    yield of.UNKNOWN_SOURCES(standing.unknown)
    for status, n in sorted(standing.answers.items()):
        yield of.ANSWERS(n, str(status))
    yield of.CUT_OFF(standing.cut_off)


def _frames(ledger: Ledger) -> Iterator[Sample]:
    frames = ledger.frames
    yield of.FRAMES_RECEIVED(frames.received)
    yield of.FRAMES_FORWARDED(frames.forwarded)
    yield of.FRAMES_PASSED(frames.passed)
    yield of.FRAMES_PUNTED(frames.punted)
    yield of.FRAMES_PENDING(frames.pending)
    for cause, n in frames.drops.items():
        yield of.FRAMES_DROPPED(n, cause)


def _copies(ledger: Ledger) -> Iterator[Sample]:
    copies = ledger.copies()
    yield of.COPIES_WANTED(copies.wanted)
    yield of.COPIES_SENT(copies.sent)
    yield of.COPIES_SENT_BYTES(copies.sent_bytes)
    yield of.COPIES_PENDING(copies.pending)
    for cause, n in copies.drops.items():
        yield of.COPIES_DROPPED(n, cause)


def _collectors(ledger: Ledger) -> Iterator[Sample]:
    for name, copies in ledger.collectors.items():
        yield of.COLLECTOR_WANTED(copies.wanted, name)
        yield of.COLLECTOR_SENT(copies.sent, name)
        yield of.COLLECTOR_SENT_BYTES(copies.sent_bytes, name)
        yield of.COLLECTOR_PENDING(copies.pending, name)
        for cause, n in copies.drops.items():
            yield of.COLLECTOR_DROPPED(n, name, cause)


def _health(report: Report) -> Iterator[Sample]:
    for one in report.health:
        yield of.COLLECTOR_UP(int(one.state != "down"), one.collector)
        yield of.COLLECTOR_STATE_AGE(one.seconds, one.collector)


def _names(report: Report) -> Iterator[Sample]:
    for one in report.names:
        yield of.NAME_STATE(1, one.name, one.state)
        yield of.NAME_ADDRESSES(len(one.addresses), one.name)
        if one.age is not None:
            yield of.NAME_AGE(one.age, one.name)
        if one.ttl is not None:
            yield of.NAME_TTL(one.ttl, one.name)
        yield of.NAME_LOOKUPS(one.lookups, one.name)
        yield of.NAME_FAILURES(one.failures, one.name)


def _rules(rules: tuple[RuleCount, ...], most: int) -> Iterator[Sample]:
    """Those that have matched something, best first. By its text a rule stays the same wherever it stands; of several
    with one text, no more than one can be told from that.
    """
    packets: Counter[str] = Counter()
    bytes_: Counter[str] = Counter()
    for rule in rules:
        if rule.count.packets and (rule.text in packets or len(packets) < most):
            packets[rule.text] += rule.count.packets
            bytes_[rule.text] += rule.count.bytes
    for text, n in packets.items():
        yield of.RULE_DATAGRAMS(n, text)
        yield of.RULE_BYTES(bytes_[text], text)


def _port(port: PortReport) -> Iterator[Sample]:
    yield of.PORT_INFO(1, port.name, port.mode)
    yield of.PORT_UP(int(port.error is None), port.name)
    for family, n in (
        (of.PORT_OURS, port.ours),
        (of.PORT_LOST, port.lost),
        (of.PORT_UNREAD, port.unread),
        (of.PORT_PASSED, port.passed),
        (of.PORT_UNSENT, port.unsent),
    ):
        if n is not None:  # netmap does not count so
            yield family(n, port.name)


def _neighbours(report: Report) -> Iterator[Sample]:
    there = Counter(neighbour.state for neighbour in report.neighbours)
    for state in NeighbourState:
        name = state.name.lower()
        yield of.NEIGHBOURS(there[name], name)


def _losses(standing: Standing) -> Iterator[Sample]:
    for protocol, counts, its in standing.losses:
        for family, n in (
            (of.LOSS_DATAGRAMS, its.datagrams),
            (of.LOSS_RECEIVED, its.counted),
            (of.LOSS_LOST, its.lost),
            (of.LOSS_REORDERED, its.reordered),
            (of.LOSS_DOUBLED, its.doubled),
            (of.LOSS_RESTARTS, its.restarts),
        ):
            yield family(n, protocol, counts)
    work = standing.report.work
    for why, n in (("numberless", work.numberless), ("streams", work.unfollowed), ("ipfix", work.ipfix_lost)):
        yield of.LOSS_NOT_FOLLOWED(n, why)


def _work(report: Report) -> Iterator[Sample]:
    work = report.work
    yield of.PLANS_TAKEN(work.plans)
    yield of.CACHE_HITS(work.cache_hits)
    yield of.LOOKUPS(work.lookups)
    yield of.SWAPPED(work.swapped)
    yield of.COPIED(work.copied)
    yield of.FRAGMENTS_MADE(work.fragments_made)
    yield of.LOOKERS(report.lookers)
    yield of.TAPPED(work.tapped)
    yield of.TAP_LOST(work.tap_lost)
    yield of.INJECTED(work.injected)
    yield of.INJECT_LOST(work.inject_lost)
