"""The two ledgers, read from the core and put beside the names that the operator knows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gfwd.native.core import DROP_CAUSES, CopyLedger, Count, FrameLedger

NOTHING = CopyLedger(0, 0, 0, 0, dict.fromkeys(DROP_CAUSES, 0))


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule has matched. place: where it is written, as FILE:LINE. text: its canonical text."""

    place: str
    text: str
    count: Count


class Destination(NamedTuple):
    """Where a collector's copies go: host and port, as rules write them. groups: that it is a member of. addresses:
    those that it has now; none: nobody has said, or its name has none.
    """

    place: str
    groups: tuple[str, ...]
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The frame ledger, and the copy ledger of each collector, by the collector's canonical text.

    gone: of all collectors together that were there before a reload. destinations: of those that are there.
    """

    frames: FrameLedger
    collectors: dict[str, CopyLedger]
    rules: tuple[RuleCount, ...]
    gone: CopyLedger = NOTHING
    destinations: Mapping[str, Destination] = field(default_factory=dict)

    def copies(self) -> CopyLedger:
        """The copy ledger in all."""
        return added((*self.collectors.values(), self.gone))

    def at(self, addresses: Mapping[str, tuple[str, ...]]) -> "Ledger":
        """The same, with the addresses that collectors have now, by their canonical text."""
        its = {name: one._replace(addresses=addresses.get(name, ())) for name, one in self.destinations.items()}
        return replace(self, destinations=its)

    def as_json(self) -> dict[str, Any]:
        """The ledgers as objects of JSON; every drop cause is named, also those at 0."""
        return {
            **self.frames._asdict(),
            "copies": self.copies()._asdict(),
            "collectors": {name: ledger._asdict() for name, ledger in self.collectors.items()},
            "gone": self.gone._asdict(),
            "destinations": {name: its._asdict() for name, its in self.destinations.items()},
            "rules": {rule.place: {"rule": rule.text, **rule.count._asdict()} for rule in self.rules},
        }


def added(ledgers: Iterable[CopyLedger]) -> CopyLedger:
    """All of them together."""
    every = tuple(ledgers)
    drops = Counter(dict.fromkeys(DROP_CAUSES, 0))
    for ledger in every:
        drops.update(ledger.drops)
    return CopyLedger(
        wanted=sum(ledger.wanted for ledger in every),
        sent=sum(ledger.sent for ledger in every),
        sent_bytes=sum(ledger.sent_bytes for ledger in every),
        pending=sum(ledger.pending for ledger in every),
        drops=dict(drops),
    )


def since(before: CopyLedger, now: CopyLedger) -> CopyLedger:
    """What has been counted since then."""
    return CopyLedger(
        wanted=now.wanted - before.wanted,
        sent=now.sent - before.sent,
        sent_bytes=now.sent_bytes - before.sent_bytes,
        pending=now.pending - before.pending,
        drops={cause: n - before.drops[cause] for cause, n in now.drops.items()},
    )
