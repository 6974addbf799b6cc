"""syslog, one line (RFC 5424 §6; RFC 3164 §4.1): what it is about, as far as the line says.

Much that is sent is neither: Cisco puts a number, and more colons, before and behind the time (System Message Format);
rsyslog and others put RFC 5424's time into a line of RFC 3164.
"""

import re
from typing import Any, Final

from gfwd.netflow.errors import DecodeError
from gfwd.netflow.message import SYSLOG, Message
from gfwd.netflow.printable import printable

_PRIORITY: Final = re.compile(rb"<(\d{1,3})>")
_PRIORITY_MOST: Final = 191
_NEW: Final = re.compile(rb"1 (\S{1,64}) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) ")
_OLD: Final = re.compile(
    rb"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) "
    rb"(\S{1,255}) "
)
# 29: router: *Mar  1 00:01:02.003 UTC: %SYS-5-CONFIG_I: …; or Jul 12 2024 10:11:12 firewall : %ASA-6-302013: …
_CISCO: Final = re.compile(
    rb"(?:\d{1,10}: )?(?:(?P<host>\S{1,255}): )?"
    rb"(?:[*.]?(?P<time>[A-Z][a-z]{2} [ \d]?\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d{1,6})?(?: [A-Z]{2,5})?"
    rb"|\d\d:\d\d:\d\d|\d{1,3}[ywd]\d{1,2}[wdh])(?: (?P<behind>\S{1,255}))? ?: )?"
    rb"(?=%[A-Z])"
)
_LENGTH: Final = re.compile(rb"\d{1,5} (?=<)")
_TAG: Final = re.compile(rb"([^\s\[:]{1,64})(?:\[([^\]\s]{1,32})\])?: ?")
_MARK: Final = b"\xef\xbb\xbf"  # UTF-8's, before the text (RFC 5424 §6.4)
_LINE_MOST: Final = 4_096  # bytes of it that are looked at

_FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", *(f"local{n}" for n in range(8))),
)
_SEVERITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def decode(payload: bytes) -> Message:
    """Raises DecodeError where it does not begin with a priority."""
    framed = _LENGTH.match(payload)
    start = _PRIORITY.match(payload, 0 if framed is None else framed.end())
    if start is None or int(start[1]) > _PRIORITY_MOST:
        raise DecodeError("it does not begin with a syslog priority, <0> to <191>")
    facility, severity = divmod(int(start[1]), 8)
    line = payload[start.end() : start.end() + _LINE_MOST].rstrip(b"\0\r\n")
    details: dict[str, Any] = {"facility": _FACILITIES[facility], "severity": _SEVERITIES[severity]}
    flaw = None if framed is None else "it begins with its length, as over TCP (RFC 6587); over UDP, none does"
    found = _NEW.match(line)
    if found is not None:
        return Message(SYSLOG, "5424", len(payload), details=details | _new(line, found), flaw=flaw)
    return Message(SYSLOG, "3164", len(payload), details=details | _old(line), flaw=flaw)


def _new(line: bytes, found: re.Match[bytes]) -> dict[str, Any]:
    names = ("timestamp", "hostname", "app", "procid", "msgid")
    values = (None if value == b"-" else printable(value) for value in found.groups())
    return {**dict(zip(names, values, strict=True)), "text": printable(_behind_data(line[found.end() :]))}


def _behind_data(rest: bytes) -> bytes:
    """The text behind the structured data, which is -, or elements in brackets; in their values ] is escaped."""
    if rest.startswith(b"-"):
        return rest[1:].removeprefix(b" ").removeprefix(_MARK)
    at, is_quoted = 0, False
    while at < len(rest):
        byte = rest[at : at + 1]
        if byte == b"\\" and is_quoted:
            at += 1
        elif byte == b'"':
            is_quoted = not is_quoted
        elif byte == b"]" and not is_quoted and rest[at + 1 : at + 2] != b"[":
            return rest[at + 1 :].removeprefix(b" ").removeprefix(_MARK)
        at += 1
    return rest


def _old(line: bytes) -> dict[str, Any]:
    """Much that is sent has no time, or no host: what is not there stays None."""
    time, host, rest = _head(line)
    tag = _TAG.match(rest)
    return {
        "timestamp": None if time is None else printable(time),
        "hostname": None if host is None else printable(host),
        "app": None if tag is None else printable(tag[1]),
        "procid": None if tag is None or tag[2] is None else printable(tag[2]),
        "text": printable(rest if tag is None else rest[tag.end() :]),
    }


def _head(line: bytes) -> tuple[bytes | None, bytes | None, bytes]:
    """Time, host, and what stands behind them."""
    found = _CISCO.match(line)
    if found is not None:
        return found["time"], found["host"] or found["behind"], line[found.end() :]
    found = _OLD.match(line)
    return (None, None, line) if found is None else (found[1], found[2], line[found.end() :])
