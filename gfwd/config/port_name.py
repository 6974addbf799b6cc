"""A port as the operator names it."""

import re
from typing import Final, Literal, NamedTuple

Kind = Literal["xdp", "netmap", "vale"]

_RINGS: Final = re.compile(r"netmap:[^-^{}]+-([0-9]+)(?:-([0-9]+))?")


class PortName(NamedTuple):
    """xdp:NAME, netmap:NAME or valeX:NAME. has_host: netmap:NAME*, the card and the host stack behind it.

    name: what is opened: an interface for xdp, all of netmap's own name (netmap:ix0, vale0:a) otherwise.
    """

    kind: Kind
    name: str
    has_host: bool = False

    @property
    def interface(self) -> str | None:
        """The interface of the host that it is, or whose rings it has; None: a pipe, or a port of a VALE switch."""
        if self.kind == "xdp":
            return self.name
        if self.kind == "vale" or "{" in self.name or "}" in self.name:
            return None
        return self.name.removeprefix("netmap:").split("-")[0].removesuffix("^")

    @property
    def rings(self) -> range | None:
        """Those that it names, of the card's: netmap:ix0-1, netmap:ix0-0-3; None: all that there are."""
        named = _RINGS.fullmatch(self.name)
        return range(int(named[1]), int(named[2] or named[1]) + 1) if named else None

    def __str__(self) -> str:
        return f"xdp:{self.name}" if self.kind == "xdp" else self.name + "*" * self.has_host
