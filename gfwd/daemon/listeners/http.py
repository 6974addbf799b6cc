"""As much of HTTP/1.1 (RFC 9112) as it takes to show a page to whoever asks for one: GET and HEAD, and no content sent.

One request a connection. What is wrong with a request is its status; nothing is raised, whatever the bytes are.
"""

import re
from typing import Final, NamedTuple

REQUEST_MOST: Final = 8_192
"""Bytes of a request; RFC 9112 §3 wants 8,000 at least for its first line, and no client of ours sends as many."""

_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]")
_END: Final = re.compile(rb"\r?\n\r?\n")
_READS: Final = (b"GET", b"HEAD")

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
}


class Request(NamedTuple):
    """status: 200 where it can be asked so, else what is wrong with it. path: without what follows a `?`."""

    status: int
    path: str = ""
    is_head: bool = False


def request(received: bytes) -> Request | None:
    """What is asked, by all that has come so far; None: that is not all of it yet."""
    line, newline, _ = received.partition(b"\n")
    if newline:
        asked = _LINE.fullmatch(line.removesuffix(b"\r"))
        if asked is None:
            return Request(400)
        if _END.search(received):
            method, target = asked.groups()
            path = target.partition(b"?")[0].decode("ascii")
            return Request(200 if method in _READS else 405, path, method == b"HEAD")
    return Request(431) if len(received) >= REQUEST_MOST else None


def answer(status: int, content_type: str, content: bytes, *, is_head: bool = False) -> bytes:
    """A whole answer, after which the connection ends. is_head: without the content, which only its length tells of."""
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n"
    allow = "Allow: GET, HEAD\r\n" if status == 405 else ""
    return f"{head}{allow}Connection: close\r\n\r\n".encode("ascii") + (b"" if is_head else content)


def refusal(status: int, *, is_head: bool = False) -> bytes:
    """An answer that says what is wrong, and no more."""
    content = f"{status} {_REASONS[status]}\n".encode("ascii")
    return answer(status, "text/plain; charset=utf-8", content, is_head=is_head)
