"""The XDP program as it was compiled: only instructions that the oldest kernel takes that gfwd runs on (Linux 5.10)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

HEADER = Path(__file__).parents[2] / ".cache/bpf/redirect_bpf.h"  # made with the core
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has XDP")

# linux/bpf.h: the lowest three bits of an opcode are its class.
LOAD_64_IMMEDIATE = 0x18  # takes two instructions' room
ATOMIC = {0xC3, 0xDB}  # on 32 and on 64 bits; the immediate says which operation, 0 is a plain addition
JUMP_32 = 0x06  # the class of jumps on 32 bits: not in v2
MOVES = {0xBC, 0xBF}  # moves; with an offset they extend the sign: v4, Linux 6.6


def instructions() -> list[int]:
    words = [int(word, 16) for word in re.findall(r"0x([0-9a-f]{16}),", HEADER.read_text("ascii"))]
    found, at = [], 0
    while at < len(words):
        found.append(words[at])
        at += 2 if words[at] & 0xFF == LOAD_64_IMMEDIATE else 1
    return found


def test_no_instruction_is_newer_than_the_kernels_that_gfwd_names():
    code = instructions()
    assert len(code) > 100
    for word in code:
        opcode, offset, immediate = word & 0xFF, word >> 16 & 0xFFFF, word >> 32
        assert opcode not in ATOMIC or immediate == 0, f"an atomic operation that fetches: {word:016x}"
        assert opcode & 7 != JUMP_32, f"a 32-bit jump: {word:016x}"
        assert opcode not in MOVES or offset == 0, f"a sign-extending move: {word:016x}"
