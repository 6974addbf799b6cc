"""What the tests of imports share: who would get a datagram."""

from __future__ import annotations

from functools import lru_cache

from gfwd.imports.imported import Imported
from gfwd.rules.classic import parse
from gfwd.rules.model import Address, Rule


@lru_cache(maxsize=1)
def ranked(text: str) -> tuple[Rule, ...]:
    """The rules of a text, best first. Most tests ask about one text again and again."""
    return parse(text, "printed").ranked()


def receivers(outcome: Imported, source: Address) -> set[str]:
    """The collectors that the printed rules give a datagram of this source, without those of the other family."""
    if not outcome.rules:
        return set()
    for rule in ranked(outcome.text()):
        prefix = rule.source
        if prefix is None or (
            prefix.family == source.family and prefix.value <= source.value < prefix.value + prefix.size
        ):
            return {
                str(collector)
                for collector in rule.collectors
                if collector.address is None or collector.address.family == source.family
            }
    return set()


def said(outcome: Imported, kind: str = "warning") -> list[str]:
    """The remarks of a kind, as LINE: TEXT."""
    return [f"{remark.line}: {remark.text}" for remark in outcome.remarks if remark.kind == kind]
