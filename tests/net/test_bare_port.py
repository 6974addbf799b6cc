"""A whole gfwd on a port that is no interface of the host, with Linux's kernel as exporter, collector and gateway."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from gfwd.config.model import USUAL_ICMP, IcmpSetting
from gfwd.daemon.course import Setting
from gfwd.daemon.forwarder import Forwarder
from gfwd.daemon.probe.prober import Prober
from gfwd.daemon.tagged_wires import TaggedWires
from gfwd.l2 import nd
from gfwd.l2.linux import LinuxKernel
from gfwd.native.core import Core, Limits
from gfwd.rules import classic
from gfwd.rules.model import ADDRESS_BITS, Address, Prefix
from gfwd.rules.space import RuleSpace
from tests.net.driven import LINK_LOCAL, OURS, US, US6, Cable, Driven, bare_port
from tests.net.network import wait_until

COLLECTOR = Address(6, 0x20010DB8 << 96 | 9)
GATEWAY = Address(6, 0xFE80 << 112 | 0x77)
NEAR = Address(6, 0xFD << 120 | 2)


class BarePort(Driven):
    """gfwd with 10.0.0.1 and fd00::1 on a memory port; the peer has 10.0.0.2 and fd00::2, and plays all others."""

    def __init__(self, icmp: IcmpSetting = USUAL_ICMP, *, gateway: Address | None = None) -> None:
        super().__init__()
        self.peer.address("in0", "fd00::2/64")
        self.cable = Cable(self.us, self.stack)
        with self.us.inside():
            kernel = self.stack.enter_context(LinuxKernel())
        prober = self.stack.enter_context(Prober())
        self.core = self.stack.enter_context(Core(Limits(rules=8, collectors=8, neighbours=8)))
        self.core.port_mem(self.core.region(rings=2, slots=64))
        worker = self.core.worker([(0, 0)], [(0, 0)])
        wires = self.stack.enter_context(TaggedWires())
        self.forwarder = Forwarder(kernel, self.core, [bare_port()], [worker], self.said.say, prober, wires)
        far = gateway is not None
        rules = classic.parse(f"* 514 [{COLLECTOR if far else NEAR}]:2055 A", "bare.rules")
        self.setting = Setting(
            rules=rules,
            own=tuple(Prefix(one.family, one.value, ADDRESS_BITS[one.family]) for one in (US, US6)),
            listen=((514, 514),),
            addresses={collector: (collector.address,) for collector in rules.collectors() if collector.address},
            macs={},
            gateways={Prefix(6, 0x20010DB8 << 96, 32): gateway} if gateway is not None else {},
            icmp=icmp,
        )
        self.forwarder.take(self.setting, RuleSpace(rules))
        thread = threading.Thread(target=worker.run, name="worker", daemon=True)
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(worker.stop)

    def step(self) -> None:
        self.cable.carry(self.core)
        self.forwarder.advance()

    def run(self, *command: str) -> int:
        child = self.peer.start(command)
        try:
            wait_until(lambda: child.poll() is not None, self.step)
        finally:
            child.kill()
            child.wait()
        return child.returncode

    def answers(self) -> dict[tuple[str, str], int]:
        return {(one.kind, one.result): one.n for one in self.forwarder.report().answers}


@pytest.mark.parametrize("gateway", [False, True], ids=["a neighbour", "behind a gateway with a link-local address"])
def test_datagrams_find_their_collector(gateway):
    """What was sent before anybody knew a MAC arrives, too."""
    with BarePort(gateway=GATEWAY if gateway else None) as its:
        if gateway:
            its.peer.address("in0", f"{GATEWAY}/64")
            its.peer.address("lo", f"{COLLECTOR}/128")
            its.peer.up("lo")
        collector = its.stack.enter_context(its.peer.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        collector.bind(("::", 2_055))
        collector.setblocking(False)
        sent = [b"datagram %d" % number for number in range(20)]
        arrived: list[bytes] = []

        def step() -> None:
            its.step()
            with suppress(BlockingIOError):
                arrived.append(collector.recv(2_048))

        for frame in exported(sent):
            its.core.arrive(0, frame)
        wait_until(lambda: len(arrived) == len(sent), step)
        assert arrived == sent


def exported(payloads: list[bytes]) -> list[bytes]:
    """Datagrams of an exporter that is not the peer: no kernel takes what comes with its own source address."""
    head = (
        Ether(dst=OURS.hex(":"), src="02:00:00:00:00:77") / IPv6(src="fd00::77", dst=str(US6)) / UDP(sport=9, dport=514)
    )
    return [bytes(head / payload) for payload in payloads]


def test_it_answers_for_its_addresses_and_is_accounted_for():
    with BarePort(IcmpSetting(port_unreachable=True)) as its:
        for target in (str(US), str(US6), f"{LINK_LOCAL}%in0"):
            assert its.run("ping", "-c", "2", "-i", "0.2", "-W", "5", target) == 0
        closed = its.stack.enter_context(its.peer.socket(socket.AF_INET, socket.SOCK_DGRAM))
        closed.setblocking(False)
        closed.connect((str(US), 9))
        closed.send(b"anybody?")
        wait_until(lambda: its.answers().get(("port_unreachable", "sent")) == 1, its.step)
        assert its.answers()["echo", "sent"] == 6
        assert its.forwarder.report().as_json()["answers"][0]["port"] == "mem:a"
        deadline = its.forwarder.deadline()
        assert deadline is not None  # the second announcement is still to come
        frames = its.core.frames()
        assert frames.received == frames.punted + frames.passed + sum(frames.drops.values())


def test_a_reload_keeps_what_is_known_and_claims_what_is_new():
    with BarePort() as its:
        later = Address(4, US.value + 10)
        announced = nd.build(nd.announcement(OURS, US6))
        wait_until(lambda: announced in its.cable.left, its.step)
        its.go_on(0.5)
        own = (*its.setting.own, Prefix(4, later.value, 32))
        before = len([frame for frame in its.cable.left if frame == announced])
        setting = Setting(
            rules=its.setting.rules,
            own=own,
            listen=its.setting.listen,
            addresses=its.setting.addresses,
            macs={},
            gateways={},
        )
        its.forwarder.take(setting, RuleSpace(setting.rules))
        started = time.monotonic()
        assert its.run("ping", "-c", "1", "-W", "5", str(later)) == 0
        assert time.monotonic() - started < 20
        its.go_on(2.5)
        assert len([frame for frame in its.cable.left if frame == announced]) == before
