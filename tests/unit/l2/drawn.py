"""Frames at random, whole and broken."""

from collections.abc import Iterator

from hypothesis import strategies as st

from gfwd.rules.model import Address

MACS = st.binary(min_size=6, max_size=6)
HOSTS = MACS.filter(lambda mac: not mac[0] & 1 and any(mac))
TAGS = st.lists(
    st.tuples(st.sampled_from([b"\x81\x00", b"\x88\xa8", b"\x91\x00"]), st.binary(min_size=2, max_size=2)), max_size=2
).map(lambda tags: b"".join(map(b"".join, tags)))
IPV4 = st.builds(Address, st.just(4), st.integers(0, 0xFFFFFFFF))
IPV6 = st.builds(Address, st.just(6), st.integers(0, (1 << 128) - 1))


def with_a_bit_flipped(frame: bytes) -> Iterator[bytes]:
    """Each single one."""
    for at in range(8 * len(frame)):
        whole = bytearray(frame)
        whole[at // 8] ^= 0x80 >> at % 8
        yield bytes(whole)


def cut(frame: bytes) -> Iterator[bytes]:
    """All that is left of it when it is cut somewhere."""
    return (frame[:length] for length in range(len(frame)))
