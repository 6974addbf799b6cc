"""Payloads of NetFlow v9 and IPFIX for tests, with and without template sets, sound and broken."""

from __future__ import annotations

import struct
from random import Random

V9, IPFIX = 9, 10
HEADER = {V9: 20, IPFIX: 16}
TEMPLATES = {V9: (0, 1), IPFIX: (2, 3)}


def flow_set(its_id: int, body: bytes = b"", length: int | None = None) -> bytes:
    """One set, or FlowSet, with the right length unless told otherwise."""
    return struct.pack(">HH", its_id, 4 + len(body) if length is None else length) + body


def message(version: int, *sets: bytes, length: int | None = None) -> bytes:
    """A message of sets. length: that it tells: of IPFIX in bytes; v9 counts records, and nothing depends on it."""
    joined = b"".join(sets)
    right = len(sets) if version == V9 else HEADER[version] + len(joined)
    head = struct.pack(">HH", version, right if length is None else length)
    return head + bytes(HEADER[version] - len(head)) + joined


def flow_payload(rng: Random, blob: bytes) -> bytes:
    """A message of some sets; one in three has a length that cannot be true, is cut, or has something behind it."""
    version = rng.choice((V9, IPFIX))
    sets: list[bytes] = []
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        body = blob[: rng.choice((0, 1, 4, 8, 20))]
        length = rng.choice((0, 3, 4, 5, 3 + len(body), 5 + len(body), 65_535)) if rng.random() < 0.06 else None
        sets.append(flow_set(rng.choice((0, 1, 2, 3, 4, 256, 256, 257, 300, 65_535)), body, length))
    told = rng.choice((0, 3, 4, 15, 16, 20, 24, 65_535)) if rng.random() < 0.1 else None
    payload = message(version, *sets, length=told)
    kind = rng.random()
    if kind < 0.1:
        return payload[: rng.randrange(len(payload))]
    if kind < 0.15:
        return payload + flow_set(rng.randrange(4), bytes(4))
    if kind < 0.18:
        return rng.choice((5, 8, 11)).to_bytes(2, "big") + payload[2:]
    return payload
