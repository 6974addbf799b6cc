"""The two ledgers, read from the core and put beside the names that the operator knows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gfwd.native.core import DROP_CAUSES, CopyLedger, Core, Count, FrameLedger


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule has matched. place: where it is written, as FILE:LINE. text: its canonical text."""

    place: str
    text: str
    count: Count


@dataclass(frozen=True, slots=True)
class Ledger:
    """The frame ledger, and the copy ledger of each collector, by the collector's canonical text."""

    frames: FrameLedger
    collectors: dict[str, CopyLedger]
    rules: tuple[RuleCount, ...]

    def copies(self) -> CopyLedger:
        """The copy ledger in all."""
        drops = Counter(dict.fromkeys(DROP_CAUSES, 0))
        for ledger in self.collectors.values():
            drops.update(ledger.drops)
        ledgers = self.collectors.values()
        return CopyLedger(
            wanted=sum(ledger.wanted for ledger in ledgers),
            sent=sum(ledger.sent for ledger in ledgers),
            sent_bytes=sum(ledger.sent_bytes for ledger in ledgers),
            pending=sum(ledger.pending for ledger in ledgers),
            drops=dict(drops),
        )

    def as_json(self) -> dict[str, Any]:
        """The ledgers as objects of JSON; every drop cause is named, also those at 0."""
        return {
            **self.frames._asdict(),
            "copies": self.copies()._asdict(),
            "collectors": {name: ledger._asdict() for name, ledger in self.collectors.items()},
            "rules": {rule.place: {"rule": rule.text, **rule.count._asdict()} for rule in self.rules},
        }


def read_ledger(core: Core, collectors: Sequence[str], rules: Sequence[tuple[str, str]]) -> Ledger:
    """Read the core's counters. collectors: names by counter slot. rules: (place, text) by counter slot."""
    counts = core.rules(len(rules))
    return Ledger(
        frames=core.frames(),
        collectors=dict(zip(collectors, core.collectors(len(collectors)), strict=True)),
        rules=tuple(RuleCount(place, text, count) for (place, text), count in zip(rules, counts, strict=True)),
    )
