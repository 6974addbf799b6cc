"""What Nuitka adds to both programs, the one that unpacks and the one that is unpacked, for FreeBSD: newlocale.c."""

from pathlib import Path

from nuitka.plugins.PluginBase import NuitkaPluginBase

SOURCE = Path(__file__).with_name("newlocale.c")


class FreebsdPlugin(NuitkaPluginBase):  # type: ignore[misc] # Nuitka has no types
    plugin_name = "gfwd-freebsd"

    def getExtraCodeFiles(self) -> dict[str, str]:
        source = SOURCE.read_text(encoding="utf-8")
        return {"newlocale.c": source, "onefile_newlocale.c": source}
