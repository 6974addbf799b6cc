"""What the sequence numbers of one exporter say: lost on the way here, re-ordered, doubled, or the exporter restarted.

NetFlow v9 and sFlow count datagrams, v5 and v7 flows, IPFIX data records; a sequence number says how many came before
it, modulo 2^32 (RFC 3954 §5.1, RFC 7011 §3.1). What is late, but not by much, was missing, or else it is here for the
second time.

A datagram that jumps far ahead or back, or whose exporter's uptime fell, is a stray, and believed when the next one
goes on from there, as RTP does it (RFC 3550 §A.1): then all between is lost, or the exporter began anew. So one that is
forged or broken, or two exporters behind one key, do not make billions of lost ones.

gfwd/native/sequence.c is the same machine, for what a gfwd that runs receives.
"""

from dataclasses import dataclass
from typing import Final

_NUMBERS: Final = 1 << 32
_HALF: Final = _NUMBERS >> 1
_WINDOW: Final = 64  # datagrams of its size: what is later than that is not told from a new beginning
_DROPOUT: Final = (
    3_000  # so many, and no more, are believed to be lost on the word of one (MAX_DROPOUT of RFC 3550 §A.1)
)
_GAPS: Final = 14
_KNOWN_MOST: Final = 1 << 30  # far more than a window is long
_REBOOT_MS: Final = 5_000  # so far back uptime does not go when datagrams are only re-ordered


@dataclass(slots=True)
class Findings:
    """datagrams: all that came; in_order: that had the number they should have. counted: what those say that they hold,
    doubled ones left out, in what the protocol counts; lost: so much is missing, in the same. reordered, doubled,
    strays: datagrams; a stray is so late, or so far off, that it is neither, and none has gone on from it. unproven:
    datagrams before which something may be missing or not, since what came before them has unknown templates, or is
    broken, or was not seen here.
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

    __slots__ = ("_gaps", "_has_begun", "_known", "_next", "_stray", "_uptime", "findings")

    def __init__(self) -> None:
        self.findings = Findings()
        self._has_begun = False
        self._next: int | None = None  # the number that should come; None: nobody knows
        self._known = 0  # so many before it, back to the beginning, have come or are missing
        self._uptime: int | None = None
        self._gaps: list[tuple[int, int]] = []  # number, and how many are missing from there; oldest first
        # The last stray, where nothing has gone on from somewhere else since: its number, step, and uptime.
        self._stray: tuple[int, int, int | None] | None = None

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
            self._take_stray(number, step, uptime)
        elif self._is_little_ahead(number, step):
            self._go_on_ahead(number, step, uptime)
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
        self._stray = None

    def _go_on_ahead(self, number: int, step: int | None, uptime: int | None) -> None:
        assert self._next is not None
        ahead = (number - self._next) % _NUMBERS
        self.findings.lost += ahead
        self._insert_gap(len(self._gaps), self._next, ahead)
        self._go_on(number, step, uptime)

    def _has_rebooted(self, uptime: int | None) -> bool:
        return uptime is not None and self._uptime is not None and uptime + _REBOOT_MS < self._uptime

    def _is_late(self, number: int, step: int | None) -> bool:
        """So late that only the datagrams of a short while lie between."""
        assert self._next is not None
        behind = (self._next - number) % _NUMBERS
        return behind <= self._known and behind <= _times_step(step, _WINDOW)

    def _is_ahead(self, number: int, step: int | None) -> bool:
        """Not from high numbers over their end to low ones: who begins anew at 0 does that, a gap so long rarely."""
        assert self._next is not None
        ahead = (number - self._next) % _NUMBERS
        return ahead < _HALF and (number > self._next or ahead <= _times_step(step, _WINDOW))

    def _is_little_ahead(self, number: int, step: int | None) -> bool:
        assert self._next is not None
        return self._is_ahead(number, step) and (number - self._next) % _NUMBERS <= _times_step(step, _DROPOUT)

    def _take_stray(self, number: int, step: int | None, uptime: int | None) -> None:
        if self._stray is not None and self._goes_on_from(self._stray, number, step):
            self._believe(self._stray)
            self.findings.in_order += number == self._next
            self._go_on_ahead(number, step, uptime)
        else:
            self.findings.strays += 1
            self.findings.counted += step or 0
            self._stray = None if step is None else (number, step, uptime)

    def _goes_on_from(self, stray: tuple[int, int, int | None], number: int, step: int | None) -> bool:
        return (number - (stray[0] + stray[1])) % _NUMBERS <= _times_step(step, _WINDOW)

    def _believe(self, stray: tuple[int, int, int | None]) -> None:
        number, step, uptime = stray
        self.findings.strays -= 1
        self.findings.counted -= step
        if self._is_ahead(number, step) and not self._has_rebooted(uptime):
            self._go_on_ahead(number, step, uptime)
        else:
            self.findings.restarts += 1
            self._begin(number, step, uptime)

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


def _times_step(step: int | None, datagrams: int) -> int:
    """What so many datagrams of this size count."""
    return datagrams * max(1, step or 0)
