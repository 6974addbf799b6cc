"""Interfaces that must not be down while netmap has them: on FreeBSD, whoever syncs a ring of one that is down stays in
the kernel until it is up again, and no signal ends it.

So all that a worker does would wait, for other ports and for the host stacks behind them too: who set it down could
lock himself out, and the process could not even be killed. Whoever sets one down finds it up again at once. That has a
thread of its own, since the others may be held up, and looks rather than listens, since news may be lost.
"""

import socket
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager

from gfwd.daemon import advice
from gfwd.daemon.card.system import this_system
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.daemon.ports import Port

_LOOK_S = 0.05


def keeps_up(port: Port) -> bool:
    """Whether this port is one that must not be down."""
    return port.name.kind == "netmap" and port.name.interface is not None and this_system().NETMAP_WAITS_FOR_UP


class KeepUp(AbstractContextManager["KeepUp"]):
    """Within the block, those of the ports that must not be down are up."""

    def __init__(self, ports: Iterable[Port], say: Say) -> None:
        self._ports = [port for port in ports if keeps_up(port)]
        self._say = say
        self._complained: set[int] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="keep up", daemon=True)
        if self._ports:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self._ports:
            self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(_LOOK_S):
            for port in self._ports:
                self._bring_up(port, port.link.name)

    def _bring_up(self, port: Port, name: str) -> None:
        here = this_system()
        try:
            if here.is_up(name):
                return
            here.set_up(name, on=True)
        except OSError as error:
            is_gone = name not in dict(socket.if_nameindex()).values()  # which others tell
            if not is_gone and port.number not in self._complained:
                self._complained.add(port.number)
                self._say(
                    events.LINK_STAYS_DOWN(
                        f"{port}: error: the interface is down, which holds up all forwarding (netmap), and cannot be "
                        f"brought up ({error.strerror}); try: {advice.bring_up(name)}",
                        port=str(port),
                    )
                )
        else:
            self._say(
                events.LINK_BROUGHT_UP(
                    f"{port}: warning: the interface was set down, which holds up all forwarding (netmap), and is "
                    "brought up again; to have it down, end gfwd first",
                    port=str(port),
                )
            )
