"""The tables of the operating system: interfaces, their addresses, routes and neighbours, and the news of them.

Each system has its own way to them (linux.py, freebsd.py); what they say is the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from gfwd import system
from gfwd.errors import GfwdError
from gfwd.l2.neighbour import Timing
from gfwd.l2.routes import Route
from gfwd.rules.model import ADDRESS_BITS, Address


class EntryState(Enum):
    """State of an entry of the system's neighbour table."""

    ASKED = auto()  # no answer yet
    CONFIRMED = auto()
    STALE = auto()  # not confirmed for a while, or learned from what nobody asked for
    PROBED = auto()  # being confirmed
    FIXED = auto()  # by the administrator, or by the kind of interface
    FAILED = auto()  # no answer, or the kernel will not ask
    DELETED = auto()


@dataclass(frozen=True, slots=True)
class Link:
    """An interface. mac: 6 bytes for Ethernet, else of any length. mtu: bytes. has_carrier: something is plugged in.

    vlan: of an interface that is a VLAN's (IEEE 802.1Q), its number, and parent: the interface that it stands on: its
    index.
    """

    index: int
    name: str
    mac: bytes
    mtu: int
    is_up: bool
    has_carrier: bool
    vlan: int | None = None
    parent: int | None = None


class InterfaceAddress(NamedTuple):
    """An own address, and the length of the prefix that is on the link with it."""

    address: Address
    length: int


def sender(own: Iterable[InterfaceAddress], target: Address) -> Address | None:
    """Whose question a neighbour answers: the address on its network, else the first, since hosts do not answer to
    strangers. None: there is none of its family.
    """
    near = [each for each in own if each.address.family == target.family]
    best = next((each for each in near if _share_prefix(each, target)), near[0] if near else None)
    return None if best is None else best.address


def _share_prefix(own: InterfaceAddress, target: Address) -> bool:
    bits = ADDRESS_BITS[target.family] - own.length
    return own.address.value >> bits == target.value >> bits


@dataclass(frozen=True, slots=True)
class NeighbourChange:
    """An entry as it is now; index: its interface's. mac: None where there is none."""

    index: int
    address: Address
    mac: bytes | None
    state: EntryState


class LinkChange(NamedTuple):
    """An interface as it is now; is_gone: there is no such interface any more, and `link` is the last of it."""

    link: Link
    is_gone: bool


class RoutesChanged(NamedTuple):
    """Routes came or went."""


class AddressesChanged(NamedTuple):
    """Own addresses of some interface came or went; or links did, and took theirs along."""


class Reread(NamedTuple):
    """News were lost: this is all that there is, and what is not in it is gone."""

    links: tuple[Link, ...]
    neighbours: tuple[NeighbourChange, ...]


Change = NeighbourChange | LinkChange | RoutesChanged | AddressesChanged | Reread


@contextmanager
def in_plain_words() -> Iterator[None]:
    """What the system refuses, for people. Raises GfwdError."""
    try:
        yield
    except OSError as error:
        raise GfwdError(f"the kernel's tables: error: {error.strerror or error}") from error


_TIMING = Timing(retransmit=5.0, broadcast_tries=1, unicast_tries=1)


class Kernel(AbstractContextManager["Kernel"], ABC):
    """The tables as the calling thread sees them, for use by that thread only.

    Whatever goes wrong, here and when it is opened, is a GfwdError; then the same can be asked again.
    """

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Calling it twice does no harm."""

    # ---- tables ----

    @abstractmethod
    def links(self) -> tuple[Link, ...]:
        """All interfaces."""

    def link(self, name: str) -> Link:
        """The interface of that name. Raises GfwdError where there is none."""
        found = next((link for link in self.links() if link.name == name), None)
        if found is None:
            raise GfwdError(f"{name}: error: no such interface")
        return found

    @abstractmethod
    def addresses(self, index: int) -> tuple[InterfaceAddress, ...]:
        """Own addresses on an interface, of both families."""

    @abstractmethod
    def routes_to(self, destination: Address, interfaces: Collection[int]) -> tuple[Route, ...]:
        """The routes that the kernel takes where it must leave by one of these; several next hops are several routes.

        Asked for one destination, because all routes of a host that has a full table are a million.
        """

    @abstractmethod
    def neighbours(self) -> tuple[NeighbourChange, ...]:
        """All entries of the neighbour tables, of both families."""

    # ---- neighbours ----

    def timing(self, address: Address) -> Timing:
        """When to ask for a neighbour again.

        Mostly, the kernel asks three times itself, in about 3 s, and then says what came of it.
        """
        return _TIMING

    @abstractmethod
    def ask(self, index: int, address: Address) -> NeighbourChange | None:
        """Have a neighbour resolved, or confirmed now; the outcome comes with the news.

        Returns the entry as it was before, or as FAILED where it will not be asked; None: there was none of use.
        Raises GfwdError where it is not about this neighbour: there is no right to ask, or no way to.
        """

    # ---- news ----

    @abstractmethod
    def fileno(self) -> int:
        """Is readable when there are news."""

    @abstractmethod
    def changes(self) -> list[Change]:
        """The news that have come, or some of them, and then fileno() stays readable. Never waits."""


def open_kernel() -> Kernel:
    """This system's. Raises GfwdError on one that gfwd does not know."""
    if system.NAME == "Linux":
        from gfwd.l2.linux import LinuxKernel

        return LinuxKernel()
    if system.NAME == "FreeBSD":
        from gfwd.l2.freebsd import FreeBSDKernel

        return FreeBSDKernel()
    raise GfwdError(f"error: gfwd runs on FreeBSD and Linux, and this is {system.NAME}")
