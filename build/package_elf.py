"""Is a file an executable for a target? A package with another one would install, and not run."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import native
from package_contents import TARGETS

INTERPRETER: Final = b"/libexec/ld-elf.so.1\0"
"""FreeBSD's alone. (What zig links says nothing in e_ident of the system that it is for.)"""

_PT_INTERP: Final = 3
_PT_NOTE: Final = 4
_ABI_TAG: Final = 1  # NT_FREEBSD_ABI_TAG; its word is __FreeBSD_version: 1400097 is 14.0


def check(path: Path, target: str, release: int) -> None:
    """Raises BuildError, with what would be right."""
    right = f"name that of make binary TARGET={target}"
    data = path.read_bytes()
    if len(data) < 64 or data[:6] != b"\x7fELF\x02\x01":
        raise native.BuildError(f"{path} is no executable: {right}")
    try:
        segments = list(_segments(data))
        if (_PT_INTERP, INTERPRETER) not in segments:
            raise native.BuildError(f"{path} is no executable for FreeBSD: {right}")
        if struct.unpack_from("<H", data, 18)[0] != TARGETS[target].elf:
            raise native.BuildError(f"{path} is for another processor: {right}")
        made_for = max((_release(note) for kind, note in segments if kind == _PT_NOTE), default=0)
    except (struct.error, OverflowError) as error:  # headers that lie beyond the end
        raise native.BuildError(f"{path} is cut off: {right}") from error
    if made_for > release:
        raise native.BuildError(
            f"{path} is for FreeBSD {made_for} and later: say --release {made_for}, or name one for {release}"
        )


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The kind of each, and all that is in it (elf(5): Elf64_Ehdr, Elf64_Phdr)."""
    start, size, number = (struct.unpack_from(kind, data, at)[0] for kind, at in (("<Q", 32), ("<H", 54), ("<H", 56)))
    for place in range(start, start + size * number, size or 1):
        kind, _, offset, _, _, length = struct.unpack_from("<LLQQQQ", data, place)
        yield kind, data[offset : offset + length]


def _release(notes: bytes) -> int:
    """FreeBSD's release that the notes of a segment name; 0: they name none."""
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<LLL", notes, at)
        name, at = notes[at + 12 : at + 12 + name_size], at + 12 + _whole_words(name_size)
        if name == b"FreeBSD\0" and kind == _ABI_TAG:
            return int(struct.unpack_from("<L", notes, at)[0]) // 100_000
        at += _whole_words(size)
    return 0


def _whole_words(size: int) -> int:
    return (size + 3) & ~3
