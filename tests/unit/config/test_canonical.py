"""Canonical text reads back as the configuration that it was made from, and is its own canonical text."""

import dataclasses
from pathlib import Path

from hypothesis import given

from gfwd.config.canonical import canonical_text
from gfwd.config.model import Config
from gfwd.config.reading import load, parse
from gfwd.rules import canonical as classic_text
from gfwd.rules.model import Rule, RuleSet
from tests.unit.config.drawn import configurations


def without_lines(ruleset: RuleSet) -> list[Rule]:
    return [rule._replace(line=0) for rule in ruleset.rules]


def but_for_lines(config: Config) -> Config:
    return dataclasses.replace(config, path="", rules=RuleSet("", tuple(without_lines(config.rules))))


@given(configurations())
def test_round_trip(config: Config) -> None:
    text = canonical_text(config)
    again = parse(text, config.path)
    assert but_for_lines(again) == but_for_lines(config)
    assert canonical_text(again) == text
    lines = text.split("\n")
    assert [lines[rule.line - 1] for rule in again.rules.rules] == ["[[rule]]"] * len(config.rules.rules)


@given(configurations())
def test_both_spellings_of_rules_mean_the_same(tmp_path_factory, config: Config) -> None:
    """Those of a rules file name the collectors, too."""
    names = {collector: name for name, collector in config.collectors.items()}
    rules = [
        rule._replace(
            receivers=tuple(
                one._replace(host=names[one], port=None, address=None) if one in names else one
                for one in rule.collectors
            )
        )
        for rule in config.rules.rules
    ]
    folder: Path = tmp_path_factory.getbasetemp()
    (folder / "some.rules").write_text(classic_text.canonical_text(RuleSet("", tuple(rules))))
    text = canonical_text(config)
    (folder / "gfwd.toml").write_text('rules = "some.rules"\n' + text[: text.index("[[rule]]")], "utf-8")
    again = load(folder / "gfwd.toml")
    assert again.rules.path == str(folder / "some.rules")
    assert but_for_lines(again) == but_for_lines(config)
    assert [rule.line for rule in again.rules.rules] == list(range(1, len(rules) + 1))
