"""Reload: what the rules file says now, without a datagram lost; or, where that cannot be, nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter

import pytest

from tests.e2e.live import BOTH_ARMS, Live, Site, wait_until

pytestmark = pytest.mark.usefixtures("live_network")

RELOADS = 1_000
IN_FLIGHT = 100  # a veth keeps 256 packets, and what is more is lost
# Also what is listened on changes, and so does what the XDP program is told.
TO_TWO = "10.0.0.2/32 514 10.1.0.2 A\ndefault * 10.1.0.3\n"
TO_THREE = "* 514,9000-9999 10.1.0.3 A\n10.0.0.7 514 10.1.0.2 B\n"


@pytest.fixture
def wide(site: Site) -> Site:
    """The collector has two addresses more."""
    site.near.address("c0", "10.1.0.3/24")
    site.near.address("c0", "10.1.0.4/24")
    return site


class Sender(threading.Thread):
    """Sends numbered datagrams until it is told to end, no faster than they arrive; looks where each goes."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self.is_over = threading.Event()
        self.sent = 0

    def run(self) -> None:
        while not self.is_over.is_set():
            for _ in range(20):
                self._site.sender.sendto(self.sent.to_bytes(8), ("10.0.0.1", 514))
                self.sent += 1
            end = time.monotonic() + 10
            while self.sent - self._site.collector.look() > IN_FLIGHT and time.monotonic() < end:
                time.sleep(0.001)


def reload(site: Site, live: Live, rules: str, number: int = 1) -> None:
    """number: how many there have been with this one."""
    path = site.rules(rules + "#")
    os.replace(path, path.with_suffix(".new"))
    path.with_suffix(".new").write_text(rules)
    os.replace(path.with_suffix(".new"), path)
    live.send(signal.SIGHUP)
    wait_until(lambda: live.said().count(": reloaded, ") >= number, live.said)


def test_a_thousand_reloads_lose_nothing(wide):
    """Every datagram comes to a collector of the old rules or of the new ones, once."""
    live = wide.run(TO_TWO)
    sender = Sender(wide)
    sender.start()
    try:
        for number in range(1, RELOADS + 1):
            reload(wide, live, TO_THREE if number % 2 else TO_TWO, number)
    finally:
        sender.is_over.set()
        sender.join()
    wide.collector.wait_for(sender.sent)
    arrived = wide.collector.arrived()
    assert sorted(int.from_bytes(one.payload) for one in arrived) == list(range(sender.sent))
    came = Counter(one.destination for one in arrived)
    assert set(came) == {"10.1.0.2", "10.1.0.3"} and min(came.values()) > sender.sent / 10
    account = live.stop().account()
    assert account["received"] == account["forwarded"] == account["copies"]["sent"] == sender.sent
    assert {name: copies["sent"] for name, copies in account["collectors"].items()} == came
    assert account["work"]["plans"] > RELOADS * 0.9  # a worker that sleeps may miss one


def test_what_stays_keeps_its_counts(wide):
    live = wide.run("10.0.0.2 514 10.1.0.2 A\n")
    assert wide.forwards(b"one")
    reload(wide, live, "# moved down\n\n10.0.0.9 515 10.1.0.4 B\n10.0.0.2 514 10.1.0.2 A\n")
    assert wide.forwards(b"two")
    reload(wide, live, "10.0.0.2 514 10.1.0.3 A\n", 2)
    assert wide.forwards(b"three")
    live.send(signal.SIGUSR1)
    live.wait_for("no longer named")
    reload(wide, live, "10.0.0.2 514 10.1.0.2 A\n10.0.0.9 514 10.1.0.3 A\n", 3)
    account = live.stop().account()
    assert {name: copies["sent"] for name, copies in account["collectors"].items()} == {"10.1.0.2": 2, "10.1.0.3": 1}
    counts = {its["rule"]: its["packets"] for its in account["rules"].values()}
    assert counts == {"10.0.0.2 514 10.1.0.2 A": 2, "10.0.0.9 514 10.1.0.3 A": 0}
    assert account["copies"]["sent"] == 3


def test_other_options_leave_the_counts(wide, tmp_path):
    """A collector is the one that is called so, and a rule what it says: neither hangs on how often a check is made."""
    path = tmp_path / "gfwd.toml"
    text = """[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
[collector.flow]
host = "10.1.0.2"
check = "arp"
interval = {}
[group.farm]
members = ["flow", "{}"]
[[rule]]
source = "*"
ports = 514
collectors = ["flow"]
priority = "B"
[[rule]]
source = "10.0.0.0/24"
ports = 515
collectors = ["farm"]
priority = "A"
"""
    path.write_text(text.format(5, "10.1.0.3"))
    live = wide.stack.enter_context(Live([*wide.gfwd, "run", "-c", path, "--json"], wide.us))
    live.wait_for("forwarding from")
    assert wide.forwards(b"one")
    path.write_text(text.format(6, "10.1.0.4"))
    live.send(signal.SIGHUP)
    wait_until(lambda: ": reloaded, " in live.said(), live.said)
    assert wide.forwards(b"two")
    account = live.stop().account()
    assert account["collectors"]["flow"]["sent"] == 2 and account["gone"]["wanted"] == 0
    assert sorted(its["packets"] for its in account["rules"].values()) == [0, 2]


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("* 514 10.1.0.3 A\n* 99999 10.1.0.2 A\n", "gfwd.rules:2:3: error:"),
        ("* 514 10.0.0.1 A\n", "collector 10.0.0.1 is gfwd's own address"),
        ("* 514 localhost A\n", "error: collector localhost: its address is 127.0.0.1: a loopback address"),
        ("* * 10.1.0.3 A\n", "no rule names a port"),
        (None, "No such file"),
    ],
)
def test_a_reload_that_cannot_be_changes_nothing(wide, rules, why):
    live = wide.run("* 514 10.1.0.2 A\n")
    path = wide.rules(rules or "")
    if rules is None:
        path.unlink()
    live.send(signal.SIGHUP)
    live.wait_for(why, "reload: error: nothing has changed")
    assert wide.forwards(b"still")
    assert wide.collector.arrived()[-1].destination == "10.1.0.2"
    reload(wide, live, "* 514 10.1.0.3 A\n")
    assert wide.forwards(b"again")
    assert wide.collector.arrived()[-1].destination == "10.1.0.3"
    assert live.stop().status == 0


def test_more_than_gfwd_can_redirect(wide):
    """The XDP program holds 64 own addresses; the interface has more by now. The old plan is put back."""
    live = wide.start("* 514 10.1.0.2 A\n", *BOTH_ARMS)
    live.wait_for("forwarding from")
    for last in range(10, 80):
        wide.us.address("in0", f"10.0.0.{last}/32")
    live.send(signal.SIGHUP)
    live.wait_for("own addresses of IPv4", "reload: error: nothing has changed")
    assert wide.forwards(b"still")
    live.stop()


def test_a_mac_that_came_with_what_cannot_be(wide, tmp_path):
    """Nothing has changed: neither is the neighbour's MAC the new one, nor is it no longer followed."""
    path = tmp_path / "gfwd.toml"
    rule = '[[rule]]\nsource = "*"\nports = 514\ncollectors = ["10.1.0.2"]\npriority = "A"\n'
    ports = '[ports]\nin = ["xdp:in0"]\nout = ["xdp:out0"]\n'
    path.write_text(ports + rule)
    live = wide.stack.enter_context(Live([*wide.gfwd, "run", "-c", path, "--json"], wide.us))
    live.wait_for("forwarding from")
    assert wide.forwards(b"one")
    many = ", ".join(f'"10.0.9.{last}"' for last in range(70))
    path.write_text(
        f'address = ["10.0.0.1", {many}]\n' + ports + '[neighbours]\n"10.1.0.2" = "02:00:00:00:00:77"\n' + rule
    )
    live.send(signal.SIGHUP)
    live.wait_for("AF_XDP takes up to 64 of each", "reload: error: nothing has changed")
    assert wide.forwards(b"two")
    macs = [one.to_mac for one in wide.collector.arrived()]
    assert macs == [wide.near.mac("c0")] * 2
    another = bytes.fromhex("020000000099")
    wide.near.ip.link("set", index=wide.near.index("c0"), address=another.hex(":"))
    live.wait_for(f"has moved from {macs[0].hex(':')} to {another.hex(':')}")
    assert live.stop().status == 0


def test_an_own_address_that_came_since_is_ours_after_a_reload(wide):
    live = wide.run("* 514 10.1.0.2 A\n")
    wide.us.address("in0", "10.0.0.77/24")
    reload(wide, live, "* 514 10.1.0.2 A\n")
    wide.sender.sendto(b"new", ("10.0.0.77", 514))
    wide.collector.wait_for(1)
    live.stop()
