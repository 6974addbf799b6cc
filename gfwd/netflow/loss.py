"""What the sequence numbers of one exporter say: lost on the way here, re-ordered, doubled, or the exporter restarted.

NetFlow v9 and sFlow count datagrams, v5 and v7 flows, IPFIX data records; a sequence number says how many came before
it, modulo 2^32 (RFC 3954 §5.1, RFC 7011 §3.1). What is late, but not by much, was missing, or else it is here for the
second time. What jumps back further is believed to be a new beginning when the next one follows on it, as RTP does it
(RFC 3550 §A.1), or when the exporter's uptime fell, too. gfwd/native/sequence.c is the same machine, for what a gfwd
that runs receives.
"""

from dataclasses import dataclass
from typing import Final

_NUMBERS: Final = 1 << 32
_HALF: Final = _NUMBERS >> 1
_WINDOW: Final = 64  # datagrams of its size: what is later than that is not told from a new beginning
_GAPS: Final = 15
_KNOWN_MOST: Final = 1 << 30  # far more than a window is long
_REBOOT_MS: Final = 5_000  # so far back uptime does not go when datagrams are only re-ordered


@dataclass(slots=True)
class Findings:
    """datagrams: all that came; in_order: that had the number they should have. counted: what those say that they hold,
    doubled ones left out, in what the protocol counts; lost: so much is missing, in the same. reordered, doubled,
    strays: datagrams; a stray is so late, or so far off, that it is neither. unproven: datagrams before which something
    may be missing or not, since what came before them has unknown templates, or is broken, or was not seen here.
    """

    datagrams: int = 0
    in_order: int = 0
    counted: int = 0
    lost: int = 0
    reordered: int = 0
    doubled: int = 0
    restarts: int = 0
    strays: int = 0
    unproven: int = 0


class Sequence:
    """One exporter, source port and domain."""

    __slots__ = ("_candidate", "_gaps", "_has_begun", "_known", "_next", "_uptime", "findings")

    def __init__(self) -> None:
        self.findings = Findings()
        self._has_begun = False
        self._next: int | None = None  # the number that should come; None: nobody knows
        self._known = 0  # so many before it, back to the beginning, have come or are missing
        self._uptime: int | None = None
        self._gaps: list[tuple[int, int]] = []  # number, and how many are missing from there; oldest first
        self._candidate: int | None = None  # what would follow on a stray

    def take(self, number: int, step: int | None, uptime: int | None) -> None:
        """The next datagram: its sequence number; by how much it moves that on (None: nobody knows); and the exporter's
        uptime, in ms, if it says so.
        """
        its = self.findings
        its.datagrams += 1
        if self._next is None:
            its.unproven += self._has_begun
            self._begin(number, step, uptime)
        elif number == self._next:
            its.in_order += 1
            self._go_on(number, step, uptime)
        elif self._has_rebooted(uptime):
            its.restarts += 1
            self._begin(number, step, uptime)
        elif (ahead := (number - self._next) % _NUMBERS) < _HALF and not self._comes_round(number, step):
            its.lost += ahead
            self._insert_gap(len(self._gaps), self._next, ahead)
            self._go_on(number, step, uptime)
        elif not self._is_late(number, step):
            self._take_stray(number, step, uptime)
        elif self._fills_gap(number, step):
            its.reordered += 1
            its.counted += step or 0
        else:
            its.doubled += 1

    def interrupt(self) -> None:
        """Some may have come that nobody has seen: what is missing before the next one was not lost for certain."""
        self._next = None

    def _begin(self, number: int, step: int | None, uptime: int | None) -> None:
        self._has_begun = True
        self._next = number
        self._known = 0
        self._gaps.clear()
        self._go_on(number, step, uptime)

    def _go_on(self, number: int, step: int | None, uptime: int | None) -> None:
        assert self._next is not None
        self.findings.counted += step or 0
        after = (number + (step or 0)) % _NUMBERS
        self._known = min(self._known + (after - self._next) % _NUMBERS, _KNOWN_MOST)
        self._next = None if step is None else after
        self._uptime = uptime
        self._candidate = None

    def _has_rebooted(self, uptime: int | None) -> bool:
        return uptime is not None and self._uptime is not None and uptime + _REBOOT_MS < self._uptime

    def _is_late(self, number: int, step: int | None) -> bool:
        """So late that only the datagrams of a short while lie between."""
        assert self._next is not None
        behind = (self._next - number) % _NUMBERS
        return behind <= self._known and behind <= _window(step)

    def _comes_round(self, number: int, step: int | None) -> bool:
        """From high numbers over their end to low ones: who begins anew at 0 does that, a gap so long hardly ever."""
        assert self._next is not None
        return number < self._next and (number - self._next) % _NUMBERS > _window(step)

    def _take_stray(self, number: int, step: int | None, uptime: int | None) -> None:
        if number == self._candidate:
            self.findings.strays -= 1
            self.findings.restarts += 1
            self._begin(number, step, uptime)
            return
        self.findings.strays += 1
        self.findings.counted += step or 0
        self._candidate = None if step is None else (number + step) % _NUMBERS

    def _insert_gap(self, at: int, start: int, missing: int) -> None:
        """Of too many, the oldest is forgotten: what was missing there stays lost."""
        if not missing:
            return
        if len(self._gaps) == _GAPS:
            del self._gaps[0]
            at = max(0, at - 1)
        self._gaps.insert(at, (start, missing))

    def _fills_gap(self, number: int, step: int | None) -> bool:
        """Whether it was missing; then it is so no longer, and what is left of the gap are its two ends."""
        for at, (start, missing) in enumerate(self._gaps):
            before = (number - start) % _NUMBERS
            if before >= missing:
                continue
            filled = missing - before if step is None else min(step, missing - before)
            self.findings.lost -= filled
            del self._gaps[at]
            self._insert_gap(at, (number + filled) % _NUMBERS, missing - before - filled)
            self._insert_gap(at, start, before)
            return True
        return False


def _window(step: int | None) -> int:
    """What a short while of datagrams of this size counts."""
    return _WINDOW * max(1, step or 0)
