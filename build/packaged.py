"""What the packages of all systems have in common: who answers for them, their version and date, and their texts."""

import gzip
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import native

PACKAGING: Final = native.ROOT / "packaging"
FOLDER: Final = Path(".cache/package")
"""Where packages are put."""

MAINTAINER: Final = "gfwd@localhost.localdomain"
"""Every package has one; whoever hands it on says who answers for it."""


def version() -> str:
    """gfwd's. Raises BuildError."""
    text = (native.ROOT / "gfwd/__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise native.BuildError("gfwd/__init__.py names no version")
    return found[1]


def epoch() -> int:
    """The date of all that is in a package: $SOURCE_DATE_EPOCH, else that of the commit. Raises BuildError."""
    said = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return int(
            said if said is not None else native.output("git", "-C", str(native.ROOT), "log", "-1", "--format=%ct")
        )
    except native.BuildError as error:
        raise native.BuildError(
            f"{error}\nwhere there is no commit, $SOURCE_DATE_EPOCH says the date (seconds since 1970)"
        ) from error
    except ValueError as error:
        raise native.BuildError(f"$SOURCE_DATE_EPOCH is {said!r}: right would be seconds since 1970") from error


def packed(content: bytes) -> bytes:
    """As gzip has it, without the date, which would be another one each time."""
    return gzip.compress(content, mtime=0)


def write_whole(path: Path, content: bytes) -> None:
    """Or not at all. Raises OSError."""
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(content)
    unfinished.replace(path)


# ---- texts ----


def sample(changes: Mapping[str, str]) -> str:
    """packaging/gfwd.toml.sample with what a system has elsewhere. Raises BuildError where that is not in it."""
    text = (PACKAGING / "gfwd.toml.sample").read_text("utf-8")
    for before, after in changes.items():
        if before not in text:
            raise native.BuildError(f"packaging/gfwd.toml.sample has no {before!r} to be put right for a package")
        text = text.replace(before, after)
    return text


def pages(share: str) -> Iterator[tuple[str, bytes]]:
    """The manual pages, packed, and where they go below a folder such as /usr/share; they name documents there."""
    for page in sorted((PACKAGING / "man").glob("*.[58]")):
        text = page.read_text("utf-8").replace("/usr/local/share/doc/gfwd/", f"{share}/doc/gfwd/")
        yield f"{share}/man/man{page.suffix[1:]}/{page.name}.gz", packed(text.encode())


def documents() -> Iterator[tuple[str, bytes]]:
    """The pages of docs/, by their names."""
    for page in sorted((native.ROOT / "docs").glob("*.md")):
        yield page.name, page.read_bytes()


def licences(executable: Path) -> Iterator[tuple[str, bytes]]:
    """What the executable's own recipe writes, beside it, of the licences of all that is in it."""
    for name in ("gfwd.licences.txt", "gfwd.sbom.json"):
        path = executable.with_name(name)
        if path.exists():
            yield name, path.read_bytes()


def completion(share: str, zsh: str) -> Iterator[tuple[str, bytes]]:
    """What the shells complete, and where they look for it. zsh: its folder, which every system calls otherwise."""
    for name, place in (
        ("gfwd.bash", "bash-completion/completions/gfwd"),
        ("_gfwd", f"zsh/{zsh}/_gfwd"),
        ("gfwd.fish", "fish/vendor_completions.d/gfwd.fish"),
    ):
        yield f"{share}/{place}", (PACKAGING / "completion" / name).read_bytes()
