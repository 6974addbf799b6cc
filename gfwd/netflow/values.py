"""Bytes of an abstract data type (RFC 7011 §6.1) → what people and JSON read.

Integers may be shorter than their type (reduced-size encoding, RFC 7011 §6.2), so the length that the template gives
counts. A length that cannot be the type's gives the bytes, in hexadecimal: nothing is guessed.
"""

import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv6Address
from socket import AF_INET, inet_ntop
from typing import Final

Value = int | float | bool | str | None
Reader = Callable[[bytes], Value]

LISTS: Final = ("basicList", "subTemplateList", "subTemplateMultiList")
"""Types that lists.py reads."""

_INTEGER_MOST: Final = 8  # bytes
_NTP_1970: Final = 2_208_988_800  # seconds from NTP's epoch, 1900, to 1970 (RFC 5905 §6)
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999, which datetime ends with
_KINDS: Final = 4_096  # of type and length that are kept


def _hexadecimal(data: bytes) -> str:
    return data.hex()


def _unsigned(data: bytes) -> int:
    return int.from_bytes(data)


def _signed(data: bytes) -> int:
    return int.from_bytes(data, signed=True)


def _float(data: bytes) -> Value:
    value: float = struct.unpack(">f" if len(data) == 4 else ">d", data)[0]
    return value if math.isfinite(value) else str(value)  # JSON has no word for nan and inf


def _boolean(data: bytes) -> Value:
    """RFC 7011 §6.1.5; what is neither stays a number."""
    return {1: True, 2: False}.get(data[0], data[0])


def _mac(data: bytes) -> str:
    return data.hex(":")


def _ipv4(data: bytes) -> str:
    return inet_ntop(AF_INET, data)


def _ipv6(data: bytes) -> str:
    return str(IPv6Address(data))


def _string(data: bytes) -> str:
    """NetFlow v9 fills strings up with zeros."""
    return data.rstrip(b"\0").decode("utf-8", "backslashreplace")


def _seconds(data: bytes) -> Value:
    return time_text(int.from_bytes(data), "seconds")


def _milliseconds(data: bytes) -> Value:
    seconds, rest = divmod(int.from_bytes(data), 1_000)
    return time_text(seconds, "milliseconds", rest * 1_000)


def _ntp(data: bytes) -> Value:
    """dateTimeMicroseconds and dateTimeNanoseconds (RFC 7011 §6.1.9, §6.1.10), to the microsecond."""
    seconds, fraction = struct.unpack(">II", data)
    if seconds < _NTP_1970:
        return data.hex()
    return time_text(seconds - _NTP_1970, "microseconds", fraction * 1_000_000 >> 32)


def time_text(seconds: int, timespec: str, microseconds: int = 0) -> Value:
    """2026-11-23T15:43:56Z, as fine as timespec says; what no calendar has stays a number of seconds."""
    if not 0 <= seconds <= _LAST_SECOND:
        return seconds
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds, tzinfo=None)
    return moment.isoformat(timespec=timespec) + "Z"


# Type → lengths that it may have, in bytes (none: any), and who reads it.
_READERS: Final[dict[str, tuple[range | tuple[int, ...], Reader]]] = {
    **{f"unsigned{bits}": (range(1, _INTEGER_MOST + 1), _unsigned) for bits in (8, 16, 32, 64)},
    **{f"signed{bits}": (range(1, _INTEGER_MOST + 1), _signed) for bits in (8, 16, 32, 64)},
    "float32": ((4,), _float),
    "float64": ((4, 8), _float),
    "boolean": ((1,), _boolean),
    "macAddress": ((6,), _mac),
    "ipv4Address": ((4,), _ipv4),
    "ipv6Address": ((16,), _ipv6),
    "dateTimeSeconds": ((4, 8), _seconds),
    "dateTimeMilliseconds": ((4, 8), _milliseconds),
    "dateTimeMicroseconds": ((8,), _ntp),
    "dateTimeNanoseconds": ((8,), _ntp),
}


@lru_cache(maxsize=_KINDS)
def reader(kind: str, length: int) -> Reader:
    """Who reads `length` bytes of a type. Lists (RFC 6313) are left as their bytes."""
    if kind == "string":
        return _string
    lengths, read = _READERS.get(kind, ((), _hexadecimal))
    return read if length in lengths else _hexadecimal


def is_unsigned(kind: str, length: int) -> bool:
    """Whether struct reads it as it stands: most fields are such numbers."""
    return kind.startswith("unsigned") and length in (1, 2, 4, 8)
