"""Own addresses on a port without a host stack, and neighbours behind it, with Linux's own kernel as the peer."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from contextlib import ExitStack, suppress

import pytest

from gfwd.config.model import IcmpSetting
from gfwd.config.port_name import PortName
from gfwd.daemon.neighbours import Neighbours
from gfwd.daemon.ports import Port
from gfwd.daemon.punts import Punts
from gfwd.l2 import arp, checksum, ethernet, nd, rarp
from gfwd.l2.errors import FrameError
from gfwd.l2.kernel import Link
from gfwd.native.core import NONE, NeighbourState, Record
from gfwd.rules.model import ADDRESS_BITS, Address, Prefix
from tests.net.driven import LINK_LOCAL, OURS, PEER, PEER6, READY, US, US6, OnTheWire
from tests.net.network import Host, veth, wait_until
from tests.said import Said

STATION, ITS_ADDRESS = bytes.fromhex("02000000000b"), Address(4, 0x0A00000B)
DAD_FAILED = 0x08  # linux/if_addr.h: IFA_F_DADFAILED
IP_MTU, IPV6_MTU = 14, 24  # linux/in.h, linux/in6.h


class Wire(OnTheWire):
    """The peer speaks both families."""

    def __init__(self, icmp: IcmpSetting = IcmpSetting(), rarp_table: dict[bytes, Address] | None = None) -> None:  # noqa: B008 (frozen)
        super().__init__(icmp, rarp_table)
        self.peer.address("in0", "fd00::2/64")

    def until(self, condition) -> None:
        wait_until(condition, self.step)

    def run(self, *command: str) -> int:
        with self.peer.inside():
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.until(lambda: child.poll() is not None)
        finally:
            child.kill()
            child.wait()
        return child.returncode

    def raw(self, host: Host, interface: str = "in0") -> socket.socket:
        """What comes to and leaves from an interface, as it is."""
        its = self.stack.enter_context(host.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        its.bind((interface, 3))
        its.setblocking(False)
        return its

    def count(self, kind: str, result: str) -> int:
        return sum(one.n for one in self.punts.counts() if (one.kind, one.result) == (kind, result))

    def flags_of(self, address: str) -> int:
        """Of an address of the peer's."""
        found = next(one for one in self.peer.ip.get_addr() if one.get("IFA_ADDRESS") == address)
        return int(found.get("IFA_FLAGS") or 0)

    def events(self) -> list[str]:
        return [line for line in self.said if "address" in line]


@pytest.fixture
def wire():
    with Wire() as driven:
        yield driven


def frames_of(its: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(its.recv(4_096))
        except BlockingIOError:
            return found


# ---- ping, and the peer's own neighbour table ----


@pytest.mark.parametrize("size", ["0", "56", "1001", "1472"])
def test_ping(wire, size):
    assert wire.run("ping", "-c", "2", "-i", "0.2", "-W", "5", "-s", size, str(US)) == 0
    assert wire.peer.neighbour(str(US)) == OURS.hex(":")
    assert wire.count("echo", "sent") == 2
    assert wire.count("arp", "sent") >= 1


@pytest.mark.parametrize("target", [str(US6), f"{LINK_LOCAL}%in0"])
@pytest.mark.parametrize("size", ["0", "1001", "1452"])
def test_ping6(wire, target, size):
    assert wire.run("ping", "-6", "-c", "2", "-i", "0.2", "-W", "5", "-s", size, target) == 0
    assert wire.peer.neighbour(target.partition("%")[0]) == OURS.hex(":")
    assert wire.count("echo", "sent") == 2
    assert wire.count("nd", "sent") >= 1


def test_in_fragments_nothing_is_answered(wire):
    assert wire.run("ping", "-c", "1", "-W", "1", "-s", "3000", str(US)) == 1
    assert wire.run("ping", "-6", "-c", "1", "-W", "1", "-s", "3000", str(US6)) == 1
    assert wire.count("echo", "sent") == 0


def test_another_address_is_nobodys(wire):
    assert wire.run("ping", "-c", "1", "-W", "1", "10.0.0.77") == 1
    assert wire.run("ping", "-6", "-c", "1", "-W", "1", "fd00::77") == 1
    assert wire.count("echo", "sent") == 0


def test_a_flood_of_pings_is_limited_and_counted():
    with Wire(IcmpSetting(echo=5)) as wire:
        message = struct.pack(">BBHHH", 8, 0, 0, 1, 1)
        message = message[:2] + checksum.checksum(message).to_bytes(2) + message[4:]
        asker = wire.stack.enter_context(wire.peer.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        asker.setblocking(False)
        for _ in range(50):
            asker.sendto(message, (str(US), 0))
            wire.step()
        wire.until(lambda: wire.count("echo", "sent") + wire.count("echo", "limited") == 50)
        sent = wire.count("echo", "sent")
        assert 5 <= sent < 50
        replies = 0
        end = time.monotonic() + 10
        while replies < sent and time.monotonic() < end:
            wire.step()
            replies += len(frames_of(asker))
        assert replies == sent


def test_ping_can_be_off():
    with Wire(IcmpSetting(echo=0)) as wire:
        assert wire.run("ping", "-c", "1", "-W", "1", str(US)) == 1
        assert wire.count("echo", "sent") == wire.count("echo", "limited") == 0


def test_the_peers_kernel_confirms_us_again_and_again(wire):
    """It asks by unicast as soon as it has to send again: our entry is never in doubt for long, nor ever failed."""
    sender = wire.stack.enter_context(wire.peer.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    end = time.monotonic() + 6
    while time.monotonic() < end:
        sender.sendto(b"x", (str(US6), 514))
        wire.go_on(0.2)
    assert wire.peer.neighbour(str(US6)) == OURS.hex(":")
    assert wire.count("nd", "sent") >= 2


# ---- neighbours by neighbour discovery ----


@pytest.mark.parametrize("gateway", [False, True], ids=["on the link", "a gateway with a link-local address"])
def test_resolved_by_neighbour_discovery(wire, gateway):
    address = nd.link_local(wire.peer.mac("in0")) if gateway else PEER6
    wire.want(address)
    wire.wait_for_peer()
    wire.go_on(0.8)
    assert wire.history == [NeighbourState.PENDING, READY]


def test_a_mac_that_moves_is_found_by_neighbour_discovery(wire):
    wire.want(PEER6)
    wire.wait_for_peer()
    wire.peer.set_mac("in0", "02:00:00:00:00:22")
    wire.wait_for_peer()
    assert NeighbourState.FAILED not in wire.history


def test_one_that_is_silent_fails(wire):
    wire.want(Address(6, PEER6.value + 7))
    wire.wait_for(None, NeighbourState.FAILED)


# ---- whose address is it? ----


def test_an_address_of_ours_fails_the_kernels_detection(wire):
    wire.peer.sysctl("ipv6/conf/in0/accept_dad", 1)
    wire.peer.sysctl("ipv6/conf/in0/dad_transmits", 1)
    wire.until(lambda: any(nd.build(nd.announcement(OURS, US6)) == frame for frame in wire.left))
    wire.peer.address("in0", f"{US6}/64")
    wire.until(lambda: wire.flags_of(str(US6)) & DAD_FAILED)


def test_a_probe_for_an_address_of_ours_is_answered(wire):
    cable, mac = wire.raw(wire.peer), wire.peer.mac("in0")
    cable.send(arp.build(arp.probe(mac, US)))
    answer = arp.build(arp.reply(arp.probe(mac, US), OURS))
    wire.until(lambda: answer in frames_of(cable))


@pytest.mark.parametrize(("address", "ours"), [("10.0.0.1/24", US), ("fd00::1/64", US6)])
def test_an_address_that_somebody_has_is_left_to_him(address, ours):
    with OnTheWire() as its:
        its.peer.address("in0", address)
        its.follow()
        mac = its.peer.mac("in0").hex(":")
        text = f"mem:a: {ours}"
        wait_until(
            lambda: any(line.startswith(f"{text}: error: {mac} has this address") for line in its.said), its.step
        )
        asked = its.punts.counts()
        question = arp.request(STATION, ITS_ADDRESS, US) if ours.family == 4 else None
        if question is not None:
            its.core.arrive(0, arp.build(question))
            its.go_on(0.3)
            assert arp.build(arp.reply(question, OURS)) not in its.left
        assert asked == its.punts.counts()


def test_probes_and_announcements_as_the_rfcs_have_them(wire):
    end = time.monotonic() + 12
    wanted = [
        *[arp.build(arp.probe(OURS, US))] * 3,
        *[arp.build(arp.announcement(OURS, US))] * 2,
        *[nd.build(nd.probe(OURS, US6)), nd.build(nd.announcement(OURS, US6))],
        *[nd.build(nd.probe(OURS, LINK_LOCAL)), nd.build(nd.announcement(OURS, LINK_LOCAL))],
    ]
    wait_until(lambda: len(wire.left) >= len(wanted) or time.monotonic() > end, wire.step)
    assert sorted(wire.left) == sorted(wanted)
    assert wire.events() == []


def test_who_claims_our_address_is_named_and_answered(wire):
    wire.until(lambda: arp.build(arp.announcement(OURS, US)) in wire.left)
    wire.go_on(2.5)  # the second announcement, too
    before = len(wire.left)
    cable, mac = wire.raw(wire.peer), wire.peer.mac("in0")
    for _ in range(5):
        cable.send(arp.build(arp.announcement(mac, US)))
        wire.go_on(0.1)
    assert wire.events() == [
        f"mem:a: {US}: warning: {mac.hex(':')} says that it has this address of gfwd's; gfwd says so, too"
    ]
    assert wire.left[before:] == [arp.build(arp.announcement(OURS, US))]


# ---- RARP ----


def test_a_station_learns_its_address():
    with Wire(rarp_table={STATION: ITS_ADDRESS}) as wire:
        cable, mac = wire.raw(wire.peer), wire.peer.mac("in0")
        asked = rarp.request(mac, STATION)
        cable.send(rarp.build(asked))
        answer = rarp.build(rarp.reply(asked, OURS, US, ITS_ADDRESS))
        wire.until(lambda: answer in frames_of(cable))
        cable.send(rarp.build(rarp.request(mac, mac)))  # one that nobody knows
        wire.go_on(0.3)
        assert wire.count("rarp", "sent") == 1
        assert not [frame for frame in wire.left if frame[12:14] == b"\x80\x35" and frame != answer]


# ---- an attacker on the same switch ----


def is_question(frame: bytes, address: Address) -> bool:
    ether = ethernet.parse(frame)
    if ether.type == ethernet.ARP:
        asked = arp.parse(frame)
        return asked.operation == arp.REQUEST and asked.target == address
    if ether.type == ethernet.IPV6:
        heard = nd.parse(ether)
        return heard.kind == nd.SOLICITATION and heard.target == address
    return False


class Attacker:
    """A host that says, again and again, that an address is its own: unasked, and in answer to whatever it sees, which
    is all that there is: the switch is a hub from now on.
    """

    def __init__(self, wire: OnTheWire, address: Address) -> None:
        self.wire, self.address = wire, address
        self.host = Host()
        wire.stack.callback(self.host.close)
        veth(wire.us, "out1", self.host, "in0")
        for host, name in ((wire.us, "out1"), (self.host, "in0")):
            host.sysctl(f"ipv6/conf/{name}/disable_ipv6", 1)
            host.up(name)
        wire.cable.plug("out1")
        wire.us.ip.link("set", index=wire.us.index("switch"), kind="bridge", br_ageing_time=0)
        self.cable = wire.stack.enter_context(self.host.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        self.cable.bind(("in0", 3))
        self.cable.setblocking(False)
        self.mac = self.host.mac("in0")
        self.answers = self.lies = 0

    def lie(self) -> None:
        """All the forms that there are."""
        if self.address.family == 4:
            forged = [
                arp.reply(arp.request(OURS, US, self.address), self.mac),
                arp.announcement(self.mac, self.address),
                arp.announcement(self.mac, self.address)._replace(operation=arp.REPLY),
                arp.request(self.mac, self.address, US),
            ]
            frames = [arp.build(its) for its in forged]
        else:
            said = nd.advertise(nd.solicit(OURS, LINK_LOCAL, self.address), self.mac)
            gratuitous = nd.announcement(self.mac, self.address)
            frames = [nd.build(its) for its in (said, gratuitous, nd.solicit(self.mac, self.address, US6))]
        for frame in frames:
            self.cable.send(frame)
            self.lies += 1

    def answer(self, asked: arp.Arp | nd.Neighbour) -> bytes:
        if isinstance(asked, arp.Arp):
            return arp.build(arp.reply(asked, self.mac))
        return nd.build(nd.advertise(asked, self.mac))

    def race(self) -> None:
        """Answer our questions, those too that are for another MAC."""
        for frame in frames_of(self.cable):
            ether = ethernet.parse(frame)
            if ether.source != OURS:
                continue
            with suppress(FrameError):  # what is of the other family
                asked = arp.parse(frame) if self.address.family == 4 else nd.parse(ether)
                if asked.target == self.address:
                    self.cable.send(self.answer(asked))
                    self.answers += 1


@pytest.mark.parametrize("address", [PEER, PEER6], ids=["ARP", "ND"])
def test_an_attacker_takes_no_neighbour_that_is_there(wire, address):
    """Unasked and in a race with each confirmation, for some ten of them."""
    wire.want(address)
    wire.wait_for_peer()
    attacker = Attacker(wire, address)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        attacker.lie()
        attacker.race()
        wire.go_on(0.02)
    assert attacker.lies > 100
    assert wire.told == {0: (wire.peer.mac("in0"), READY)}
    assert wire.history == [NeighbourState.PENDING, READY]
    assert any(f"{attacker.mac.hex(':')} says that it has this address, too" in line for line in wire.said)
    assert attacker.answers > 10
    # Whatever it says, we ask no more often than the gap between two questions has it.
    assert len([frame for frame in wire.left if is_question(frame, address)]) <= 3 / 0.05 + 10


def test_an_attacker_makes_no_neighbour_of_one_that_failed(wire):
    """What nobody asked for makes us ask, and only that: who lies without listening gets nowhere."""
    address = Address(4, PEER.value + 90)
    wire.want(address)
    wire.wait_for(None, NeighbourState.FAILED)
    cable = wire.raw(wire.peer)
    asked = len(wire.left)
    cable.send(arp.build(arp.reply(arp.request(STATION, US, address), STATION)))  # to a MAC that is not ours
    cable.send(arp.build(arp.announcement(STATION, address)))
    wire.go_on(0.3)
    assert wire.told == {0: (None, NeighbourState.FAILED)}
    assert len(wire.left) > asked


def test_a_real_move_is_followed_while_the_attacker_is_silent(wire):
    wire.peer.sysctl("ipv6/conf/in0/ndisc_notify", 1)
    wire.want(PEER6)
    wire.wait_for_peer()
    started = time.monotonic()
    wire.peer.set_mac("in0", "02:00:00:00:00:23")
    wire.wait_for_peer()
    assert time.monotonic() - started < 10  # three questions, a tenth of a second each, on a machine that is busy
    assert NeighbourState.FAILED not in wire.history


# ---- ICMP errors ----


def connected(stack: ExitStack, host: Host, address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.family == 4 else socket.AF_INET6
    its = stack.enter_context(host.socket(family, socket.SOCK_DGRAM))
    its.setblocking(False)
    its.connect((str(address), port))
    return its


def is_refused(its: socket.socket) -> bool:
    try:
        its.recv(1)
    except BlockingIOError:
        return False
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("ours", [US, US6])
def test_a_closed_port_refuses(ours):
    with Wire(IcmpSetting(port_unreachable=True)) as wire:
        closed, open_ = (connected(wire.stack, wire.peer, ours, port) for port in (9, 514))
        for its in (closed, open_):
            its.send(b"anybody?")
        wire.until(lambda: is_refused(closed))
        assert wire.count("port_unreachable", "sent") == 1
        assert not is_refused(open_)
        for _ in range(20):
            connected(wire.stack, wire.peer, ours, 9).send(b"anybody?")
            wire.step()
        wire.until(lambda: sum(wire.count("port_unreachable", one) for one in ("sent", "limited")) == 21)
        assert 1 <= wire.count("port_unreachable", "sent") < 21


def test_without_the_key_nobody_is_told(wire):
    closed = connected(wire.stack, wire.peer, US, 9)
    closed.send(b"anybody?")
    wire.go_on(0.5)
    assert not is_refused(closed)
    assert wire.count("port_unreachable", "sent") == 0


def mtu_of(its: socket.socket) -> int:
    if its.family == socket.AF_INET:
        return its.getsockopt(socket.IPPROTO_IP, IP_MTU)
    return its.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)


def beginning(seen: socket.socket) -> bytes | None:
    """Of a datagram of 1,440 bytes, as it was on the wire."""
    return next((frame[:128] for frame in frames_of(seen) if len(frame) > 1_440), None)


def too_big(frame: bytes) -> Record:
    """What the core says of it."""
    return Record(time=0, port=0, rule=NONE, generation=NONE, mtu=1_400, frame=frame)


@pytest.mark.parametrize("ours", [US, US6])
def test_an_exporter_learns_what_is_too_big(wire, ours):
    its, seen = connected(wire.stack, wire.peer, ours, 514), wire.raw(wire.peer)
    its.send(bytes(1_440))
    frames: list[bytes | None] = [None]

    def look() -> bytes | None:
        frames[0] = frames[0] or beginning(seen)
        return frames[0]

    wire.until(look)
    assert mtu_of(its) == 1_500
    wire.punts.punted(too_big(frames[0] or b""), time.monotonic())
    wire.until(lambda: mtu_of(its) == 1_400)
    assert wire.count("too_big", "sent") == 1


@pytest.mark.parametrize(
    ("ours", "route"),
    [
        (US, None),
        (Address(4, 0xC000024D), str(US)),
        (US6, None),
        (Address(6, 0x20010DB8 << 96 | 0x77), str(US6)),
    ],
    ids=["the kernel's", "gfwd's alone", "the kernel's, IPv6", "gfwd's alone, IPv6"],
)
def test_where_there_is_a_host_stack_it_sends_that(ours, route):
    """By a raw socket, and from the address that the exporter knows, even where the kernel does not have it."""
    said = Said()
    with ExitStack() as stack:
        us, peer = Host(), Host()
        stack.callback(us.close)
        stack.callback(peer.close)
        veth(us, "out0", peer, "in0")
        for host, name, last in ((us, "out0", 1), (peer, "in0", 2)):
            host.up(name)
            host.address(name, f"10.0.0.{last}/24")
            host.address(name, f"fd00::{last}/64")
        if route is not None:
            peer.ip.route("add", dst=str(ours), gateway=route)
        seen = stack.enter_context(us.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        seen.bind(("out0", 3))
        seen.setblocking(False)
        its = connected(stack, peer, ours, 514)
        its.send(bytes(1_440))
        frames: list[bytes] = []
        wait_until(lambda: frames, lambda: frames.extend(filter(None, [beginning(seen)])))
        link = Link(us.index("out0"), "out0", us.mac("out0"), 1_500, is_up=True, has_carrier=True)
        port = Port(number=0, name=PortName("xdp", "out0"), link=link, is_in=True, is_out=True, rx=1, tx=1, mode="")
        punts = Punts([port], Neighbours(lambda *_: None, said.say), said.say)
        own = (Prefix(ours.family, ours.value, ADDRESS_BITS[ours.family]),)
        punts.follow([], own, IcmpSetting(too_big=True), {}, 0)
        with us.inside():
            punts.punted(too_big(frames[0]), time.monotonic())
        assert [tuple(one) for one in punts.counts()] == [("xdp:out0", "too_big", "sent", 1)]
        wait_until(lambda: mtu_of(its) == 1_400, lambda: None)
    assert said == []
