"""FreeBSD's tables against a real kernel. The neighbours behind its interface, a tap(4), are played by the test."""

from __future__ import annotations

import errno
import os
import platform
import resource
import select
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from gfwd.errors import GfwdError
from gfwd.l2 import arp
from gfwd.l2.errors import FrameError
from gfwd.l2.kernel import Change, EntryState, InterfaceAddress, LinkChange, NeighbourChange, RoutesChanged, open_kernel
from gfwd.l2.routes import Route
from gfwd.rules.model import Address, Prefix

pytestmark = [
    pytest.mark.skipif(platform.system() != "FreeBSD", reason="needs FreeBSD"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make an interface"),
]


def ipv4(text: str) -> Address:
    return Address(4, int.from_bytes(socket.inet_aton(text)))


PEER = ipv4("10.77.0.2")
SILENT = ipv4("10.77.0.99")
MAC = bytes.fromhex("020000000002")
OTHER_MAC = bytes.fromhex("020000000003")


def sh(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Cable:
    """A tap interface, 10.77.0.1/24, and a peer behind it, 10.77.0.2, that answers ARP."""

    def __init__(self) -> None:
        self.name = sh("ifconfig", "tap", "create").strip()
        self.mac: bytes | None = MAC
        self.asked = 0
        self.loses = 0  # so many questions
        self._end = os.open(f"/dev/{self.name}", os.O_RDWR)
        self._is_over = threading.Event()
        sh("ifconfig", self.name, "inet", "10.77.0.1/24", "up")
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        while not self._is_over.is_set():
            if not select.select([self._end], [], [], 0.05)[0]:
                continue
            with suppress(FrameError):
                frame = arp.parse(os.read(self._end, 2_048))
                if frame.operation == arp.REQUEST and frame.target == PEER:
                    self.asked += 1
                    if self.loses:
                        self.loses -= 1
                    elif self.mac is not None:
                        os.write(self._end, arp.build(arp.reply(frame, self.mac)))

    def close(self) -> None:
        """Calling it twice does no harm."""
        if self._is_over.is_set():
            return
        self._is_over.set()
        self._thread.join()
        os.close(self._end)
        subprocess.run(["ifconfig", self.name, "destroy"], check=False, capture_output=True)


class Net:
    def __init__(self, stack: ExitStack) -> None:
        self.cable = Cable()
        stack.callback(self.cable.close)
        self.kernel = stack.enter_context(open_kernel())
        self.index = self.kernel.link(self.cable.name).index
        self.heard: list[Change] = []

    def hear(self, what: Change | type, seconds: float = 5.0) -> Change:
        """The first such news; others before it are let be."""
        end = time.monotonic() + seconds
        while True:
            while self.heard:
                change = self.heard.pop(0)
                if change == what or (isinstance(what, type) and isinstance(change, what)):
                    return change
            left = end - time.monotonic()
            assert left > 0, f"no news of {what}"
            if select.select([self.kernel], [], [], left)[0]:
                self.heard = self.kernel.changes()

    def entry(self, address: Address, mac: bytes | None, state: EntryState) -> NeighbourChange:
        return NeighbourChange(self.index, address, mac, state)


@pytest.fixture
def net():
    with ExitStack() as stack:
        yield Net(stack)


def test_links_and_addresses(net):
    link = net.kernel.link(net.cable.name)
    assert (link.is_up, link.has_carrier, link.mtu, len(link.mac)) == (True, True, 1500, 6)
    own = InterfaceAddress(ipv4("10.77.0.1"), 24)
    assert own in net.kernel.addresses(net.index)
    with pytest.raises(GfwdError, match="no such interface"):
        net.kernel.link("nothere0")


def test_link_news(net):
    sh("ifconfig", net.cable.name, "mtu", "1400")
    assert net.hear(LinkChange).link.mtu == 1400
    sh("ifconfig", net.cable.name, "down")
    assert not net.hear(LinkChange).link.is_up
    net.hear(RoutesChanged, 1)
    net.cable.close()
    while not (change := net.hear(LinkChange)).is_gone:
        pass
    assert change.link.name == net.cable.name


def test_routes(net):
    direct = Route(Prefix(4, ipv4("10.77.0.0").value, 24), None, net.index, 0)
    assert net.kernel.routes_to(PEER, [net.index]) == (direct,)
    assert net.kernel.routes_to(PEER, [net.kernel.link("lo0").index]) == ()
    assert net.kernel.routes_to(ipv4("198.51.100.7"), [net.index]) == ()
    sh("route", "add", "198.51.100.0/24", "10.77.0.2")
    net.hear(RoutesChanged)
    through = Route(Prefix(4, ipv4("198.51.100.0").value, 24), PEER, net.index, 0)
    assert net.kernel.routes_to(ipv4("198.51.100.7"), [net.index]) == (through,)
    sh("route", "delete", "198.51.100.0/24")
    net.hear(RoutesChanged)
    assert net.kernel.routes_to(ipv4("198.51.100.7"), [net.index]) == ()
    sh("route", "add", "198.51.100.0/24", "10.77.0.2", "-blackhole")
    try:
        assert net.kernel.routes_to(ipv4("198.51.100.7"), [net.index]) == ()
    finally:
        sh("route", "delete", "198.51.100.0/24")


def test_questions_are_no_news(net):
    """Whose answers the kernel tells everybody who listens, which is us."""
    time.sleep(0.5)
    net.kernel.changes()  # of the new interface
    for _ in range(200):
        net.kernel.routes_to(PEER, [net.index])
    assert RoutesChanged() not in net.kernel.changes()


def test_news_that_come_before_an_answer_are_heard(net):
    sh("route", "add", "198.51.100.0/24", "10.77.0.2")
    assert net.kernel.routes_to(PEER, [net.index])
    net.hear(RoutesChanged, 0.5)


def test_without_descriptors(net):
    """What needs none goes on, and what needs one says so."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        assert net.kernel.routes_to(PEER, [net.index])
        assert net.kernel.neighbours()
        net.kernel.changes()
        with pytest.raises(GfwdError, match=r"/dev/bpf: Too many open files$"):
            net.kernel.ask(net.index, PEER)
        with pytest.raises(GfwdError, match="Too many open files"):
            open_kernel()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_bpf(net, monkeypatch):
    def refuse(*_: object) -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(GfwdError, match=r"/dev/bpf: No such file or directory$"):
        net.kernel.ask(net.index, PEER)


def test_a_neighbour_answers_moves_and_falls_silent(net):
    assert net.kernel.ask(net.index, PEER) is None
    net.hear(net.entry(PEER, MAC, EntryState.CONFIRMED))
    assert net.entry(PEER, MAC, EntryState.STALE) in net.kernel.neighbours()
    time.sleep(1)  # the kernel's clock has seconds, and an answer within the same one changes nothing
    assert net.kernel.ask(net.index, PEER) == net.entry(PEER, MAC, EntryState.STALE)
    net.hear(net.entry(PEER, MAC, EntryState.CONFIRMED))
    net.cable.mac = OTHER_MAC
    net.kernel.ask(net.index, PEER)
    net.hear(net.entry(PEER, OTHER_MAC, EntryState.CONFIRMED))
    net.cable.mac = None
    asked = net.cable.asked
    time.sleep(1)
    assert net.kernel.ask(net.index, PEER) == net.entry(PEER, OTHER_MAC, EntryState.STALE)
    with pytest.raises(AssertionError):
        net.hear(NeighbourChange, 1.5)
    assert net.cable.asked == asked + 1
    assert net.kernel.ask(net.index, PEER) is None  # there is an entry, and it has not answered
    sh("arp", "-d", str(PEER))
    net.hear(net.entry(PEER, None, EntryState.DELETED))


def test_one_that_is_not_there(net):
    assert net.kernel.ask(net.index, SILENT) is None
    with pytest.raises(AssertionError):
        net.hear(NeighbourChange, 1.5)


def test_looks_that_take_long_are_few(net, monkeypatch):
    table = net.kernel._table
    looks: list[None] = []

    def slow() -> object:
        looks.append(None)
        time.sleep(0.05)
        return table()

    monkeypatch.setattr(net.kernel, "_table", slow)
    net.kernel.ask(net.index, SILENT)
    with pytest.raises(AssertionError):
        net.hear(NeighbourChange, 0.9)
    assert 1 <= len(looks) <= 4


def test_an_entry_of_the_administrators_is_not_asked_for(net):
    sh("arp", "-s", str(PEER), "02:00:00:00:00:50")
    fixed = net.entry(PEER, bytes.fromhex("020000000050"), EntryState.FIXED)
    net.hear(fixed)
    assert net.kernel.ask(net.index, PEER) == fixed
    time.sleep(0.2)
    assert net.cable.asked == 0


def test_what_cannot_be_asked(net):
    loopback = net.kernel.link("lo0").index
    answer = net.kernel.ask(loopback, PEER)
    assert answer is not None and answer.state is EntryState.FAILED
    gone = net.kernel.ask(9_999, PEER)
    assert gone is not None and gone.state is EntryState.FAILED


def test_close_twice(net):
    net.kernel.close()
    net.kernel.close()
