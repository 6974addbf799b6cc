"""Who sends what no rule wants: the tables of all workers as one, and how much has come between two looks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gfwd.native.core import Count, Unknown

Key = tuple[int, bytes, int]
"""Family, address and port: what makes an entry of a table."""

_SHORTEST_S = 1.0  # two looks that are closer say nothing of a rate


def key_of(entry: Unknown) -> Key:
    return entry.family, entry.address, entry.port


def merged(entries: Iterable[Unknown]) -> tuple[list[Unknown], Count]:
    """Each source and port once, and all together that is not told apart.

    Of one that several workers saw, counts are added up, and what was sent last is what came last to any of them.
    """
    found: dict[Key, Unknown] = {}
    others = Count(0, 0)
    for entry in entries:
        if entry.family == 0:
            others = Count(others.packets + entry.packets, others.bytes + entry.bytes)
            continue
        before = found.get(key_of(entry))
        found[key_of(entry)] = entry if before is None else _added(before, entry)
    return list(found.values()), others


def _added(one: Unknown, other: Unknown) -> Unknown:
    return max(one, other, key=lambda entry: entry.last)._replace(
        packets=one.packets + other.packets,
        bytes=one.bytes + other.bytes,
        first=min(one.first, other.first),
    )


class Rates(NamedTuple):
    """Datagrams a second of each source, over the last so many seconds."""

    seconds: float
    of: Mapping[Key, float]


class Looks:
    """What was there at the look before, so that the next one can say what has come since. Times: time.monotonic()."""

    def __init__(self) -> None:
        self._when: float | None = None
        self._packets: Mapping[Key, int] = {}
        self._rates: Rates | None = None

    def take(self, entries: Sequence[Unknown], now: float) -> Rates | None:
        """The rates since the look before; None: this is the first one. A look that comes too soon after one learns
        what that one did.
        """
        seconds = None if self._when is None else now - self._when
        if seconds is not None and seconds < _SHORTEST_S:
            return self._rates
        if seconds is not None:
            self._rates = Rates(seconds, {key_of(entry): self._come_since(entry) / seconds for entry in entries})
        self._when, self._packets = now, {key_of(entry): entry.packets for entry in entries}
        return self._rates

    def _come_since(self, entry: Unknown) -> int:
        """One that has fewer than before has left the table meanwhile, and begun anew."""
        before = self._packets.get(key_of(entry), 0)
        return entry.packets - before if entry.packets >= before else entry.packets


def rate_since_first(entry: Unknown, now: int) -> float:
    """Datagrams a second, from the first one until now (ns since 1970); those of less than a second count for one."""
    return entry.packets / max((now - entry.first) / 1e9, _SHORTEST_S)
