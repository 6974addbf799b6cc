"""Neighbours through FreeBSD's kernel. Those behind its interface, a tap(4), are played by the test."""

from __future__ import annotations

import os
import platform
import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest

from gfwd.daemon.neighbours import KernelAsker, Neighbours
from gfwd.l2.freebsd import FreeBSDKernel
from gfwd.l2.neighbour import Timing
from gfwd.native.core import NeighbourState
from gfwd.rules.model import Address
from tests.freebsd.test_kernel_tables import MAC, PEER, Cable
from tests.freebsd.wire import sh
from tests.said import Said

pytestmark = [
    pytest.mark.skipif(platform.system() != "FreeBSD", reason="needs FreeBSD"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make an interface"),
]

READY, PENDING, FAILED = NeighbourState.READY, NeighbourState.PENDING, NeighbourState.FAILED
SILENT_IPV6 = Address(6, 0xFD77 << 112 | 0x99)


class SoonKernel(FreeBSDKernel):
    """Has its neighbours confirmed so often that a test can wait for it."""

    def timing(self, address: Address) -> Timing:
        return replace(super().timing(address), reachable=2.0, backoff_longest=2.0)


class Driven:
    """Slot 0 is the peer, unless said otherwise."""

    def __init__(self, stack: ExitStack) -> None:
        self.cable = Cable()
        stack.callback(self.cable.close)
        self.kernel = stack.enter_context(SoonKernel())
        self.asker = KernelAsker(self.kernel, self.kernel.link(self.cable.name).index)
        self.history: list[NeighbourState] = []
        self.said = Said()
        self.neighbours = Neighbours(self._tell, self.said.say)

    def _tell(self, _slot: int, _mac: bytes | None, state: NeighbourState) -> None:
        self.history.append(state)

    def want(self, address: Address = PEER) -> None:
        self.neighbours.want(0, "netmap:tap0*", address, self.asker, time.monotonic())

    def go_on(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Whether it came to that."""
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            deadline = min(self.neighbours.deadline() or end, end)
            select.select([self.kernel], [], [], max(0.0, deadline - time.monotonic()))
            for change in self.kernel.changes():
                self.neighbours.kernel_changed(change, time.monotonic())
            self.neighbours.advance(time.monotonic())
        return until()

    def comes_to(self, *history: NeighbourState, seconds: float = 15) -> bool:
        return self.go_on(seconds, lambda: self.history == list(history))


@pytest.fixture
def driven():
    with ExitStack() as stack:
        yield Driven(stack)


def test_one_that_falls_silent_fails_once_and_comes_back(driven):
    """Although the kernel keeps its entry for 20 minutes."""
    driven.want()
    assert driven.comes_to(PENDING, READY)
    assert not driven.go_on(5, lambda: driven.history != [PENDING, READY])
    driven.cable.mac = None
    assert driven.comes_to(PENDING, READY, FAILED)
    asked = driven.cable.asked
    assert not driven.go_on(6, lambda: driven.history != [PENDING, READY, FAILED])
    assert 2 <= driven.cable.asked - asked <= 5
    assert [line.rpartition(" ")[2] for line in driven.said] == [MAC.hex(":"), "answer"]
    driven.cable.mac = MAC
    assert driven.comes_to(PENDING, READY, FAILED, READY)


def test_lost_frames_fail_nobody(driven):
    """A question for IPv4 is one frame."""
    driven.want()
    assert driven.comes_to(PENDING, READY)
    driven.cable.loses = 4
    assert driven.go_on(20, lambda: driven.cable.loses == 0)
    driven.go_on(2)
    assert driven.history == [PENDING, READY]


def test_one_that_is_not_there_with_ipv6(driven):
    sh("ifconfig", driven.cable.name, "inet6", "fd77::1/64", "no_dad")
    driven.want(SILENT_IPV6)
    assert driven.comes_to(PENDING, FAILED)
