"""Ports of every kind, opened in a core."""

from dataclasses import dataclass
from typing import NamedTuple

from gfwd.config.port_name import PortName
from gfwd.l2.kernel import Link

ETHERNET_BYTES = 14 + 2 * 4
"""What a frame may take beside its MTU: the header, and two VLAN tags."""


class Wanted(NamedTuple):
    """What a port is for."""

    name: PortName
    is_in: bool
    is_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An open port.

    number: the core's. link: of the interface that it is; one without has a link made up, whose index is negative.
    rx: rings that are read. tx: rings to send by, one for each worker, or 0. mode: how it runs, for people.
    host: the core's number of the host stack behind it, where that is a port of its own. has_neighbours: the host
    keeps the neighbour table of this link; else gfwd asks on the wire.
    """

    number: int
    name: PortName
    link: Link
    is_in: bool
    is_out: bool
    rx: int
    tx: int
    mode: str
    host: int | None = None
    has_neighbours: bool = True

    @property
    def is_bare(self) -> bool:
        """Behind it is no interface of the host, which knows nothing of what lies there."""
        return self.link.index < 0

    def __str__(self) -> str:
        return str(self.name)
