"""In which order the addresses of a name count, and which of them copies may go to."""

from collections.abc import Iterable, Sequence
from typing import Final

from gfwd.rules.model import FAMILIES, NO_OPTIONS, Address, Collector, Resolve

ADDRESSES_MOST: Final = 32
"""Of one family, that a name can have here."""


def settled(before: Sequence[Address], now: Iterable[Address]) -> tuple[Address, ...]:
    """The addresses that there are now: IPv4 first, and within a family those that were there before, in their order.

    Servers give the same addresses in another order each time, and the first one gets the copies: so as long as it is
    among them it stays the first, and nothing moves. Of more than ADDRESSES_MOST the rest is left out.
    """
    there = dict.fromkeys(now)
    kept = [address for address in before if address in there]
    found = dict.fromkeys([*kept, *there])
    # Most exporters speak IPv4, and a collector of the other family can get nothing from them.
    of_each = ([address for address in found if address.family == family] for family in FAMILIES)
    return tuple(address for some in of_each for address in some[:ADDRESSES_MOST])


def resolve_of(collector: Collector, usual: Resolve) -> Resolve:
    """Which addresses of its name get copies. usual: where it does not say it itself."""
    return (collector.options or NO_OPTIONS).resolve or usual


def preferred(addresses: Sequence[Address], resolve: Resolve) -> tuple[Address, ...]:
    """Those that copies may go to: all, or those of the family that is preferred, where there are any."""
    if resolve in ("first", "all"):
        return tuple(addresses)
    family = 4 if resolve == "prefer-v4" else 6
    return tuple(address for address in addresses if address.family == family) or tuple(addresses)
