"""Reads a FreeBSD package as pkg(8) does, by the description of the format alone; knows nothing of who wrote it."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any, NamedTuple


class Read(NamedTuple):
    """entries: all of the archive in its order; files: the bytes of those that are installed."""

    entries: list[tarfile.TarInfo]
    compact: dict[str, Any]
    manifest: dict[str, Any]
    files: dict[str, bytes]

    def entry(self, path: str) -> tarfile.TarInfo:
        return next(entry for entry in self.entries if entry.name == path)


def read(path: Path) -> Read:
    """Fails where something else than the two manifests comes first, and for what is not whole, twice, or no file."""
    packed = io.BytesIO(lzma.decompress(path.read_bytes()))
    with tarfile.open(fileobj=packed, mode="r:") as archive:
        entries = archive.getmembers()
        data = {}
        for entry in entries:
            assert entry.isreg(), entry.name
            assert entry.name not in data
            file = archive.extractfile(entry)
            assert file is not None
            data[entry.name] = file.read()
    assert [entry.name for entry in entries[:2]] == ["+COMPACT_MANIFEST", "+MANIFEST"]
    compact, manifest = json.loads(data.pop("+COMPACT_MANIFEST")), json.loads(data.pop("+MANIFEST"))
    return Read(entries, compact, manifest, data)


def wrong_sums(its: Read) -> list[str]:
    """Files of the manifest or the archive alone, and those whose sum is another one (1$: SHA-256 in hexadecimal)."""
    said: dict[str, str] = its.manifest["files"]
    found = {path: f"1${hashlib.sha256(data).hexdigest()}" for path, data in its.files.items()}
    return sorted(path for path in said.keys() | found.keys() if said.get(path) != found.get(path))
