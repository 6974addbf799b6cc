"""An event → the lines of a log. Whatever a name or an error text holds, it makes no line of its own, and no terminal
obeys it: what does not print is escaped.
"""

import json
from datetime import UTC, datetime
from typing import Any

from gfwd.daemon.log.event import Event


def text_lines(event: Event, *, is_timed: bool = False) -> list[str]:
    """The message for people. is_timed: each line says when, too."""
    lines = event.message.split("\n") if event.kind.is_long else [event.message]
    when = f"{time_text(event.at)} " if is_timed else ""
    return [when + _printable(line) for line in lines]


def json_line(event: Event) -> str:
    """All of the event as one object of JSON (RFC 8259), in one line."""
    its: dict[str, Any] = {
        "time": time_text(event.at),
        "level": str(event.kind.level),
        "event": event.kind.name,
        "message": event.message,
        **event.fields,
    }
    return "".join(ch if ch.isprintable() else _json_escape(ch) for ch in json.dumps(its, ensure_ascii=False))


def time_text(at: float) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _printable(text: str) -> str:
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)


def _json_escape(ch: str) -> str:
    """A surrogate stands for a byte that is no text (PEP 383), and many readers of JSON take none without its pair."""
    return "\ufffd" if "\ud800" <= ch <= "\udfff" else json.dumps(ch)[1:-1]
