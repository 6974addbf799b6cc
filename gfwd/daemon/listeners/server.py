"""A small HTTP server in the loop of a gfwd that runs. Nobody is waited for, and whoever asks is a stranger.

So all is bounded: connections at once and in a second, the bytes of a request, and the time for each step, however
the client spends it. Where there are too many connections, the one that is there for longest is cut off: a scraper asks
at once and is answered at once, so that is hardly one. What then waits for room does so in the kernel, which has a
bound of its own.
"""

import math
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Final

from gfwd.daemon.listeners.http import REQUEST_MOST, Request, request

BACKLOG: Final = 64
_CLIENTS_MOST: Final = 16
_A_SECOND_MOST: Final = 100  # connections taken: each costs some 200 µs in all, so a flood has a fiftieth of a CPU
_ASK_S: Final = 5.0
_READ_S: Final = 10.0  # Prometheus' own patience
_LEAVE_S: Final = 1.0
_PIECES_MOST: Final = 16  # in which a request comes; and those of what comes behind it, and is thrown away
_AT_ONCE: Final = 1 << 16  # bytes sent or thrown away, before others have their turn

Answer = Callable[[Request], bytes]


class _Client:
    """One connection: it asks, reads the answer, and leaves. out: what is left of the answer; None: not asked yet."""

    def __init__(self, its: socket.socket) -> None:
        self.socket = its
        self.socket.setblocking(False)
        self.until = time.monotonic() + _ASK_S
        self.received = b""
        self.pieces = 0
        self.out: memoryview | None = None
        self.is_leaving = False


class Server(AbstractContextManager["Server"]):
    """fileno() is readable when `look` has something to do. cut_off: connections ended before they had their answer."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, _Client] = {}  # by descriptor, those that came first in front
        self._socket: socket.socket | None = None
        self._taken, self._since = 0, 0.0  # connections, and since when they are counted
        self._rests_until: float | None = None  # no connection is taken until then
        self.cut_off = 0

    def __exit__(self, *_: object) -> None:
        self.listen(None)
        for client in list(self._clients.values()):
            self._let_go(client)
        self._selector.close()

    def listen(self, to: socket.socket | None) -> None:
        """Take connections of this socket, which listens, from now on, and close the one before. Those that are there
        are answered still.
        """
        if self._socket is not None:
            if self._rests_until is None:
                self._selector.unregister(self._socket)
            self._socket.close()
        self._socket, self._rests_until = to, None
        if to is not None:
            to.setblocking(False)
            self._selector.register(to, selectors.EVENT_READ)

    def fileno(self) -> int:
        return self._selector.fileno()

    def deadline(self) -> float | None:
        """When `look` wants to be called, if nothing comes before (time.monotonic()); None: never."""
        rest = math.inf if self._rests_until is None else self._rests_until
        earliest = min((client.until for client in self._clients.values()), default=math.inf)
        return min(earliest, rest) if min(earliest, rest) < math.inf else None

    def look(self, answer: Answer) -> None:
        """Take what has come, send what can be sent, let go of who is late. Never waits."""
        for key, _ in self._selector.select(0):
            client = self._clients.get(key.fd)
            if key.fileobj is self._socket:
                self._accept()
            elif client is None:
                continue  # cut off a moment ago
            elif client.is_leaving:
                self._see_off(client)
            elif client.out is not None:
                self._send(client)
            else:
                self._receive(client, answer)
        now = time.monotonic()
        for client in [client for client in self._clients.values() if client.until <= now]:
            self._cut_off(client)
        if self._socket is not None and self._rests_until is not None and self._rests_until <= now:
            self._rests_until = None
            self._selector.register(self._socket, selectors.EVENT_READ)

    # ---- a client's way ----

    def _accept(self) -> None:
        assert self._socket is not None
        now = time.monotonic()
        if now - self._since >= 1.0:
            self._taken, self._since = 0, now
        self._taken += 1
        try:
            its, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptors are left, say; asking again at once would not help
            self._rest(now)
            return
        if len(self._clients) >= _CLIENTS_MOST:
            self._make_room()
        self._clients[its.fileno()] = _Client(its)
        self._selector.register(its, selectors.EVENT_READ)
        if self._taken >= _A_SECOND_MOST:
            self._rest(self._since)

    def _make_room(self) -> None:
        """Of who has had its answer nobody waits any more; else, whoever came first has had the most time."""
        leaving = (client for client in self._clients.values() if client.is_leaving)
        self._cut_off(next(leaving, next(iter(self._clients.values()))))

    def _rest(self, since: float) -> None:
        assert self._socket is not None
        self._selector.unregister(self._socket)
        self._rests_until = since + 1.0

    def _receive(self, client: _Client, answer: Answer) -> None:
        data = _received(client.socket, REQUEST_MOST)
        if data is None:
            return
        if not data:
            self._let_go(client)
            return
        client.received += data
        client.pieces += 1
        asked = request(client.received)
        if asked is None and client.pieces >= _PIECES_MOST:
            self._cut_off(client)
        elif asked is not None:
            client.received, client.pieces = b"", 0
            client.out = memoryview(answer(asked))
            client.until = time.monotonic() + _READ_S
            self._selector.modify(client.socket, selectors.EVENT_WRITE)
            self._send(client)

    def _send(self, client: _Client) -> None:
        assert client.out is not None
        try:
            client.out = client.out[client.socket.send(client.out[:_AT_ONCE]) :]
        except BlockingIOError:
            return
        except OSError:
            self._let_go(client)
            return
        if not client.out:
            self._leave(client)

    def _leave(self, client: _Client) -> None:
        """A socket that is closed while something lies there unread resets the connection, and the answer may be lost
        with that. So the client ends it, if it does so soon.
        """
        client.is_leaving = True
        client.until = time.monotonic() + _LEAVE_S
        with suppress(OSError):
            client.socket.shutdown(socket.SHUT_WR)
        self._selector.modify(client.socket, selectors.EVENT_READ)

    def _see_off(self, client: _Client) -> None:
        client.pieces += 1
        if _received(client.socket, _AT_ONCE) == b"" or client.pieces >= _PIECES_MOST:
            self._let_go(client)

    def _cut_off(self, client: _Client) -> None:
        self.cut_off += not client.is_leaving
        self._let_go(client)

    def _let_go(self, client: _Client) -> None:
        del self._clients[client.socket.fileno()]
        self._selector.unregister(client.socket)
        client.socket.close()


def _received(its: socket.socket, most: int) -> bytes | None:
    """None: nothing yet. Empty: no more will come."""
    try:
        return its.recv(most)
    except BlockingIOError:
        return None
    except OSError:
        return b""
