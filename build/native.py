"""Builds the C core: every gfwd/native/*.c, and cffi's bridge to it, as the module gfwd.native._core.

    python build/native.py                          into gfwd/native/, where Python imports it
    python build/native.py --sanitize --out DIR     with ASan and UBSan into DIR, for tests

Prints the module's path. What is still right is not made again: beside each product stands the hash of all that went
into it. The compiler is $CC, or else cc. Beside the module stands _built.py, from which `gfwd --version` knows what it
was built of and with.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Compilers run in ROOT and are told relative names: a moved checkout stays built.
NATIVE = Path("gfwd/native")
CACHE = Path(".cache/native")
NETMAP_HEADERS = Path(".cache/netmap-headers")
BPF = Path(".cache/bpf")

MODULE = "gfwd.native._core"
LANGUAGE = ("-std=gnu11", "-fPIC", "-pthread", "-fvisibility=hidden", f"-I{NATIVE}")
WARNINGS = ("-Wall", "-Wextra", "-Werror")
# The loops are over a burst of 64 or less, or over a handful: a vector's set-up costs more than it saves there.
OPTIMIZED = ("-O2", "-fno-tree-vectorize", "-g")
SANITIZED = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class BuildError(Exception):
    """The build stopped; the message says why, in the compiler's words where it was the compiler."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler with the flags that all its runs share, and the folder for what it makes."""

    compiler: tuple[str, ...]
    version: str
    flags: tuple[str, ...]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def make(self, product: str, arguments: Sequence[str], inputs: Sequence[Path]) -> Path:
        """Makes folder/product out of inputs (paths from ROOT), unless it was made of just that before."""
        path = self.folder / product
        command = [*self.compiler, *self.flags, *arguments, "-o", str(path)]
        key = hashlib.sha256(repr((self.version, command)).encode())
        for source in inputs:
            key.update(hashlib.sha256((ROOT / source).read_bytes()).digest())
        stamp = ROOT / f"{path}.key"
        if (ROOT / path).exists() and stamp.exists() and stamp.read_text() == key.hexdigest():
            return path
        stamp.unlink(missing_ok=True)
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BuildError(f"{shlex.join(command)}\n{done.stdout}".rstrip())
        sys.stderr.write(done.stdout)
        stamp.write_text(key.hexdigest())
        return path

    def compile_core(self) -> list[Path]:
        """The objects of all our own C files; warnings are errors."""
        included = headers()

        def compile_one(source: Path) -> Path:
            return self.make(f"{source.stem}.o", (*WARNINGS, "-c", str(source)), [source, *included])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(compile_one, sources()))


def find(folder: Path, pattern: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in (ROOT / folder).rglob(pattern))


def sources() -> list[Path]:
    """The core's C files; those for the kernel's own machine are not compiled with them."""
    return [path for path in find(NATIVE, "*.c") if not path.name.endswith(".bpf.c")]


def headers() -> list[Path]:
    return find(NATIVE, "*.h") + find(NETMAP_HEADERS, "*.h") + find(BPF, "*.h")


@contextlib.contextmanager
def building(folder: Path) -> Iterator[None]:
    """One build at a time in a folder, whoever else is building in the same checkout."""
    (ROOT / folder).mkdir(parents=True, exist_ok=True)
    with open(ROOT / folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"{shlex.join(command)}: {error}") from error


def ziglang_headers() -> Path:
    """The folder of system headers that ziglang carries, one folder a system in it."""
    ziglang = importlib.util.find_spec("ziglang")
    if ziglang is None or not ziglang.submodule_search_locations:
        raise BuildError("no ziglang, which brings the headers of netmap and a compiler for XDP: pip install ziglang")
    return Path(ziglang.submodule_search_locations[0], "lib/libc/include")


def include_flags() -> tuple[str, ...]:
    """Where the headers are that are neither the system's nor ours."""
    return (*netmap_flags(), *xdp_flags())


def xdp_flags() -> tuple[str, ...]:
    """Where the compiled XDP program is, on Linux; nobody else has XDP."""
    if sys.platform != "linux":
        return ()
    import bpf

    with building(BPF):
        bpf.write_header(BPF)
    return (f"-I{BPF}",)


def netmap_flags() -> tuple[str, ...]:
    """Where <net/netmap.h> is. FreeBSD has it; elsewhere it is taken from FreeBSD's headers that ziglang carries.

    Only the netmap headers, because the rest of FreeBSD's would hide the system's own.
    """
    if any(Path(folder, "net/netmap_user.h").exists() for folder in ("/usr/include", "/usr/local/include")):
        return ()
    carried = ziglang_headers() / "generic-freebsd/net"
    ours = ROOT / NETMAP_HEADERS / "net"
    ours.mkdir(parents=True, exist_ok=True)
    for header in carried.glob("netmap*.h"):
        copy(header, ours / header.name)
    return ("-isystem", str(NETMAP_HEADERS))


def copy(source: Path, target: Path) -> None:
    """Puts a file in place at once: a process that has the old one mapped keeps it. Leaves an equal one alone."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copyfile(source, new)
    new.replace(target)


def bridge() -> Path:
    """The C source of the Python module, which cffi writes from fw_abi.h."""
    import cffi  # here, because the cross-check does without

    ffi = cffi.FFI()
    ffi.cdef((ROOT / NATIVE / "fw_abi.h").read_text(encoding="utf-8"))
    ffi.set_source(MODULE, '#include "fw.h"', compiler_verbose=False)
    source = CACHE / "_core.c"
    ffi.emit_c_code(str(ROOT / source))
    return source


def commit() -> str:
    """What this is, by git: the commit, and whether there are changes on top. In a tarball of git's own making, that of
    the tarball; else "unknown".
    """
    if (ROOT / ".git").exists():  # of this very folder, and not of one around it
        git = ("git", "-C", str(ROOT))
        with contextlib.suppress(BuildError):
            head = output(*git, "rev-parse", "--short=12", "HEAD").strip()
            return head + (" with changes" if output(*git, "status", "--porcelain", "--untracked-files=no") else "")
    text = ROOT / "build/commit.txt"
    substituted = text.read_text("ascii").strip() if text.exists() else "$"  # by git archive, see .gitattributes
    return "unknown" if "$" in substituted else substituted


def netmap_api() -> int:
    """The version of netmap's interface to programs that the headers are of: NETMAP_API of net/netmap.h."""
    folders = (ROOT / NETMAP_HEADERS, Path("/usr/include"), Path("/usr/local/include"))
    header = next(header for folder in folders if (header := folder / "net/netmap.h").exists())
    found = re.search(r"^#define\s+NETMAP_API\s+(\d+)", header.read_text("utf-8", "replace"), re.MULTILINE)
    if found is None:
        raise BuildError(f"{header}: no NETMAP_API in it")
    return int(found[1])


def built(compiler: str, system: str = sys.platform) -> str:
    """The text of _built.py, for a core by this compiler (what it says of its version), for such a system."""
    ports = ("netmap", "xdp", "pcap", "mem") if system == "linux" else ("netmap", "pcap", "mem")
    return (
        '"""What this gfwd was built of and with; made by build/native.py."""\n\n'
        f"COMMIT = {commit()!r}\n"
        f"PORTS = {ports!r}\n"
        f"NETMAP_API = {netmap_api()}\n"
        f"COMPILER = {compiler.splitlines()[0]!r}\n"
    )


def build(target: Path, *, sanitize: bool = False) -> None:
    """Makes the module and puts it at target."""
    folder = CACHE / ("sanitized" if sanitize else "optimized")
    compiler = tuple(shlex.split(os.environ.get("CC", "cc")))
    with building(CACHE), building(folder):
        toolchain = Toolchain(
            compiler=compiler,
            version=output(*compiler, "--version"),
            flags=(*(SANITIZED if sanitize else OPTIMIZED), *LANGUAGE, *include_flags()),
            folder=folder,
            # Compilers take it for their folder, and write it into what they make: the same in any checkout.
            environment={"PWD": "/proc/self/cwd"},
        )
        objects = toolchain.compile_core()
        source = bridge()
        # Generated code is not ours to mend: no warnings.
        arguments = ("-w", f"-I{sysconfig.get_path('include')}", "-c", str(source))
        objects.append(toolchain.make("_core.o", arguments, [source, *headers()]))
        module = toolchain.make("_core.abi3.so", ["-shared", *map(str, objects)], objects)
        copy(ROOT / module, target)
        (ROOT / folder / "_built.py").write_text(built(toolchain.version), "utf-8")
        copy(ROOT / folder / "_built.py", target.with_name("_built.py"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the C core.")
    parser.add_argument("--sanitize", action="store_true", help="with ASan and UBSan")
    parser.add_argument("--out", type=Path, metavar="DIR", help="instead of gfwd/native")
    arguments = parser.parse_args()
    if arguments.sanitize and arguments.out is None:
        parser.error("--sanitize needs --out: that variant is for tests only")
    target = (arguments.out or ROOT / NATIVE).resolve() / "_core.abi3.so"
    try:
        build(target, sanitize=arguments.sanitize)
    except BuildError as error:
        print(f"build/native.py: {error}", file=sys.stderr)
        return 1
    print(target)
    return 0


if __name__ == "__main__":
    import native  # under the name that bpf.py knows it by

    sys.exit(native.main())
