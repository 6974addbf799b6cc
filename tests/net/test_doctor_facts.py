"""What the doctor knows of a real Linux: interfaces as its kernel has made them, and what a process there may."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from gfwd.config import values
from gfwd.daemon.doctor import linux, netmap_device, xdp_features
from gfwd.daemon.doctor.facts import Asked, Facts, Queues
from gfwd.daemon.doctor.gather import gather
from gfwd.daemon.ports import Wanted
from gfwd.daemon.ways import Goal, NextHop
from gfwd.rules import classic
from gfwd.rules.model import Collector
from tests.net.network import Host, ipv4, veth


class Place:
    """A host with in0, which is up and 10.0.0.1, and out0, which is down; both lead to another host."""

    def __init__(self, stack: ExitStack) -> None:
        self.us, self.there = Host(), Host()
        for host in (self.us, self.there):
            stack.callback(host.close)
        for name in ("in0", "out0"):
            veth(self.us, name, self.there, name)
        for at in (self.us, self.there):
            at.up("in0")
        self.us.address("in0", "10.0.0.1/24")

    def facts(self, *ports: str, **asked: object) -> Facts:
        wanted = tuple(Wanted(values.port(name), is_in=True, is_out=True) for name in ports)
        with self.us.inside():
            return gather(Asked(ports=wanted, **asked))  # type: ignore[arg-type]


@pytest.fixture
def place() -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(stack)


def test_interfaces(place):
    facts = place.facts()
    assert facts.system == "Linux" and facts.tables_error == ""
    assert facts.interfaces.keys() == {"lo", "in0", "out0"}
    its = facts.interfaces["in0"]
    assert (its.link.is_up, its.link.has_carrier, its.link.mtu) == (True, True, 1500)
    assert ipv4("10.0.0.1") in [address for address, _ in its.addresses]
    assert (its.kind, its.driver, its.lower, its.other_end) == ("veth", "veth", (), None)
    assert its.features is not None and its.features["rx-gro"].can_change
    assert (its.xdp_mode, its.xdp_holder) == ("", None)
    assert not facts.interfaces["out0"].link.is_up


def test_only_the_interfaces_that_are_asked_for(place):
    place.us.ip.link("add", ifname="near", kind="veth", peer={"ifname": "far"})
    facts = place.facts("xdp:near", "xdp:in0", "xdp:nowhere", "netmap:x{1")
    assert facts.interfaces.keys() == {"near", "far", "in0"}
    assert facts.interfaces["near"].other_end == "far"


def test_queues(place):
    place.us.ip.link("add", ifname="wide", kind="veth", num_tx_queues=3, num_rx_queues=2, peer={"ifname": "w"})
    its = place.facts("xdp:wide").interfaces["wide"].queues
    assert (its.to_read(), its.to_send()) == (2, 3)
    assert Queues(0, 0, 0).to_read() == Queues().to_send() == 1


def test_a_bridge_and_its_members(place):
    place.us.ip.link("add", ifname="br0", kind="bridge")
    for name in ("in0", "out0"):
        place.us.ip.link("set", index=place.us.index(name), master=place.us.index("br0"))
    its = place.facts("xdp:br0").interfaces["br0"]
    assert (its.kind, sorted(its.lower)) == ("bridge", ["in0", "out0"])
    assert its.is_stacked()


def test_what_lies_on_top_of_a_card(place):
    try:
        place.us.ip.link("add", ifname="top0", kind="macvlan", link=place.us.index("in0"), macvlan_mode="bridge")
    except NetlinkError as error:
        pytest.skip(f"this kernel makes no macvlan: {error}")
    its = place.facts("xdp:top0").interfaces["top0"]
    assert (its.kind, its.lower) == ("macvlan", ("in0",))


@pytest.mark.parametrize(("of_all", "its", "counts"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (1, 2, 2), (2, 1, 2)])
def test_rp_filter_is_the_larger_of_two(place, of_all, its, counts):
    place.us.sysctl("ipv4/conf/all/rp_filter", of_all)
    place.us.sysctl("ipv4/conf/in0/rp_filter", its)
    assert place.facts("xdp:in0").interfaces["in0"].rp_filter == counts


def test_native_xdp(place):
    """Known since Linux 6.3, and then a veth has it, and the loopback interface has not."""
    interfaces = place.facts().interfaces
    known = linux.LinuxHost().xdp().kernel >= (6, 3)
    assert interfaces["in0"].has_native_xdp is (True if known else None)
    assert interfaces["lo"].has_native_xdp is (False if known else None)
    assert xdp_features.of(1 << 30) is None


def test_what_this_process_may(place):
    its = place.facts().xdp
    assert its is not None
    assert its.kernel == tuple(map(int, os.uname().release.split(".")[:2]))
    assert its.missing == () and its.lockable is None


def test_ways(place, tmp_path):
    """As `gfwd run` finds them, also by ports that are no interfaces of the host."""
    rules = tmp_path / "gfwd.rules"
    rules.write_text("* 514 10.0.0.2 10.9.0.2 10.8.0.2 nowhere.invalid A\n")
    place.us.ip.route("add", dst="10.9.0.0/24", gateway="10.0.0.9")
    facts = place.facts("xdp:out0", "xdp:in0", rules=classic.load(rules))
    assert facts.ways == {
        Goal(ipv4("10.0.0.2")): NextHop(1, ipv4("10.0.0.2")),
        Goal(ipv4("10.9.0.2")): NextHop(1, ipv4("10.0.0.9")),
        Goal(ipv4("10.8.0.2")): None,
    }
    assert isinstance(facts.names[Collector("nowhere.invalid", None, None)], str)
    bare = place.facts("netmap:x{1", rules=classic.load(rules))
    assert bare.ways[Goal(ipv4("10.8.0.2"))] == NextHop(0, ipv4("10.8.0.2"))
    fixed = place.facts("xdp:in0", rules=classic.load(rules), fixed=frozenset({ipv4("10.8.0.2")}))
    assert fixed.ways[Goal(ipv4("10.8.0.2"))] == NextHop(0, ipv4("10.8.0.2"))


def test_programs_that_have_something_open(tmp_path):
    file = tmp_path / "file"
    with file.open("w") as opened:
        (found,) = linux._open_files(str(file))
        assert found.name == str(opened.fileno())
        its = linux._program(found)
    assert its.pid == os.getpid() and str(its).endswith(f" (pid {os.getpid()})")
    assert list(linux._open_files(str(file))) == []


def test_netmap(place):
    facts = place.facts("netmap:in0").netmap
    if not Path("/dev/netmap").exists():
        assert facts.errno != 0 and not facts.speaks_api and not facts.settings and not facts.users
        return
    assert facts.errno == 0 and facts.speaks_api
    assert facts.settings["buf_size"] >= 64
    with place.us.inside():
        assert netmap_device.rings("in0").rx > 0
