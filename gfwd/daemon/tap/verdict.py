"""What became of a datagram, in words."""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from gfwd.native.core import DROP_CAUSES, FORWARD, WAIT
from gfwd.plan.getters import sharings_of
from gfwd.plan.places import Places, spread
from gfwd.rules.model import Collector, Group
from gfwd.rules.space import Outcome, receivers_of

WAITS: Final = "waits"
FORWARDED: Final = "forwarded"


def fate_text(fate: int) -> str:
    """forwarded: at least one copy was sent; waits: none yet; else the drop cause. fate: C's enum fw_fate."""
    return DROP_CAUSES[fate] if fate < len(DROP_CAUSES) else {FORWARD: FORWARDED, WAIT: WAITS}.get(fate, str(fate))


class Way(NamedTuple):
    """What the plan has for datagrams. rules: places of those that apply, best first; none: they are denied.

    collectors: each that gets copies; of a group {"group": its name, "one_of": [its members that are up]}.
    """

    rules: tuple[str, ...]
    collectors: tuple[Any, ...]


def way_of(outcome: Outcome, path: str, down: Collection[Collector], places: Places) -> Way:
    """path: of the file that the rules are from. down: collectors that are; places: of those that stand for several."""
    family = next((rule.source.family for rule in outcome if rule.source is not None), None)
    sharings = sharings_of(spread(receivers_of(outcome), places, down, family), down) if outcome else []
    collectors: list[Any] = []
    for receiver, sharing in sharings:
        names = list(dict.fromkeys(str(getter.collector) for getter in sharing.getters))
        collectors += [{"group": receiver.name, "one_of": names}] if isinstance(receiver, Group) else names
    return Way(tuple(f"{path}:{rule.line}" for rule in outcome), tuple(collectors))


class Verdict(NamedTuple):
    """What became of a datagram. fate: see fate_text(). way: None: no rule wants it, or the rules were others by then.

    A datagram that was forwarded may all the same have lost one of its copies: the collectors' ledgers have them.
    """

    fate: str
    way: Way | None

    def is_dropped(self) -> bool:
        return self.fate not in (FORWARDED, WAITS)

    def as_json(self) -> dict[str, Any]:
        """rule: the best that applies; beside: the others."""
        found: dict[str, Any] = {"drop": self.fate} if self.is_dropped() else {}
        if self.way is not None and self.way.rules:
            found["rule"] = self.way.rules[0]
            found |= {"beside": list(self.way.rules[1:])} if self.way.rules[1:] else {}
            found["collectors"] = list(self.way.collectors)
        return found | ({WAITS: True} if self.fate == WAITS else {})


class Live(NamedTuple):
    """What only a gfwd that runs knows of a frame. is_of_sample: else it is there for the templates in it alone.

    is_behind_gap: some before it are missing, which were not lost on their way to gfwd.
    """

    verdict: Verdict
    is_of_sample: bool
    is_behind_gap: bool
