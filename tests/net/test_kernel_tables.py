"""Linux's tables against a real kernel."""

from __future__ import annotations

import errno
import select
import socket
import time

import pytest

from gfwd.errors import GfwdError
from gfwd.l2.kernel import (
    AddressesChanged,
    EntryState,
    InterfaceAddress,
    LinkChange,
    NeighbourChange,
    Reread,
    RoutesChanged,
)
from gfwd.l2.linux import LinuxKernel
from gfwd.l2.routes import NextHop, Route, next_hops
from gfwd.rules.model import Address, Prefix
from tests.net.network import Host, ipv4, veth, wait_until

PEER = ipv4("10.0.0.2")
SILENT = ipv4("10.0.0.99")


class Net:
    """Two hosts on one cable: us (10.0.0.1, fd00::1), whose tables are read, and a peer (10.0.0.2, fd00::2)."""

    def __init__(self, us: Host, peer: Host) -> None:
        self.us, self.peer = us, peer
        veth(us, "out0", peer, "in0")
        for host, name, address in ((us, "out0", 1), (peer, "in0", 2)):
            host.up(name)
            host.address(name, f"10.0.0.{address}/24")
            host.address(name, f"fd00::{address}/64")
        with us.inside():
            self.kernel = LinuxKernel()
        self.link = self.kernel.link("out0")
        self.news: list = []
        wait_until(lambda: self.kernel.link("out0").has_carrier, self.read)

    def read(self) -> None:
        self.news += self.kernel.changes()

    def wait_for(self, condition) -> None:
        """Until one of the news fulfils it. All that came before are forgotten with it."""
        wait_until(lambda: any(map(condition, self.news)), self.read, [self.kernel.fileno()])
        self.news.clear()

    def wait_for_entry(self, address: Address, state: EntryState, mac: bytes | None) -> None:
        wanted = NeighbourChange(self.link.index, address, mac, state)
        self.wait_for(lambda change: change == wanted)


@pytest.fixture
def net():
    with Host() as us, Host() as peer:
        net = Net(us, peer)
        with net.kernel:
            yield net


def test_links(net):
    link = net.kernel.link("out0")
    assert link.mac == net.us.mac("out0")
    assert (link.name, link.mtu, link.is_up, link.has_carrier) == ("out0", 1500, True, True)
    assert {link.name for link in net.kernel.links()} == {"lo", "out0"}
    net.peer.down("in0")
    wait_until(lambda: not net.kernel.link("out0").has_carrier, net.read)
    assert net.kernel.link("out0").is_up
    net.us.down("out0")
    assert not net.kernel.link("out0").is_up


def test_no_such_interface(net):
    with pytest.raises(GfwdError, match=r"^eth7: error: no such interface$"):
        net.kernel.link("eth7")


def test_addresses(net):
    own = net.kernel.addresses(net.link.index)
    assert InterfaceAddress(ipv4("10.0.0.1"), 24) in own
    assert InterfaceAddress(Address(6, 0xFD << 120 | 1), 64) in own
    assert net.kernel.addresses(77) == ()


def test_the_own_end_of_a_link_with_two_addresses(net):
    net.us.ip.addr("add", index=net.link.index, local="10.7.0.1", address="10.7.0.2", prefixlen=32)
    assert InterfaceAddress(ipv4("10.7.0.1"), 32) in net.kernel.addresses(net.link.index)


def test_routes(net):
    add = net.us.ip.route
    index = net.link.index
    add("add", dst="default", gateway="10.0.0.2", priority=7)
    add("add", dst="10.9.0.0/16", multipath=[{"gateway": "10.0.0.2"}, {"gateway": "10.0.0.3", "hops": 2}])
    add("add", dst="10.8.0.0/16", via={"family": socket.AF_INET6, "addr": "fe80::1"}, oif=index)
    add("add", dst="2001:db8::/32", gateway="fd00::2")
    add("add", dst="10.5.0.0/16", type="blackhole")
    add("add", dst="10.6.0.0/16", gateway="10.0.0.2", table=77)

    def to(text: str) -> tuple[Route, ...]:
        found: tuple[Route, ...] = net.kernel.routes_to(ipv4(text), [index])
        return found

    default = Route(Prefix(4, 0, 0), PEER, index, 7)
    assert to("192.0.2.1") == to("10.6.0.1") == (default,)  # tables that no rule names are not looked into
    assert to("10.0.0.9") == (Route(Prefix(4, 0x0A000000, 24), None, index, 0),)
    assert set(to("10.9.0.1")) == {
        Route(Prefix(4, 0x0A090000, 16), PEER, index, 0),
        Route(Prefix(4, 0x0A090000, 16), ipv4("10.0.0.3"), index, 0, 3),
    }
    assert to("10.8.0.1") == (Route(Prefix(4, 0x0A080000, 16), Address(6, 0xFE80 << 112 | 1), index, 0),)
    assert net.kernel.routes_to(Address(6, 0x20010DB8 << 96 | 5), [index]) == (
        Route(Prefix(6, 0x20010DB8 << 96, 32), Address(6, 0xFD << 120 | 2), index, 1024),
    )
    assert next_hops(to("192.0.2.1"), ipv4("192.0.2.1"), {index}) == (NextHop(index, PEER),)
    assert to("10.5.0.1") == ()  # a blackhole
    assert net.kernel.routes_to(ipv4("192.0.2.1"), [77]) == ()  # no such interface


def test_asking_resolves(net):
    mac = net.peer.mac("in0")
    assert net.kernel.ask(net.link.index, PEER) is None
    net.wait_for_entry(PEER, EntryState.CONFIRMED, mac)
    assert NeighbourChange(net.link.index, PEER, mac, EntryState.CONFIRMED) in net.kernel.neighbours()


def test_asking_resolves_ipv6(net):
    address = Address(6, 0xFD << 120 | 2)
    assert net.kernel.ask(net.link.index, address) is None
    net.wait_for_entry(address, EntryState.CONFIRMED, net.peer.mac("in0"))


def test_asking_again_confirms_at_once(net):
    mac = net.peer.mac("in0")
    net.kernel.ask(net.link.index, PEER)
    net.wait_for_entry(PEER, EntryState.CONFIRMED, mac)
    for state in (2, 4):  # NUD_REACHABLE, NUD_STALE
        net.us.ip.neigh("change", ifindex=net.link.index, dst="10.0.0.2", state=state)
        net.read()
        net.news.clear()
        known = net.kernel.ask(net.link.index, PEER)
        assert known is not None and known.mac == mac
        net.wait_for_entry(PEER, EntryState.CONFIRMED, mac)


def test_silence_is_told(net):
    net.kernel.ask(net.link.index, SILENT)
    net.wait_for_entry(SILENT, EntryState.FAILED, None)
    # And it can be asked again, of which it makes use.
    net.peer.address("in0", "10.0.0.99/24")
    net.kernel.ask(net.link.index, SILENT)
    net.wait_for_entry(SILENT, EntryState.CONFIRMED, net.peer.mac("in0"))


def test_an_entry_of_the_administrators_is_left_alone(net):
    net.us.ip.neigh("add", ifindex=net.link.index, dst="10.0.0.7", lladdr="02:00:00:00:00:07", state=0x80)
    fixed = NeighbourChange(net.link.index, ipv4("10.0.0.7"), bytes.fromhex("020000000007"), EntryState.FIXED)
    assert net.kernel.ask(net.link.index, fixed.address) == fixed
    assert net.kernel.ask(net.link.index, fixed.address) == fixed
    assert fixed in net.kernel.neighbours()


def test_a_refusal_is_told_and_no_exception(net):
    assert net.kernel.ask(77, PEER) == NeighbourChange(77, PEER, None, EntryState.FAILED)
    net.us.down("out0")
    net.kernel.ask(net.link.index, PEER)  # some kernels refuse, others fall silent


def test_a_deleted_entry_is_told(net):
    net.kernel.ask(net.link.index, PEER)
    net.wait_for_entry(PEER, EntryState.CONFIRMED, net.peer.mac("in0"))
    net.us.ip.neigh("del", ifindex=net.link.index, dst="10.0.0.2")
    net.wait_for_entry(PEER, EntryState.DELETED, None)


def test_links_and_their_routes_change(net):
    net.us.ip.route("add", dst="10.9.0.0/16", gateway="10.0.0.2")
    net.wait_for(lambda change: change == RoutesChanged())
    net.peer.down("in0")
    net.wait_for(lambda change: isinstance(change, LinkChange) and not change.link.has_carrier)
    net.peer.up("in0")
    net.wait_for(lambda change: isinstance(change, LinkChange) and change.link.has_carrier)
    net.us.down("out0")
    net.wait_for(lambda change: isinstance(change, LinkChange) and not change.link.is_up)
    assert net.kernel.routes_to(ipv4("10.9.0.1"), [net.link.index]) == ()
    net.us.ip.link("del", index=net.link.index)
    net.wait_for(lambda change: isinstance(change, LinkChange) and change.is_gone)


def test_routes_of_a_link_that_goes_down_are_told(net):
    net.us.sysctl("ipv6/conf/out0/disable_ipv6", 1)  # of IPv6 routes the kernel would speak itself
    time.sleep(0.1)
    net.read()
    net.news.clear()
    net.us.down("out0")
    net.wait_for(lambda change: change == RoutesChanged())


def test_what_changes_nothing_is_no_news(net):
    wait_until(lambda: not select.select([net.kernel.fileno()], [], [], 0.3)[0], net.read)
    net.news.clear()
    net.us.ip.link("set", index=net.link.index, allmulticast=1)
    net.us.ip.route("add", dst="10.6.0.0/16", gateway="10.0.0.2", table=77)
    net.us.ip.route("add", dst="10.5.0.0/16", type="blackhole")
    wait_until(lambda: net.kernel.fileno() in select.select([net.kernel.fileno()], [], [], 0)[0], lambda: None)
    net.read()
    # (Of multicast groups that it joins it does speak.)
    assert [change for change in net.news if not isinstance(change, NeighbourChange)] == []


def test_reading_never_waits(net):
    wait_until(lambda: net.kernel.changes() == [], lambda: None)
    began = time.monotonic()
    for _ in range(100):
        net.kernel.changes()
    assert time.monotonic() - began < 2


def test_news_that_were_lost_lead_to_a_look_at_everything(net):
    with net.us.inside():
        kernel = LinuxKernel(news_bytes=2_048)
    with kernel:
        for host in range(3, 203):
            mac = f"02:00:00:00:00:{host:02x}"
            net.us.ip.neigh("add", ifindex=net.link.index, dst=f"10.0.0.{host}", lladdr=mac, state=0x80)
        reread, *others = kernel.changes()
        assert isinstance(reread, Reread) and others == [RoutesChanged(), AddressesChanged()]
        fixed = {entry.address for entry in reread.neighbours if entry.state is EntryState.FIXED}
        assert fixed.issuperset(ipv4(f"10.0.0.{host}") for host in range(3, 203))
        assert {link.name for link in reread.links} == {"lo", "out0"}
        # And from then on it hears as before.
        net.us.ip.neigh("del", ifindex=net.link.index, dst="10.0.0.3")
        gone = NeighbourChange(net.link.index, ipv4("10.0.0.3"), None, EntryState.DELETED)
        found: list = []
        wait_until(lambda: gone in found, lambda: found.extend(kernel.changes()), [kernel.fileno()])


def test_questions_and_news_do_not_mix(net):
    for host in range(100, 150):
        net.us.ip.neigh("add", ifindex=net.link.index, dst=f"10.0.0.{host}", lladdr="02:00:00:00:00:09", state=0x80)
        assert net.kernel.link("out0") == net.kernel.link("out0")
    net.read()
    seen = [change.address for change in net.news if isinstance(change, NeighbourChange)]
    assert [address for address in seen if address.family == 4] == [ipv4(f"10.0.0.{n}") for n in range(100, 150)]


def test_without_the_right_to_ask(net, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise net.kernel._refusal(errno.EPERM)

    monkeypatch.setattr(net.kernel, "_entry", lambda *_: None)
    monkeypatch.setattr(net.kernel._requests, "neigh", refuse)
    with pytest.raises(GfwdError, match=r"Operation not permitted; run it as root$"):
        net.kernel.ask(net.link.index, PEER)
