"""Where neighbours are looked for."""

from typing import Literal, NamedTuple


class Place(NamedTuple):
    """Behind an interface (its index), or in a VLAN behind one of the core's ports."""

    kind: Literal["interface", "port"]
    number: int
    vlan: int | None = None


def vlan_of(tags: bytes) -> int | None:
    """The VLAN that tags lead to; None: there are none, or only a priority (IEEE 802.1Q §9.6)."""
    return (int.from_bytes(tags[-2:]) & 0xFFF or None) if tags else None
