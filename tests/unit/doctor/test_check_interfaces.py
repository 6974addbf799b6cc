"""Each check of interfaces fires for its own reason, and for no other."""

from __future__ import annotations

import pytest

from gfwd.config import values
from gfwd.daemon.card import linux
from gfwd.daemon.card.system import Feature
from gfwd.daemon.doctor.facts import Queues
from gfwd.daemon.ports import Wanted
from tests.unit.doctor.hosts import interface, one

OFF = Feature(is_on=False, is_asked=False, can_change=True)
ON = Feature(is_on=True, is_asked=True, can_change=True)
STUCK = Feature(is_on=True, is_asked=True, can_change=False)


def test_no_ports(xdp):
    veth = interface(3, "veth0", kind="veth", driver="veth", queues=Queues(4, 4, 0), is_up=False)
    others = [
        interface(4, "lo", mac=bytes(6)),
        interface(5, "wg0", mac=b""),
        interface(6, "ifb0", kind="ifb"),
        interface(7, "bond0", kind="bond", lower=("in0", "out0")),
        interface(8, "br0", kind="bridge"),
    ]
    xdp.ask(ports=())
    xdp.change("out0", has_carrier=False, has_native_xdp=False)
    xdp.know(interfaces={**xdp.facts.interfaces, **{its.link.name: its for its in (veth, *others)}}, ways={})
    assert xdp.lines() == [
        "in0: note: could be a port: xdp:in0 or netmap:in0 (ixgbe, MTU 1500, up)",
        "out0: note: could be a port: xdp:out0 or netmap:out0 (ixgbe, MTU 1500, AF_XDP in generic mode, no carrier)",
        "veth0: note: could be a port: xdp:veth0 or netmap:veth0 (veth, 4 RX queues, MTU 1500, down)",
        "bond0: note: is a bond; a port would be what it is made of: in0 or out0",
        "br0: note: is a bridge; a port would be what it is made of",
    ]


def test_no_ports_and_no_cards(xdp):
    xdp.ask(ports=(), rules=None)
    xdp.know(interfaces={}, ways={}, names={})
    assert xdp.lines() == ["interfaces: warning: none of them could be a port: there is no Ethernet card"]


def test_no_ports_on_freebsd(freebsd):
    freebsd.ask(ports=(), rules=None)
    for name in ("in0", "out0"):
        freebsd.change(name, driver="", has_native_xdp=None, has_native_netmap=name == "in0")
    assert freebsd.lines() == [
        "in0: note: could be a port: netmap:in0 (MTU 1500, up)",
        "out0: note: could be a port: netmap:out0 (MTU 1500, netmap emulated, up)",
    ]


def test_no_such_interface(xdp):
    xdp.know(interfaces={"out0": xdp.facts.interfaces["out0"]})
    assert xdp.lines() == ["xdp:in0: error: there is no such interface"]


def test_a_port_without_an_interface_is_not_missing(netmap):
    ports = (Wanted(values.port("netmap:x{1"), True, False), Wanted(values.port("vale0:a"), False, True))
    netmap.ask(ports=ports, own=(values.own_prefix("192.0.2.1"),))
    assert netmap.lines() == []


def test_not_ethernet(xdp):
    xdp.change("in0", mac=b"")
    assert xdp.lines() == ["xdp:in0: error: the interface is not Ethernet"]


@pytest.mark.parametrize(
    ("kind", "what"), [("bond", "a bond"), ("lagg", "a bond"), ("bridge", "a bridge"), ("vlan", "a VLAN")]
)
def test_made_of_others(xdp, kind, what):
    xdp.change("in0", kind=kind, lower=("eth0", "eth1"), has_native_xdp=False)
    assert xdp.lines() == [
        f"xdp:in0: warning: it is {what}, which works in generic mode at best, slower; the port should be what it is "
        "made of: eth0 or eth1"
    ]


def test_made_of_others_on_freebsd(freebsd):
    freebsd.change("in0", kind="lagg", mac=b"", has_native_netmap=False)
    assert one(freebsd.lines()).startswith("netmap:in0: warning: it is a bond, which works emulated by netmap at best")


def test_down(xdp):
    xdp.change("out0", is_up=False, has_carrier=False)
    assert xdp.lines() == [
        "xdp:out0: warning: the interface is down; gfwd brings it up when it starts, but has no routes by it "
        "until then; mend it: ip link set dev out0 up"
    ]


def test_down_on_freebsd(freebsd):
    freebsd.change("out0", is_up=False, has_carrier=False)
    assert one(freebsd.lines()).endswith("; mend it: ifconfig out0 up")


def test_no_carrier(xdp):
    xdp.change("in0", has_carrier=False)
    assert xdp.lines() == ["xdp:in0: warning: the link has no carrier: is it plugged in, and is the other side up?"]


def test_no_carrier_since_the_other_end_is_down(xdp):
    xdp.know(interfaces={**xdp.facts.interfaces, "e0": interface(3, "e0", is_up=False, has_carrier=False)})
    xdp.change("in0", has_carrier=False, other_end="e0")
    assert one(xdp.lines()).endswith("; mend it: ip link set dev e0 up")


def test_offloads(xdp):
    features = {"rx-lro": ON, "rx-gro-hw": OFF, "rx-vlan-hw-parse": STUCK, "tx-checksum-ipv4": STUCK}
    for name in ("in0", "out0"):
        xdp.change(name, features=features)
    assert xdp.lines() == [
        f"xdp:in0: warning: rx-vlan-offload cannot be switched off, so {linux.RX_VLAN.means}",
        "xdp:in0: note: gfwd switches off while it runs: lro",
        "xdp:out0: note: gfwd switches off while it runs: lro",
    ]


def test_offloads_for_netmap(netmap):
    netmap.change("in0", features={"tx-checksum-ipv4": ON, "rx-checksum": ON, "rx-gro": OFF})
    assert netmap.lines() == ["netmap:in0: note: gfwd switches off while it runs: rx-checksumming, tx-checksumming"]
