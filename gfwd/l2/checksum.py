"""The Internet checksum (RFC 1071), alone and over the pseudo header of IPv6 (RFC 8200 §8.1)."""

import struct

from gfwd.rules.model import Address


def checksum(data: bytes) -> int:
    """16 bits; 0 over data that has its own checksum in it."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo_header(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    """What stands before a message of IPv6 where its checksum is taken. length: of the message, in bytes."""
    return source.value.to_bytes(16) + destination.value.to_bytes(16) + struct.pack(">IxxxB", length, protocol)
