"""What the order of a card asks of the operating system.

Each system has its own way to it, and its own words (linux.py, freebsd.py); what they say is the same.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from gfwd import system
from gfwd.daemon.ports import Wanted

UNFINISHED = "frames may come with checksums that nobody has finished"
JOINED = "frames are joined to longer ones before gfwd sees them"
"""What comes of an offload for a forwarder, where it is the same on all systems."""


class Feature(NamedTuple):
    """is_on: at work. is_asked: it is to be on where it can be. can_change: the driver leaves the choice to us."""

    is_on: bool
    is_asked: bool
    can_change: bool


class Offload(NamedTuple):
    """Features that are one thing to people. word: what the system's tool calls it. means: what comes of it."""

    word: str
    features: tuple[str, ...]
    means: str


class System(Protocol):
    """A system, which is a module here. An interface is one of the network stack that the calling thread is in."""

    @property
    def OFFLOADS(self) -> tuple[Offload, ...]:
        """All that gfwd may switch off, in the order in which it is said. Their features bear the system's names."""

    @property
    def FOLDER(self) -> Path:
        """Where a daemon keeps what a boot ends."""

    @property
    def NETMAP_WAITS_FOR_UP(self) -> bool:
        """Whether netmap keeps who syncs a ring of an interface that is down in the kernel, until it is up again."""

    def unwanted(self, wanted: Wanted) -> tuple[Offload, ...]:
        """What a port of this kind cannot have."""

    def features(self, interface: str) -> dict[str, Feature]:
        """All that the interface has, and maybe others, which are off then. Raises OSError."""

    def set_features(self, interface: str, wish: Mapping[str, bool]) -> None:
        """Ask for features, or no longer; what the interface lacks, or cannot change, stays as it is. Raises OSError.

        What came of it, features() says.
        """

    def command(self, interface: str, features: Iterable[str], *, on: bool) -> str:
        """What an operator types for that."""

    def is_up(self, interface: str) -> bool:
        """Whether it is to be up (a link may have no carrier nevertheless). Raises OSError."""

    def set_up(self, interface: str, on: bool) -> None:
        """Bring it up, or down. Raises OSError."""

    def promiscuous(self, interface: str) -> AbstractContextManager[object]:
        """It takes frames to any MAC address while this is open, also where others want the same. Raises OSError.

        The kernel ends it with the process.
        """

    def identity(self, interface: str) -> int:
        """By which it is told from another one that gets its name later. Raises OSError."""

    def stack(self) -> int:
        """The network stack of the calling thread: interfaces of the same name may be in others."""


@cache
def this_system() -> System:
    """The one at hand; where gfwd runs on neither, reading its tables has failed before."""
    if system.NAME == "FreeBSD":
        from gfwd.daemon.card import freebsd

        return freebsd
    from gfwd.daemon.card import linux

    return linux


def words(features: Iterable[str], offloads: Iterable[Offload]) -> str:
    """What people call them, together."""
    called = {name: offload.word for offload in offloads for name in offload.features}
    return ", ".join(dict.fromkeys(called.get(name, name) for name in features))
