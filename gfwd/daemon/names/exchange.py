"""Questions to one server, and its answers: by UDP, by TCP (RFC 7766), or by TLS (RFC 7858). Each takes its time.

Who is to be believed (RFC 5452): a socket of UDP is new for each exchange, on a port that the kernel draws, and
connected, so that only what comes from the server's address and port is seen; the question's id is a random one, and
an answer repeats the question. What does not fit is passed over, and the answer is waited for on.
"""

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from gfwd.daemon.names.sources import Asking
from gfwd.dns.answers import AnswerError, Kind, Question, Reply, question_bytes, read_reply
from gfwd.dns.servers import Server

if TYPE_CHECKING:  # it is only loaded where it is asked for, and need not be there
    import ssl

_DATAGRAM_MOST: Final = 65_535
_STRAYS_MOST: Final = 1_000  # then whoever sends them has had all the time that the server has

Replies = dict[Question, Reply]
_Exchange = Callable[[Server, Sequence[Question], Asking], Replies]


class NoAnswer(Exception):
    """Why a server has not answered, for people."""


def ask(server: Server, questions: Sequence[Question], asking: Asking) -> Replies:
    """The answers to these, or to some of them. Raises NoAnswer where there is none at all."""
    if asking.tls is not None:
        return _tried(_by_stream, server, questions, asking)
    found = _tried(_by_udp, server, questions, asking)
    cut = [question for question, reply in found.items() if reply.kind is Kind.TRUNCATED]
    if not cut:
        return found
    try:
        whole = _tried(_by_stream, server, cut, asking)
    except NoAnswer as error:  # what came whole by UDP holds all the same
        whole = {question: Reply(Kind.FAILED, why=f"cut off, and by TCP: {error}") for question in cut}
    return {question: reply for question, reply in found.items() if question not in cut} | whole


def _tried(how: _Exchange, server: Server, questions: Sequence[Question], asking: Asking) -> Replies:
    """Raises NoAnswer, and nothing else."""
    try:
        return how(server, questions, asking)
    except TimeoutError as error:
        raise NoAnswer(f"no answer in {asking.timeout:g} s") from error
    except OSError as error:
        certificate = getattr(error, "verify_message", None)  # of ssl.SSLCertVerificationError, which is one
        why = error.strerror or str(error) if certificate is None else f"its certificate is not good: {certificate}"
        raise NoAnswer(why) from error


# ---- UDP ----


def _by_udp(server: Server, questions: Sequence[Question], asking: Asking) -> Replies:
    """Raises OSError, NoAnswer."""
    end = time.monotonic() + asking.timeout
    found: Replies = {}
    strays = 0
    with _socket(server, socket.SOCK_DGRAM) as its, selectors.DefaultSelector() as selector:
        its.setblocking(False)
        its.connect(_point(server))
        for question in questions:
            its.send(question_bytes(question, wants_ad=asking.needs_ad))
        selector.register(its, selectors.EVENT_READ)
        while len(found) < len(questions) and strays <= _STRAYS_MOST:
            left = end - time.monotonic()
            if left <= 0 or not selector.select(left):
                break
            try:
                data = its.recv(_DATAGRAM_MOST)
            except BlockingIOError:  # its checksum was wrong
                continue
            except OSError:
                if found:
                    break
                raise
            before = len(found)
            _take(data, questions, found)
            strays += len(found) == before  # the same answer once more, too
    if not found:
        number = f"more than {_STRAYS_MOST:,}" if strays > _STRAYS_MOST else f"{strays:,}"
        beside = f", but {number} datagrams that are none" if strays else ""
        raise NoAnswer(f"no answer in {asking.timeout:g} s{beside}")
    return found


def _take(data: bytes, questions: Iterable[Question], found: Replies) -> bool:
    """Whether the bytes are the answer to one of these."""
    for question in questions:
        with suppress(AnswerError):
            found.setdefault(question, read_reply(data, question))
            return True
    return False


# ---- TCP and TLS ----


def _by_stream(server: Server, questions: Sequence[Question], asking: Asking) -> Replies:
    """All over one connection. Raises OSError, NoAnswer, TimeoutError."""
    end = time.monotonic() + asking.timeout
    found: Replies = {}
    with _socket(server, socket.SOCK_STREAM) as plain:
        plain.settimeout(asking.timeout)
        plain.connect(_point(server))
        plain.settimeout(_left(end))
        its = plain if asking.tls is None else _secured(plain, asking.tls)
        with its:
            for question in questions:
                data = question_bytes(question, wants_ad=asking.needs_ad)
                its.settimeout(_left(end))
                its.sendall(struct.pack(">H", len(data)) + data)
            try:
                for _ in questions:
                    if not _take(_message(its, end), questions, found):
                        raise NoAnswer("an answer that is none to the question")
            except (NoAnswer, OSError):
                if not found:
                    raise
    return {question: _whole(reply) for question, reply in found.items()}


def _whole(reply: Reply) -> Reply:
    """Where there is room for all, nothing need be cut off."""
    return Reply(Kind.FAILED, why="an answer that is cut off") if reply.kind is Kind.TRUNCATED else reply


def _message(its: socket.socket, end: float) -> bytes:
    """The next one: two bytes of length, and so many bytes (RFC 1035 §4.2.2)."""
    (length,) = struct.unpack(">H", _bytes(its, 2, end))
    return _bytes(its, length, end)


def _bytes(its: socket.socket, number: int, end: float) -> bytes:
    found = b""
    while len(found) < number:
        its.settimeout(_left(end))
        data = its.recv(number - len(found))
        if not data:
            raise NoAnswer("the connection ended without an answer")
        found += data
    return found


def _left(end: float) -> float:
    """Seconds. Raises TimeoutError where none are."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _secured(plain: socket.socket, name: str) -> socket.socket:
    """Raises OSError, NoAnswer."""
    try:
        context = _tls()
    except ImportError as error:  # Python can be built without OpenSSL
        raise NoAnswer("this gfwd knows no TLS, as it was built without OpenSSL") from error
    return context.wrap_socket(plain, server_hostname=name)


@lru_cache(1)
def _tls() -> "ssl.SSLContext":
    """Certificates are checked against those that the host trusts."""
    import ssl

    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _socket(server: Server, kind: socket.SocketKind) -> socket.socket:
    return socket.socket(socket.AF_INET if server.address.family == 4 else socket.AF_INET6, kind)


def _point(server: Server) -> Any:
    """As sockets take it. Raises OSError, NoAnswer where there is no such interface."""
    if server.address.family == 4:
        return str(server.address), server.port
    zone = 0
    if server.zone:
        try:
            zone = int(server.zone) if server.zone.isdigit() else socket.if_nametoindex(server.zone)
        except ValueError as error:  # digits of another script, or what no interface can be called
            raise NoAnswer("no interface with this name") from error
    return str(server.address), server.port, 0, zone
