"""What ARP and neighbour discovery say alike: an address has a MAC."""

from typing import NamedTuple

from gfwd.rules.model import Address


class Statement(NamedTuple):
    """Somebody says that `address` is at `mac` (6 bytes; None: that it is there, at the MAC that it is known by).

    destination: the MAC that the frame is for. asked_by: the address whose question it answers; None: nobody's, it is
    said unasked. source: the MAC that the frame is from.
    """

    address: Address
    mac: bytes | None
    destination: bytes
    source: bytes
    asked_by: Address | None = None
