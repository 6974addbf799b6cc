"""What Nuitka does for build/binary.py otherwise than by itself."""

import sys
from pathlib import Path

from nuitka import ModuleRegistry
from nuitka.freezer import DllDependenciesPosix
from nuitka.plugins.PluginBase import NuitkaPluginBase
from nuitka.tools.onefile_compressor import OnefileCompressor

BUILD = Path(__file__).parent

# What these modules hold in the binary. pyroute2's own imports all of its parts, and with them SQLite.
INSTEAD = {"pyroute2": "from pyroute2.iproute import IPRoute\n"}

# Nuitka compresses by zstd's level 22: a ninth smaller than by this one, and unpacked in twice the time at every start.
LEVEL = 15


class BinaryPlugin(NuitkaPluginBase):  # type: ignore[misc] # Nuitka has no types
    plugin_name = "gfwd-binary"

    def __init__(self) -> None:
        # There are no options for these two. Nuitka takes it that every Linux has a zlib; a root without it need not.
        OnefileCompressor.getCompressorLevel = lambda low_memory: LEVEL
        DllDependenciesPosix._linux_dll_ignore_list.remove("libz.so")

    def getExtraCodeFiles(self) -> dict[str, str]:
        # By "onefile_" in a name Nuitka knows what is for the program that unpacks, and not for the one that is Python.
        return {"onefile_start.c": (BUILD / "onefile.c").read_text(encoding="ascii")}

    def onModuleSourceCode(self, module_name: object, source_filename: str, source_code: str) -> str:
        return INSTEAD.get(str(module_name), source_code)

    def onStandaloneDistributionFinished(self, dist_dir: str) -> None:
        sys.path.append(str(BUILD))
        import sbom

        # All that will be packed is there.
        modules = {str(module.getFullName()) for module in ModuleRegistry.getDoneModules()}
        sbom.write(Path(dist_dir), modules)
