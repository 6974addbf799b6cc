"""What build/binary.py has Nuitka add to the program that unpacks the binary: onefile.c."""

from pathlib import Path

from nuitka.plugins.PluginBase import NuitkaPluginBase

SOURCE = Path(__file__).with_name("onefile.c")


class OnefilePlugin(NuitkaPluginBase):  # type: ignore[misc] # Nuitka has no types
    plugin_name = "gfwd-onefile"

    def getExtraCodeFiles(self) -> dict[str, str]:
        # By "onefile_" in a name Nuitka knows what is for that program, and not for the one that has Python in it.
        return {"onefile_process.c": SOURCE.read_text(encoding="utf-8")}
