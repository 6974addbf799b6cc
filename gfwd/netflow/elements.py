"""Information Elements: what a field's number means, by IANA's registry (RFC 7012 §4), by enterprises for their own,
and by RFC 5103 for the other direction of a flow.

NetFlow v9's field types have the same numbers up to 127 and nearly the same beyond (RFC 3954 §8, RFC 7012 §4.2); from
32,768 on, where IPFIX has none, they are Cisco's.
"""

from functools import cache, lru_cache
from typing import Final, NamedTuple

from gfwd.netflow.registry import ELEMENTS, REVERSED

IANA: Final = 0
"""The enterprise number that stands for IANA's registry, and all of NetFlow v9."""

PADDING: Final = 210
"""paddingOctets: its value means nothing (RFC 7012)."""

SAMPLING: Final = frozenset((34, 50, 305, 309, 311))
"""samplingInterval, samplerRandomInterval (NetFlow v9); samplingPacketInterval, samplingSize, samplingProbability (RFC
5477 §8.2).
"""

OCTETS: Final = "octetArray"

_REVERSE: Final = 29305  # RFC 5103 §6.1
_KNOWN: Final = 65_536  # that are kept by number; there are not many more, but for enterprises

SCOPES: Final = {1: "scopeSystem", 2: "scopeInterface", 3: "scopeLineCard", 4: "scopeCache", 5: "scopeTemplate"}
"""What an options record of NetFlow v9 is about (RFC 3954 §6.1)."""


class Element(NamedTuple):
    """A name, and an abstract data type (RFC 7012 §3.1)."""

    name: str
    type: str


@cache
def _registry() -> dict[tuple[int, int], Element]:
    """By enterprise and number."""
    lines = ((enterprise, line.split()) for enterprise, text in ELEMENTS.items() for line in text.strip().splitlines())
    return {(enterprise, int(number)): Element(name, kind) for enterprise, (number, name, kind) in lines}


@lru_cache(maxsize=_KNOWN)
def element(enterprise: int, number: int) -> Element:
    """The element of an enterprise. One that is not registered is called by its numbers, and is bytes."""
    known = _registry()
    if (enterprise, number) in known:
        return known[enterprise, number]
    bit = REVERSED.get(enterprise, 0)
    other = (IANA, number) if enterprise == _REVERSE else (enterprise, number & ~bit)
    if other in known and (enterprise == _REVERSE or number & bit):
        name, kind = known[other]
        return Element(f"reverse{name[0].upper()}{name[1:]}", kind)
    return Element(f"element{number}" if enterprise == IANA else f"enterprise{enterprise}element{number}", OCTETS)


def scope(number: int) -> Element:
    """A scope field of NetFlow v9, which is a number of however many bytes."""
    return Element(SCOPES.get(number, f"scope{number}"), "unsigned64")
