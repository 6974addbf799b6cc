"""NetFlow v5, v9, IPFIX and sFlow for tests, made with struct from the RFCs, and not with the code under test."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from gfwd.netflow.cache import Sender

SENDER = Sender(b"\xc0\x00\x02\x01", (50_000, b"\xc0\x00\x02\x02", 2055))
VARIABLE = 65_535

Spec = tuple[int, int] | tuple[int, int, int]
"""A field: number, length, and the enterprise where there is one."""


def v5(n: int, sequence: int = 0, *, records: int | None = None, uptime: int = 1000, sampling: int = 0) -> bytes:
    """n: what the header says; records: what there is, if that is something else."""
    head = struct.pack(">HHIIIIBBH", 5, n, uptime, 1_700_000_000, 0, sequence, 1, 2, sampling)
    return head + b"".join(v5_record(at) for at in range(n if records is None else records))


def v5_record(at: int) -> bytes:
    """From 10.0.0.at to 10.1.0.at."""
    addresses = bytes((10, 0, 0, at & 255, 10, 1, 0, at & 255, 10, 2, 0, 1))
    numbers = struct.pack(">HHIIIIHHBBBBHHBBH", 3, 4, 7, 700, 10, 20, 1234, 53, 0, 0x1B, 17, 8, 65001, 65002, 24, 16, 0)
    return addresses + numbers


def v9(*sets: bytes, sequence: int = 0, source: int = 0, count: int | None = None, uptime: int = 1000) -> bytes:
    """count: of records, which nothing depends on."""
    n = len(sets) if count is None else count
    return struct.pack(">HHIIII", 9, n, uptime, 1_700_000_000, sequence, source) + b"".join(sets)


def ipfix(*sets: bytes, sequence: int = 0, domain: int = 0, length: int | None = None) -> bytes:
    """length: that the header says, if it lies."""
    body = b"".join(sets)
    size = 16 + len(body) if length is None else length
    return struct.pack(">HHIII", 10, size, 1_700_000_000, sequence, domain) + body


def a_set(set_id: int, body: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack(">HH", set_id, 4 + len(body) if length is None else length) + body


def specs(fields: Sequence[Spec]) -> bytes:
    """Field specifiers (RFC 7011 §3.2)."""
    return b"".join(
        struct.pack(">HHI", one[0] | 0x8000, one[1], one[2]) if len(one) == 3 else struct.pack(">HH", *one)
        for one in fields
    )


def template(template_id: int, fields: Sequence[Spec], *, count: int | None = None) -> bytes:
    """The same in NetFlow v9 and IPFIX."""
    return struct.pack(">HH", template_id, len(fields) if count is None else count) + specs(fields)


def options_v9(template_id: int, scopes: Sequence[Spec], fields: Sequence[Spec]) -> bytes:
    return struct.pack(">HHH", template_id, 4 * len(scopes), 4 * len(fields)) + specs([*scopes, *fields])


def options_ipfix(template_id: int, fields: Sequence[Spec], n_scope: int) -> bytes:
    return struct.pack(">HHH", template_id, len(fields), n_scope) + specs(fields)


def sflow(*samples: bytes, sequence: int = 0, n: int | None = None, uptime: int = 1000, sub_agent: int = 0) -> bytes:
    head = struct.pack(">II4sIII", 5, 1, b"\xc0\x00\x02\x09", sub_agent, sequence, uptime)
    return head + struct.pack(">I", len(samples) if n is None else n) + b"".join(samples)


def tagged(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """A sample, or a record in one."""
    return struct.pack(">II", kind, len(body) if length is None else length) + body


def flow_sample(*records: bytes, sequence: int = 0, rate: int = 400) -> bytes:
    head = struct.pack(">IIIIIIII", sequence, 1, rate, 0, 0, 3, 4, len(records))
    return tagged(1, head + b"".join(records))
