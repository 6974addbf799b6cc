"""Whatever a file holds, it is taken for an executable of FreeBSD, or refused with what would be right."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import native
import package_elf

pytestmark = pytest.mark.recipe

TARGET = "x86_64-freebsd"
HEAD = b"\x7fELF\x02\x01\x01" + bytes(9)


def refusal(tmp_path_factory, data: bytes) -> str | None:
    """None: it is taken."""
    path = tmp_path_factory.getbasetemp() / "executable"
    path.write_bytes(data)
    try:
        package_elf.check(path, TARGET, 14)
    except native.BuildError as error:
        return str(error)
    return None


def executable(machine: int, interpreter: bytes, notes: bytes) -> bytes:
    """An ELF file with these two segments behind its headers (elf(5))."""
    start, each = 64, 56
    places = (start + 2 * each, start + 2 * each + len(interpreter))
    head = HEAD + struct.pack("<HHLQQQLHHHHHH", 2, machine, 1, 0, start, 0, 0, 64, each, 2, 0, 0, 0)
    segments = [
        struct.pack("<LLQQQQQQ", kind, 4, place, 0, 0, len(data), len(data), 1)
        for kind, place, data in ((3, places[0], interpreter), (4, places[1], notes))
    ]
    return head + b"".join(segments) + interpreter + notes


def note(name: bytes, kind: int, word: int) -> bytes:
    return struct.pack("<LLL", len(name), 4, kind) + name + bytes(-len(name) % 4) + struct.pack("<L", word)


@given(
    machine=st.sampled_from([62, 183]),
    interpreter=st.sampled_from([b"/libexec/ld-elf.so.1\0", b"/lib64/ld-linux-x86-64.so.2\0"]),
    version=st.integers(0, 2_000_000),
    before=st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, 5), st.integers(0, 1 << 31))),
)
def test_taken_is_what_is_for_the_target(tmp_path_factory, machine, interpreter, version, before) -> None:
    others = b"".join(note(*one) for one in before if one[0] != b"FreeBSD\0")
    data = executable(machine, interpreter, others + note(b"FreeBSD\0", 1, version))
    is_right = machine == 62 and interpreter.startswith(b"/libexec") and version < 1_500_000
    assert (refusal(tmp_path_factory, data) is None) == is_right


@given(data=st.one_of(st.binary(max_size=300), st.binary(min_size=48, max_size=300).map(lambda more: HEAD + more)))
def test_any_bytes_are_refused_in_words(tmp_path_factory, data) -> None:
    assert (refusal(tmp_path_factory, data) or "").endswith(f"name that of make binary TARGET={TARGET}")


@given(cut=st.integers(0, 250))
def test_so_is_a_part(tmp_path_factory, cut) -> None:
    whole = executable(62, package_elf.INTERPRETER, note(b"FreeBSD\0", 1, 1_400_097))
    assert refusal(tmp_path_factory, whole) is None
    if cut < 64 + 2 * 56 + len(package_elf.INTERPRETER):
        assert refusal(tmp_path_factory, whole[:cut]) is not None
