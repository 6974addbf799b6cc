"""MTUs compared: what comes in longer than it may leave, leaves in fragments, or not at all."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gfwd.daemon import advice


class Sized(NamedTuple):
    """A port, its interface, and the MTU there; bytes, and 0: there is no limit."""

    port: str
    interface: str
    mtu: int


class Gap(NamedTuple):
    """What comes in may be longer than what leaves."""

    into: Sized
    out: Sized

    def __str__(self) -> str:
        return (
            f"its MTU of {self.out.mtu} is smaller than that of {self.into.port}, {self.into.mtu}: longer datagrams "
            "leave in fragments, or are dropped where they must not be cut (too_big); let them be the same, no larger "
            "than what all on either network carry"
        )

    def mends(self) -> str:
        """The commands of which one is right; which one, the networks behind the ports say."""
        larger = advice.set_mtu(self.out.interface, self.into.mtu)
        return f"{larger}, or {advice.set_mtu(self.into.interface, self.out.mtu)}"


def gaps(inputs: Iterable[Sized], outputs: Iterable[Sized]) -> Iterator[Gap]:
    """Of each port out, the one to the port in that has the largest MTU, where that is larger."""
    largest = max(inputs, key=lambda its: its.mtu, default=None)
    if largest is not None:
        yield from (Gap(largest, its) for its in outputs if 0 < its.mtu < largest.mtu)
