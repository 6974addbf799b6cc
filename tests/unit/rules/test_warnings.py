"""Rules that can never win, exactly; duplicates; and that the lines which are named are the right ones."""

import re

import pytest
from hypothesis import given, settings

from gfwd.rules.classic import parse
from gfwd.rules.model import RuleSet
from gfwd.rules.warnings import idle_rules, warnings
from tests.unit.rules.universe import SAMPLE_PORTS, addresses, apply, matches, optioned_rule_sets, rule_sets, scan


def warn(text: str) -> list[str]:
    ruleset = parse(text, "x")
    return list(map(str, warnings(ruleset)))


def never(line: int, reason: str) -> str:
    return f"x:{line}:1: warning: this rule can never win: {reason}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* 514 a.example B\n10.0.0.1 514 a.example A\ndefault * b.example\n", []),
        (
            "* 514 a.example A\n10.0.0.1 514 b.example B\n",
            [never(2, "line 1 is better, and takes all of it")],
        ),
        (  # the default stands behind every other rule, wherever it is written
            "* * a.example Z\ndefault * b.example\n",
            [never(2, "line 1 is better, and takes all of it")],
        ),
        (  # two port ranges together
            "10.0.0.0/8 1-100 a.example A\n* 101-200 a.example A\n10.0.0.1 50-150 b.example B\n",
            [never(3, "better rules together take all of it, among them line 1 and line 2")],
        ),
        (  # one port is left
            "10.0.0.0/8 1-100 a.example A\n* 102-200 a.example A\n10.0.0.1 50-150 b.example B\n",
            [],
        ),
        (  # narrower sources tile the wider one
            "10.0.0.0/9 514 a.example A\n10.128.0.0/9 * a.example A\n10.0.0.0/8 514 b.example B\n",
            [never(3, "better rules together take all of it, among them line 1 and line 2")],
        ),
        (  # … but not for all of its ports
            "10.0.0.0/9 514 a.example A\n10.128.0.0/9 * a.example A\n10.0.0.0/8 514-515 b.example B\n",
            [],
        ),
        (  # any source is both families
            "0.0.0.0/0 514 a.example A\n* 514 b.example B\n",
            [],
        ),
        (
            "0.0.0.0/0 514 a.example A\n::/0 514 a.example A\n* 514 b.example B\n",
            [never(3, "better rules together take all of it, among them line 1 and line 2")],
        ),
        (
            "* 514 a.example A\n* 514 a.example A\n",
            ["x:1:1: warning: a duplicate of line 2, which wins over it: remove one of the two"],
        ),
        (
            "10.0.0.1 7,514 a.example A\n10.0.0.1 514,7 b.example B\n",
            [
                "x:2:1: warning: line 1 has the same source and ports, and wins over this one, whose collectors get "
                "nothing: write all collectors in one line, or remove one of the two"
            ],
        ),
    ],
)
def test_warnings(text: str, expected: list[str]) -> None:
    assert warn(text) == expected


@settings(max_examples=400)
@given(rule_sets())
def test_idle_rules_are_those_that_win_no_point(ruleset: RuleSet) -> None:
    winners = {scan(ruleset, address, port) for address in addresses() for port in SAMPLE_PORTS}
    assert list(idle_rules(ruleset)) == [rank for rank, rule in enumerate(ruleset.ranked()) if rule not in winners]


@settings(max_examples=400)
@given(optioned_rule_sets())
def test_idle_rules_with_options_are_those_that_never_apply(ruleset: RuleSet) -> None:
    applied = {rule for address in addresses() for port in SAMPLE_PORTS for rule in apply(ruleset, address, port) or ()}
    assert list(idle_rules(ruleset)) == [rank for rank, rule in enumerate(ruleset.ranked()) if rule not in applied]
    assert len(warnings(ruleset)) == len(idle_rules(ruleset))


@given(rule_sets())
def test_named_lines_are_better_where_the_rule_applies(ruleset: RuleSet) -> None:
    ranked = ruleset.ranked()
    number_of = {rule.line: number for number, rule in enumerate(ranked)}
    problems = warnings(ruleset)
    assert [problem.line for problem in problems] == sorted(ranked[number].line for number in idle_rules(ruleset))
    for problem in problems:
        assert problem.kind == "warning"
        rule = ranked[number_of[problem.line]]
        named = [ranked[number_of[int(line)]] for line in re.findall(r"line (\d+)", problem.text)]
        assert named
        points = [(address, port) for address in addresses() for port in SAMPLE_PORTS if matches(rule, address, port)]
        for better in named:
            assert number_of[better.line] < number_of[rule.line]
            assert any(matches(better, *point) for point in points)
            if "takes all of it" in problem.text:
                assert all(matches(better, *point) for point in points)
            is_twin = (better.source, better.ports) == (rule.source, rule.ports)
            assert is_twin or "duplicate" not in problem.text
