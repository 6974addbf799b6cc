"""Canonical text reads back as the configuration that it was made from, and is its own canonical text."""

import dataclasses
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gfwd.config.canonical import canonical_text
from gfwd.config.model import Config
from gfwd.config.reading import load, parse
from gfwd.rules import canonical as classic_text
from gfwd.rules.model import Rule, RuleSet
from tests.unit.config.drawn import configurations


def without_lines(ruleset: RuleSet) -> tuple[Rule, ...]:
    return tuple(rule._replace(line=0) for rule in ruleset.rules)


def but_for_lines(config: Config) -> Config:
    return dataclasses.replace(config, path="", rules=config.rules._replace(path="", rules=without_lines(config.rules)))


@given(configurations())
def test_round_trip(config: Config) -> None:
    text = canonical_text(config)
    again = parse(text, config.path)
    assert but_for_lines(again) == but_for_lines(config)
    assert canonical_text(again) == text
    lines = text.split("\n")
    assert [lines[rule.line - 1] for rule in again.rules.rules] == ["[[rule]]"] * len(config.rules.rules)


@given(configurations(), st.booleans())
def test_both_spellings_of_rules_mean_the_same(tmp_path_factory, config: Config, applies_always: bool) -> None:
    """Those of a rules file name collectors and groups, too, and apply as gfwd.toml says of all of them."""
    rules = tuple(
        rule._replace(excepted=(), applies_always=applies_always and rule.priority is not None)
        for rule in config.rules.rules
    )
    config = dataclasses.replace(config, rules=config.rules._replace(rules=rules))
    folder: Path = tmp_path_factory.getbasetemp()
    (folder / "some.rules").write_text(classic_text.canonical_text(config.rules))
    text = canonical_text(config)
    first_lines = 'rules = "some.rules"\n' + 'apply = "all"\n' * applies_always
    (folder / "gfwd.toml").write_text(first_lines + text[: text.index("[[rule]]")], "utf-8")
    again = load(folder / "gfwd.toml")
    assert again.rules.path == str(folder / "some.rules")
    assert but_for_lines(again) == but_for_lines(config)
    assert [rule.line for rule in again.rules.rules] == list(range(1, len(rules) + 1))
