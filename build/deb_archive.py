"""A Debian package as bytes (deb(5)): an ar(5) archive of two tar files. The same content gives the same bytes."""

import hashlib
import io
import lzma
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Entry:
    """A file. path: absolute. is_config: the operator's, so that an upgrade asks before it replaces it."""

    path: str
    content: bytes
    mode: int = 0o644
    is_config: bool = False


def deb(
    fields: Mapping[str, str],
    entries: Iterable[Entry],
    folders: Iterable[str],
    scripts: Mapping[str, bytes],
    *,
    time: int,
) -> bytes:
    """fields: of the control file, all but Installed-Size. folders: that are there without a file, too. scripts: of the
    maintainer, by name. time: of all files, in seconds since 1970.
    """
    entries = sorted(entries, key=lambda entry: entry.path)
    folders = sorted({*folders, *_folders(entries)})
    size_k = sum(-(-len(entry.content) // 1024) for entry in entries) + len(folders)
    control = [Entry("control", _control({**fields, "Installed-Size": str(size_k)}))]
    control.append(Entry("md5sums", b"".join(_sum(entry) for entry in entries if not entry.is_config)))
    if any(entry.is_config for entry in entries):
        control.append(Entry("conffiles", b"".join(f"{one.path}\n".encode() for one in entries if one.is_config)))
    control += [Entry(name, content, 0o755) for name, content in scripts.items()]
    return _ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.xz": _tar(sorted(control, key=lambda entry: entry.path), [], time),
            "data.tar.xz": _tar(entries, folders, time),
        },
        time,
    )


def _control(fields: Mapping[str, str]) -> bytes:
    """Further lines of a field are marked by a space, and empty ones by a dot (deb-control(5))."""
    text = ""
    for name, value in fields.items():
        first, *more = value.splitlines()
        text += "".join(f"{line}\n" for line in (f"{name}: {first}", *(f" {line or '.'}" for line in more)))
    return text.encode()


def _sum(entry: Entry) -> bytes:
    return f"{hashlib.md5(entry.content, usedforsecurity=False).hexdigest()}  {entry.path.lstrip('/')}\n".encode()


def _folders(entries: Iterable[Entry]) -> set[str]:
    """All that lead to them, but for the root itself."""
    return {str(folder) for entry in entries for folder in PurePosixPath(entry.path).parents} - {"/"}


def _tar(entries: Iterable[Entry], folders: Iterable[str], time: int) -> bytes:
    """The outer folders first."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in ("/", *folders):
            tar.addfile(_info(folder, time, 0o755, tarfile.DIRTYPE))
        for entry in entries:
            info = _info(entry.path, time, entry.mode, tarfile.REGTYPE)
            info.size = len(entry.content)
            tar.addfile(info, io.BytesIO(entry.content))
    return lzma.compress(made.getvalue(), check=lzma.CHECK_CRC32)


def _info(path: str, time: int, mode: int, kind: bytes) -> tarfile.TarInfo:
    """Names are relative to the root, as dpkg wants them."""
    info = tarfile.TarInfo(f"./{path.lstrip('/')}")
    info.type, info.mode, info.mtime = kind, mode, time
    info.uname = info.gname = "root"
    return info


def _ar(members: Mapping[str, bytes], time: int) -> bytes:
    made = b"!<arch>\n"
    for name, content in members.items():
        head = f"{name:<16}{time:<12}{0:<6}{0:<6}{0o100644:<8o}{len(content):<10}`\n"
        made += head.encode("ascii") + content + b"\n" * (len(content) % 2)
    return made
