"""sFlow v5 (sflow_version_5.txt): the header, samples with their kinds and lengths, and the records in them by kind."""

from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from construct import Bytes, Int32ub, Struct

from gfwd.netflow.errors import DecodeError
from gfwd.netflow.message import SFLOW, Message, Part, Sample

VERSION: Final = 5


def _head(address: int) -> Any:
    return Struct(
        "version" / Int32ub,
        "address_type" / Int32ub,
        "agent" / Bytes(address),
        "sub_agent" / Int32ub,
        "sequence" / Int32ub,
        "uptime" / Int32ub,
        "n_samples" / Int32ub,
    )


_ADDRESSES: Final = {1: 4, 2: 16}  # address type → bytes
_HEADERS: Final = {kind: (_head(size).compile(), _head(size).sizeof()) for kind, size in _ADDRESSES.items()}
_TAGGED: Final = Struct("format" / Int32ub, "length" / Int32ub).compile()  # enterprise << 12 | number
_TAG: Final = 8

# Format → kind, and what stands before its records (§5.3, and sflow_drops.txt §4 for the fifth).
_FLOW: Final = ("sequence", "source_id", "rate", "pool", "drops", "input", "output", "n_records")
_EXPANDED: Final = (
    *("sequence", "source_class", "source_index", "rate", "pool", "drops"),
    *("input_format", "input", "output_format", "output", "n_records"),
)
_DISCARD: Final = (*("sequence", "source_class", "source_index", "drops", "input", "output", "reason", "n_records"),)
_SAMPLES: Final = {
    1: ("flow", _FLOW),
    2: ("counters", ("sequence", "source_id", "n_records")),
    3: ("expanded_flow", _EXPANDED),
    4: ("expanded_counters", ("sequence", "source_class", "source_index", "n_records")),
    5: ("discard", _DISCARD),
}
_HEADS: Final = {
    kind: (name, Struct(*(one / Int32ub for one in fields)).compile(), 4 * len(fields))
    for kind, (name, fields) in _SAMPLES.items()
}

# Format → where the sampling rate stands, behind the sample's tag.
_RATE_AT: Final = {1: 4 * _FLOW.index("rate"), 3: 4 * _EXPANDED.index("rate")}
_RATE_BYTES: Final = 4

_FLOW_RECORDS: Final = {
    **{1: "raw_header", 2: "ethernet", 3: "ipv4", 4: "ipv6", 1001: "switch", 1002: "router", 1003: "gateway"},
    **{1004: "user", 1005: "url", 1006: "mpls", 1007: "nat", 1008: "mpls_tunnel", 1009: "mpls_vc", 1010: "mpls_fec"},
    **{1011: "mpls_lvp_fec", 1012: "vlan_tunnel"},
}
_COUNTER_RECORDS: Final = {
    **{1: "interface", 2: "ethernet", 3: "token_ring", 4: "100baseVG", 5: "vlan", 1001: "processor"},
}


def decode(payload: bytes) -> Message:
    """Raises DecodeError where there is no whole header of version 5."""
    version, address_type = int.from_bytes(payload[:4]), int.from_bytes(payload[4:8])
    if version != VERSION:
        raise DecodeError(f"sFlow version {version}: only 5 is known")
    if address_type not in _HEADERS:
        raise DecodeError(f"an agent's address of type {address_type}, which is neither IPv4 (1) nor IPv6 (2)")
    shape, size = _HEADERS[address_type]
    if len(payload) < size:
        raise DecodeError(f"an sFlow header has {size} bytes, and here are {len(payload)}")
    header = shape.parse(payload)
    message = Message(
        SFLOW,
        VERSION,
        len(payload),
        count=header.n_samples,
        sys_uptime=header.uptime,
        sequence=header.sequence,
        source_id=header.sub_agent,
        step=1,
        details={"agent": str(ip_address(header.agent))},
    )
    message.flaw = _flaw(payload, size, header.n_samples)
    message.samples = partial(_samples, payload, size, header.n_samples)
    message.rates = partial(_rates, payload, size, header.n_samples)
    return message


def _flaw(payload: bytes, at: int, n: int) -> str | None:
    """What is wrong with the lengths of samples. Each has 8 bytes or more, so that a count that lies costs nothing."""
    for done in range(n):
        if len(payload) - at < _TAG:
            return f"the header says {n} samples, and there are {done}"
        length = int.from_bytes(payload[at + 4 : at + _TAG])
        at += _TAG + length
        if at > len(payload):
            return f"sample {done + 1} says {length} bytes, and ends behind the datagram"
    return None


def _samples(payload: bytes, at: int, n: int) -> list[Sample]:
    found: list[Sample] = []
    while len(found) < n and len(payload) - at >= _TAG:
        tag, length = _TAGGED.parse(payload[at : at + _TAG]).values()
        at += _TAG
        if length > len(payload) - at:
            break  # _flaw() has said so
        found.append(_sample(tag, payload[at : at + length]))
        at += length
    return found


def _rates(payload: bytes, at: int, n: int) -> set[int]:
    """What all flow samples together say: each interface of an agent may have its own."""
    found: set[int] = set()
    for _ in range(n):
        if len(payload) - at < _TAG:
            break
        tag, length = int.from_bytes(payload[at : at + 4]), int.from_bytes(payload[at + 4 : at + _TAG])
        at += _TAG
        if length > len(payload) - at:
            break  # _flaw() has said so
        place = _RATE_AT.get(tag)
        if place is not None and place + _RATE_BYTES <= length:
            found.add(int.from_bytes(payload[at + place : at + place + _RATE_BYTES]))
        at += length
    return found


def _sample(tag: int, body: bytes) -> Sample:
    if tag not in _HEADS or len(body) < _HEADS[tag][2]:
        return Sample(_numbers(tag), len(body))
    kind, shape, size = _HEADS[tag]
    head = shape.parse(body)
    source_id = head.get("source_id")
    if source_id is None:
        source_id = head.source_class << 24 | head.source_index
    names = _COUNTER_RECORDS if kind.endswith("counters") else _FLOW_RECORDS
    records: list[Part] = []
    at = size
    while len(records) < head.n_records and len(body) - at >= _TAG:
        record, length = _TAGGED.parse(body[at : at + _TAG]).values()
        at += _TAG + length
        if at > len(body):
            break
        records.append(Part(names.get(record) or _numbers(record), length))
    rate, drops = head.get("rate"), head.get("drops")
    return Sample(kind, len(body), head.sequence, source_id, rate, drops, head.n_records, records)


def _numbers(tag: int) -> str:
    return f"{tag >> 12}:{tag & 0xFFF}"  # enterprise, format
