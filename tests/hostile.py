"""Datagrams that mean harm, by name: what fuzzing has found, or what somebody would think of. Whoever finds one more
that broke something adds it here.
"""

from __future__ import annotations

import struct

from tests.netflow import (
    VARIABLE,
    a_set,
    flow_sample,
    ipfix,
    options_ipfix,
    options_v9,
    sflow,
    tagged,
    template,
    v5,
    v9,
)

MOST = 65_507  # bytes of a UDP payload over IPv4


def _nested(depth: int) -> bytes:
    """BER: a SEQUENCE in a SEQUENCE …"""
    data = b""
    for _ in range(depth):
        data = b"\x30" + (bytes([len(data)]) if len(data) < 128 else b"\x82" + len(data).to_bytes(2)) + data
    return data


def _lists(depth: int) -> bytes:
    """IPFIX: a basicList in a basicList …"""
    data = b""
    for _ in range(depth):
        data = b"\x03\x01\x23\xff\xff\xff" + len(data).to_bytes(2) + data
    return b"\xff" + len(data).to_bytes(2) + data


def _in_itself(depth: int) -> bytes:
    """IPFIX: a record of template 256, which is a list of records of template 256 …"""
    data = b""
    for _ in range(depth):
        data = b"\xff" + (3 + len(data)).to_bytes(2) + b"\x03\x01\x00" + data
    return data


_ALL_FIELDS = [(1 + at % 32_000, 1) for at in range(16_000)]
_EMPTY_FIELDS = [(4, 1), *[(5, 0)] * 16_000]

PAYLOADS: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\0",
    "v9: template of 16,000 fields": v9(a_set(0, template(256, _ALL_FIELDS))),
    "v9: template of 16,000 empty fields": v9(a_set(0, template(256, _EMPTY_FIELDS)), a_set(256, bytes(1_000))),
    "v9: all fields empty": v9(a_set(0, template(256, [(4, 0)] * 100)), a_set(256, bytes(1_000))),
    "v9: 8,000 templates": v9(a_set(0, b"".join(template(256 + at, [(4, 1)]) for at in range(8_000)))),
    "v9: the same template 8,000 times": v9(a_set(0, template(256, [(4, 1)]) * 8_000)),
    "v9: 16,000 empty sets": v9(a_set(300) * 16_000),
    "v9: 8,000 empty template sets": v9(a_set(0) * 8_000),
    "v9: 60,000 records of a byte": v9(a_set(0, template(256, [(4, 1)])), a_set(256, bytes(60_000))),
    "v9: template without fields": v9(a_set(0, template(256, [])), a_set(256, bytes(40))),
    "v9: options without fields": v9(a_set(1, options_v9(256, [], [])), a_set(256, bytes(40))),
    "v9: fields of 65,535 bytes": v9(a_set(0, template(256, [(1, VARIABLE)] * 4)), a_set(256, bytes(40))),
    "v9: header's count lies": v9(a_set(300, bytes(8)), count=65_535),
    "v9: set length of 0": v9(a_set(300, bytes(8), length=0)),
    "v9: set beyond the datagram": v9(a_set(300, bytes(8), length=65_535)),
    "ipfix: 60,000 empty values": ipfix(a_set(2, template(256, [(82, VARIABLE)])), a_set(256, bytes(60_000))),
    "ipfix: a record of 16,000 variable fields": ipfix(
        a_set(2, template(256, [(82, VARIABLE)] * 8_000)), a_set(256, bytes(30_000))
    ),
    "ipfix: empty fields around variable ones": ipfix(
        a_set(2, template(256, [(4, 0)] * 8_000 + [(82, VARIABLE)])), a_set(256, bytes(30_000))
    ),
    "ipfix: huge variable length": ipfix(a_set(2, template(256, [(82, VARIABLE)])), a_set(256, b"\xff\xff\xff" * 99)),
    "ipfix: 15,000 withdrawals": ipfix(a_set(2, template(256, []) * 15_000)),
    "ipfix: zeros, and a one behind them": ipfix(a_set(2, bytes(64_000) + b"\1")),
    "ipfix: options with more scopes than fields": ipfix(a_set(3, options_ipfix(256, [(4, 1)], 9))),
    "ipfix: a list in a list": ipfix(
        a_set(2, template(256, [(291, VARIABLE)])), a_set(256, b"\x09\x03\x01\x23\xff\xff\x04\x03\x01\x23\xff")
    ),
    "ipfix: lists nested 8,000 times": ipfix(a_set(2, template(256, [(291, VARIABLE)])), a_set(256, _lists(8_000))),
    "ipfix: a template in itself, 10,000 times": ipfix(
        a_set(2, template(256, [(292, VARIABLE)])), a_set(256, _in_itself(10_000))
    ),
    "ipfix: a list of 60,000 values": ipfix(
        a_set(2, template(256, [(291, VARIABLE)])), a_set(256, b"\xff\xea\x60\x03\x00\x04\x00\x01" + bytes(59_995))
    ),
    "ipfix: a list of 15,000 empty lists": ipfix(
        a_set(2, template(256, [(293, VARIABLE)])), a_set(256, b"\xff\xea\x61\x03" + b"\x01\x00\x00\x04" * 15_000)
    ),
    "ipfix: length of 0": ipfix(a_set(300, bytes(8)), length=0),
    "ipfix: length of 65,535": ipfix(a_set(300, bytes(8)), length=65_535),
    "v5: count of 65,535": v5(65_535, records=1),
    "v5: no records": v5(0),
    "v1: header alone": struct.pack(">HH", 1, 30) + bytes(12),
    "v7: cut record": struct.pack(">HH", 7, 1) + bytes(20 + 51),
    "sflow: 2^32 samples": sflow(n=2**32 - 1),
    "sflow: 8,000 empty samples": sflow(tagged(99, b"") * 8_000, n=8_000),
    "sflow: sample of 2^32 bytes": sflow(tagged(1, bytes(32), length=2**32 - 1)),
    "sflow: 2^32 records": sflow(flow_sample()[:-4] + b"\xff" * 4),
    "sflow: record of 2^32 bytes": sflow(flow_sample(tagged(1, b"", length=2**32 - 1))),
    "snmp: nested 500 times": _nested(500),
    "snmp: long lengths": b"\x30\x84\xff\xff\xff\xff\x02\x01\x01\x04\x84\xff\xff\xff\xff",
    "snmp: indefinite length": b"\x30\x80\x02\x01\x01\x04\x00\xa7\x80",
    "snmp: endless object": b"\x30\x0d\x02\x01\x00\x04\x00\xa4\x06\x06\x04\xff\xff\xff\xff",
    "syslog: escape sequences": b"<34>Oct 11 22:14:15 \x1b[2J \x07su: \x1b]0;owned\x07 \xe2\x80\xae",
    "syslog: structured data that never ends": b"<34>1 - - - - - [" + b'a="\\' * 1_000,
    "syslog: 60,000 bytes": b"<34>" + b"x" * 60_000,
}
"""What each is called → the payload."""
