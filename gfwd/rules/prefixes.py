"""Prefixes taken out of one another."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from gfwd.rules.model import FAMILIES, Prefix

ROOTS: Final = tuple(Prefix(family, 0, 0) for family in FAMILIES)
"""All of IPv4, and all of IPv6."""


def without(source: Prefix | None, holes: Collection[Prefix]) -> tuple[Prefix | None, ...]:
    """The fewest prefixes that make up a source, but for the holes, which may lie anywhere; None is any source."""
    if not holes:
        return (source,)
    return tuple(piece for whole in (ROOTS if source is None else (source,)) for piece in _what_is_left(whole, holes))


def widest(prefixes: Iterable[Prefix]) -> list[Prefix]:
    """The same addresses, without the prefixes that lie in others; sorted."""
    found: list[Prefix] = []
    for prefix in sorted(prefixes):
        if not found or not found[-1].holds(prefix):
            found.append(prefix)
    return found


def left_out(whole: Prefix, holes: Sequence[Prefix]) -> list[Prefix]:
    """The fewest prefixes that make up what the holes leave. They are sorted, lie in the whole, and none in another."""
    if not holes:
        return [whole]
    if holes[0] == whole:
        return []
    low, high = whole.halves()
    middle = bisect_left(holes, high)
    return left_out(low, holes[:middle]) + left_out(high, holes[middle:])


def _what_is_left(whole: Prefix, holes: Collection[Prefix]) -> list[Prefix]:
    if any(hole.holds(whole) for hole in holes):
        return []
    return left_out(whole, widest(hole for hole in holes if whole.holds(hole)))
