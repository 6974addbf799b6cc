"""The outcome of an import, and its text."""

from collections.abc import Iterable
from typing import NamedTuple

from gfwd.errors import Problem
from gfwd.imports.entries import Share, Source
from gfwd.imports.report import Place, Report
from gfwd.imports.sources import rules_of
from gfwd.rules.canonical import canonical_text
from gfwd.rules.model import Ports, Rule, RuleSet


class Imported(NamedTuple):
    """The rules, for each the places that it comes from, and the remarks: warnings and notes."""

    path: str
    rules: tuple[Rule, ...]
    places: tuple[tuple[Place, ...], ...]
    remarks: tuple[Problem, ...]

    def is_whole(self) -> bool:
        """Whether gfwd with these rules does all that the other program did."""
        return bool(self.rules) and all(remark.kind == "note" for remark in self.remarks)

    def text(self) -> str:
        """The text of a classic rules file; above each rule stands where it comes from. Empty without rules."""
        if not self.rules:
            return ""
        lines = canonical_text(RuleSet(self.path, self.rules)).splitlines()
        return "".join(f"# {places_text(places)}\n{line}\n" for line, places in zip(lines, self.places, strict=True))


def imported(path: str, shares: Iterable[tuple[Ports, dict[Source, Share]]], report: Report) -> Imported:
    """Turn the shares of each set of ports into rules. Raises ConfigError where the report holds errors."""
    report.stop_at_errors()
    written = [item for ports, some in shares for item in rules_of(some, ports, report)]
    remarks = sorted(dict.fromkeys(report.remarks), key=lambda remark: (remark.path, remark.line))
    return Imported(path, tuple(rule for rule, _ in written), tuple(places for _, places in written), tuple(remarks))


def places_text(places: Iterable[Place]) -> str:
    """Where a rule comes from: `FILE:3, FILE:7`. A file's name may hold anything, a comment only what is printable."""
    text = ", ".join(map(str, places))
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
