"""Fragments → datagrams: what came in parts is put together again (RFC 791 §3.2, RFC 815; RFC 8200 §4.5).

All is bounded: how long parts are waited for, in time of the capture; how many datagrams; how many bytes. What is not
whole by then is given up: its first fragment is a datagram as far as it goes, and the later ones are skipped.

Parts that overlap spoil their datagram, all of it, also what comes of it later: that is how inspectors are lied to.
RFC 5722 asks for it in IPv6. In IPv4, RFC 791 would take the newer bytes and others do the reverse, so nobody knows
what a receiver saw; it is treated alike. A fragment that came twice, byte by byte, is no overlap (RFC 8200 §4.5).
"""

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from gfwd.daemon.capture.datagrams import Datagram, Fragment, Skipped, alone, read, together
from gfwd.daemon.capture.file import Frame

DATAGRAMS_MOST: Final = 4_096
BYTES_MOST: Final = 32 << 20
LASTS: Final = 30 * 10**9  # ns

_FRAME_COSTS: Final = 512  # bytes beside its own: with them, BYTES_MOST bounds fragments of 8 bytes, too

Key = tuple[bytes, bytes, bytes]


class Captured(NamedTuple):
    """A datagram, and the frames that it came in, in their order."""

    datagram: Datagram
    frames: tuple[Frame, ...]

    @property
    def time(self) -> int:
        """When the last part of it was captured, in ns since 1970."""
        return self.frames[-1].time


class _Parts:
    """Of one datagram. frames: with the parts, as they came; spoilt ones hold none. size: in bytes, as soon as the last
    part is here.
    """

    __slots__ = ("begin", "bytes", "frames", "have", "is_spoilt", "places", "size", "those")

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.frames: list[Frame] = []
        self.those: dict[int, Fragment] = {}  # by place
        self.places: list[int] = []  # in order
        self.have = 0  # bytes of the datagram
        self.bytes = _FRAME_COSTS  # kept
        self.size: int | None = None
        self.is_spoilt = False

    def has(self, part: Fragment) -> bool:
        """Whether it came before, the very same."""
        before = self.those.get(part.at)
        return before is not None and (before.data, before.more) == (part.data, part.more)

    def fits(self, part: Fragment) -> bool:
        """Whether it lies beside all others, and within the datagram."""
        end = part.at + len(part.data)
        at = bisect_left(self.places, part.at)
        if at and self._end(self.places[at - 1]) > part.at:
            return False
        if at < len(self.places) and self.places[at] < end:
            return False
        if part.more:
            return self.size is None or end <= self.size
        return self.size is None and at == len(self.places)  # nothing stands behind the last one

    def _end(self, place: int) -> int:
        return place + len(self.those[place].data)

    def put(self, frame: Frame, part: Fragment) -> int:
        """The bytes that it costs."""
        self.frames.append(frame)
        self.those[part.at] = part
        self.places.insert(bisect_left(self.places, part.at), part.at)
        self.have += len(part.data)
        if not part.more:
            self.size = part.at + len(part.data)
        cost = len(frame.data) + len(part.data) + _FRAME_COSTS
        self.bytes += cost
        return cost

    def spoil(self) -> int:
        """All that stays is that it is spoilt, so that the rest of it makes no new one. The bytes that this frees."""
        freed = self.bytes - _FRAME_COSTS
        self.is_spoilt = True
        self.frames, self.those, self.places = [], {}, []
        self.have, self.size, self.bytes = 0, None, _FRAME_COSTS
        return freed

    def is_whole(self) -> bool:
        """As nothing overlaps, so many bytes can only be all."""
        return self.have == self.size

    def together(self) -> Datagram | Skipped:
        first = self.those[0]
        return together(first.key, first.header, b"".join(self.those[at].data for at in self.places))


class Reassembly:
    """Datagrams of a capture, out of its frames. skipped: frames that belong to none that was given out, by reason.
    link_types: those of them that are not known. whole: datagrams put together, and parts: of how many fragments.
    crowded: datagrams given up early, since there was no room for more.
    """

    def __init__(self, datagrams: int = DATAGRAMS_MOST, most_bytes: int = BYTES_MOST) -> None:
        self.skipped: Counter[Skipped] = Counter()
        self.link_types: set[int] = set()
        self.whole = 0
        self.parts = 0
        self.crowded = 0
        self._most_datagrams = datagrams
        self._most_bytes = most_bytes
        self._bytes = 0
        self._waiting: OrderedDict[Key, _Parts] = OrderedDict()  # the oldest first
        self._ready: list[Captured] = []

    def __len__(self) -> int:
        """Datagrams that are not whole yet, and those that are spoilt."""
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """Kept of them, with what stands beside each frame."""
        return self._bytes

    def take(self, frame: Frame) -> Sequence[Captured]:
        """What the frame says, or makes whole; before it, what was waited for too long."""
        found = read(frame.link_type, frame.data)
        if isinstance(found, Datagram) and not self._waiting:
            return (Captured(found, (frame,)),)  # nearly always
        self._expire(frame.time)
        if isinstance(found, Fragment) and found.is_whole:
            self._take_part(frame, found)
        else:
            self._say(alone(found) if isinstance(found, Fragment) else found, [frame])
        return self._all_ready()

    def finish(self) -> Sequence[Captured]:
        """No more frames come: what there is of datagrams that are not whole."""
        while self._waiting:
            self._give_up_oldest()
        return self._all_ready()

    def _take_part(self, frame: Frame, part: Fragment) -> None:
        its = self._waiting.get(part.key)
        if its is None:
            its = self._waiting[part.key] = _Parts(frame.time)
            self._bytes += its.bytes
        if its.is_spoilt:
            self.skipped[Skipped.OVERLAP] += 1
        elif its.has(part):
            self.skipped[Skipped.DOUBLED] += 1
        elif not its.fits(part):
            self.skipped[Skipped.OVERLAP] += len(its.frames) + 1
            self._bytes -= its.spoil()
        else:
            self._bytes += its.put(frame, part)
        if its.is_whole():
            del self._waiting[part.key]
            self._bytes -= its.bytes
            self._say(its.together(), its.frames, is_whole=True)
        while len(self._waiting) > self._most_datagrams or self._bytes > self._most_bytes:
            self.crowded += self._give_up_oldest()

    def _expire(self, now: int) -> None:
        """abs(): in captures that were joined, time may jump back."""
        while self._waiting and abs(now - next(iter(self._waiting.values())).begin) > LASTS:
            self._give_up_oldest()

    def _give_up_oldest(self) -> bool:
        """Whether there was something left of it."""
        _, its = self._waiting.popitem(last=False)
        self._bytes -= its.bytes
        for frame, part in zip(its.frames, its.those.values(), strict=True):  # both in order of arrival
            self._say(alone(part), [frame])
        return bool(its.frames)

    def _say(self, found: Datagram | Skipped, frames: list[Frame], *, is_whole: bool = False) -> None:
        """is_whole: it was put together."""
        if isinstance(found, Skipped):
            self.skipped[found] += len(frames)
            if found is Skipped.LINK:
                self.link_types |= {one.link_type for one in frames}
            return
        if is_whole:
            self.whole += 1
            self.parts += len(frames)
        self._ready.append(Captured(found, tuple(frames)))

    def _all_ready(self) -> Sequence[Captured]:
        ready, self._ready = self._ready, []
        return ready
