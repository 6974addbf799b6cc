"""What a gfwd that runs forwards, as frames of a capture that goes on: the other end of streams.py."""

import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, Final, Self

from gfwd.daemon.capture.datagrams import ETHERNET
from gfwd.daemon.capture.file import Frame
from gfwd.daemon.control import answer_in
from gfwd.daemon.tap.verdict import Live, Verdict, Way, fate_text
from gfwd.daemon.tap.words import NO_WAY, BadStream, Shown, Words
from gfwd.errors import GfwdError
from gfwd.metrics.words import many

_AT_ONCE: Final = 1 << 16
_FIRST_MOST: Final = 1 << 16  # bytes of the first line
_END_S: Final = 5.0  # to hear the end …
_LISTEN_S: Final = 0.5  # … since a gfwd that is stopped in its tracks says nothing, and ^C does not end a recv()
_STOP: Final = (signal.SIGINT, signal.SIGTERM)


class LiveTap:
    """connect: to where the stream comes from. name: of that, for people. is_asked: it begins with the line of an
    answer. Within the block, ^C ends the frames, and what comes after that (the next ^C too) is as ever; without
    ends_by_signal, nothing but the stream's end does.

    Raises GfwdError where the answer is a refusal.
    """

    tick_frames = 1
    file: str | None = None

    def __init__(
        self, name: str, connect: Callable[[], socket.socket], *, is_asked: bool = True, ends_by_signal: bool = True
    ) -> None:
        self.name = name
        self.problem: str | None = None
        self.offset = 0  # datagrams so far
        self._words = Words()
        self._heard: deque[Shown | tuple[str, Any]] = deque()
        self._ways: dict[int, Way] = {}
        self._lost = {"tap": 0, "slow": 0}
        self._end: dict[str, int] | None = None
        self._has_gap = self._is_gone = False
        self._until: float | None = None  # to hear the end
        self._ends_by_signal = ends_by_signal
        self._before: dict[int, Any] = {}
        self._socket = connect()
        try:
            if is_asked:
                self._hear_answer()
            self._socket.settimeout(_LISTEN_S)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        if self._ends_by_signal:
            self._before = {number: signal.signal(number, self._stop) for number in _STOP}
        return self

    def __exit__(self, *_: object) -> None:
        if self._end is None and self.problem is None:  # whoever looked has seen enough
            self.stop()
            for _ in self.frames():
                pass
        self._restore()
        self._socket.close()

    def stop(self) -> None:
        """Look no more; what is on its way, and the end, are still to be heard."""
        self._until = time.monotonic() + _END_S
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def frames(self) -> Iterator[Frame]:
        """All datagrams from now on."""
        while self._end is None and self.problem is None:
            if not self._heard:
                self._receive()
            while self._heard and self._end is None:
                one = self._heard.popleft()
                if isinstance(one, Shown):
                    yield self._frame(one)
                else:
                    self._hear(*one)

    def notes(self) -> list[str]:
        """What the tap has not shown: nothing is left out in silence."""
        end = self._end
        if end is None:
            lines = ["how many datagrams were not shown, gfwd has not said"]
            tap, slow = self._lost["tap"], self._lost["slow"]
        else:
            tap, slow = end["tap"], end["slow"]
            lines = [f"{many(end['matched'], 'datagram')} went through gfwd meanwhile that were looked for"]
        if tap:
            lines.append(f"{many(tap, 'datagram')} not shown: gfwd's tap had no room; --sample N takes fewer")
        if slow:
            lines.append(f"{many(slow, 'datagram')} not shown: they came faster than they were read here")
        if self._is_gone:
            lines.append("the rule that was looked for is gone since gfwd's last reload")
        return lines

    # ---- what comes ----

    def _hear_answer(self) -> None:
        data = b""
        while b"\n" not in data and len(data) < _FIRST_MOST:
            try:
                more = self._socket.recv(_AT_ONCE)
            except OSError as error:
                raise GfwdError(f"{self.name}: error: gfwd does not answer") from error
            if not more:
                break
            data += more
        line, newline, rest = data.partition(b"\n")
        answer_in(line if newline else b"", self.name)
        self._take(rest)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_AT_ONCE)
        except TimeoutError:
            if self._until is not None and self._until < time.monotonic():
                self.problem = "gfwd does not say how much was not shown"
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self.problem = "gfwd has ended"

    def _take(self, data: bytes) -> None:
        try:
            self._words.put(data)
            self._heard += self._words.take()
        except BadStream as error:
            self._give_up(error)

    def _give_up(self, why: Exception) -> None:
        self.problem = f"what gfwd says is not understood ({why}); it may be of another version"

    def _hear(self, name: str, value: Any) -> None:
        try:
            if name == "way":
                self._ways[value["id"]] = Way(tuple(value["rules"]), tuple(value["collectors"]))
            elif name == "lost":
                self._lost, self._has_gap = {"tap": int(value["tap"]), "slow": int(value["slow"])}, True
            elif name == "gone":
                self._is_gone = bool(value)
            elif name == "end":
                self._end = {what: int(value[what]) for what in ("matched", "tap", "slow")}
        except (KeyError, TypeError, ValueError) as error:
            self._give_up(error)

    def _frame(self, shown: Shown) -> Frame:
        way = None if shown.way == NO_WAY else self._ways.get(shown.way)
        live = Live(Verdict(fate_text(shown.fate), way), shown.is_of_sample, self._has_gap)
        self._has_gap = False
        self.offset += shown.is_of_sample
        return Frame(shown.time, shown.frame, len(shown.frame), ETHERNET, live)

    # ---- ^C ----

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._restore()
        self.stop()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
