"""Canonical text reads back as the rules that it was made from, and is its own canonical text."""

from hypothesis import given

from gfwd.rules.canonical import canonical_text, rule_text
from gfwd.rules.classic import parse
from gfwd.rules.model import Prefix, Rule, RuleSet
from tests.unit.rules.universe import rule_sets


def without_lines(ruleset: RuleSet) -> list[Rule]:
    return [rule._replace(line=0) for rule in ruleset.rules]


@given(rule_sets())
def test_round_trip(ruleset: RuleSet) -> None:
    text = canonical_text(ruleset)
    again = parse(text, ruleset.path)
    assert without_lines(again) == without_lines(ruleset)
    assert [rule.line for rule in again.rules] == list(range(1, len(ruleset.rules) + 1))
    assert canonical_text(again) == text


def test_columns_are_aligned() -> None:
    text = "10.2.2.3 8086 10.2.2.6,flow A #x\n\n* 1,2,514 [2001:DB8::9]:1 B\ndefault * flow"
    assert canonical_text(parse(text, "x")) == (
        "10.2.2.3  8086     10.2.2.6 flow    A\n"
        "*         1-2,514  [2001:db8::9]:1  B\n"
        "default   *        flow\n"
    )  # fmt: skip


def test_a_long_field_does_not_move_the_columns_of_others() -> None:
    text = f"* {','.join(map(str, range(1, 99, 2)))} flow A\n* 514 flow B\n"
    assert canonical_text(parse(text, "x")).splitlines()[1] == "*  514  flow  B"


def test_a_rule_in_words() -> None:
    plain, default = parse("10.0.0.0/8 514 10.2.2.6,flow A\ndefault * flow", "x").rules
    assert (rule_text(plain), rule_text(default)) == ("10.0.0.0/8 514 10.2.2.6 flow A", "default * flow")
    hole = Prefix(4, 0x0A010000, 16)
    assert rule_text(default._replace(excepted=(hole,))) == "default except 10.1.0.0/16 * flow"
    both = plain._replace(excepted=(hole, Prefix(4, 0x0A020203, 32)), applies_always=True)
    assert rule_text(both) == "10.0.0.0/8 except 10.1.0.0/16,10.2.2.3 514 10.2.2.6 flow A apply all"
