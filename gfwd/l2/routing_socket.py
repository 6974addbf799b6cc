"""FreeBSD's routing socket (route(4)): the news of its tables, and the route that a packet would take.

Every routing socket hears all news, and all answers to whoever asks. So one does both: what comes while it waits for an
answer is taken note of, and no answer of its own can fill up another that nobody is reading meanwhile.
"""

import errno
import os
import select
import socket
import time
from contextlib import suppress
from enum import Flag, auto
from itertools import count
from typing import Final

from gfwd.errors import GfwdError
from gfwd.l2 import rtsock
from gfwd.rules.model import Address

_AF_ROUTE = 17  # sys/socket.h
_SO_RERROR = 0x20000  # sys/socket.h: news that found no room show as ENOBUFS (from 13.1 on)
_ROOM_BYTES = 1 << 20  # for what nobody has read yet
_ROOM_LEAST = 1 << 14
_READ_BYTES = 65_536
_READS_MOST = 256  # at once, so that a flood of news does not keep the caller
_ANSWER_S = 0.3
_TRIES_MOST = 3
_NO_ROUTE: Final = {errno.ESRCH, errno.ENETUNREACH}
_OF_LINKS: Final = {rtsock.IFINFO, rtsock.IFANNOUNCE}
_OF_ROUTES: Final = {rtsock.ADD, rtsock.DELETE, rtsock.CHANGE}
_OF_ADDRESSES: Final = {rtsock.NEWADDR, rtsock.DELADDR}


class Table(Flag):
    """What news can be of."""

    NONE = 0
    LINKS = auto()
    NEIGHBOURS = auto()
    ROUTES = auto()
    ADDRESSES = auto()


class RoutingSocket:
    """heard: what the news were of; whoever has looked there sets it back. Raises OSError where it cannot be opened."""

    def __init__(self) -> None:
        self.heard = Table.NONE
        self._seq = count(1)
        self._socket = socket.socket(_AF_ROUTE, socket.SOCK_RAW, 0)
        self._socket.setblocking(False)
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RERROR, 1)
        _make_room(self._socket)
        self._ear = select.poll()
        self._ear.register(self._socket, select.POLLIN)

    def close(self) -> None:
        """Calling it twice does no harm."""
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def listen(self) -> None:
        """Take note of the news that have come, or of some of them, and then fileno() stays readable. Never waits.
        Raises OSError.
        """
        with suppress(BlockingIOError):
            for _ in range(_READS_MOST):
                self._read()

    def route(self, destination: Address) -> rtsock.Route | None:
        """The one that a packet would take; None: there is none. Waits for a second at most. Raises GfwdError where the
        kernel does not say, and then the routes are taken for changed, so that they are asked for again.
        """
        problem = "the kernel does not answer"
        for _ in range(_TRIES_MOST):
            try:
                answer = self._ask(destination)
            except OSError as error:
                if error.errno in _NO_ROUTE:
                    return None
                problem = str(error.strerror)
            else:
                if answer is not None:
                    return None if answer.error else answer
        self.heard |= Table.ROUTES
        raise GfwdError(f"the route to {destination}: error: {problem}")

    def _ask(self, destination: Address) -> rtsock.Route | None:
        """None: the answer did not come; the kernel drops what finds no room. Raises OSError."""
        end, question = time.monotonic() + _ANSWER_S, (os.getpid(), next(self._seq))
        self._socket.send(rtsock.get(destination, question[1]))
        while (left := end - time.monotonic()) > 0:
            if self._ear.poll(1_000 * left):
                for message in self._read():
                    if isinstance(message, rtsock.Route) and (message.pid, message.seq) == question:
                        return message
        return None

    def _read(self) -> list[rtsock.Message]:
        """What comes at once, which is one message mostly. Raises OSError."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self.heard = ~Table.NONE  # whatever it was that was lost
            return []
        found = list(rtsock.messages(data))
        for message in found:
            self.heard |= _table_of(message)
        return found


def _table_of(message: rtsock.Message) -> Table:
    """What has changed there; an answer to a question (rtsock.GET) changes nothing."""
    if message.type in _OF_LINKS:
        return Table.LINKS
    if message.type in _OF_ADDRESSES:
        return Table.ADDRESSES | Table.ROUTES  # which lead by way of them
    if message.type not in _OF_ROUTES:
        return Table.NONE
    is_entry = isinstance(message, rtsock.Route) and bool(message.flags & rtsock.RTF_LLDATA)
    return Table.NEIGHBOURS if is_entry else Table.ROUTES


def _make_room(its: socket.socket) -> None:
    """As much as the kernel gives (kern.ipc.maxsockbuf), since the 8 KB that it begins with are some fifty messages."""
    room = _ROOM_BYTES
    while room >= _ROOM_LEAST:
        with suppress(OSError):
            its.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            return
        room //= 2
