"""NetFlow v1, v5 and v7: a header, and records of one shape (Cisco, NetFlow Export Datagram Format).

The records' fields are called as in IANA's registry, so that they read like those of v9 and IPFIX.
"""

from typing import Any, Final, NamedTuple

from construct import Int16ub, Int32ub, Padding, Struct

from gfwd.netflow.elements import PADDING
from gfwd.netflow.errors import DecodeError
from gfwd.netflow.message import NETFLOW, FlowSet, Kind, Message
from gfwd.netflow.template import Field, Template, field

_START: Final = ("version" / Int16ub, "count" / Int16ub, "sys_uptime" / Int32ub, "unix_secs" / Int32ub)
_V1_HEADER: Final = Struct(*_START, "unix_nsecs" / Int32ub)
_V5_HEADER: Final = Struct(
    *_START,
    "unix_nsecs" / Int32ub,
    "flow_sequence" / Int32ub,
    "source_id" / Int16ub,  # engine_type, engine_id
    "sampling" / Int16ub,  # two bits: the mode; fourteen: one packet of so many
)
_V7_HEADER: Final = Struct(*_START, "unix_nsecs" / Int32ub, "flow_sequence" / Int32ub, Padding(4))
_SAMPLING_BITS: Final = 0x3FFF

_WAY: Final = [(8, 4), (12, 4), (15, 4), (10, 2), (14, 2), (2, 4), (1, 4), (22, 4), (21, 4), (7, 2), (11, 2)]
"""How all records begin: element, bytes. Addresses, next hop, interfaces, packets, octets, first, last, ports."""


def _fields(*more: tuple[int, int] | Field) -> list[Field]:
    return [one if isinstance(one, Field) else field(0, *one) for one in (*_WAY, *more)]


def _own(name: str, length: int, kind: str) -> Field:
    """What IANA has no element for."""
    return Field(0, 0, length, name, kind)


class _Version(NamedTuple):
    header: Any
    bytes: int
    record: Template


_AS: Final[list[tuple[int, int]]] = [(16, 2), (17, 2), (9, 1), (13, 1)]
"""Of source and destination: AS numbers, prefix lengths."""
_VERSIONS: Final = {
    1: _Version(
        _V1_HEADER.compile(),
        _V1_HEADER.sizeof(),
        Template(0, _fields((PADDING, 2), (4, 1), (5, 1), (6, 1), (PADDING, 7))),
    ),
    5: _Version(
        _V5_HEADER.compile(),
        _V5_HEADER.sizeof(),
        Template(0, _fields((PADDING, 1), (6, 1), (4, 1), (5, 1), *_AS, (PADDING, 2))),
    ),
    7: _Version(
        _V7_HEADER.compile(),
        _V7_HEADER.sizeof(),
        Template(
            0,
            _fields(
                _own("flags1", 1, "unsigned8"),
                (6, 1),
                (4, 1),
                (5, 1),
                *_AS,
                _own("flags2", 2, "unsigned16"),
                _own("routerShortcut", 4, "ipv4Address"),
            ),
        ),
    ),
}
VERSIONS: Final = tuple(_VERSIONS)


def decode(version: int, payload: bytes) -> Message:
    """Raises DecodeError where there is no whole header of this version."""
    shape = _VERSIONS[version]
    if len(payload) < shape.bytes:
        raise DecodeError(f"a NetFlow v{version} header has {shape.bytes} bytes, and here are {len(payload)}")
    header = shape.header.parse(payload)
    body = payload[shape.bytes :]
    n = min(header.count, len(body) // shape.record.least)
    message = Message(
        NETFLOW,
        version,
        len(payload),
        count=header.count,
        sys_uptime=header.sys_uptime,
        unix_secs=header.unix_secs,
        sequence=header.get("flow_sequence"),
        source_id=header.get("source_id"),
        step=header.count,
        sampling=(header.get("sampling", 0) & _SAMPLING_BITS) or None,
    )
    if n < header.count:
        message.flaw = f"the header says {header.count} records, and there is room for {n}"
    if n:
        size = n * shape.record.least
        message.sets.append(FlowSet(None, Kind.DATA, size, n, body[:size], shape.record))
    return message
