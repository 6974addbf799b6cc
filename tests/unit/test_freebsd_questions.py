"""What FreeBSD may answer to a question for a neighbour, with sockets that refuse."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from gfwd.errors import GfwdError
from gfwd.l2 import freebsd
from gfwd.l2.kernel import InterfaceAddress
from gfwd.l2.routes import NextHop, next_hops
from gfwd.rules.model import Address

PEER = Address(6, 0xFD77 << 112 | 2)


class Ping:
    """A socket. codes: errno of opening it, and of sending; 0: it works."""

    def __init__(self, opening: int, sending: int) -> None:
        self._sending = sending
        if opening:
            raise OSError(opening, os.strerror(opening))

    def __enter__(self) -> Ping:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def setblocking(self, _: bool) -> None:
        pass

    def sendto(self, *_: object) -> None:
        if self._sending:
            raise OSError(self._sending, os.strerror(self._sending))


@pytest.mark.parametrize(
    ("opening", "sending", "outcome"),
    [
        (0, 0, True),
        (0, errno.ENOBUFS, True),  # lost, as on the wire
        (0, errno.EHOSTUNREACH, False),
        (0, errno.EACCES, "a firewall keeps back what asks for IPv6 neighbours"),
        (errno.EPERM, 0, "ICMPv6: Operation not permitted; run it as root"),
        (errno.EMFILE, 0, "ICMPv6: Too many open files"),
    ],
)
def test_a_question_for_an_ipv6_neighbour(monkeypatch, opening, sending, outcome):
    monkeypatch.setattr(socket, "socket", lambda *_: Ping(opening, sending))
    if isinstance(outcome, bool):
        assert freebsd._send_echo(1, PEER) is outcome
    else:
        with pytest.raises(GfwdError, match=outcome) as caught:
            freebsd._send_echo(1, PEER)
        assert ("root" in str(caught.value)) == ("root" in outcome)


def test_the_ways_to_a_gateway_of_the_link_alone(monkeypatch):
    """The kernel has a route to it on each link, and without one none."""
    own = {
        1: (InterfaceAddress(Address(6, 0xFE80 << 112 | 1), 64),),
        2: (InterfaceAddress(Address(4, 0xA9FE0001), 16),),
        3: (InterfaceAddress(PEER, 64), InterfaceAddress(Address(6, 0xFE80 << 112 | 3), 64)),
    }
    kernel = object.__new__(freebsd.FreeBSDKernel)
    monkeypatch.setattr(kernel, "addresses", own.__getitem__)
    gateway = Address(6, 0xFE80 << 112 | 0x99)
    found = kernel.routes_to(gateway, [1, 2, 3])
    assert [route.interface for route in found] == [1, 3]
    assert next_hops(found, gateway, [3]) == (NextHop(3, gateway),)
