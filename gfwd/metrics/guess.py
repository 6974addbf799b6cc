"""What a datagram looks like, by its first bytes: enough to tell the protocols that gfwd forwards from each other.

A guess is not a decoder: it reads versions, and what must go with them (how many records, how long). Sources: NetFlow
v1, v5, v7 (Cisco, NetFlow Export Datagram Format), v9 (RFC 3954 §5.1), IPFIX (RFC 7011 §3.1), sFlow
(sflow_version_5.txt §5), syslog (RFC 3164 §4.1.1, RFC 5424 §6.2), SNMP (RFC 1157 §4, RFC 1901 §3, RFC 3412 §6).
"""

import re
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

BYTES: Final = 24
"""So many of a payload are enough."""


class Guess(NamedTuple):
    """protocol: "NetFlow", "IPFIX", "sFlow", "syslog", "SNMP"; None: none of them. version: as people call it: "9",
    "2c"; of syslog the RFC's number. text: both, in words.
    """

    protocol: str | None
    version: str | None
    text: str


PORTS: Final[dict[int, str]] = {
    162: "SNMP",
    514: "syslog",
    2055: "NetFlow",
    2056: "NetFlow",
    4739: "IPFIX",
    6343: "sFlow",
    9555: "NetFlow",
    9995: "NetFlow",
    9996: "NetFlow",
}
"""What is usually sent to a port: assigned by IANA (162, 514, 4739, 6343), or customary."""

# Version → bytes of the header, of a record, and the most records of a datagram (v1: 24, but softflowd sends 30).
_CISCO: Final = {1: (16, 48, 30), 5: (24, 48, 30), 7: (24, 52, 28)}
_V9_LEAST: Final = 20 + 4  # the header, and that of one FlowSet
_IPFIX_LEAST: Final = 16
_SFLOW_VERSIONS: Final = (2, 4, 5)
_SFLOW_ADDRESSES: Final = (1, 2)  # IPv4, IPv6
_SNMP_VERSIONS: Final = {0: "1", 1: "2c", 3: "3"}
_SEQUENCE, _INTEGER = 0x30, 0x02  # X.690 §8.3, §8.9
_PRIORITY: Final = re.compile(rb"<(0|[1-9][0-9]{0,2})>([1-9][0-9]? )?")
_PRIORITY_MOST: Final = 191  # facility 23, severity 7


def guess(payload: bytes, length: int, port: int) -> Guess:
    """payload: its first bytes, BYTES of them or all. length: of the whole payload. port: that it was sent to.

    The port is told where the bytes say nothing, and never believed over them.
    """
    for look in _LOOKS:
        found = look(payload, length)
        if found is not None:
            protocol, version = found
            return Guess(protocol, version, _text(protocol, version))
    usual = PORTS.get(port)
    return Guess(None, None, "unknown" if usual is None else f"unknown (by its port: {usual}?)")


def _text(protocol: str, version: str) -> str:
    if protocol == "IPFIX":
        return protocol
    return f"syslog (RFC {version})" if protocol == "syslog" else f"{protocol} v{version}"


Found = tuple[str, str] | None


def _netflow(payload: bytes, length: int) -> Found:
    if len(payload) < 4:
        return None
    version, count = struct.unpack_from(">HH", payload)
    if version == 9:
        return ("NetFlow", "9") if count > 0 and length >= _V9_LEAST else None
    if version == 10:  # the second field is the message's length
        return ("IPFIX", "10") if _IPFIX_LEAST <= count <= length else None
    if version not in _CISCO:
        return None
    header, record, most = _CISCO[version]
    return ("NetFlow", str(version)) if 1 <= count <= most and header + count * record <= length else None


def _sflow(payload: bytes, _length: int) -> Found:
    if len(payload) < 8:
        return None
    version, address = struct.unpack_from(">II", payload)
    return ("sFlow", str(version)) if version in _SFLOW_VERSIONS and address in _SFLOW_ADDRESSES else None


def _syslog(payload: bytes, _length: int) -> Found:
    start = _PRIORITY.match(payload)
    if start is None or int(start[1]) > _PRIORITY_MOST:
        return None
    return "syslog", "3164" if start[2] is None else "5424"


def _snmp(payload: bytes, _length: int) -> Found:
    """A SEQUENCE of any length that begins with an INTEGER of one byte: the version."""
    if len(payload) < 2 or payload[0] != _SEQUENCE:
        return None
    more = payload[1] & 0x7F if payload[1] & 0x80 else 0  # X.690 §8.1.3: so many bytes say the length
    version = payload[2 + more : 5 + more]
    if len(version) < 3 or version[:2] != bytes((_INTEGER, 1)) or version[2] not in _SNMP_VERSIONS:
        return None
    return "SNMP", _SNMP_VERSIONS[version[2]]


_LOOKS: Final[tuple[Callable[[bytes, int], Found], ...]] = (_netflow, _sflow, _syslog, _snmp)
