"""Neighbours against real kernels: through ours, and on the wire behind a port without a host stack."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from gfwd.daemon.neighbours import KernelAsker, Neighbours
from gfwd.l2 import arp
from gfwd.l2.linux import LinuxKernel
from gfwd.l2.neighbour import Timing
from gfwd.native.core import NeighbourState
from gfwd.rules.model import Address
from tests import frames
from tests.cores import balances
from tests.net.driven import OURS, PEER, READY, US, Driven, OnTheWire
from tests.net.network import ipv4, wait_until

# The kernel's own three questions take 0.3 s here; see network.QUICK.
KERNEL_TIMING = Timing(
    retransmit=2.0, broadcast_tries=1, unicast_tries=1, reachable=0.3, gap=0.05, backoff=0.1, backoff_longest=0.4
)
ABSENT = ipv4("10.0.0.99")
MOVED = "02:00:00:00:00:22"
PENDING, FAILED = NeighbourState.PENDING, NeighbourState.FAILED


class QuickKernel(LinuxKernel):
    def timing(self, address: Address) -> Timing:
        return KERNEL_TIMING


class ByKernel(Driven):
    """The driver, asking the kernel of `us` (10.0.0.1 on out0)."""

    def __init__(self, news_bytes: int = 1 << 20) -> None:
        super().__init__()
        self.us.up("out0")
        self.us.address("out0", "10.0.0.1/24")
        with self.us.inside():
            self.kernel = self.stack.enter_context(QuickKernel(news_bytes))
        wait_until(lambda: self.kernel.link("out0").has_carrier, lambda: None)
        self.asker = KernelAsker(self.kernel, self.kernel.link("out0").index)
        self.neighbours = Neighbours(self.tell, self.said.say)

    def want(self, address: Address = PEER, slot: int = 0) -> None:
        self.neighbours.want(slot, "xdp:out0", address, self.asker, time.monotonic())

    def step(self) -> None:
        for change in self.kernel.changes():
            self.neighbours.kernel_changed(change, time.monotonic())
        self.advance()


@pytest.fixture
def by_kernel():
    with ByKernel() as driven:
        yield driven


@pytest.fixture
def on_the_wire():
    with OnTheWire() as driven:
        yield driven


@pytest.fixture(params=[ByKernel, OnTheWire])
def driven(request):
    with request.param() as driven:
        yield driven


# ---- both ways ----


def test_resolved(driven):
    driven.want()
    driven.wait_for_peer()
    assert driven.history == [PENDING, READY]
    assert [line.rpartition(" is ")[2] for line in driven.said] == [driven.peer.mac("in0").hex(":")]


def test_confirmed_again_and_again(driven):
    driven.want()
    driven.wait_for_peer()
    driven.go_on(0.8)
    assert driven.history == [PENDING, READY]
    assert len(driven.said) == 1


def test_a_silent_host_fails_and_comes_back(driven):
    driven.want(ABSENT)
    driven.wait_for(None, FAILED)
    assert driven.said[-1].endswith("does not answer")
    driven.go_on(0.5)
    assert len(driven.said) == 1
    driven.peer.address("in0", "10.0.0.99/24")
    driven.wait_for_peer()
    assert len(driven.said) == 2


def test_a_mac_that_moves_and_says_so_is_followed(driven):
    driven.peer.sysctl("ipv4/conf/in0/arp_notify", 1)
    driven.want()
    driven.wait_for_peer()
    driven.peer.set_mac("in0", MOVED)
    driven.wait_for_peer()
    assert FAILED not in driven.history
    assert driven.said[-1].endswith(f"to {MOVED}")


def test_a_mac_that_moves_silently_is_found(driven):
    driven.want()
    driven.wait_for_peer()
    driven.peer.set_mac("in0", MOVED)
    driven.wait_for_peer()
    assert FAILED not in driven.history


def test_one_that_is_silent_blocks_no_other(driven):
    driven.want(ABSENT, slot=1)
    driven.wait_for(None, FAILED, slot=1)
    driven.want()
    driven.wait_for_peer()


def test_a_host_that_goes_and_comes(driven):
    driven.want()
    driven.wait_for_peer()
    driven.peer.down("in0")
    driven.wait_for(None, FAILED)
    driven.peer.up("in0")
    driven.wait_for_peer()


# ---- through the kernel ----


def test_the_own_link_goes_and_comes(by_kernel):
    by_kernel.want()
    by_kernel.wait_for_peer()
    by_kernel.us.down("out0")
    by_kernel.wait_for(None, FAILED)
    by_kernel.us.up("out0")
    by_kernel.wait_for_peer()


@pytest.mark.parametrize("state", ["reachable", "stale", "delay", "probe", "permanent"])
def test_an_entry_that_is_there_is_used_at_once(by_kernel, state):
    mac = by_kernel.peer.mac("in0")
    by_kernel.us.ip.neigh("add", ifindex=by_kernel.asker.index, dst="10.0.0.2", lladdr=mac.hex(":"), state=state)
    by_kernel.want()
    assert by_kernel.told == {0: (mac, READY)}
    by_kernel.go_on(0.5)
    assert by_kernel.history == [PENDING, READY]
    entries = [entry for entry in by_kernel.us.ip.get_neighbours() if entry.get("NDA_DST") == "10.0.0.2"]
    assert (entries[0]["state"] == 0x80) == (state == "permanent")


def test_a_wrong_entry_that_is_there_is_mended(by_kernel):
    by_kernel.us.ip.neigh("add", ifindex=by_kernel.asker.index, dst="10.0.0.2", lladdr=MOVED, state="stale")
    by_kernel.want()
    by_kernel.wait_for_peer()
    assert FAILED not in by_kernel.history


def test_entries_that_the_administrator_deletes_are_used_on(by_kernel):
    by_kernel.want()
    by_kernel.wait_for_peer()
    for _ in range(3):
        by_kernel.us.ip.neigh("del", ifindex=by_kernel.asker.index, dst="10.0.0.2")
        by_kernel.go_on(0.2)
    assert by_kernel.history == [PENDING, READY]


def test_ipv6(by_kernel):
    by_kernel.us.address("out0", "fd00::1/64")
    by_kernel.peer.address("in0", "fd00::2/64")
    by_kernel.want(Address(6, 0xFD << 120 | 2))
    by_kernel.wait_for_peer()
    by_kernel.go_on(0.5)
    assert by_kernel.history == [PENDING, READY]


def test_many(by_kernel):
    many = 150
    for n in range(many):
        by_kernel.peer.address("in0", f"10.0.0.{100 + n}/24")
    for n in range(many):
        by_kernel.want(ipv4(f"10.0.0.{100 + n}"), slot=n)
    mac = by_kernel.peer.mac("in0")
    wait_until(lambda: set(by_kernel.told.values()) == {(mac, READY)}, by_kernel.step)
    by_kernel.go_on(0.5)
    assert Counter(by_kernel.history) == {PENDING: many, READY: many}


def test_news_that_were_lost():
    with ByKernel(news_bytes=2_048) as driven:
        driven.want()
        driven.want(ABSENT, slot=1)
        driven.wait_for_peer()
        for host in range(100, 200):
            driven.us.ip.neigh("add", ifindex=driven.asker.index, dst=f"10.0.0.{host}", lladdr=MOVED, state="permanent")
        driven.us.ip.neigh("replace", ifindex=driven.asker.index, dst=str(ABSENT), lladdr=MOVED, state="permanent")
        driven.wait_for(bytes.fromhex(MOVED.replace(":", "")), READY, slot=1)
        driven.us.ip.neigh("del", ifindex=driven.asker.index, dst=str(ABSENT))
        driven.wait_for(None, FAILED, slot=1)
        driven.wait_for_peer()


# ---- on the wire ----


def test_what_waited_leaves(on_the_wire):
    on_the_wire.core.arrive(0, frames.datagram(4, 0x0A000063, US.value, (514, 514)))
    on_the_wire.want()
    on_the_wire.wait_for_peer()
    head = on_the_wire.peer.mac("in0") + OURS + b"\x08\x00"
    wait_until(lambda: any(frame.startswith(head) for frame in on_the_wire.left), on_the_wire.step)
    assert balances(on_the_wire.core, 1)


def test_a_request_is_answered(on_the_wire):
    peer = on_the_wire.peer
    peer.ip.neigh("add", ifindex=peer.index("in0"), dst="10.0.0.1", state=0, flags=1)  # NTF_USE
    wait_until(lambda: peer.neighbour("10.0.0.1") == OURS.hex(":"), on_the_wire.step)


def test_a_request_for_another_is_not_answered(on_the_wire):
    peer = on_the_wire.peer
    peer.ip.neigh("add", ifindex=peer.index("in0"), dst="10.0.0.77", state=0, flags=1)
    on_the_wire.go_on(0.4)
    assert peer.neighbour("10.0.0.77") is None
    assert not [frame for frame in on_the_wire.left if frame[12:14] == b"\x08\x06" and frame[21] == arp.REPLY]


def test_a_forged_reply_changes_nothing(on_the_wire):
    on_the_wire.want()
    on_the_wire.wait_for_peer()
    forged = arp.build(arp.reply(arp.request(OURS, US, PEER), bytes.fromhex(MOVED.replace(":", ""))))
    for _ in range(5):
        on_the_wire.core.arrive(0, forged)
        on_the_wire.go_on(0.1)
    assert on_the_wire.history == [PENDING, READY]
