"""The package as a file: a pax archive, compressed with xz, as pkg(8) reads it (pkg-create(8)).

First come +COMPACT_MANIFEST and +MANIFEST, two JSON objects on one line each, then the files by their whole names. Of
the compressions that pkg(8) knows, xz is the one that every Python has, so the bytes do not hang on what is installed;
the executable, which is most of it, is compressed already.
"""

import hashlib
import io
import json
import lzma
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import native
import packaged
from package_contents import File, Package

SHA256 = "1$"
"""What stands before a sum, and says that it is one of SHA-256, in hexadecimal (pkg's libpkg/pkg_checksum.c)."""


def manifest(package: Package) -> dict[str, Any]:
    return {
        **package.manifest(),
        "files": {file.path: SHA256 + hashlib.sha256(file.data).hexdigest() for file in package.files},
        "config": package.config(),
        "scripts": package.scripts(),
    }


def write(package: Package, path: Path) -> None:
    """Whole, or not at all."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, words in (("+COMPACT_MANIFEST", package.manifest()), ("+MANIFEST", manifest(package))):
            _add(archive, File(name, _json(words)), package.epoch)
        for file in package.files:
            _add(archive, file, package.epoch)
    packaged.write_whole(path, lzma.compress(packed.getvalue()))


def _add(archive: tarfile.TarFile, file: File, epoch: int) -> None:
    entry = tarfile.TarInfo(file.path)
    entry.size, entry.mode, entry.mtime = len(file.data), file.mode, epoch
    entry.uname, entry.gname = "root", "wheel"
    archive.addfile(entry, io.BytesIO(file.data))


def _json(words: dict[str, Any]) -> bytes:
    return json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()


# ---- by pkg-create(8) ----


def create_by_pkg(package: Package, path: Path) -> None:
    """Has pkg(8) write it, out of a folder with all files. Raises BuildError."""
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        folder = Path(made)
        root, words, plist = folder / "root", folder / "+MANIFEST", folder / "plist"
        lines = []
        for file in package.files:
            place = root / file.path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.data)
            place.chmod(file.mode)
            os.utime(place, (package.epoch, package.epoch))
            keyword = "@config" if file.path in package.config() else "@"
            lines.append(f"{keyword}(root,wheel,{file.mode:04o}) {file.path}\n")
        plist.write_text("".join(lines))
        words.write_bytes(_json({**package.manifest(), "scripts": package.scripts()}))
        _pkg_create(package, words, plist, root, folder)
        shutil.move(folder / f"gfwd-{package.version}.pkg", path)


def _pkg_create(package: Package, words: Path, plist: Path, root: Path, out: Path) -> None:
    # pkg(8) takes what it writes for a package of the machine that it runs on, unless it is told.
    options = [
        "-o", f"ABI={package.manifest()['abi']}",
        "-o", f"OSVERSION={package.release}00000",
    ]  # fmt: skip
    command = [
        "pkg", *options, "create", "--format", "txz", "-M", str(words), "-p", str(plist), "-r", str(root),
        "-t", str(package.epoch), "-o", str(out),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except FileNotFoundError as error:
        raise native.BuildError("there is no pkg(8) here; on FreeBSD, pkg bootstrap brings it") from error
    if done.returncode:
        raise native.BuildError(f"{shlex.join(command)}\n{done.stdout}".rstrip())
