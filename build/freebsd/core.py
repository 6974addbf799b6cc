"""gfwd's C core for the target: the module gfwd.native._core, as build/native.py makes it for this machine."""

from pathlib import Path

import native
from freebsd.cpython import VERSION
from freebsd.stage import FOLDER, Stage
from freebsd.target import Target

NAME = "_core.abi3.so"


def build(target: Target, python: Stage) -> Path:
    """Returns the module's path. Raises BuildError."""
    with native.building(native.CACHE):
        source = native.bridge()
        toolchain = native.Toolchain(
            compiler=(target.tool("clang"),),
            version=target.version(),
            # Without native.include_flags(): FreeBSD has netmap's headers, and no XDP.
            flags=(*native.OPTIMIZED, *native.LANGUAGE),
            folder=FOLDER / target.name / "core",
        )
        with native.building(toolchain.folder):
            objects = toolchain.compile_core()
            headers = python.folder / "include" / f"python{VERSION}"
            bridge = toolchain.make(
                "_core.o",
                ("-w", f"-I{headers}", "-c", str(source)),
                [source, *native.headers(), headers / "pyconfig.h"],
            )
            objects.append(bridge)
            # What Python has is found in the executable that loads it.
            return native.ROOT / toolchain.make(NAME, ["-shared", "-Wl,--strip-debug", *map(str, objects)], objects)
