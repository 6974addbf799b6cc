"""A try by a GET (RFC 9110, 9112): the status line decides, and no more than that is read.

So there is no body to wait for, and no redirect is followed. All of it has one limit of time: a server that sends a
byte now and then is not waited for.
"""

import re
import socket
import time
from urllib.parse import quote, urlsplit

from gfwd import __version__
from gfwd.daemon.probe import tcp
from gfwd.health.watch import Outcome, Verdict

_ADDRESSES_MOST = 8
_LINE_BYTES = 1_024
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})(?![0-9])")  # RFC 9112 §4
_OF_PATHS = "/:=&?%~+!$,;'@()*[]"  # what stays as it is written


def probe(url: str, seconds: float) -> Outcome:
    """Ask for this URL of http; it succeeds when the answer within so many seconds is 200 to 299. Raises OSError of
    tcp.OWN_TROUBLE.
    """
    end = time.monotonic() + seconds
    try:
        host, port, request = _read(url)
    except ValueError as error:
        return Outcome(Verdict.UNTRIED, str(error), url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) in tcp.OWN_TROUBLE:
            raise
        return Outcome(Verdict.FAILURE, f"{host}: {getattr(error, 'strerror', None) or error}", url)
    points = list(dict.fromkeys((family, point) for family, _, _, _, point in found))[:_ADDRESSES_MOST]
    made = tcp.connect(points, max(0.0, end - time.monotonic()))
    if isinstance(made, str):
        return Outcome(Verdict.FAILURE, made, url)
    with made:
        try:
            line = _status_line(made, request, end)
        except TimeoutError:
            return Outcome(Verdict.FAILURE, f"no answer in {seconds:g} s", url)
        except OSError as error:
            return Outcome(Verdict.FAILURE, error.strerror or str(error), url)
    return _judged(line, url)


def _judged(line: bytes, url: str) -> Outcome:
    status = _STATUS_LINE.match(line)
    if status is None:
        return Outcome(Verdict.FAILURE, "an answer that is not HTTP" if line else "closed without an answer", url)
    is_good = status[1].startswith(b"2")
    return Outcome(Verdict.SUCCESS if is_good else Verdict.FAILURE, f"it answers {status[1].decode()}", url)


def _read(url: str) -> tuple[str, int, bytes]:
    """Host, port and request. Raises ValueError with what is wrong."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is not http://HOST/PATH")
    path = quote(parts.path or "/", safe=_OF_PATHS) + (f"?{quote(parts.query, safe=_OF_PATHS)}" if parts.query else "")
    # Whoever runs the server sees who asks, and that no more than the answer's head is wanted.
    head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
    head += f"User-Agent: gfwd/{__version__}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    return parts.hostname, parts.port or 80, head.encode("ascii", "replace")


def _status_line(its: socket.socket, request: bytes, end: float) -> bytes:
    """The first line of the answer, or what there is of it. Raises OSError, TimeoutError."""
    _limit(its, end)
    its.sendall(request)
    line = b""
    while b"\n" not in line and len(line) < _LINE_BYTES:
        _limit(its, end)
        data = its.recv(_LINE_BYTES)
        if not data:
            break
        line += data
    return line


def _limit(its: socket.socket, end: float) -> None:
    """What is done next may take until `end`. Raises TimeoutError where that is over."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    its.settimeout(left)
