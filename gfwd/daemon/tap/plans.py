"""The plan in force, with those who look; and what the rule numbers of the last plans stand for."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Final, NamedTuple

from gfwd.daemon.tap.verdict import Way, way_of
from gfwd.daemon.tap.want import Want
from gfwd.errors import UsageError
from gfwd.native.core import NONE, Core
from gfwd.plan.blueprint import Blueprint
from gfwd.plan.compile import compile_plan
from gfwd.plan.places import Places
from gfwd.plan.taps import Tap, with_taps
from gfwd.rules.canonical import rule_text
from gfwd.rules.model import Collector, Rule
from gfwd.rules.space import RuleSpace

_KEPT: Final = 8  # plans whose records may still lie in a ring: it is emptied fifty times a second

RuleKey = tuple[str, int]
"""A rule's text, whichever line it stands on; of several that have the same, each is itself."""


class Named:
    """The rules of a space, by their names. path: the file that they are from."""

    def __init__(self, space: RuleSpace, path: str) -> None:
        self.space, self.path = space, path

    @cached_property
    def by_key(self) -> Mapping[RuleKey, Rule]:
        """A hundred thousand rules take a while: asked for only where somebody looks for one."""
        seen: Counter[str] = Counter()
        found = {}
        for rule in self.space.ranked:
            text = rule_text(rule)
            found[text, seen[text]] = rule
            seen[text] += 1
        return found

    def key_of(self, name: str) -> RuleKey:
        """name: of the rule, its line or file and line. Raises UsageError where there is none."""
        for key, rule in self.by_key.items():
            place = f"{self.path}:{rule.line}"
            if name in (str(rule.line), place) or place.endswith(f"/{name}"):
                return key
        raise UsageError(
            f"--rule: error: there is no rule at {name!r}; right would be a line of {self.path}, or {self.path}:LINE, "
            "as gfwd status --json shows them"
        )

    def numbers(self, key: RuleKey) -> list[int] | None:
        """Of all outcomes in which it applies; None: there is no such rule any more."""
        rule = self.by_key.get(key)
        if rule is None:
            return None
        return [n for n, outcome in enumerate(self.space.outcomes) if any(one is rule for one in outcome)]


class InForce(NamedTuple):
    """What the rule numbers of a plan stand for."""

    rules: Named
    down: frozenset[Collector]
    places: Places

    def way(self, number: int) -> Way | None:
        """None: no rule."""
        outcomes = self.rules.space.outcomes
        if number == NONE or number >= len(outcomes):
            return None
        return way_of(outcomes[number], self.rules.path, self.down, self.places)


class Look(NamedTuple):
    """Somebody looks. rule: that he looks for; None: any."""

    want: Want
    rule: RuleKey | None


class Plans:
    """Publishes plans into a core, and others who look without another plan being compiled.

    gone: numbers of those whose rule there is no more; they see nothing until it is back.
    """

    def __init__(self, core: Core) -> None:
        self.gone: frozenset[int] = frozenset()
        self._core = core
        self._plan = b""
        self._now: InForce | None = None
        self._looks: Mapping[int, Look] = {}
        self._known: dict[int, InForce] = {}  # by generation

    def publish(self, blueprint: Blueprint, path: str) -> None:
        """path: of the file that the rules are from. Raises CoreError, and then nothing has changed."""
        before = self._now
        is_same = before is not None and before.rules.space is blueprint.space and before.rules.path == path
        rules = before.rules if before is not None and is_same else Named(blueprint.space, path)
        now = InForce(rules, blueprint.down, blueprint.places)
        self._put(compile_plan(blueprint), now, self._looks)

    def look(self, looks: Mapping[int, Look]) -> int:
        """These look from now on, by their numbers (see plan/taps.py). Returns the generation from which on they do.

        Raises CoreError, and then those look who did before.
        """
        assert self._now is not None, "publish() comes first"
        return self._put(self._plan, self._now, looks)

    def look_of(self, want: Want) -> Look:
        """Raises UsageError where there is no such rule."""
        assert self._now is not None, "publish() comes first"
        return Look(want, None if want.rule is None else self._now.rules.key_of(want.rule))

    def of(self, generation: int) -> InForce | None:
        """What a record's rule number stands for; None: that is forgotten."""
        return self._known.get(generation)

    def _put(self, plan: bytes, now: InForce, looks: Mapping[int, Look]) -> int:
        numbers = {n: None if one.rule is None else now.rules.numbers(one.rule) for n, one in looks.items()}
        taps = [
            Tap(n, one.want.exporters, one.want.ports, None if one.rule is None else numbers[n] or (), one.want.sample)
            for n, one in looks.items()
        ]
        generation = self._core.publish(with_taps(plan, taps) if taps else plan)
        self._plan, self._now, self._looks = plan, now, looks
        self.gone = frozenset(n for n, one in looks.items() if one.rule is not None and numbers[n] is None)
        self._known[generation] = now
        for old in list(self._known)[: -_KEPT if looks else -1]:
            del self._known[old]
        return generation
