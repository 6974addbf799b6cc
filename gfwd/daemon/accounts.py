"""What a core counts, under the names that the operator knows, while rules and collectors come and go.

A collector is the same as long as it is called the same, and a rule as long as it says the same: options, and the
members of a group, may become others.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gfwd.metrics.ledger import NOTHING, Destination, Ledger, RuleCount, added, since
from gfwd.metrics.slots import Slots
from gfwd.native.core import CopyLedger, Core, Count
from gfwd.rules.canonical import rule_text
from gfwd.rules.model import Collector, Group, RuleSet
from gfwd.rules.space import RuleSpace

_RuleKey = tuple[str, int]
"""A rule's text; of several that have the same, each is itself."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The slots for a rule set. collectors: by name, whatever else has changed about the one that has it. rules: by
    the rules' ranks. names: place and text, likewise. destinations: of the collectors, by their canonical text.
    """

    collectors: Slots[str]
    rules: Slots[_RuleKey]
    names: tuple[tuple[str, str], ...]
    destinations: Mapping[str, Destination] = field(default_factory=dict)

    def slot_of(self, collector: Collector) -> int:
        return self.collectors.of[str(collector)]

    def rule_slots(self) -> tuple[int, ...]:
        return tuple(self.rules.of.values())


class Accounts:
    """The counters of a core. A change is prepared, which may fail, and taken when the plan with it is published."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._now = Assignment(Slots(room=core.limits.collectors), Slots(room=core.limits.rules), ())
        self._copies_before: dict[int, CopyLedger] = {}  # what a slot had counted when it was given away
        self._counts_before: dict[int, Count] = {}
        self._forgotten = NOTHING

    def prepare(self, ruleset: RuleSet, space: RuleSpace) -> Assignment:
        """Raises GfwdError where there are more than the core has counters for."""
        texts = [rule_text(rule) for rule in space.ranked]
        return Assignment(
            self._now.collectors.after(map(str, ruleset.collectors()), "collectors"),
            self._now.rules.after(_keys(texts), "rules"),
            tuple((f"{ruleset.path}:{rule.line}", text) for rule, text in zip(space.ranked, texts, strict=True)),
            _destinations(ruleset),
        )

    def take(self, assignment: Assignment) -> None:
        for slot in assignment.collectors.given_away.values():
            copies = self._core.collectors(slot + 1)[slot]
            self._forgotten = added((self._forgotten, self._copies(slot, copies)))
            self._copies_before[slot] = copies
        for slot in assignment.rules.given_away.values():
            self._counts_before[slot] = self._core.rules(slot + 1)[slot]
        self._now = assignment

    def ledger(self, *, with_rules: bool = True) -> Ledger:
        """How it stands now. A hundred thousand rules take a while: without them, it has none."""
        collectors = self._now.collectors
        copies = self._core.collectors(len(collectors.of) + len(collectors.gone))
        return Ledger(
            frames=self._core.frames(),
            collectors={name: self._copies(slot, copies[slot]) for name, slot in collectors.of.items()},
            rules=self._rules() if with_rules else (),
            gone=added((self._forgotten, *(self._copies(slot, copies[slot]) for slot in collectors.gone.values()))),
            destinations=self._now.destinations,
        )

    def _rules(self) -> tuple[RuleCount, ...]:
        rules = self._now.rules
        counts = self._core.rules(len(rules.of) + len(rules.gone))
        return tuple(
            RuleCount(place, text, self._count(slot, counts[slot]))
            for (place, text), slot in zip(self._now.names, rules.of.values(), strict=True)
        )

    def _copies(self, slot: int, copies: CopyLedger) -> CopyLedger:
        before = self._copies_before.get(slot)
        return copies if before is None else since(before, copies)

    def _count(self, slot: int, count: Count) -> Count:
        before = self._counts_before.get(slot)
        return count if before is None else Count(count.packets - before.packets, count.bytes - before.bytes)


def _destinations(ruleset: RuleSet) -> dict[str, Destination]:
    groups: dict[str, list[str]] = {str(collector): [] for collector in ruleset.collectors()}
    for group in dict.fromkeys(one for rule in ruleset.rules for one in rule.receivers if isinstance(one, Group)):
        for member in group.members:
            groups[str(member)].append(group.name)
    return {str(one): Destination(one.place(), tuple(groups[str(one)])) for one in ruleset.collectors()}


def _keys(texts: Sequence[str]) -> list[_RuleKey]:
    seen: Counter[str] = Counter()
    keys: list[_RuleKey] = []
    for text in texts:
        keys.append((text, seen[text]))
        seen[text] += 1
    return keys
