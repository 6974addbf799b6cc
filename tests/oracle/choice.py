"""The twin's chance, and whom a group chooses: definitions, said once more in simple words.

docs/packets.md says "chance", "by the source address"; which numbers these are, gfwd/native/sample.h, choose.h and
gfwd/plan/shares.py define.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

PARTS = 4_096
_BITS_64 = (1 << 64) - 1


class Chance:
    """xorshift64* (Marsaglia 2003; Vigna 2016): the upper half of each number."""

    def __init__(self, seed: int) -> None:
        self._state = seed | 1

    def takes(self, one_in: int) -> bool:
        """Whether a datagram is the one in so many."""
        x = self._state
        x ^= x >> 12
        x = (x ^ x << 25) & _BITS_64
        x ^= x >> 27
        self._state = x
        upper_half = (x * 0x2545F4914F6CDD1D & _BITS_64) >> 32
        return upper_half * one_in < 1 << 32


def share_of(family: int, source: int, ports: tuple[int, int] | None) -> int:
    """The part that an exporter is in; ports: of a flow, source and destination."""
    words = [source & _BITS_64 ^ family, source >> 64, 0 if ports is None else 1 << 32 | ports[0] << 16 | ports[1]]
    mixed = 0
    for word in words:
        mixed = _mixed(word ^ mixed)
    return mixed // (1 << 64 - 12)


def _mixed(x: int) -> int:
    """SplitMix64 without the step of its state (Steele, Lea and Flood 2014; Stafford's variant 13)."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    x = (x ^ x >> 27) * 0x94D049BB133111EB % (1 << 64)
    return x ^ x >> 31


@cache
def winners(members: tuple[str, ...]) -> tuple[int, ...]:
    """For each part who gets it: the highest hash of "host:port part" wins, of equals the first."""
    columns = [_hashes(member) for member in members]
    return tuple(max(range(len(members)), key=lambda place: columns[place][part]) for part in range(PARTS))


@cache
def _hashes(member: str) -> list[bytes]:
    return [blake2b(f"{member} {part}".encode(), digest_size=8).digest() for part in range(PARTS)]
