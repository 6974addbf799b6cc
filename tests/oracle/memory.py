"""What the twin knows of exporters: how fast they send, which TTL their datagrams have, and which it has seen lately.

docs/packets.md, "Match": limits and suspects. All times are in ns.
"""

from __future__ import annotations

from typing import NamedTuple

SECOND = 1_000_000_000
EARLY = SECOND // 10
SUSPECTS = 4_096  # the datagram that came with another TTL, and the next 4,095
PLACES = 65_536
TIMES = 8  # with one TTL, each within a second of the one before: this one is too much
STEP = 65_536  # in such steps the time of a remembered datagram is kept
WAYS = 4  # places that a datagram may take
_BITS_64 = (1 << 64) - 1


class _Seen(NamedTuple):
    """A datagram that was here: what stays the same of it, when it was here last, with which TTL, and how often."""

    what: tuple[object, ...]
    time: int
    ttl: int
    times: int


_NOTHING = _Seen((), 0, 0, 0)


class Pace:
    """When the next one is due."""

    def __init__(self) -> None:
        self._due = 0

    def allows(self, limit: int | None, now: int) -> bool:
        """Whether one more may come; limit: so many a second, None: as many as there are."""
        if limit is None:
            return True
        period = max(1, SECOND // limit)
        due = max(self._due, now)
        if due - now > 2 * (EARLY + period):
            due = now
        if due - now > EARLY:
            return False
        self._due = due + period
        return True


class Memory:
    """Habits by exporter and destination port; and datagrams, in places that others may take.

    seeds: the core's, by which it chooses the places.
    """

    def __init__(self, seeds: tuple[int, int]) -> None:
        self._seed = _folded(seeds[0], seeds[1])
        self._habits: dict[tuple[int, int, int], tuple[int, int]] = {}  # TTL, and how many suspects are still to come
        self._seen: dict[int, list[_Seen]] = {}  # by set: its places

    def suspects(self, family: int, source: int, port: int, ttl: int) -> bool:
        """Whether a datagram to this port is a suspect."""
        habit, left = self._habits.get((family, source, port), (ttl, 0))
        if habit != ttl:
            left = SUSPECTS
        self._habits[family, source, port] = ttl, max(0, left - 1)
        return left > 0

    def comes_back(
        self, family: int, source: int, source_port: int, ident: int | None, payload: bytes, ttl: int, now: int
    ) -> bool:
        """Whether this suspect was here within a second, with another TTL or too often; else it is remembered."""
        what = (family, source, source_port, ident, payload)
        places = self._seen.setdefault(self._set(source, source_port, ident, payload), [_NOTHING] * WAYS)
        number = next((n for n, one in enumerate(places) if one.what == what), None)
        times = 0
        if number is None:
            # The oldest goes; what is from before the clock was set back is the oldest of all.
            number = max(range(WAYS), key=lambda n: (now - places[n].time) & _BITS_64)
        elif 0 <= now - places[number].time < SECOND:
            times = places[number].times
            if places[number].ttl != ttl or times + 1 >= TIMES:
                return True
        places[number] = _Seen(what, now // STEP * STEP, ttl, times + 1)
        return False

    def habit_place(self, family: int, source: int, port: int) -> int:
        """Where the core keeps the habit: the twin has room for all."""
        return self._fold_all([source >> 64, source & _BITS_64, port << 8 | family]) % PLACES

    def _set(self, source: int, source_port: int, ident: int | None, payload: bytes) -> int:
        """gfwd/native/loop.c defines it: any other place would be as right, but not the core's."""
        whole = len(payload) // 8 * 8
        words = [source >> 64, source & _BITS_64, (8 + len(payload)) << 32 | source_port]
        words += [] if ident is None else [ident]
        words += [int.from_bytes(payload[at : at + 8], "big") for at in range(0, whole, 8)]
        return self._fold_all([*words, *payload[whole:]]) % (PLACES // WAYS)

    def _fold_all(self, words: list[int]) -> int:
        hashed = self._seed
        for word in words:
            hashed = _folded(hashed, word)
        return hashed


def _folded(hashed: int, word: int) -> int:
    """A product of 128 bits, both halves of it in one."""
    product = (hashed ^ word) * 0x9E3779B97F4A7C15
    return product & _BITS_64 ^ product >> 64
