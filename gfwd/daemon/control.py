"""The control socket: how other commands (status, reload, stop, neighbours) ask a gfwd that runs.

A Unix socket that only its owner can connect to. One question a connection: a line of JSON, {"do": …}; one answer: a
line of JSON, {"ok": …} or {"error": text, "status": the exit status}. Nobody is waited for: who is slow to ask, or to
read, is let go after a while. Who finds no room waits in the kernel's queue until there is. An answer that goes on is
somebody else's from its first line on (tap/streams.py).
"""

import errno
import json
import math
import os
import selectors
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from gfwd.errors import GfwdError, UsageError

_QUESTION_BYTES = 4_096
_PATIENCE_S = 10.0
_CLIENTS_MOST = 16
_DEAF_S = 1.0  # after nobody could be let in
_ANSWER_BYTES = 1 << 16  # at once

Question = dict[str, Any]
Reply = Callable[[Any], None]
"""Takes what goes back: anything that JSON has, or a GfwdError. May be called at once, or later."""


class GoesOn(NamedTuple):
    """An answer with more behind it. take: gets the connection, and the answer's line, which it has to send first.

    It is to be replied at once, since only then is there a connection for certain.
    """

    answer: Any
    take: Callable[[socket.socket, bytes], None]


class _Client:
    """One connection. out: what is still to be sent; None: nothing has been answered yet."""

    def __init__(self, its: socket.socket) -> None:
        self.socket = its
        self.socket.setblocking(False)
        self.until = time.monotonic() + _PATIENCE_S
        self.question = b""
        self.is_asked = False
        self.waits_for_end = False
        self.out: bytes | None = None


class Control(AbstractContextManager["Control"]):
    """The socket at `path`, made when the block is entered and removed at its end. handle: gets each question.

    fileno() is readable when `look` has something to do. Raises GfwdError where it cannot be had.
    """

    def __init__(self, path: Path, handle: Callable[[Question, Reply], None]) -> None:
        self._path, self._handle = path, handle
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, _Client] = {}
        self._socket = _listen(path)
        self._hears = False  # whether who comes is let in
        self._deaf_until = -math.inf
        self._listen_where_there_is_room(time.monotonic())

    def __exit__(self, *_: object) -> None:
        for client in list(self._clients.values()):
            self._let_go(client)
        self._selector.close()
        self._socket.close()
        with suppress(OSError):
            self._path.unlink()

    def fileno(self) -> int:
        """A selector's own descriptor (epoll, kqueue) is readable when one of those in it is."""
        return self._selector.fileno()

    def deadline(self) -> float | None:
        """When `look` wants to be called, if nothing comes before (time.monotonic()); None: never."""
        deadlines = [client.until for client in self._clients.values()]
        if not self._hears and len(self._clients) < _CLIENTS_MOST:
            deadlines.append(self._deaf_until)
        earliest = min(deadlines, default=math.inf)
        return earliest if earliest < math.inf else None

    def look(self) -> None:
        """Take what has come, send what can be sent, let go of who is late. Never waits."""
        for key, _ in self._selector.select(0):
            if key.fileobj is self._socket:
                self._accept()
            else:
                client = self._clients[key.fd]
                self._send(client) if client.out is not None else self._receive(client)
        now = time.monotonic()
        for client in [client for client in self._clients.values() if client.until <= now]:
            self._let_go(client)
        self._listen_where_there_is_room(now)

    def _listen_where_there_is_room(self, now: float) -> None:
        hears = len(self._clients) < _CLIENTS_MOST and self._deaf_until <= now
        if hears and not self._hears:
            self._selector.register(self._socket, selectors.EVENT_READ)
        elif self._hears and not hears:
            self._selector.unregister(self._socket)
        self._hears = hears

    def _accept(self) -> None:
        try:
            client = _Client(self._socket.accept()[0])
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no more files, say: whoever asks can wait, and forwarding must not end for it
            self._deaf_until = time.monotonic() + _DEAF_S
            return
        self._clients[client.socket.fileno()] = client
        self._selector.register(client.socket, selectors.EVENT_READ)

    def _receive(self, client: _Client) -> None:
        try:
            data = client.socket.recv(_QUESTION_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.question += data
        line, newline, _ = client.question.partition(b"\n")
        if not data or len(client.question) > _QUESTION_BYTES:
            self._let_go(client)
        elif newline and not client.is_asked:
            client.is_asked = True
            client.until = math.inf  # what we take for the answer is not its fault
            question = _question(line)
            client.waits_for_end = question.get("do") == "stop"
            self._handle(question, lambda answer: self._answer(client, answer))

    def _answer(self, client: _Client, answer: Any) -> None:
        if client.socket.fileno() not in self._clients:  # it has left, or was let go
            return
        if isinstance(answer, GoesOn):
            self._forget(client)
            answer.take(client.socket, _line_of(answer.answer))
            return
        client.out = _line_of(answer)
        client.until = time.monotonic() + _PATIENCE_S
        self._selector.modify(client.socket, selectors.EVENT_WRITE)
        self._send(client)

    def _send(self, client: _Client) -> None:
        assert client.out is not None
        try:
            client.out = client.out[client.socket.send(client.out[:_ANSWER_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:
            client.out = b""
        if not client.out:
            self._let_go(client)

    def _forget(self, client: _Client) -> None:
        del self._clients[client.socket.fileno()]
        self._selector.unregister(client.socket)

    def _let_go(self, client: _Client) -> None:
        self._forget(client)
        if client.waits_for_end:
            client.socket.detach()  # the kernel closes it, and who waits there knows
        else:
            client.socket.close()


def _line_of(answer: Any) -> bytes:
    is_refused = isinstance(answer, GfwdError)
    what = {"error": str(answer), "status": answer.exit_status} if is_refused else {"ok": answer}
    return json.dumps(what).encode() + b"\n"


def _question(line: bytes) -> Question:
    """One that is none has no "do"."""
    with suppress(ValueError, RecursionError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return {}


def _listen(path: Path) -> socket.socket:
    """A socket left over from a gfwd that did not end properly is replaced, one that somebody listens on is not."""
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
    its = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    its.setblocking(False)
    try:
        try:
            _bind(its, path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_socket(path) or _is_alive(path):
                raise
            path.unlink()
            _bind(its, path)
        its.listen(_CLIENTS_MOST)
    except OSError as error:
        its.close()
        why = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            why = "another gfwd listens there" if _is_socket(path) else "there is something else, which is no socket"
        raise GfwdError(f"{path}: error: the control socket cannot be made: {why}; name another: --control") from error
    return its


def _bind(its: socket.socket, path: Path) -> None:
    """Nobody else may connect, not even for a moment."""
    before = os.umask(0o177)
    try:
        its.bind(str(path))
    finally:
        os.umask(before)


def _is_socket(path: Path) -> bool:
    with suppress(OSError):
        return stat.S_ISSOCK(path.lstat().st_mode)
    return False


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # so many ask it that there is no room to wait
            return True
    return True


# ---- the other side ----


def ask(path: Path, question: Question, seconds: float) -> Any:
    """The answer of the gfwd that listens there. Raises GfwdError; UsageError where nobody listens."""
    with _asking(path, seconds) as its:
        return _answer_to(its, question, path)


def stop(path: Path, seconds: float) -> None:
    """End the gfwd that listens there, and wait until its process is no more. Raises GfwdError as `ask` does."""
    with _asking(path, seconds) as its:
        _answer_to(its, {"do": "stop"}, path)
        try:
            its.recv(1)  # its end of the connection is closed when the process has ended
        except TimeoutError as error:
            text = f"{path}: error: gfwd was told to stop, and has not ended in {seconds:.0f} s"
            raise GfwdError(text) from error


def ask_on(path: Path, question: Question, seconds: float) -> socket.socket:
    """Ask where the answer goes on: the connection, with all of the answer in it, its first line too (see answer_in).

    Raises GfwdError as `ask` does.
    """
    with _asking(path, seconds) as its:
        _put(its, question)
        return its.dup()


def answer_in(line: bytes, path: str | Path) -> Any:
    """What an answer's line says. Raises GfwdError where that is a refusal, or nothing."""
    answer = json.loads(line or "{}")
    if "ok" not in answer:
        refusal = GfwdError(answer.get("error", f"{path}: error: gfwd has ended before it answered"))
        refusal.exit_status = answer.get("status", 1)
        raise refusal
    return answer["ok"]


def _answer_to(its: socket.socket, question: Question, path: Path) -> Any:
    _put(its, question)
    return answer_in(_line(its), path)


def _put(its: socket.socket, question: Question) -> None:
    line = json.dumps(question).encode() + b"\n"
    if len(line) > _QUESTION_BYTES:
        raise UsageError(
            f"error: what is asked for takes {len(line)} bytes, and {_QUESTION_BYTES} can be: ask for less"
        )
    its.sendall(line)


@contextmanager
def _asking(path: Path, seconds: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as its:
        its.settimeout(seconds)
        try:
            its.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise UsageError(
                f"{path}: error: no gfwd listens there; one that does was started with --control {path}"
            ) from error
        except BlockingIOError as error:  # as many wait for it as the kernel lets wait
            raise GfwdError(f"{path}: error: gfwd does not answer") from error
        except OSError as error:
            raise GfwdError(f"{path}: error: {error.strerror or error}") from error
        try:
            yield its
        except TimeoutError as error:
            raise GfwdError(f"{path}: error: gfwd does not answer") from error
        except OSError as error:
            raise GfwdError(f"{path}: error: {error.strerror or error}") from error


def _line(its: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n") and (data := its.recv(_ANSWER_BYTES)):
        found += data
    return found
