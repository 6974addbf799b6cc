"""RuleSet → its one canonical text, which reads back as the same rules."""

from typing import Final

from gfwd.rules.model import Rule, RuleSet, ports_text

_WIDEST: Final = 40  # characters: a longer field does not push the columns of all other lines to the right


def canonical_text(ruleset: RuleSet) -> str:
    """The rules in the order in which they were written, one a line, in aligned columns; comments are gone."""
    rows = [_fields(rule) for rule in ruleset.rules]
    widths = [_width(column) for column in zip(*rows, strict=True)]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)


def rule_text(rule: Rule) -> str:
    """One rule on a line of its own, its fields one blank apart, and in words what a rules file cannot say."""
    source, *others = _fields(rule)
    if rule.excepted:
        source += f" except {','.join(map(str, rule.excepted))}"
    return " ".join(field for field in (source, *others, "apply all" if rule.applies_always else "") if field)


def _width(column: tuple[str, ...]) -> int:
    return max((len(field) for field in column if len(field) <= _WIDEST), default=0)


def _fields(rule: Rule) -> tuple[str, str, str, str]:
    source = "*" if rule.source is None else str(rule.source)
    if rule.priority is None:
        source = "default"
    return source, ports_text(rule.ports), " ".join(map(str, rule.receivers)), rule.priority or ""
