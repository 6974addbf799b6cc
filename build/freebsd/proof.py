"""That the recipe was proven: the file `proven` holds the hash of the recipe of which an executable was made and read.

Where it differs, something has changed since, and `make test` makes one anew.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import native
from freebsd import elf, executable
from freebsd.target import Target

HERE = Path(__file__).parent
FILE = HERE / "proven"

# What decides besides build/freebsd/* whether there will be an executable.
BESIDES = (
    "build/binary.py",
    "build/binary_plugin.py",
    "build/native.py",
    "build/onefile.c",
    "build/sbom.py",
    "requirements.lock",
    "requirements-binary.lock",
)


def fingerprint() -> str:
    """Of the recipe: the same on every machine that has the same files."""
    whole = hashlib.sha256()
    ours = sorted(path for path in HERE.iterdir() if path.is_file() and path != FILE)
    for file in (*ours, *(native.ROOT / name for name in BESIDES)):
        whole.update(f"{file.relative_to(native.ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def is_proven() -> bool:
    return FILE.exists() and FILE.read_text(encoding="utf-8").split() == [fingerprint()]


def findings(target: Target) -> Iterator[str]:
    """What is wrong with the executable that was made, and with each file that it unpacks: nothing, if it is right."""
    folder = native.ROOT / executable.OUTPUT / target.name
    known = elf.base_system(target)
    outer, inner, *modules = executable.parts(target)
    for path, has, is_program in (
        (outer, known, True),
        (inner, known, True),
        *((module, known | {(name, None) for name, _ in elf.read(inner).given}, False) for module in modules),
    ):
        for problem in elf.problems(elf.read(path), target, has, is_program):
            yield f"{path.relative_to(folder)} {problem}"


def prove(target: Target) -> None:
    """Writes `proven`, or raises BuildError, which says what is wrong."""
    wrong = list(findings(target))
    if wrong:
        raise native.BuildError("the executable is not right:\n" + "\n".join(wrong))
    FILE.write_text(f"{fingerprint()}\n", encoding="utf-8")
