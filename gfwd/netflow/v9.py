"""NetFlow v9 (RFC 3954), and NetStream, which has the same bytes."""

from typing import Final

from construct import Int16ub, Int32ub, Struct

from gfwd.netflow import flowsets
from gfwd.netflow.cache import Scope, TemplateCache
from gfwd.netflow.errors import DecodeError
from gfwd.netflow.message import NETFLOW, Kind, Message

_HEADER: Final = Struct(
    "version" / Int16ub,
    "count" / Int16ub,
    "sys_uptime" / Int32ub,
    "unix_secs" / Int32ub,
    "sequence" / Int32ub,
    "source_id" / Int32ub,
)
_BYTES: Final = _HEADER.sizeof()
_PARSE: Final = _HEADER.compile()
_DIALECT: Final = flowsets.Dialect({0: Kind.TEMPLATE, 1: Kind.OPTIONS_TEMPLATE}, flowsets.learn_v9, has_lists=False)


def decode(payload: bytes, exporter: bytes, cache: TemplateCache) -> Message:
    """exporter: whose templates count, together with the source ID. Raises DecodeError without a whole header."""
    if len(payload) < _BYTES:
        raise DecodeError(f"a NetFlow v9 header has {_BYTES} bytes, and here are {len(payload)}")
    header = _PARSE.parse(payload)
    message = Message(
        NETFLOW,
        9,
        len(payload),
        count=header.count,
        sys_uptime=header.sys_uptime,
        unix_secs=header.unix_secs,
        sequence=header.sequence,
        source_id=header.source_id,
    )
    flowsets.read(message, payload, _BYTES, _DIALECT, Scope(exporter, None, header.source_id), cache)
    message.step = 1  # it counts datagrams (RFC 3954 §5.1)
    return message
