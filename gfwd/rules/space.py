"""The rule space: every (source address, destination port), and which rules apply there.

Usually one does, the best that matches. Denied exporters come before all rules; rules that apply always, beside the
best.
"""

from collections.abc import Iterable, Sequence

from gfwd.errors import ConfigError, Problem
from gfwd.rules.apply_all import Kind, combine
from gfwd.rules.classic import COLLECTORS_MAX
from gfwd.rules.levels import Levels, levels_of
from gfwd.rules.model import ALL_PORTS, Exporters, Prefix, Receiver, Rule, RuleSet, each_once
from gfwd.rules.prefixes import ROOTS, left_out, widest, without

Outcome = tuple[Rule, ...]
"""What becomes of datagrams: the rules that apply to them, best first; none: they are denied."""


def receivers_of(outcome: Outcome) -> tuple[Receiver, ...]:
    """Who gets a copy, each once."""
    if len(outcome) == 1:
        return outcome[0].receivers
    return each_once(receiver for rule in outcome for receiver in rule.receivers)


class RuleSpace(Levels):
    """The rules of a RuleSet by where they apply.

    ranked      the rules, best first
    outcomes    what the numbers of the space stand for
    """

    def __init__(self, ruleset: RuleSet) -> None:
        self.ranked: tuple[Rule, ...] = ruleset.ranked()
        denied = denied_sources(ruleset.exporters)
        outcomes: list[Outcome] = [*([()] if denied else []), *zip(self.ranked)]  # denied come before any rule
        ports = [outcome[0].ports if outcome else ALL_PORTS for outcome in outcomes]
        placed = (
            (source, number)
            for number, outcome in enumerate(outcomes)
            for source in (without(outcome[0].source, outcome[0].excepted) if outcome else denied)
        )
        if any(rule.applies_always for rule in self.ranked):
            any_ranges, nodes, together = combine(placed, ports, list(map(_kind, outcomes)))
            outcomes = [tuple(rule for number in numbers for rule in outcomes[number]) for numbers in together]
            _refuse_too_many(ruleset.path, outcomes)
            super().__init__(any_ranges, nodes)
        else:
            super().__init__(*levels_of(placed, ports))
        self.outcomes: Sequence[Outcome] = outcomes


def _kind(outcome: Outcome) -> Kind:
    if not outcome:
        return Kind.DENIES
    (rule,) = outcome
    if rule.applies_always:
        return Kind.ALWAYS
    return Kind.DEFAULT if rule.priority is None else Kind.COMPETES


def _refuse_too_many(path: str, outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        n = len(receivers_of(outcome))
        if n > COLLECTORS_MAX:
            lines = ", ".join(str(rule.line) for rule in outcome)
            text = (
                f"the rules that apply together (lines {lines}) name {n} collectors, and a datagram can go to "
                f"{COLLECTORS_MAX} at most: remove some"
            )
            raise ConfigError([Problem(path, outcome[0].line, 0, text)])


def denied_sources(exporters: Exporters) -> list[Prefix]:
    """All sources that are denied, as few prefixes."""
    denied = list(exporters.deny)
    if exporters.allow:
        allowed = widest(exporters.allow)
        for root in ROOTS:
            denied += left_out(root, [prefix for prefix in allowed if prefix.family == root.family])
    return widest(denied)
