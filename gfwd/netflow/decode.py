"""A datagram whose protocol is known → a Message."""

from typing import Final

from gfwd.netflow import fixed, ipfix, sflow, snmp, syslog, v9
from gfwd.netflow.cache import Sender, TemplateCache
from gfwd.netflow.errors import DecodeError
from gfwd.netflow.message import IPFIX, NETFLOW, SFLOW, SNMP, SYSLOG, Message

PROTOCOLS: Final = (NETFLOW, IPFIX, SFLOW, SYSLOG, SNMP)
"""NetFlow and IPFIX both stand for all versions from 1 to 10, since they may be sent to one port."""

_V9, _V10 = 9, 10


def decode(protocol: str | None, payload: bytes, sender: Sender, cache: TemplateCache) -> Message:
    """What the datagram says. One that is not of this protocol, or broken before it says anything, is a Message too:
    its flaw says why, and nothing else is in it. protocol: one of PROTOCOLS; None: only its length is known.
    """
    try:
        return _decode(protocol, payload, sender, cache)
    except DecodeError as error:
        return Message(protocol, None, len(payload), flaw=str(error))


def _decode(protocol: str | None, payload: bytes, sender: Sender, cache: TemplateCache) -> Message:
    if protocol in (NETFLOW, IPFIX):
        version = int.from_bytes(payload[:2])
        if version == _V9:
            return v9.decode(payload, sender.exporter, cache)
        if version == _V10:
            return ipfix.decode(payload, sender, cache)
        if version in fixed.VERSIONS:
            return fixed.decode(version, payload)
        raise DecodeError(f"version {version}: known are NetFlow 1, 5, 7, 9 and IPFIX (10)")
    if protocol == SFLOW:
        return sflow.decode(payload)
    if protocol == SYSLOG:
        return syslog.decode(payload)
    if protocol == SNMP:
        return snmp.decode(payload)
    return Message(None, None, len(payload))
