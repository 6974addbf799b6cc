"""A root file system without Python: the single binary, the C library, a shell, and what a kernel and a test give.

    python bare_root.py BINARY ARGUMENT ...

becomes the binary in such a root. It is a tmpfs in a mount namespace of this process' own, so it is gone with it, and
nobody else has ever seen it. /proc, /sys, /dev, /run and /tmp are the host's, and so is what tests read.
"""

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BINARY = Path("/usr/bin/gfwd")
SHARED = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp")
"""Of the host, with all that is mounted in them."""

_ROOT = Path(__file__).parents[2]
_READ = ("/etc/hosts", "/etc/nsswitch.conf", "/etc/passwd", "/etc/protocols", "/etc/resolv.conf", "/etc/services")
_PROGRAMS = ("/bin/sh", "/usr/bin/setpriv", "/usr/bin/setsid")  # the last two for gfwd lab
_C_LIBRARY = ("dl", "gcc_s", "m", "nss_dns", "nss_files", "pthread", "resolv", "rt", "util")
"""Beside libc.so.6, and loaded by it; gcc_s where a thread ends."""

_CLONE_NEWNS = 0x00020000  # linux/sched.h
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18  # linux/mount.h
_libc = ctypes.CDLL(None, use_errno=True)


def can_be() -> bool:
    """Whether this process' root is a mount, which can be made private; that of a chroot usually is none."""
    mounts = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()  # proc(5): the fifth field is the place
    return any(mount.split()[4] == "/" for mount in mounts)


def enter(binary: str) -> None:
    """Make this process' root such a one, with the binary in it. Raises OSError: it takes root's rights."""
    here = Path.cwd()
    _check(_libc.unshare(_CLONE_NEWNS))
    _mount("none", Path("/"), _MS_REC | _MS_PRIVATE)
    root = Path("/mnt")  # every system has it, and what is in it is hidden from nobody but us
    _check(_libc.mount(b"none", os.fsencode(root), b"tmpfs", 0, b"mode=755"))
    files = {binary: str(BINARY)}
    for program in (binary, *_PROGRAMS):
        files |= {program: program} if program != binary else {}
        files |= {library: library for library in _libraries(program)}
    for source, target in files.items():
        _bind(source, root / target[1:], read_only=True)
    for name in (*_READ, *(str(_ROOT / name) for name in ("tests", "docs", "packaging", "README.md"))):
        if os.path.exists(name):
            _bind(name, root / name[1:], read_only=True)
    for name in SHARED:
        _bind(name, root / name[1:])
    os.chroot(root)
    os.chdir(here if here.is_dir() else "/")


def pythons() -> Iterator[str]:
    """Files in this process' root that are Python, or a part of it; those of the host are not looked at."""
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in (*SHARED, str(_ROOT / "tests"))]
        yield from (os.path.join(folder, name) for name in names if re.match(r"(lib)?python|.*\.py[co]?$", name))


def _libraries(program: str) -> Iterator[str]:
    """What a program is linked with, by the dynamic loader's own word, and the rest of the C library."""
    said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for path in re.findall(r"(/\S+) \(0x", said):
        yield path
        if path.endswith("/libc.so.6"):
            for name in _C_LIBRARY:
                yield from map(str, Path(path).parent.glob(f"lib{name}.so.*"))


def _bind(source: str, target: Path, *, read_only: bool = False) -> None:
    if os.path.isdir(source):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(source, target, _MS_BIND | _MS_REC)
    if read_only:
        _mount(source, target, _MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _mount(source: str, target: Path, flags: int) -> None:
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    enter(os.path.abspath(sys.argv[1]))
    os.execv(BINARY, [str(BINARY), *sys.argv[2:]])
