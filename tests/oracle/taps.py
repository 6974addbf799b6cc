"""Who looks at datagrams, as the core's twin has it: each of them is asked, one filter after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import cast

from gfwd.native.core import DROP_CAUSES, FORWARD, TAPS_MAX, WAIT, Record
from gfwd.plan.taps import Tap
from gfwd.rules.model import ALL_PORTS, Family, Prefix, merge_ports
from tests.frames import BITS, World
from tests.oracle import twin
from tests.oracle.twin import Datagram

FATES = {twin.FORWARDED: FORWARD, twin.PENDING: WAIT, **{cause: n for n, cause in enumerate(DROP_CAUSES)}}


@dataclass(frozen=True)
class Tapped:
    """What those who look get of a datagram. rules: the orders of those that apply; none: it is denied; None: no rule
    wants it.
    """

    frame: bytes
    port: int
    time: int
    rules: tuple[int, ...] | None
    fate: int
    taps: int
    templates: int

    @classmethod
    def of(cls, record: Record, rules: tuple[int, ...] | None) -> Tapped:
        """As the core hands it out."""
        its = record
        return cls(its.frame, its.port, its.time, rules, its.fate, its.taps, its.templates)


def drawn_taps(rng: Random, world: World, outcomes: Sequence[tuple[int, ...]]) -> list[Tap]:
    """Nobody, or some who look for this and that. outcomes: of the plan; several may have the same rules."""
    numbers = rng.sample(range(TAPS_MAX), rng.choice((0, 0, 1, 3)))
    wanted = {rules for rules in sorted(set(outcomes)) if rng.random() < 0.5}
    return [
        Tap(
            number,
            [_prefix(rng, world) for _ in range(rng.choice((0, 0, 1, 3)))],
            merge_ports((port, port + rng.choice((0, 3, 5_000))) for port in rng.choice(([], [500], [1, 2_055, 9_990])))
            or ALL_PORTS,
            rng.choice((None, [n for n, rules in enumerate(outcomes) if rules in wanted])),
            rng.choice((1, 1, 2, 7)),
            rng.random() < 0.5,
        )
        for number in numbers
    ]


def _prefix(rng: Random, world: World) -> Prefix:
    sources = [rule.source for rule in world.rules.rules if rule.source is not None]
    if sources and rng.random() < 0.8:
        family, address, length = rng.choice(sources)
    else:
        family, address, length = rng.choice(((4, 0, 0), (6, 0, 0), (4, 0x0A000000, 8)))
    bits = BITS[family]
    length = max(0, min(bits, length + rng.choice((-1, 0, 1))))
    return Prefix(cast(Family, family), address >> bits - length << bits - length, length)


class TapTwin:
    """The turns outlive a plan, since the core keeps them by number."""

    def __init__(self) -> None:
        self._turns = [0] * TAPS_MAX
        self.matched = [0] * TAPS_MAX
        self.taken = [0] * TAPS_MAX

    def look(self, taps: Sequence[Tap], datagram: Datagram, number: int | None) -> tuple[int, int]:
        """Who gets the datagram, and who for its templates. number: of what becomes of it; None: no rule wants it."""
        whose = templates = 0
        for tap in taps:
            if not _wants(tap, datagram, number):
                continue
            self.matched[tap.number] += 1
            self._turns[tap.number] += 1
            if self._turns[tap.number] >= tap.every:
                self._turns[tap.number] = 0
                whose |= 1 << tap.number
            elif twin.has_template(datagram.payload):
                templates |= 1 << tap.number
        for n in range(TAPS_MAX):
            self.taken[n] += (whose | templates) >> n & 1
        return whose, templates


def _wants(tap: Tap, datagram: Datagram, number: int | None) -> bool:
    if tap.is_whole and datagram.fragment is not None:
        return False
    if not any(first <= datagram.port <= last for first, last in tap.ports):
        return False
    if tap.rules is not None and number not in tap.rules:
        return False
    its = Prefix(cast(Family, datagram.family), datagram.source, BITS[datagram.family])
    return not tap.sources or any(prefix.holds(its) for prefix in tap.sources)
