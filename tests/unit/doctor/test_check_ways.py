"""Each check of the ways to collectors fires for its own reason, and for no other."""

from __future__ import annotations

import pytest

from gfwd.config import values
from gfwd.daemon.ports import Wanted
from gfwd.daemon.ways import Goal, NextHop
from gfwd.rules import fields
from tests.unit.doctor.hosts import addresses_of, interface, ip, one, rules


def test_no_address(xdp):
    xdp.change("in0", addresses=())
    assert xdp.lines() == [
        "xdp:in0: error: no address there, so nothing can be for gfwd; give the interface one, or say which are "
        "gfwd's: --address 192.0.2.1"
    ]
    xdp.ask(own=(values.own_prefix("10.0.0.1"),))
    assert xdp.lines() == []


def test_a_name_without_addresses(xdp, tmp_path):
    ruleset = rules(tmp_path, "10.0.0.2 514 flow.example.net:1 flow.example.net:2 A\n")
    xdp.ask(rules=ruleset)
    xdp.know(names=dict.fromkeys(ruleset.collectors(), "Name or service not known"), ways={})
    assert one(xdp.lines()).startswith("collector flow.example.net: error: Name or service not known; give the coll")


def test_a_collector_with_an_own_address(xdp, tmp_path):
    ruleset = rules(tmp_path, "10.0.0.2 514 10.1.0.2 10.0.0.1:9995 A\n")
    xdp.ask(rules=ruleset)
    xdp.know(names=addresses_of(ruleset), ways={**xdp.facts.ways, Goal(ip("10.0.0.1")): None})
    assert xdp.lines() == ["collector 10.0.0.1:9995: error: is gfwd's own address: what is sent there would come back"]


def test_no_route(xdp, freebsd):
    for doctor in (xdp, freebsd):
        doctor.know(ways={Goal(ip("10.1.0.2")): None})
    assert freebsd.lines() == [
        "collector 10.1.0.2: error: no route leaves by netmap:out0, so its copies are dropped (no_collector); mend it: "
        "route add 10.1.0.2 GATEWAY"
    ]
    assert one(xdp.lines()).startswith("collector 10.1.0.2: error: no route leaves by xdp:out0, so its copies are")


def test_mtus_that_differ(xdp):
    xdp.change("out0", mtu=1_400)
    wanted = [
        "xdp:out0: warning: its MTU of 1400 is smaller than that of xdp:in0, 1500: longer datagrams leave in "
        "fragments, or are dropped where they must not be cut (too_big); let them be the same, no larger than what all "
        "on either network carry"
    ]
    assert xdp.lines() == wanted
    xdp.ask(rules=None)
    xdp.know(names={}, ways={})
    assert xdp.lines() == wanted
    xdp.change("out0", mtu=1_600)
    assert xdp.lines() == []


def test_no_command_makes_an_mtu_larger(xdp):
    """The network behind it may not carry that; and AF_XDP may not take what it would be."""
    xdp.change("in0", mtu=9_000)
    mends = {finding.what: finding.mend for finding in xdp.findings()}
    assert mends == {"xdp:in0": "ip link set dev in0 mtu 3000", "xdp:out0": None}


def test_an_mtu_of_a_port_that_no_collector_is_behind(xdp):
    xdp.ask(ports=(*xdp.asked.ports, Wanted(values.port("xdp:spare"), False, True)))
    xdp.know(interfaces={**xdp.facts.interfaces, "spare": interface(3, "spare", mtu=1_400)})
    assert xdp.lines() == []


@pytest.mark.parametrize(("strictness", "fires"), [(0, False), (1, True), (2, False)])
def test_a_filter_at_the_other_end(xdp, strictness, fires):
    others = {"c0.1": interface(3, "c0.1", rp_filter=strictness), "e0": interface(4, "e0", rp_filter=1)}
    xdp.know(interfaces={**xdp.facts.interfaces, **others})
    xdp.change("in0", other_end="e0", rp_filter=1)
    xdp.change("out0", other_end="c0.1", rp_filter=1)
    assert bool(xdp.lines()) == fires
    assert not fires or one(xdp.lines()).endswith("; mend it: sysctl -w net.ipv4.conf.c0/1.rp_filter=2")


def test_a_gateway(xdp):
    xdp.know(ways={Goal(ip("10.1.0.2")): NextHop(1, ip("10.1.0.9"))})
    assert xdp.lines() == [
        "xdp:out0: note: collector 10.1.0.2: behind the gateway 10.1.0.9, and copies keep their exporters' addresses: "
        "if nothing arrives, look there for filters on sources (rp_filter, uRPF, anti-spoofing)"
    ]


@pytest.mark.parametrize(
    ("system", "mends"), [("xdp", "ip route add 10.7.0.1 dev out0"), ("freebsd", "route add 10.7.0.1 -interface out0")]
)
def test_no_route_to_the_gateway_that_is_named(request, system, mends):
    """A route to the collector would not help."""
    doctor = request.getfixturevalue(system)
    doctor.ask(gateways={fields.parse_prefix("10.1.0.0/24"): ip("10.7.0.1")})
    doctor.know(ways={Goal(ip("10.1.0.2")): None})
    line = one(doctor.lines())
    assert "no route to its gateway 10.7.0.1 ([gateways]) leaves by" in line and line.endswith(f"; mend it: {mends}")
