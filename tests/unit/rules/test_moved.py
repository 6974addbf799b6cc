"""Rules that have moved, against all rows of rules that could have stayed."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.rules.classic import parse
from gfwd.rules.model import RuleSet
from gfwd.rules.moved import moved
from tests.unit.rules.universe import rule_sets


def moved_lines(old: str, new: str) -> list[int]:
    return [rule.line for rule in moved(parse(old, "old").ranked(), parse(new, "new").ranked())]


A, B, C = "10.0.0.1 514 a.example B\n", "10.0.0.2 514 b.example B\n", "* 514 c.example B\n"


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (A + B, A + B, []),
        (A + B + C, "# comment\n\n" + (A + B + C).replace(" B\n", " Q\n"), []),  # whatever the letter
        (A + B, A + B + C, [3]),
        (A + B + C, B + C, [1]),
        (A + B + C, C + A + B, [3, 1]),  # the one that has changed places, in both
        (A + B, A.replace("514", "515") + B, [1, 1]),
        (A + A, A, [1]),  # of two alike, the one that is worse
        ("* 514 a.example C\n" + C, "default 514 a.example\n" + C, []),  # the worst rule anyway
    ],
)
def test_moved(old: str, new: str, lines: list[int]) -> None:
    assert moved_lines(old, new) == lines


@given(rule_sets(), rule_sets())
def test_what_stays_is_in_one_order(old: RuleSet, new: RuleSet) -> None:
    gone = {id(rule) for rule in moved(old.ranked(), new.ranked())}
    stay = [[rule[:3] for rule in ruleset.ranked() if id(rule) not in gone] for ruleset in (old, new)]
    assert stay[0] == stay[1]


@given(st.permutations(range(7)))
def test_as_few_as_can_be(order: list[int]) -> None:
    rules = parse("".join(f"10.0.0.{i} * a.example A\n" for i in range(7)), "x").ranked()
    new = [rules[i] for i in order]
    longest = max(n for n in range(1, 8) for row in combinations(order, n) if list(row) == sorted(row))
    assert len(moved(rules, new)) == 2 * (7 - longest)
