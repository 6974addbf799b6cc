"""The listener for Prometheus: GET /metrics at the address that gfwd.toml names, and nothing anywhere else."""

import errno
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Final

from gfwd.config.endpoint import Endpoint
from gfwd.daemon.listeners import http
from gfwd.daemon.listeners.http import Request
from gfwd.daemon.listeners.server import BACKLOG, Server
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.errors import GfwdError
from gfwd.metrics.exposition import CONTENT_TYPE

_INDEX: Final = b'<!DOCTYPE html><title>gfwd</title><a href="/metrics">metrics</a>\n'
_SHOWN_FOR: Final = 10
"""So many times as long as it took to make a page is shown again: making them takes a tenth of the time at most."""

Make = Callable[[], bytes]
"""The page, as it is now."""


class MetricsListener(AbstractContextManager["MetricsListener"]):
    """Within the block it listens; endpoint: where; None: nowhere. Raises GfwdError where it cannot.

    fileno() is readable when `look` has something to do. answers: by status. say: takes an event for the log.
    """

    def __init__(self, endpoint: Endpoint | None, say: Say) -> None:
        self._say = say
        self._server = Server()
        self._endpoint: Endpoint | None = None
        self.answers: Counter[int] = Counter({200: 0})
        self._page, self._page_until = b"", 0.0
        try:
            with self.changed_to(endpoint):
                pass
        except GfwdError:
            self._server.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def fileno(self) -> int:
        return self._server.fileno()

    def deadline(self) -> float | None:
        """When `look` wants to be called, if nothing comes before (time.monotonic()); None: never."""
        return self._server.deadline()

    @property
    def cut_off(self) -> int:
        """Connections that had to end before they had their answer."""
        return self._server.cut_off

    def look(self, make: Make) -> None:
        """Answer whoever has asked. Never waits."""
        self._server.look(lambda asked: self._answered(asked, make))

    # ---- where ----

    @contextmanager
    def changed_to(self, endpoint: Endpoint | None) -> Iterator[None]:
        """At the end of the block it listens there instead, and where the block fails, still where it did.

        Raises GfwdError where it cannot, before the block begins. The old place is closed when the new one is open,
        unless both cannot be: those of one port, one of which is on all addresses.
        """
        before = self._endpoint
        if endpoint == before:
            yield
            return
        in_the_way = _overlap(before, endpoint)
        if in_the_way:
            self._server.listen(None)
        new = None
        try:
            new = None if endpoint is None else _opened(endpoint)
            yield
        except BaseException:
            if new is not None:
                new.close()
            if in_the_way:
                self._listen_again(before)
            raise
        self._server.listen(new)
        self._endpoint = endpoint
        if endpoint is None:
            self._say(events.METRICS_END("metrics: nobody can ask for them any more", address=str(before)))
        else:
            self._say(events.METRICS_LISTEN(f"metrics: http://{endpoint}/metrics", address=str(endpoint)))

    def could_be(self, endpoint: Endpoint | None) -> None:
        """Raises GfwdError where it could not listen there; where its own place is in the way, that is not tried."""
        if endpoint is not None and endpoint != self._endpoint and not _overlap(self._endpoint, endpoint):
            _opened(endpoint).close()

    def _listen_again(self, before: Endpoint | None) -> None:
        assert before is not None, "somebody was in the way"
        try:
            self._server.listen(_opened(before))
        except GfwdError as error:
            self._endpoint = None
            self._say(events.METRICS_FAILED(str(error), address=str(before)))

    # ---- what ----

    def _answered(self, asked: Request, make: Make) -> bytes:
        status = asked.status
        if status in (200, 405) and asked.path not in ("/", "/metrics"):
            status = 404
        self.answers[status] += 1
        if status != 200:
            return http.refusal(status, is_head=asked.is_head)
        if asked.path == "/":
            return http.answer(200, "text/html; charset=utf-8", _INDEX, is_head=asked.is_head)
        return http.answer(200, CONTENT_TYPE, self._made(make), is_head=asked.is_head)

    def _made(self, make: Make) -> bytes:
        start = time.monotonic()
        if start >= self._page_until:
            self._page = make()
            took = time.monotonic() - start
            self._page_until = start + (1 + _SHOWN_FOR) * took
        return self._page


def _overlap(before: Endpoint | None, after: Endpoint | None) -> bool:
    """Whether one cannot be opened while the other is."""
    if before is None or after is None or before.port != after.port:
        return False
    return before.is_on_all_addresses() or after.is_on_all_addresses()


def _opened(endpoint: Endpoint) -> socket.socket:
    """:: stands for all addresses of both families, on every system."""
    family = socket.AF_INET6 if endpoint.address.family == 6 else socket.AF_INET
    with ExitStack() as stack:
        try:
            its = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            its.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended are not in the way
            if family == socket.AF_INET6:
                its.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            its.bind((str(endpoint.address), endpoint.port))
            its.listen(BACKLOG)
        except OSError as error:
            raise GfwdError(f"metrics: error: {endpoint} cannot be opened: {_why(error)}") from error
        stack.pop_all()
    return its


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; name another port: [listeners] metrics"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this host does not have that address; name one that it has: [listeners] metrics"
    return error.strerror or str(error)
