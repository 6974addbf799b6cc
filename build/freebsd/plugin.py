"""What Nuitka does for FreeBSD otherwise than by itself: both programs, the one that unpacks and the one that is
unpacked, have newlocale.c; and no path of the building machine stays in what Python knows of how it was built.
"""

from pathlib import Path

from nuitka.plugins.PluginBase import NuitkaPluginBase

SOURCE = Path(__file__).with_name("newlocale.c")


class FreebsdPlugin(NuitkaPluginBase):  # type: ignore[misc] # Nuitka has no types
    plugin_name = "gfwd-freebsd"

    def getExtraCodeFiles(self) -> dict[str, str]:
        source = SOURCE.read_text(encoding="utf-8")
        return {"newlocale.c": source, "onefile_newlocale.c": source}

    def onModuleSourceCode(self, module_name: object, source_filename: str, source_code: str) -> str:
        # The variables of CPython's makefile say where it was built.
        if not str(module_name).startswith("_sysconfigdata"):
            return source_code
        return source_code.replace(str(SOURCE.resolve().parents[2]), ".")
