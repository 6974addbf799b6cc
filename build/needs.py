"""What an executable asks of a Debian, read from its ELF: which machine, and which glibc at least."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

import native

ARCHITECTURES = {"EM_X86_64": "amd64", "EM_AARCH64": "arm64"}  # Debian's names
OF_GLIBC = re.compile(r"(libc|libm|libdl|libpthread|librt|libutil|libresolv|libanl|ld-linux[\w-]*)\.so\.\d+")


@dataclass(frozen=True, slots=True)
class Needs:
    """architecture: Debian's name. libc: as in Depends."""

    architecture: str
    libc: str


def needs_of(binary: Path) -> Needs:
    """Of an executable, and of what it unpacks, where that lies beside it (FILE.dist, as Nuitka leaves it).

    Raises BuildError where it is none for Linux, or asks for a library that is neither in it nor glibc's.
    """
    inside = binary.with_name(f"{binary.name}.dist")
    files = [binary, *sorted(one for one in inside.rglob("*") if one.is_file() and _is_elf(one))]
    here = {one.name for one in files[1:]}
    versions: set[tuple[int, ...]] = set()
    architecture = ""
    for file in files:
        try:
            with file.open("rb") as opened:
                elf = ELFFile(opened)
                architecture = architecture or ARCHITECTURES.get(elf["e_machine"], "")
                its = {one for one in _libraries(elf) if not OF_GLIBC.fullmatch(one)}
                versions.update(_glibc_versions(elf))
        except ELFError as error:
            raise native.BuildError(f"{file}: no executable for Linux: {error}") from error
        if missing := ", ".join(sorted(its - here)):
            raise native.BuildError(f"{file}: asks for {missing}, which is not in it: build/binary.py has to put it in")
    if not architecture or not versions:
        raise native.BuildError(f"{binary}: no executable for a Debian that is known here (amd64, arm64)")
    return Needs(architecture, f"libc6 (>= {'.'.join(map(str, max(versions)))})")


def _is_elf(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"\x7fELF"


def _libraries(elf: ELFFile) -> Iterator[str]:
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags("DT_NEEDED"):
                yield str(tag.needed)  # type: ignore[attr-defined]


def _glibc_versions(elf: ELFFile) -> Iterator[tuple[int, ...]]:
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, symbols in section.iter_versions():
                for symbol in symbols:
                    if found := re.fullmatch(r"GLIBC_([\d.]+)", symbol.name):
                        yield tuple(map(int, found[1].split(".")))
