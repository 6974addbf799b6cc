"""The machine that is built for, and zig's compiler for it by the names that makefiles call."""

import importlib.metadata
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import native
from freebsd.stage import FOLDER

RELEASE = "14.0"
"""The oldest FreeBSD that is meant; what runs there runs on all that come after it."""

MACHINES = ("x86_64", "aarch64")
NAMES = tuple(f"{machine}-freebsd" for machine in MACHINES)

# What OpenSSL says of when it was compiled: always the same, the day of CPython 3.11.2.
BUILT = "1675814400"

# Nuitka calls the compiler by a name that it knows. It means to look for libraries where this build's Python lies,
# here and at run time; there is none. No path of this machine gets into what is compiled.
CLANG = """\
#!/bin/sh
for word; do
	shift
	case $word in
	-Wl,-rpath=* | -ldl | -lutil | -lrt) ;;
	*) set -- "$@" "$word" ;;
	esac
done
export ZIG_GLOBAL_CACHE_DIR={cache} ZIG_LOCAL_CACHE_DIR={cache}
exec {zig} cc -target {triple} -Wno-unused-command-line-argument -ffile-prefix-map={root}=. "$@"
"""
TOOL = """\
#!/bin/sh
exec {zig} {tool} "$@"
"""


@dataclass(frozen=True)
class Target:
    machine: str

    @property
    def name(self) -> str:
        return f"{self.machine}-freebsd"

    @property
    def gnu(self) -> str:
        """As configure scripts call it."""
        return f"{self.machine}-unknown-freebsd{RELEASE}"

    @property
    def zig(self) -> str:
        return f"{self.machine}-freebsd.{RELEASE}"

    @property
    def folder(self) -> Path:
        return native.ROOT / FOLDER / self.name

    def tool(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def environment(self) -> dict[str, str]:
        """For configure scripts and makefiles. By bare names: OpenSSL keeps what compiled it."""
        return {
            "PATH": os.pathsep.join((str(self.folder / "bin"), os.environ.get("PATH", os.defpath))),
            "CC": "clang",
            "AR": "ar",
            "RANLIB": "ranlib",
            "READELF": "true",  # asked for by CPython's configure, and not called
            "SOURCE_DATE_EPOCH": BUILT,
            "PKG_CONFIG": "false",  # it would tell of this machine's libraries
        }

    def compiler(self) -> str:
        """For people."""
        return f"zig cc {importlib.metadata.version('ziglang')} -target {self.zig}"

    def version(self) -> str:
        """What of the compiler decides what comes out of it."""
        return f"{importlib.metadata.version('ziglang')} {self.zig} {CLANG} {TOOL}"

    def write_tools(self) -> None:
        """Puts the scripts in place that call zig."""
        for name, tool in (("clang", None), ("ar", "ar"), ("ranlib", "ranlib")):
            script = Path(self.tool(name))
            text = (CLANG if tool is None else TOOL).format(
                zig=shlex.quote(str(zig())),
                cache=shlex.quote(str(native.ROOT / FOLDER / "zig")),
                triple=self.zig,
                root=shlex.quote(str(native.ROOT)),
                tool=tool,
            )
            script.parent.mkdir(parents=True, exist_ok=True)
            if not script.exists() or script.read_text() != text:
                script.write_text(text)
                script.chmod(0o755)


def named(name: str) -> Target:
    """The one of NAMES."""
    return Target(name.partition("-")[0])


def zig() -> Path:
    """The program that ziglang carries."""
    return native.ziglang_headers().parents[2] / "zig"
