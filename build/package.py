"""Makes gfwd a FreeBSD package, on any machine: .cache/package/…/gfwd-VERSION.pkg.

    python build/package.py [--target x86_64-freebsd|aarch64-freebsd] [--release 14] [--executable FILE]

On Linux the package is written by package_archive.py, on FreeBSD (or with --pkg, where pkg(8) is elsewhere) by
pkg-create(8); what is in it is the same. The executable is that of `make binary`, which is called where there is none,
or one of older sources. Two packages of one commit and one executable are the same to the byte.
"""

import argparse
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import native
import package_archive
import package_contents
import package_elf
import packaged
from package_contents import Package
from packaged import FOLDER

USUAL_RELEASE = 14
PREFIX = "/usr/local"


def own_target() -> str | None:
    """The target that this machine is; None: it does not run FreeBSD."""
    machines = {words.machine: target for target, words in package_contents.TARGETS.items()}
    return machines.get(platform.processor()) if platform.system() == "FreeBSD" else None


def made_executable(target: str) -> Path:
    """That of `make binary`, of the sources as they are now. Raises BuildError."""
    is_own = target == own_target()
    path = native.ROOT / ".cache/binary" / ("" if is_own else target) / "gfwd"
    if not path.exists() or path.stat().st_mtime < newest_source():
        command = ["make", "binary", *([] if is_own else [f"TARGET={target}"])]
        done = subprocess.run(command, cwd=native.ROOT, stdout=sys.stderr, check=False)
        if done.returncode or not path.exists():
            raise native.BuildError(
                f"{shlex.join(command)} made no {path.relative_to(native.ROOT)}: see above; "
                "one that was made elsewhere can be named: --executable FILE"
            )
    return path


def newest_source() -> float:
    """When the newest file was changed of which the executable is made."""
    files = [path for folder in ("gfwd", "build") for path in (native.ROOT / folder).rglob("*.*")]
    files = [path for path in files if path.suffix != ".so" and "__pycache__" not in path.parts]
    ours = [path for path in files if not path.name.startswith("package") and path.name != "manual.py"]
    return max(path.stat().st_mtime for path in ours if path.is_file())


def build(target: str, release: int, executable: Path, revision: int, by_pkg: bool, out: Path) -> Path:
    """Returns the package's path. Raises BuildError."""
    package_elf.check(executable, target, release)
    package = Package(
        target=target,
        release=release,
        revision=revision,
        prefix=PREFIX,
        epoch=packaged.epoch(),
        files=package_contents.files(PREFIX, executable),
    )
    folder = out / f"freebsd{release}-{package_contents.TARGETS[target].machine}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"gfwd-{package.version}.pkg"
    if by_pkg:
        package_archive.create_by_pkg(package, path)
    else:
        package_archive.write(package, path)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes gfwd a FreeBSD package.")
    parser.add_argument(
        "--target", choices=("", *package_contents.TARGETS), default="", help="default: this machine, or x86_64-freebsd"
    )
    parser.add_argument("--release", type=int, default=USUAL_RELEASE, metavar="N", help="FreeBSD's (default: 14)")
    parser.add_argument("--executable", type=Path, metavar="FILE", help="instead of that of make binary")
    parser.add_argument("--revision", type=int, default=0, metavar="N", help="of packages of one version: _N")
    parser.add_argument("--pkg", action="store_true", help="by pkg-create(8), as on FreeBSD")
    parser.add_argument(
        "--out", type=Path, default=native.ROOT / FOLDER, metavar="DIR", help="instead of .cache/package"
    )
    arguments = parser.parse_args()
    target = arguments.target or own_target() or "x86_64-freebsd"
    try:
        executable = arguments.executable or made_executable(target)
        by_pkg = arguments.pkg or own_target() is not None
        print(build(target, arguments.release, executable, arguments.revision, by_pkg, arguments.out))
    except (native.BuildError, OSError) as error:
        print(f"build/package.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
