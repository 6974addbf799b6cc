"""The twin's arithmetic: big-endian numbers in bytes, and checksums by plain addition."""

from __future__ import annotations


def ipv4_header_checksum(header: bytes) -> int:
    """RFC 791: the complement of the one's complement sum of the header, its checksum field taken as zero.

    The core updates the field by RFC 1624's equation 3 instead, HC' = ~(~HC + ~m + m'), and must come to the same
    number: parse let only correct headers through, so ~HC and the sum of the other words are equal modulo 65535, and
    so are ~HC' and the sum of the new words. Both ~HC' and that sum are folded from something that is not 0 (each
    holds the word with the protocol, 17, in it), so both lie in 1 … 0xffff, where no two numbers are equal modulo
    65535. Hence neither ever gives 0xffff as checksum, not even where the incoming one was 0xffff, the other spelling
    of 0.
    """
    return 0xFFFF - ones_complement_sum(header[:10] + bytes(2) + header[12:])


def updated_udp_checksum(old: int, before: bytes, after: bytes) -> int:
    """The checksum (not 0) after the words `before` under it became `after`.

    One's complement addition of 16-bit words is addition modulo 65535, where 0x0000 and 0xffff are two spellings of
    one number, and complement is negation. So RFC 1624's equation 3, HC' = ~(~HC + ~m + m'), says HC' ≡ HC + m - m',
    whichever words are left in or out of the sum because they stayed the same; and as UDP reserves the spelling 0 for
    "none" (RFC 768), the result is the one such number in 1 … 0xffff. The core's folding ends at 0 or 0xffff in the
    last case, according to how many words it summed; it sends 0 as 0xffff, so it comes to the same spelling.

    A correct checksum is -(sum of all words), spelled in 1 … 0xffff. It becomes -(sum) + m - m', which is minus the
    sum of the new words in the same spelling: correct again, bit for bit what the exporter would have computed. A
    checksum that was wrong by d stays wrong by d.
    """
    return (old - 1 + sum(words(before)) - sum(words(after))) % 65535 + 1


def ones_complement_sum(data: bytes) -> int:
    """The 16-bit words of data, added with the carry brought round (RFC 1071)."""
    total = sum(words(data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def words(data: bytes) -> list[int]:
    """The big-endian 16-bit words of data, whose length is even."""
    return [u16(data, at) for at in range(0, len(data), 2)]


def u16(data: bytes | bytearray, at: int) -> int:
    """The big-endian 16-bit number at an offset."""
    return data[at] << 8 | data[at + 1]


def number(data: bytes, at: int, size: int) -> int:
    """The big-endian number of some bytes at an offset."""
    return int.from_bytes(data[at : at + size], "big")


def put_u16(data: bytearray, at: int, value: int) -> None:
    """Store a big-endian 16-bit number."""
    data[at : at + 2] = value.to_bytes(2, "big")
