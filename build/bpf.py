"""The XDP program: compiled by zig for the kernel's own machine, and put into a C header: no file of it goes with gfwd.

The header holds the instructions, and where among them the loader must put the file descriptors of its maps.
"""

import importlib.metadata
import struct
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import native

SOURCE = native.NATIVE / "redirect.bpf.c"
HEADER = "redirect_bpf.h"
SECTION = "xdp"
INSTRUCTION = struct.Struct("<Q")
# v2: what Linux 5.10 takes. Later versions have instructions, atomic ones among them, that it refuses.
FLAGS = ("-target", "bpfel-freestanding", "-mcpu=v2", "-O2", "-fno-asynchronous-unwind-tables")
MAPS = {"ours_map", "which_map", "counts_map", "sockets_map", "fragments_map"}  # that redirector.c knows

TEMPLATE = """\
/* Made by build/bpf.py from {source}. */
static const uint64_t redirect_code[] = {{
{code}
}};

/* Instructions that load the address of a map, and which. */
static const struct {{
	uint32_t at;
	const char *map;
}} redirect_uses[] = {{
{uses}
}};
"""


def write_header(folder: Path) -> Path:
    """Compiles the program and writes folder/redirect_bpf.h (both from native.ROOT); returns its path."""
    zig = native.Toolchain(
        compiler=(sys.executable, "-m", "ziglang", "cc"),
        version=importlib.metadata.version("ziglang"),
        flags=(*FLAGS, f"-I{native.NATIVE}", "-isystem", str(native.ziglang_headers() / "any-linux-any")),
        folder=folder,
        environment=dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(native.ROOT / folder / "zig")),
    )
    arguments = (*native.WARNINGS, "-c", str(SOURCE))
    program = zig.make("redirect.bpf.o", arguments, [SOURCE, native.NATIVE / "redirect.h"])
    header = folder / HEADER
    text = render((native.ROOT / program).read_bytes())
    if not (native.ROOT / header).exists() or (native.ROOT / header).read_text() != text:
        (native.ROOT / header).write_text(text)
    return header


def render(program: bytes) -> str:
    """The header's text for an ELF object."""
    from elftools.elf.elffile import ELFFile

    elf = ELFFile(BytesIO(program))
    section = elf.get_section_by_name(SECTION)
    if section is None:
        raise native.BuildError(f"{SOURCE}: the compiler made no section {SECTION!r} of it")
    instructions = [f"\t0x{word:016x}," for (word,) in INSTRUCTION.iter_unpack(section.data())]
    named = list(map_uses(elf))
    if {name for _, name in named} != MAPS:
        raise native.BuildError(f"{SOURCE}: names {sorted(name for _, name in named)}, and not each of {sorted(MAPS)}")
    uses = [f'\t{{ {at // INSTRUCTION.size}, "{name}" }},' for at, name in named]
    return TEMPLATE.format(source=SOURCE, code="\n".join(instructions), uses="\n".join(uses))


def map_uses(elf: Any) -> Iterator[tuple[int, str]]:
    """Offsets in the section of instructions that name something outside of it, and the names."""
    relocations = elf.get_section_by_name(f".rel{SECTION}")
    symbols = elf.get_section(relocations["sh_link"])
    for relocation in relocations.iter_relocations():
        yield relocation["r_offset"], symbols.get_symbol(relocation["r_info_sym"]).name
