"""To those who look from outside: what they look for, over a socket. Who is slow misses some, is told so, and holds up
nobody; who leaves is looked for no more.
"""

import math
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Final

from gfwd.daemon.tap import words
from gfwd.daemon.tap.taps import Tapped, Taps
from gfwd.daemon.tap.want import Want
from gfwd.daemon.tap.words import NO_WAY, Shown
from gfwd.errors import GfwdError

LOOKERS_MOST: Final = 8
_OUT_MOST: Final = 1 << 20  # bytes that wait for one of them
_AT_ONCE: Final = 1 << 16
_LEAVE_S: Final = 10.0  # who wants to hear the end is given so long to do so
_END_S: Final = 2.0  # … and all of them together, when gfwd ends


class _Looker:
    """One of them. number: of his tap; None: it is closed. until: when he is let go."""

    def __init__(self, its: socket.socket, number: int, first: bytes) -> None:
        its.setblocking(False)
        self.socket = its
        self.number: int | None = number
        self.out = bytearray(first)
        self.slow = 0
        self.until = math.inf
        self.has_gap = self.is_gone = self.waits_for_room = False
        self._ways: dict[int, int] = {}  # of one plan: the ids that he was told, by rule
        self._plan: object = None

    def way_id(self, tapped: Tapped) -> int:
        """He is told what it means before it is used."""
        record, in_force = tapped.record, tapped.in_force
        if in_force is not self._plan:
            self._plan, self._ways = in_force, {}
        its = self._ways.get(record.rule)
        if its is None:
            way = None if in_force is None else in_force.way(record.rule)
            its = self._ways[record.rule] = NO_WAY if way is None else len(self._ways)
            if way is not None:
                self.out += words.word("way", {"id": its, **way._asdict()})
        return its


class Streams(AbstractContextManager["Streams"]):
    """fileno() is readable when `look` has something to do."""

    def __init__(self, taps: Taps) -> None:
        self._taps = taps
        self._selector = selectors.DefaultSelector()
        self._lookers: dict[int, _Looker] = {}  # by descriptor
        self._trouble: GfwdError | None = None

    def __exit__(self, *_: object) -> None:
        for looker in self._lookers.values():
            looker.socket.close()
        self._selector.close()

    def __len__(self) -> int:
        return len(self._lookers)

    def fileno(self) -> int:
        return self._selector.fileno()

    def deadline(self) -> float | None:
        """When `look` wants to be called, if nothing comes before (time.monotonic()); None: never."""
        until = min((looker.until for looker in self._lookers.values()), default=math.inf)
        due = self._taps.deadline()
        earliest = until if due is None else min(until, due)
        return earliest if earliest < math.inf else None

    def open(self, want: Want) -> Callable[[socket.socket, bytes], None]:
        """What is to be called at once, with the connection of who looks, and what he is told first.

        Raises GfwdError where there is no such rule, or too many look.
        """
        if len(self._lookers) >= LOOKERS_MOST:
            raise GfwdError(
                f"error: {LOOKERS_MOST} look at datagrams already, and no more can; end one of them, or try again later"
            )
        found: list[_Looker] = []

        def take(tapped: Tapped) -> None:
            for looker in found:
                self._show(looker, tapped)

        number = self._taps.open(want, take)

        def attach(its: socket.socket, first: bytes) -> None:
            looker = _Looker(its, number, first)
            found.append(looker)
            self._lookers[its.fileno()] = looker
            self._selector.register(its, selectors.EVENT_READ)
            self._send(looker)

        return attach

    def look(self) -> None:
        """Hand out what has come, send what can be sent, let go of who has left. Never waits.

        Raises GfwdError where the core does not take a plan.
        """
        for key, events in self._selector.select(0):
            if events & selectors.EVENT_READ:
                self._listen(self._lookers[key.fd])
        self._taps.advance()
        now = time.monotonic()
        for looker in list(self._lookers.values()):
            self._tell_of_rule(looker)
            self._send(looker)
            if looker.until <= now:
                self._let_go(looker)
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    def finish(self) -> None:
        """Gfwd ends: everybody gets what has come by now, and hears the end, if he is not slow."""
        self._taps.drain(None)
        end = time.monotonic() + _END_S
        for looker in list(self._lookers.values()):
            self._end(looker)
            looker.socket.settimeout(max(0.001, end - time.monotonic()))
            with suppress(OSError):
                looker.socket.sendall(looker.out)
            self._let_go(looker)

    # ---- what he is told ----

    def _show(self, looker: _Looker, tapped: Tapped) -> None:
        looker.has_gap |= tapped.is_behind_gap
        if len(looker.out) >= _OUT_MOST:
            looker.slow += 1
            looker.has_gap = True
            return
        if looker.has_gap and looker.number is not None:
            looker.has_gap = False
            looker.out += words.word("lost", {"tap": self._taps.count(looker.number).lost, "slow": looker.slow})
        record = tapped.record
        way = looker.way_id(tapped)
        looker.out += words.datagram(Shown(record.time, way, record.fate, tapped.is_of_sample, record.frame))

    def _tell_of_rule(self, looker: _Looker) -> None:
        is_gone = looker.number is not None and self._taps.is_gone(looker.number)
        if looker.number is not None and is_gone != looker.is_gone:
            looker.is_gone = is_gone
            looker.out += words.word("gone", is_gone)

    def _end(self, looker: _Looker) -> None:
        """He gets no more datagrams."""
        if looker.number is None:
            return
        count = self._taps.count(looker.number)
        its = {"matched": count.matched, "taken": count.taken, "tap": count.lost, "slow": looker.slow}
        looker.out += words.word("end", its)
        looker.until = time.monotonic() + _LEAVE_S
        self._close(looker)

    # ---- his connection ----

    def _listen(self, looker: _Looker) -> None:
        """He says nothing, and ends it by closing his side."""
        try:
            data = looker.socket.recv(_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            self._let_go(looker)
            return
        if not data:
            self._taps.drain(None)  # what was there when he asked is still his
            self._end(looker)
            self._watch(looker)

    def _send(self, looker: _Looker) -> None:
        if looker.socket.fileno() not in self._lookers:
            return
        try:
            while looker.out:
                del looker.out[: looker.socket.send(looker.out[:_AT_ONCE])]
        except BlockingIOError:
            pass
        except OSError:
            self._let_go(looker)
            return
        if not looker.out and looker.number is None:
            self._let_go(looker)
        elif bool(looker.out) != looker.waits_for_room:
            looker.waits_for_room = bool(looker.out)
            self._watch(looker)

    def _watch(self, looker: _Looker) -> None:
        """A side that is closed is always readable, and says nothing new."""
        events = (0 if looker.number is None else selectors.EVENT_READ) | (
            selectors.EVENT_WRITE if looker.waits_for_room or looker.number is None else 0
        )
        self._selector.modify(looker.socket, events)

    def _let_go(self, looker: _Looker) -> None:
        if self._lookers.pop(looker.socket.fileno(), None) is None:
            return
        self._selector.unregister(looker.socket)
        self._close(looker)
        looker.socket.close()

    def _close(self, looker: _Looker) -> None:
        if looker.number is not None:
            number, looker.number = looker.number, None
            try:
                self._taps.close(number)
            except GfwdError as error:
                self._trouble = error
