"""Which addresses of a name a collector can have, and which of them are gfwd's own."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from gfwd.dns.name import Answer, Bad, Good
from gfwd.rules.fields import unreachable
from gfwd.rules.model import Address, Prefix


class Judged(NamedTuple):
    """An answer without what cannot be used. refused: that, and why, for people."""

    answer: Answer
    refused: dict[Address, str]


def own_addresses(own: Iterable[Prefix]) -> frozenset[Address]:
    """The single ones: a whole network of ours may hold collectors all the same."""
    return frozenset(Address(prefix.family, prefix.value) for prefix in own if prefix.size == 1)


def judged(answer: Answer, own: Collection[Address]) -> Judged:
    """Where nothing is left of all that it has answered, that is no answer."""
    addresses = [address for one in answer.values() if isinstance(one, Good) for address in one.addresses]
    refused = {address: why for address in addresses if (why := _why_not(address, own)) is not None}
    if not refused:
        return Judged(answer, refused)
    if len(refused) == len(addresses):
        address, why = next(iter(refused.items()))
        return Judged({family: Bad(f"its address is {address}: {why}", is_final=True) for family in answer}, refused)
    left = {
        family: one._replace(addresses=tuple(address for address in one.addresses if address not in refused))
        if isinstance(one, Good)
        else one
        for family, one in answer.items()
    }
    return Judged(left, refused)


def _why_not(address: Address, own: Collection[Address]) -> str | None:
    if address in own:
        return "that is gfwd's own address, and what is sent there would come back"
    return unreachable(address)
