"""What the sequence numbers of one exporter say: lost on the way here, re-ordered, doubled, or the exporter restarted.

NetFlow v9 and sFlow count datagrams, v5 and v7 flows, IPFIX data records; a sequence number says how many came before
it, modulo 2^32 (RFC 3954 §5.1, RFC 7011 §3.1). What jumps back, and is neither late nor doubled, is believed to be a
new beginning when the next one follows on it, as RTP does it (RFC 3550 §A.1), or when the exporter's uptime fell, too.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

_NUMBERS: Final = 1 << 32
_HALF: Final = _NUMBERS >> 1
_REMEMBERED: Final = 64  # datagrams, and gaps: what comes later than that is not told from a new beginning
_REBOOT_MS: Final = 5_000  # so far back uptime does not go when datagrams are only re-ordered


@dataclass(slots=True)
class Findings:
    """datagrams: all that came; in_order: that had the number they should have. counted: what those say that they hold,
    doubled ones left out, in what the protocol counts; lost: so much is missing, in the same. reordered, doubled,
    strays: datagrams; a stray is so late, or so far off, that it is neither. unproven: datagrams before which something
    may be missing or not, since what came before them has unknown templates or is broken.
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

    __slots__ = ("_candidate", "_gaps", "_next", "_seen", "_uptime", "findings")

    def __init__(self) -> None:
        self.findings = Findings()
        self._next: int | None = None  # the number that should come
        self._uptime: int | None = None
        self._seen: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)  # number, and what tells datagrams apart
        self._gaps: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)  # number, and how many are missing from there
        self._candidate: int | None = None  # what would follow on a stray

    def take(self, number: int, step: int | None, uptime: int | None, digest: int) -> None:
        """The next datagram: its sequence number; by how much it moves that on (None: nobody knows); the exporter's
        uptime, in ms, if it says so; and a hash of its bytes.
        """
        its = self.findings
        its.datagrams += 1
        if self._next is None:
            self._begin_unsure(number, step, uptime, digest)
            return
        ahead = (number - self._next) % _NUMBERS
        if ahead == 0 and (step or (number, digest) not in self._seen):
            its.in_order += 1
            self._go_on(number, step, uptime, digest)
        elif (number, digest) in self._seen:
            its.doubled += 1
        elif self._has_rebooted(uptime):
            self._restart(number, step, uptime, digest)
        elif ahead < _HALF:
            its.lost += ahead
            self._gaps.append((self._next, ahead))
            self._go_on(number, step, uptime, digest)
        elif self._fills_gap(number, step):
            its.reordered += 1
            its.counted += step or 0
            self._seen.append((number, digest))
        elif number == self._candidate:
            its.strays -= 1
            self._restart(number, step, uptime, digest)
        else:
            its.strays += 1
            its.counted += step or 0
            self._candidate = None if step is None else (number + step) % _NUMBERS

    def _begin_unsure(self, number: int, step: int | None, uptime: int | None, digest: int) -> None:
        """The first one, or the first behind one whose length nobody knows."""
        if (number, digest) in self._seen:
            self.findings.doubled += 1
            return
        if self._seen:
            self.findings.unproven += 1
        self._go_on(number, step, uptime, digest)

    def _go_on(self, number: int, step: int | None, uptime: int | None, digest: int) -> None:
        self.findings.counted += step or 0
        self._next = None if step is None else (number + step) % _NUMBERS
        self._uptime = uptime
        self._seen.append((number, digest))
        self._candidate = None

    def _restart(self, number: int, step: int | None, uptime: int | None, digest: int) -> None:
        self.findings.restarts += 1
        self._seen.clear()
        self._gaps.clear()
        self._go_on(number, step, uptime, digest)

    def _has_rebooted(self, uptime: int | None) -> bool:
        return uptime is not None and self._uptime is not None and uptime + _REBOOT_MS < self._uptime

    def _fills_gap(self, number: int, step: int | None) -> bool:
        """Whether it was missing; then it is so no longer."""
        for at, (start, missing) in enumerate(self._gaps):
            before = (number - start) % _NUMBERS
            if before >= missing:
                continue
            filled = missing - before if step is None else min(step, missing - before)
            self.findings.lost -= filled
            behind = missing - before - filled
            self._gaps[at] = start, before
            if behind and len(self._gaps) < _REMEMBERED:
                self._gaps.insert(at + 1, ((number + filled) % _NUMBERS, behind))
            if not before:
                del self._gaps[at]
            return True
        return False
