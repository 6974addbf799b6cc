"""An interface of this host as the operator names it."""

from typing import NamedTuple


class Interface(NamedTuple):
    """A port as it is named on the command line: xdp:NAME."""

    name: str

    def __str__(self) -> str:
        return f"xdp:{self.name}"
