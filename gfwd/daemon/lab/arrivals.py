"""What was sent and what arrived, compared flow by flow."""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_REACH = 256  # what comes more datagrams late than this is not looked for


class Tally(NamedTuple):
    """wanted = as sent + lost + changed; arrived = as sent + changed + unasked.

    reordered: of those as sent, how many came behind one that was sent later. changed: another payload or source port.
    unasked: what no rule brings here, and what came once too often.
    """

    wanted: int = 0
    arrived: int = 0
    lost: int = 0
    reordered: int = 0
    changed: int = 0
    unasked: int = 0

    def __add__(self, other: object) -> "Tally":
        if not isinstance(other, Tally):
            return NotImplemented
        return Tally(*(mine + its for mine, its in zip(self, other, strict=True)))

    @property
    def is_as_wanted(self) -> bool:
        return self.arrived == self.wanted and not any(self[2:])


class Flow:
    """What one exporter sends to one address and port of a collector: a digest of each datagram, in order."""

    def __init__(self) -> None:
        self.sent: array[int] = array("q")
        self.arrived: array[int] = array("q")

    def tally(self) -> Tally:
        """All zeros but for the first two only where both are the same.

        What is lost and what is too much is counted; where datagrams are alike, which one was late is a guess.
        """
        if self.sent == self.arrived:
            return Tally(wanted=len(self.sent), arrived=len(self.arrived))
        sent, arrived = Counter(self.sent), Counter(self.arrived)
        missing, more = (sent - arrived).total(), (arrived - sent).total()
        changed = min(missing, sum(n for mark, n in arrived.items() if mark not in sent))
        reordered = _reordered(self.sent, self.arrived)
        return Tally(
            wanted=len(self.sent),
            arrived=len(self.arrived),
            lost=missing - changed,
            reordered=reordered if missing or more else max(1, reordered),
            changed=changed,
            unasked=more - changed,
        )


def digest(source_port: int, payload: bytes) -> int:
    """64 bits, different from one process to the next."""
    return hash((source_port, payload))


def _reordered(sent: "array[int]", arrived: "array[int]") -> int:
    """How many came behind one that was sent later.

    Each is taken for the one that is expected or, of those alike, the nearest: a capture is sent over and over, so the
    same datagrams come again and again.
    """
    places: dict[int, list[int]] = {}
    for nth, mark in enumerate(sent):
        places.setdefault(mark, []).append(nth)
    has_come = bytearray(len(sent))
    expected = late = 0  # the place behind the last one in order
    for mark in arrived:
        is_next = expected < len(sent) and sent[expected] == mark
        place = expected if is_next else _nearest(places.get(mark, []), expected, has_come)
        if place is not None:
            has_come[place] = True
            late += place < expected
            expected = max(expected, place + 1)
    return late


def _nearest(places: Sequence[int], expected: int, has_come: bytearray) -> int | None:
    """Which of these places it is; None where all that are near have come, so that it came twice."""
    behind = bisect_left(places, expected)
    ahead = places[behind] if behind < len(places) else None  # from `expected` on, none has come
    reach = _REACH if ahead is None else min(_REACH, ahead - expected)
    near = [place for place in places[max(0, behind - reach) : behind] if expected - place < reach]
    if not near:
        return ahead
    return next((place for place in reversed(near) if not has_come[place]), None)
