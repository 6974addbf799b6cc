"""Exporters that no rule knows: what a gfwd that runs says of them, and the rules that would take their datagrams."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Final, Literal, NamedTuple

from gfwd.config.canonical import rule_table
from gfwd.config.model import Config
from gfwd.metrics.guess import PORTS, guess
from gfwd.metrics.ledger import RuleCount
from gfwd.metrics.unknown import Looks, Rates, key_of, merged, rate_since_first
from gfwd.metrics.words import many, rate_text
from gfwd.native.core import Core, Unknown
from gfwd.rules import suggest
from gfwd.rules.canonical import canonical_text
from gfwd.rules.model import Address, RuleSet, ports_text
from gfwd.rules.suggest import Stray, Suggestion

Sort = Literal["rate", "packets", "last"]
SORTS: Final[tuple[Sort, ...]] = ("rate", "packets", "last")

_NAMED = 5  # sources of one suggestion that its remark names


class UnknownReport(NamedTuple):
    """Datagrams from one source to one port that no rule wants.

    source_port, length, payload: of the last one: where it came from, the bytes of its payload, and the first of them
    in hexadecimal. protocol, version, looks_like: a guess by these. rate: datagrams a second since the look before;
    None: there was none. rate_since_first: … since the first one. first, last: seconds since 1970.
    """

    source: str
    port: int
    source_port: int
    protocol: str | None
    version: str | None
    looks_like: str
    packets: int
    bytes: int
    rate: float | None
    rate_since_first: float
    first: float
    last: float
    length: int
    payload: str

    def rate_now(self) -> float:
        """The best that is known of it."""
        return self.rate_since_first if self.rate is None else self.rate

    def stray(self) -> Stray:
        kin = tuple(port for port, protocol in PORTS.items() if protocol == self.protocol)
        return Stray(_parsed(self.source), self.port, kin)


@dataclass(frozen=True, slots=True)
class SuggestedRule:
    """What to write into the rules: lines of comment, the rule, and the remark that belongs behind its first line.

    is_whole: gfwd check takes it as it is; otherwise a collector is to be named first.
    """

    before: tuple[str, ...]
    rule: str
    remark: str
    is_whole: bool


class UnknownExporters:
    """Those of a core. Each answer is a look, and tells what has come since the one before."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._looks = Looks()

    def number(self) -> int:
        """How many pairs of source and port are told apart that have no rule by now either."""
        entries, _ = merged(self._core.unknown())
        return sum(self._core.lookup(one.family, one.address, one.port) is None for one in entries)

    def answer(
        self,
        config: Config,
        counts: Callable[[], Sequence[RuleCount]],
        *,
        sort: Sort = "rate",
        since: float | None = None,
        with_rules: bool = False,
    ) -> dict[str, Any]:
        """All of it, as objects of JSON. counts: of its rules, best first. since: only those that have sent in
        the last so many seconds; None: all. with_rules: also the rules that would take their datagrams.
        """
        now = time.time_ns()
        entries, others = merged(self._core.unknown())
        rates = self._looks.take(entries, time.monotonic())
        ruled: list[Unknown] = []
        silent: list[Unknown] = []
        seen: list[UnknownReport] = []
        for entry in sorted(entries, key=key_of):  # so that of equals the order does not change
            if self._core.lookup(entry.family, entry.address, entry.port) is not None:
                ruled.append(entry)
            elif since is not None and entry.last < now - since * 1e9:
                silent.append(entry)
            else:
                seen.append(_report(entry, rates, now))
        seen.sort(key=_ORDER[sort], reverse=True)
        answer = {
            "sources": [one._asdict() for one in seen],
            "not_told_apart": others._asdict(),
            "by_now_with_a_rule": _together(ruled),
            "silent": _together(silent),
            "seconds_between_looks": rates and round(rates.seconds, 3),
        }
        return {**answer, **_suggestions(config, counts(), seen)} if with_rules else answer


_ORDER: Final[dict[Sort, Callable[[UnknownReport], float]]] = {
    "rate": UnknownReport.rate_now,
    "packets": lambda one: one.packets,
    "last": lambda one: one.last,
}


def _together(entries: Sequence[Unknown]) -> dict[str, int]:
    return {"sources": len(entries), "packets": sum(entry.packets for entry in entries)}


def _report(entry: Unknown, rates: Rates | None, now: int) -> UnknownReport:
    guessed = guess(entry.payload, entry.length, entry.port)
    rate = None if rates is None else rates.of.get(key_of(entry))
    return UnknownReport(
        source=str(Address(4 if entry.family == 4 else 6, int.from_bytes(entry.address))),
        port=entry.port,
        source_port=entry.source_port,
        protocol=guessed.protocol,
        version=guessed.version,
        looks_like=guessed.text,
        packets=entry.packets,
        bytes=entry.bytes,
        rate=rate if rate is None else round(rate, 6),
        rate_since_first=round(rate_since_first(entry, now), 6),
        first=entry.first / 1e9,
        last=entry.last / 1e9,
        length=entry.length,
        payload=entry.payload.hex(),
    )


def _parsed(source: str) -> Address:
    """The address that an UnknownReport names."""
    if ":" in source:
        return Address(6, int.from_bytes(inet_pton(AF_INET6, source)))
    return Address(4, int.from_bytes(inet_pton(AF_INET, source)))


# ---- the rules that would take them ----


def _suggestions(config: Config, counts: Sequence[RuleCount], seen: Iterable[UnknownReport]) -> dict[str, Any]:
    reports = {one.stray(): one for one in seen}
    nameless = {stray: why for stray in reports if (why := suggest.cannot_be_named(stray)) is not None}
    found = suggest.suggest(
        config.rules.ranked(),
        [rule.count.packets for rule in counts],
        [stray for stray in reports if stray not in nameless],
    )
    return {
        "rules_file": config.rules.path,
        "tables": config.has_tables,
        "suggestions": [
            asdict(
                SuggestedRule(
                    before=tuple(_near(config, one)),
                    rule=rule,
                    remark=_remark(config, one, [reports[stray] for stray in one.strays]),
                    is_whole=one.model is not None,
                )
            )
            for one, rule in zip(found, _written(config, found), strict=True)
        ],
        "no_rule_can_be": [f"{stray.source} to port {stray.port}: {why}" for stray, why in nameless.items()],
    }


def _written(config: Config, found: Sequence[Suggestion]) -> list[str]:
    """The rules as the operator writes them: tables, or lines of which all columns are aligned."""
    if config.has_tables:
        return [rule_table(one.rule).rstrip() for one in found]
    return canonical_text(RuleSet("", tuple(one.rule for one in found))).splitlines() if found else []


def _near(config: Config, one: Suggestion) -> Iterable[str]:
    for stray, rule in one.near:
        yield f"{stray.source} has a rule for port {ports_text(rule.ports)} ({config.rules.path}:{rule.line})"


def _remark(config: Config, one: Suggestion, reports: Sequence[UnknownReport]) -> str:
    looks_like = " and ".join(dict.fromkeys(report.looks_like for report in reports))
    parts = [f"{looks_like}, {rate_text(sum(report.rate_now() for report in reports))}", _origin(config, one)]
    if len(reports) > 1:
        named = ", ".join(str(stray.source) for stray in sorted(one.strays)[:_NAMED])
        more = f" and {len(reports) - _NAMED} more" if len(reports) > _NAMED else ""
        parts.insert(0, f"all of {one.rule.source}, for {many(len(reports), 'source')} in it: {named}{more}")
    return "; ".join(parts)


def _origin(config: Config, one: Suggestion) -> str:
    port = one.strays[0].port
    if one.model is None:
        return f"no rule says who gets port {port}: name a collector"
    place = f"{config.rules.path}:{one.model.line}"
    return f"collectors as in {place}" if one.kin is None else f"collectors as for port {one.kin} in {place}"
