"""IPFIX over UDP (RFC 7011)."""

from typing import Final

from construct import Int16ub, Int32ub, Struct

from gfwd.netflow import flowsets
from gfwd.netflow.cache import Scope, Sender, TemplateCache
from gfwd.netflow.errors import DecodeError
from gfwd.netflow.message import IPFIX, Kind, Message

_HEADER: Final = Struct(
    "version" / Int16ub,
    "length" / Int16ub,
    "export_time" / Int32ub,
    "sequence" / Int32ub,
    "domain" / Int32ub,
)
_BYTES: Final = _HEADER.sizeof()
_PARSE: Final = _HEADER.compile()
_DIALECT: Final = flowsets.Dialect({2: Kind.TEMPLATE, 3: Kind.OPTIONS_TEMPLATE}, flowsets.learn_ipfix, has_lists=True)


def decode(payload: bytes, sender: Sender, cache: TemplateCache) -> Message:
    """sender: whose templates count, together with the observation domain. Raises DecodeError without a header."""
    if len(payload) < _BYTES:
        raise DecodeError(f"an IPFIX header has {_BYTES} bytes, and here are {len(payload)}")
    header = _PARSE.parse(payload)
    message = Message(
        IPFIX,
        10,
        header.length,
        unix_secs=header.export_time,
        sequence=header.sequence,
        source_id=header.domain,
    )
    flowsets.read(message, payload[: header.length], _BYTES, _DIALECT, Scope(*sender, header.domain), cache)
    if header.length != len(payload):
        message.flaw = message.flaw or f"the header says {header.length} bytes, and here are {len(payload)}"
        message.step = message.step if header.length < len(payload) else None
    return message
