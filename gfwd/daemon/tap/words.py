"""What those who look are told over a socket: behind the first line (JSON, as any answer has it) messages of two kinds.

A message is a head, its kind and the length of what follows, and that: a datagram, as a head of its own and the frame;
or a word, which is an object of JSON with one key:

way   {"id", "rules", "collectors"}: what datagrams with this id have met, from now on
lost  {"tap", "slow"}: so many by now, and some of them right before the next datagram: since the core had no room for
      them, and since who is told was slow
gone  true: the rule that is looked for is no more; false: it is back
end   {"matched", "taken", "tap", "slow"}: nothing more comes. matched: datagrams that were looked for; taken: of those
      the sample, and those with templates

All numbers are in network order. Who is told ends it by closing his side, and then hears the end.
"""

import json
import struct
from typing import Any, Final, NamedTuple

DATAGRAM: Final = 1
WORD: Final = 2
NO_WAY: Final = 0xFFFFFFFF
_HEAD: Final = struct.Struct("!BI")
_DATAGRAM: Final = struct.Struct("!QIBB")  # time (ns since 1970), id of the way, fate, flags
_FOR_TEMPLATES: Final = 1  # a flag: it is not of the sample
_MESSAGE_MOST: Final = 1 << 20


class BadStream(Exception):
    """What came is no message."""


class Shown(NamedTuple):
    """A datagram. time: ns since 1970. way: an id. fate: C's enum fw_fate."""

    time: int
    way: int
    fate: int
    is_of_sample: bool
    frame: bytes


def datagram(shown: Shown) -> bytes:
    flags = 0 if shown.is_of_sample else _FOR_TEMPLATES
    head = _DATAGRAM.pack(shown.time, shown.way, shown.fate, flags)
    return _HEAD.pack(DATAGRAM, len(head) + len(shown.frame)) + head + shown.frame


def word(name: str, value: Any) -> bytes:
    text = json.dumps({name: value}).encode()
    return _HEAD.pack(WORD, len(text)) + text


class Words:
    """Bytes as they come → messages: a Shown, or the name and value of a word."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def put(self, data: bytes) -> None:
        self._rest += data

    def take(self) -> list[Shown | tuple[str, Any]]:
        """All that are whole by now. Raises BadStream."""
        found: list[Shown | tuple[str, Any]] = []
        at = 0
        while len(self._rest) - at >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._rest, at)
            if length > _MESSAGE_MOST or (kind == DATAGRAM and length < _DATAGRAM.size):
                raise BadStream(f"a message of {length} bytes")
            if len(self._rest) - at < _HEAD.size + length:
                break
            body = bytes(self._rest[at + _HEAD.size : at + _HEAD.size + length])
            at += _HEAD.size + length
            if kind == DATAGRAM:
                time, way, fate, flags = _DATAGRAM.unpack_from(body)
                found.append(Shown(time, way, fate, not flags & _FOR_TEMPLATES, body[_DATAGRAM.size :]))
            elif kind == WORD:
                found.append(_word(body))
        del self._rest[:at]
        return found


def _word(body: bytes) -> tuple[str, Any]:
    try:
        ((name, value),) = json.loads(body).items()
    except (ValueError, AttributeError):
        raise BadStream("a word that is none") from None
    return name, value
