"""SNMP, one line: what kind of message, which trap, how many bindings. The community is a password: it is never shown;
nor is the user.

Sources: RFC 1157 §4 (v1), RFC 1901 §3 and RFC 3416 §3 (v2c), RFC 3412 §6 and RFC 3414 §2.4 (v3); BER as in X.690.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any, Final

from gfwd.netflow.errors import DecodeError
from gfwd.netflow.message import SNMP, Message

_SEQUENCE, _INTEGER, _OCTETS, _OBJECT, _ADDRESS, _TICKS = 0x30, 0x02, 0x04, 0x06, 0x40, 0x43
_VERSIONS: Final = {0: "1", 1: "2c", 3: "3"}
_V3: Final = "3"
_USM: Final = 3  # the user-based security model (RFC 3411 §5)
_V1_TRAP: Final = 0xA4
_KINDS: Final = {
    **{0xA0: "get", 0xA1: "get_next", 0xA2: "response", 0xA3: "set", _V1_TRAP: "trap", 0xA5: "get_bulk"},
    **{0xA6: "inform", 0xA7: "trap", 0xA8: "report"},
}
_GENERIC: Final = (
    *("coldStart", "warmStart", "linkDown", "linkUp", "authenticationFailure"),
    *("egpNeighborLoss", "enterpriseSpecific"),
)
_TRAP_OID: Final = "1.3.6.1.6.3.1.1.4.1.0"  # snmpTrapOID.0 (RFC 3418)
_UPTIME: Final = "1.3.6.1.2.1.1.3.0"  # sysUpTime.0
_OBJECT_BYTES: Final = 640  # of an object's name: 128 numbers of 32 bits (RFC 2578 §3.5)

Value = tuple[int, bytes]  # tag, content


def decode(payload: bytes) -> Message:
    """Raises DecodeError where it does not begin like SNMP; what is broken later on is the message's flaw."""
    if not payload or payload[0] != _SEQUENCE:
        raise DecodeError("it does not begin with a SEQUENCE, as SNMP does")
    length, at = _length(payload, 1)
    values = _values(payload[at : at + length])
    version = _VERSIONS.get(_integer(_next(values, _INTEGER, "version")))
    if version is None:
        raise DecodeError("SNMP of an unknown version")
    message = Message(SNMP, version, len(payload))
    if length != len(payload) - at:
        message.flaw = f"it says {length} bytes, and there are {len(payload) - at}"
    try:
        for details in _v3(values) if version == _V3 else _community(values):
            message.details |= details
    except DecodeError as error:
        message.flaw = message.flaw or str(error)
    return message


def _community(values: Iterator[Value]) -> Iterator[dict[str, Any]]:
    """v1 and v2c: what kind of message, and what its PDU says. Piece by piece: what is broken leaves the rest."""
    _next(values, _OCTETS, "community")
    tag, pdu = _next(values, None, "PDU")
    yield {"kind": _kind(tag), "community": "hidden"}
    yield _v1_trap(pdu) if tag == _V1_TRAP else _pdu(pdu)


def _v3(values: Iterator[Value]) -> Iterator[dict[str, Any]]:
    """The header, and of a message that is not encrypted its PDU. Flags of msgGlobalData: 1 authenticated, 2 encrypted
    (RFC 3412 §6.4). The user is left out, like a community.
    """
    _, head = _next(values, _SEQUENCE, "msgGlobalData")
    inner = _values(head)
    _next(inner, _INTEGER, "msgID"), _next(inner, _INTEGER, "msgMaxSize")
    _, flags = _next(inner, _OCTETS, "msgFlags")
    bits = flags[0] if flags else 0
    yield {"user": "hidden", "is_authenticated": bool(bits & 1), "is_encrypted": bool(bits & 2)}
    model = _integer(_next(inner, _INTEGER, "msgSecurityModel"))
    _, security = _next(values, _OCTETS, "msgSecurityParameters")
    if model == _USM:
        yield _usm(security)
    if not bits & 2:
        scoped = _values(_next(values, _SEQUENCE, "ScopedPDU")[1])
        _next(scoped, _OCTETS, "contextEngineID"), _next(scoped, _OCTETS, "contextName")
        tag, pdu = _next(scoped, None, "PDU")
        yield {"kind": _kind(tag)}
        yield _pdu(pdu)


def _usm(security: bytes) -> dict[str, Any]:
    """Which SNMP engine, how often it was booted, and s since then (RFC 3414 §2.4)."""
    inner = _values(_next(_values(security), _SEQUENCE, "UsmSecurityParameters")[1])
    _, engine = _next(inner, _OCTETS, "msgAuthoritativeEngineID")
    boots = _integer(_next(inner, _INTEGER, "msgAuthoritativeEngineBoots"))
    time = _integer(_next(inner, _INTEGER, "msgAuthoritativeEngineTime"))
    return {"engine": engine.hex(), "engine_boots": boots, "engine_time": time}


def _kind(tag: int) -> str:
    return _KINDS.get(tag, f"0x{tag:02x}")


def _v1_trap(pdu: bytes) -> dict[str, Any]:
    """RFC 1157 §4.1.6."""
    values = _values(pdu)
    _, enterprise = _next(values, _OBJECT, "enterprise")
    _, agent = _next(values, _ADDRESS, "agent-addr")
    generic = _integer(_next(values, _INTEGER, "generic-trap"))
    specific = _integer(_next(values, _INTEGER, "specific-trap"))
    ticks = _integer(_next(values, _TICKS, "time-stamp"))
    _, bindings = _next(values, _SEQUENCE, "bindings")
    return {
        "trap": _GENERIC[generic] if 0 <= generic < len(_GENERIC) else str(generic),
        "enterprise": object_text(enterprise),
        "specific": specific,
        "agent": str(IPv4Address(agent)) if len(agent) == 4 else agent.hex(),
        "uptime": ticks * 10,  # hundredths of a second → ms
        "bindings": sum(1 for _ in _values(bindings)),
    }


def _pdu(pdu: bytes) -> dict[str, Any]:
    """RFC 3416 §3. Of the bindings, only sysUpTime and snmpTrapOID are looked into, which come first in a trap."""
    values = _values(pdu)
    for what in ("request-id", "error-status", "error-index"):
        _next(values, _INTEGER, what)
    _, bindings = _next(values, _SEQUENCE, "bindings")
    trap: dict[str, Any] = {}
    n = 0
    for tag, binding in _values(bindings):
        n += 1
        if tag == _SEQUENCE and n <= 2:
            inner = _values(binding)
            name, (kind, value) = object_text(_next(inner, _OBJECT, "name")[1]), _next(inner, None, "value")
            if name == _TRAP_OID and kind == _OBJECT:
                trap["trap"] = object_text(value)
            if name == _UPTIME and kind == _TICKS:
                trap["uptime"] = int.from_bytes(value) * 10
    return {**trap, "bindings": n}


# ---- BER ----


def _values(data: bytes) -> Iterator[Value]:
    """Tag and content, one after the other; each takes two bytes or more. Raises DecodeError where one is cut."""
    at = 0
    while at < len(data):
        tag = data[at]
        length, start = _length(data, at + 1)
        if start + length > len(data):
            raise DecodeError(f"a value of {length} bytes, and there are {len(data) - start}")
        yield tag, data[start : start + length]
        at = start + length


def _length(data: bytes, at: int) -> tuple[int, int]:
    """The length, and where the content begins (X.690 §8.1.3, definite forms)."""
    if at >= len(data):
        raise DecodeError("a value without its length")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    n = first & 0x7F
    if n == 0 or n > 4 or at + 1 + n > len(data):
        raise DecodeError("a length that SNMP has no use for")
    return int.from_bytes(data[at + 1 : at + 1 + n]), at + 1 + n


def _next(values: Iterator[Value], tag: int | None, what: str) -> Value:
    """The next value, which has this tag."""
    found = next(values, None)
    if found is None or (tag is not None and found[0] != tag):
        raise DecodeError(f"SNMP without {what} in its place")
    return found


def _integer(value: Value) -> int:
    return int.from_bytes(value[1], signed=value[0] == _INTEGER)


def object_text(data: bytes) -> str:
    """1.3.6.1 (X.690 §8.19)."""
    if not data or len(data) > _OBJECT_BYTES:
        return f"({len(data)} bytes)"
    numbers, number = [], 0
    for byte in data:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    if not numbers:
        return f"({len(data)} bytes)"
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
