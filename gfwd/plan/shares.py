"""Who of a group gets which share of the exporters, or of the flows.

They are divided into SHARES parts by a hash of their address (gfwd/native/choose.h), and each part goes to the member
with the highest score for it: rendezvous hashing (Thaler and Ravishankar, 1998). Who goes leaves its parts to the
others, whoever comes takes some from each, and nothing else moves; on every gfwd, and after each start, it is the same.
"""

from array import array
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from gfwd.native import core
from gfwd.rules.model import Address, Collector

SHARES: Final = core.SHARES
_SCORE_BYTES: Final = 8
_MEMBERS_KEPT: Final = 1_024  # whose scores are, 32 KB each: health publishes a plan whenever a collector goes or comes
_LOW_64: Final = (1 << 64) - 1


def shares(members: Sequence[Collector]) -> list[int]:
    """For each part the place of the member that gets it. A member is known by its host and port, not by its name."""
    return [scores.index(max(scores)) for scores in zip(*(_scores(member.place()) for member in members), strict=True)]


@lru_cache(_MEMBERS_KEPT)
def _scores(member: str) -> "array[int]":
    digests = blake2b(member.encode(), digest_size=_SCORE_BYTES)

    def score(part: int) -> int:
        digest = digests.copy()
        digest.update(b" %d" % part)
        return int.from_bytes(digest.digest())

    return array("Q", map(score, range(SHARES)))


def share_of(source: Address, flow: tuple[int, int] | None = None) -> int:
    """The part that an exporter is in; flow: its source and destination port, where these count."""
    high, low = source.value >> 64, source.value & _LOW_64
    ports = 0 if flow is None else 1 << 32 | flow[0] << 16 | flow[1]
    return _mix(_mix(high ^ _mix(low ^ source.family)) ^ ports) >> 52


def _mix(x: int) -> int:
    """The last steps of SplitMix64."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _LOW_64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _LOW_64
    return x ^ x >> 31
