"""Who of a group gets which share of the exporters, or of the flows; and which of several next hops does.

They are divided into SHARES parts by a hash of their address (gfwd/native/choose.h), and each part goes to the member
with the highest score for it: rendezvous hashing (Thaler and Ravishankar, 1998). Who goes leaves its parts to the
others, whoever comes takes some from each, and nothing else moves; on every gfwd, and after each start, it is the same.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from gfwd.native import core
from gfwd.plan.blueprint import Hop
from gfwd.rules.model import Address, Collector

SHARES: Final = core.SHARES
_SCORE_BYTES: Final = 8
_MEMBERS_KEPT: Final = 1_024  # whose scores are, 32 KB each: health publishes a plan whenever a collector goes or comes
_HOPS_KEPT: Final = 256  # sets of next hops, likewise: one goes, and comes back
_LOW_64: Final = (1 << 64) - 1


def shares(members: Sequence[Collector]) -> list[int]:
    """For each part the place of the member that gets it. A member is known by its host and port, not by its name."""
    return _winners([_scores(member.place()) for member in members])


def hop_shares(hops: Sequence[Hop]) -> list[int]:
    """For each part the place of the next hop that gets it; all lead to the same address.

    Who is in one part for two collectors need not have the same next hop to both, and which member of a group gets a
    part says nothing of the next hop: for each address, the parts stand in another order.
    """
    table = _hop_winners(tuple((hop.via, hop.weight) for hop in hops))
    turned = int.from_bytes(blake2b(str(hops[0].address).encode(), digest_size=_SCORE_BYTES).digest()) % SHARES
    return [table[part ^ turned] for part in range(SHARES)]


@lru_cache(_HOPS_KEPT)
def _hop_winners(hops: tuple[tuple[str, int], ...]) -> list[int]:
    """By weighted rendezvous hashing (-w / ln h), so that one that comes, goes or changes its weight moves only its own
    parts. Many collectors are behind the same next hops.
    """
    return _winners([[weight * score for score in _weighable(_scores(f"via {via}"))] for via, weight in hops])


def _winners(columns: Sequence[Sequence[float]]) -> list[int]:
    return [scores.index(max(scores)) for scores in zip(*columns, strict=True)]


def _weighable(scores: "array[int]") -> Iterator[float]:
    """-1 / ln h, where h lies between 0 and 1."""
    return (-1 / math.log((score + 0.5) / (1 << 64)) for score in scores)


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
