"""Does the C core compile and link for FreeBSD? Asks zig's C compiler, on any machine; what comes out is thrown away.

One line per target; the exit status is 1 where one fails.
"""

import importlib.metadata
import sys
from pathlib import Path

import native

TARGETS = ("x86_64-freebsd", "aarch64-freebsd")
CACHE = Path(".cache/cross")


def check(target: str) -> str:
    zig = native.Toolchain(
        compiler=(sys.executable, "-m", "ziglang", "cc", "-target", target),
        version=importlib.metadata.version("ziglang"),
        flags=(*native.OPTIMIZED, *native.LANGUAGE),
        folder=CACHE / target,
        environment=dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(native.ROOT / CACHE / "zig")),
    )
    with native.building(zig.folder):
        objects = zig.compile_core()
        # Without cffi's bridge, which needs a FreeBSD Python to link with. So nothing may stay undefined, and what
        # nobody calls is not left out.
        zig.make("core.so", ["-shared", "-Wl,-z,defs", "-Wl,--no-gc-sections", *map(str, objects)], objects)
    return f"{len(objects)} files compiled and linked"


def main() -> int:
    failed = False
    for target in TARGETS:
        try:
            print(f"{target}: {check(target)}")
        except native.BuildError as error:
            failed = True
            print(f"{target}: FAILED\n{error}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
