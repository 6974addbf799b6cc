"""Reads executables and libraries for FreeBSD, which cannot be run here: would FreeBSD 14 start them?

What that system's libraries have is read from the ones that zig makes to link with, out of FreeBSD's own lists of
symbols.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from freebsd.stage import Stage, Work, made
from freebsd.target import RELEASE, Target, zig

INTERPRETER = "/libexec/ld-elf.so.1"
NEEDED = {"libc.so.7", "libm.so.5", "libthr.so.3"}
"""Of the base system; FreeBSD 14 and 15 have these by the same names."""
MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}

Symbol = tuple[str, str | None]
"""Name, and version where it has one."""


@dataclass(frozen=True)
class Elf:
    """What of a file the loader looks at."""

    machine: str
    interpreter: str | None
    needed: tuple[str, ...]
    search: tuple[str, ...]
    """Folders to look for libraries in (DT_RPATH, DT_RUNPATH)."""
    release: int | None
    """__FreeBSD_version in its note, such as 1400097; without the note the kernel takes it for another system's."""
    asked: frozenset[Symbol]
    """Symbols that others must have; weak ones are left out, which may be missing."""
    given: frozenset[Symbol]


def read(path: Path) -> Elf:
    with path.open("rb") as file:
        elf = ELFFile(file)
        segments: list[Any] = list(elf.iter_segments())
        dynamic: Any = elf.get_section_by_name(".dynamic")
        tags = list(dynamic.iter_tags()) if dynamic else []
        symbols = list(_symbols(elf))
        return Elf(
            machine=elf["e_machine"],
            interpreter=next((one.get_interp_name() for one in segments if one["p_type"] == "PT_INTERP"), None),
            needed=tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
            search=tuple(
                getattr(tag, name)
                for tag in tags
                for name in ("rpath", "runpath")
                if tag.entry.d_tag == f"DT_{name.upper()}"
            ),
            release=_release(segments),
            asked=frozenset(
                name for name, entry in symbols if _is_undefined(entry) and entry["st_info"]["bind"] != "STB_WEAK"
            ),
            given=frozenset(name for name, entry in symbols if not _is_undefined(entry)),
        )


def _is_undefined(entry: Any) -> bool:
    return bool(entry["st_shndx"] == "SHN_UNDEF")


def _release(segments: list[Any]) -> int | None:
    """Of the note NT_FREEBSD_ABI_TAG (type 1, FreeBSD's sys/elf_common.h)."""
    for segment in segments:
        if segment["p_type"] == "PT_NOTE":
            for note in segment.iter_notes():
                if note["n_name"] == "FreeBSD" and note["n_type"] in (1, "NT_FREEBSD_ABI_TAG", "NT_GNU_ABI_TAG"):
                    return int.from_bytes(note["n_descdata"], "little")
    return None


def _symbols(elf: Any) -> Iterator[tuple[Symbol, Any]]:
    table, versions = (elf.get_section_by_name(name) for name in (".dynsym", ".gnu.version"))
    if table is None:
        return
    names = dict(_version_names(elf))
    for index, symbol in enumerate(table.iter_symbols()):
        if symbol.name:
            version = versions.get_symbol(index).entry["ndx"] if versions else 1
            number = version & 0x7FFF if isinstance(version, int) else 1
            yield (symbol.name, names.get(number)), symbol.entry


def _version_names(elf: Any) -> Iterator[tuple[int, str]]:
    needs, definitions = (elf.get_section_by_name(f".gnu.version_{kind}") for kind in "rd")
    for _, parts in needs.iter_versions() if needs else ():
        for part in parts:
            yield part["vna_other"], part.name
    for definition, parts in definitions.iter_versions() if definitions else ():
        yield definition["vd_ndx"], next(iter(parts)).name


def base_system(target: Target) -> frozenset[Symbol]:
    """What the libraries of NEEDED have in FreeBSD 14.0."""

    def make(work: Work) -> None:
        (work.scratch / "main.c").write_text("int main(void) { return 0; }\n")
        cache = str(work.scratch / "zig")
        # Not by the target's own script: the libraries are to lie where they are looked for.
        work.run(
            [zig(), "cc", "-target", target.zig, "main.c", "-o", "main", "-lm", "-lpthread"],
            work.scratch,
            ZIG_GLOBAL_CACHE_DIR=cache,
            ZIG_LOCAL_CACHE_DIR=cache,
        )
        for name in NEEDED:
            (found,) = (work.scratch / "zig").rglob(name)
            (work.product / name).write_bytes(found.read_bytes())

    stage: Stage = made(f"{target.name}/base-system", (target.version(), Path(__file__)), make)
    return frozenset(symbol for name in NEEDED for symbol in read(stage.folder / name).given)


def problems(elf: Elf, target: Target, known: frozenset[Symbol], is_program: bool) -> Iterator[str]:
    """What is wrong with it. known: symbols that the base system has, and for a module what its program has."""
    if elf.machine != MACHINES[target.machine]:
        yield f"is for {elf.machine}, and not for {target.machine}"
    if is_program and elf.interpreter != INTERPRETER:
        yield f"is started by {elf.interpreter}, and not by {INTERPRETER}"
    wanted = int(RELEASE.split(".")[0])
    if is_program and (elf.release is None or elf.release // 100_000 != wanted):
        yield f"its note tells of FreeBSD version {elf.release}, and not of {wanted}"
    for library in sorted(set(elf.needed) - NEEDED):
        yield f"needs {library}, which is none of {', '.join(sorted(NEEDED))}"
    for folder in ":".join(elf.search).split(":"):
        if not folder or folder.startswith("$ORIGIN"):  # beside the file itself
            continue
        yield f"looks for libraries in {folder}"
    for name, version in sorted(elf.asked - known, key=str):
        yield f"asks for {name}{f'@{version}' if version else ''}, which FreeBSD {RELEASE} does not have"
