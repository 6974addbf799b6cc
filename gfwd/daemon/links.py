"""The interfaces that ports are: as they are now, and what is said where that changes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from gfwd.daemon import advice
from gfwd.daemon.keep_up import keeps_up
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.daemon.ports import Port
from gfwd.l2.kernel import Change, Link, LinkChange, Reread
from gfwd.native.core import Core


class LinkNews(NamedTuple):
    """A port whose link has changed: from what to what. now: None: the interface is gone."""

    port: Port
    before: Link
    now: Link | None

    @property
    def came_up(self) -> bool:
        """Whether it is up, and was not."""
        return self.now is not None and self.now.is_up and not self.before.is_up

    @property
    def carries_again(self) -> bool:
        """Whether something is at its other end, and was not."""
        was_there = self.before.is_up and self.before.has_carrier
        return self.now is not None and self.now.is_up and self.now.has_carrier and not was_there

    @property
    def is_of_frames(self) -> bool:
        """Whether frames leave otherwise than before: from another MAC address, or of another length."""
        return self.now is not None and (self.now.mac, self.now.mtu) != (self.before.mac, self.before.mtu)


class Links:
    """Of these ports, by the index of their interface."""

    def __init__(self, ports: Sequence[Port], core: Core, say: Say) -> None:
        self._core, self._say = core, say
        self._ports = {port.link.index: port for port in ports}
        self._links = {port.link.index: port.link for port in ports}
        self._gone: set[int] = set()  # ports whose interfaces are, and that have been told of

    def of(self, port: Port) -> Link:
        """As it is now, or was last."""
        return self._links[port.link.index]

    def macs(self) -> list[bytes]:
        """Of all ports."""
        return [link.mac for link in self._links.values()]

    def take(self, changes: Iterable[Change]) -> list[LinkNews]:
        """What the kernel's news change here."""
        return [news for change in changes for news in self._news(change)]

    def _news(self, change: Change) -> Iterator[LinkNews]:
        now: dict[int, Link | None] = {}
        if isinstance(change, LinkChange):
            now = {change.link.index: None if change.is_gone else change.link}
        elif isinstance(change, Reread):
            there = {link.index: link for link in change.links}
            now = {index: there.get(index) for index in self._links}
        for index, link in now.items():
            before = self._links.get(index)
            if before is not None and link != before:
                self._links[index] = link or replace(before, is_up=False, has_carrier=False)
                yield LinkNews(self._ports[index], before, link)

    def tell(self, news: LinkNews) -> None:
        """The operator, and of an interface that is gone, the core."""
        port, before, link = news
        if link is None:
            self._tell_of_gone(port)
        elif not link.is_up and before.is_up and not keeps_up(port):
            mend = advice.bring_up(link.name)
            self._say(events.LINK_DOWN(f"{port}: error: the interface is down; bring it up: {mend}", port=str(port)))
        elif link.is_up and (before.is_up, before.has_carrier) != (link.is_up, link.has_carrier):
            if link.has_carrier:
                self._say(events.LINK_UP(f"{port}: the link is up", port=str(port)))
            else:
                self._say(events.LINK_NO_CARRIER(f"{port}: warning: the link has no carrier", port=str(port)))

    def _tell_of_gone(self, port: Port) -> None:
        if self._core.port_error(port.number) is None:  # a worker may have found out before
            self._core.port_fail(port.number, "the interface is gone")
        if port.number not in self._gone:
            self._gone.add(port.number)
            self._say(
                events.LINK_GONE(
                    f"{port}: error: the interface is gone; what should leave by it is dropped (port_failed)",
                    port=str(port),
                )
            )
