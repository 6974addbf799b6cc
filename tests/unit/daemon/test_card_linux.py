"""The features of a card as Linux's bytes have them, with a kernel that is a few lines here."""

from __future__ import annotations

import ctypes
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.daemon.card import linux
from gfwd.daemon.card.system import Feature, words

NAMES = [*(f"feature-{number}" for number in range(30)), "rx-lro", "", "x" * 31, *(f"more-{n}" for n in range(40))]
"""Over three blocks, with one that the kernel has no name for, and one that fills its place."""


class Kernel:
    """What include/uapi/linux/ethtool.h says of four requests; bits by the numbers of their names."""

    def __init__(self, available: int = -1, requested: int = 0, active: int = 0, never: int = 0) -> None:
        self.bits = [bits & (1 << len(NAMES)) - 1 for bits in (available, requested, active, never)]
        self.set: list[tuple[int, int]] = []

    def ioctl(self, _socket: object, number: int, request: bytes) -> bytes:
        assert number == 0x8946
        name, where = struct.unpack("16sP16x", request)
        assert (name, len(request)) == (b"in0".ljust(16, b"\0"), 40)
        command, second = struct.unpack("=II", ctypes.string_at(where, 8))
        blocks = (len(NAMES) + 31) // 32
        if command == 0x37:  # GSSET_INFO
            assert ctypes.string_at(where + 8, 8) == struct.pack("=Q", 1 << 4)
            ctypes.memmove(where + 16, struct.pack("=I", len(NAMES)), 4)
        elif command == 0x1B:  # GSTRINGS
            assert second == 4
            ctypes.memmove(where + 12, b"".join(name.encode().ljust(32, b"\0") for name in NAMES), 32 * len(NAMES))
        elif command == 0x3A:  # GFEATURES
            assert second == blocks
            words = [bits >> 32 * block & 0xFFFFFFFF for block in range(blocks) for bits in self.bits]
            ctypes.memmove(where + 8, struct.pack(f"={len(words)}I", *words), 4 * len(words))
        elif command == 0x3B:  # SFEATURES
            assert second == blocks
            words = [*struct.unpack(f"={2 * blocks}I", ctypes.string_at(where + 8, 8 * blocks))]
            valid, requested = (sum(word << 32 * n for n, word in enumerate(words[half::2])) for half in (0, 1))
            self.set.append((valid, requested))
        else:
            pytest.fail(f"command {command:#x}")
        return request


def bits_of(*names: str) -> int:
    return sum(1 << NAMES.index(name) for name in names)


@pytest.fixture
def use(monkeypatch):
    def to(kernel: Kernel) -> Kernel:
        monkeypatch.setattr(linux, "ioctl", kernel.ioctl)
        return kernel

    return to


def test_features_by_name(use):
    use(
        Kernel(
            available=bits_of("feature-0", "rx-lro", "more-0", "more-39"),
            requested=bits_of("feature-0", "rx-lro"),
            active=bits_of("feature-0", "x" * 31),
            never=bits_of("more-0"),
        )
    )
    found = linux.features("in0")
    assert found["feature-0"] == Feature(is_on=True, is_asked=True, can_change=True)
    assert found["rx-lro"] == Feature(is_on=False, is_asked=True, can_change=True)
    assert found["x" * 31] == Feature(is_on=True, is_asked=False, can_change=False)
    assert found["more-0"] == Feature(is_on=False, is_asked=False, can_change=False)
    assert found["more-39"] == Feature(is_on=False, is_asked=False, can_change=True)
    assert set(found) == set(NAMES) - {""}


def test_all_wishes_are_one_request(use):
    kernel = use(Kernel())
    linux.set_features("in0", {"rx-lro": False, "more-39": True, "x" * 31: True, "of another kernel": True})
    assert kernel.set == [(bits_of("rx-lro", "more-39", "x" * 31), bits_of("more-39", "x" * 31))]


@given(st.dictionaries(st.sampled_from([name for name in NAMES if name]), st.booleans()))
def test_any_wish(wish):
    kernel = Kernel()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linux, "ioctl", kernel.ioctl)
        linux.set_features("in0", wish)
    assert kernel.set == [(bits_of(*wish), bits_of(*(name for name in wish if wish[name])))]


def test_words():
    assert words(["tx-tcp6-segmentation", "rx-lro", "tx-tcp-segmentation", "else"], linux.OFFLOADS) == "tso, lro, else"
    names = [name for offload in linux.OFFLOADS for name in offload.features]
    assert len(names) == len(set(names))
