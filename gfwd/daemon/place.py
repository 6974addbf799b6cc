"""Where neighbours are looked for."""

from typing import Literal, NamedTuple


class Place(NamedTuple):
    """Behind an interface (its index), or behind one of the core's ports."""

    kind: Literal["interface", "port"]
    number: int
