"""gfwd run between real interfaces: what exporters send reaches its collectors, and the host lives on meanwhile."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests import edges
from tests.e2e.live import (
    BOTH_ARMS,
    WAVE,
    Live,
    Site,
    Wire,
    cable,
    host,
    route,
    udp_counter,
    wait_until,
    xdp_programs,
)
from tests.e2e.streams import NEAR, Network
from tests.frames import GFWD_MAC
from tests.oracle.twin import FORWARDED, PASSED

TO_NEAR = "* 514 10.1.0.2 A\n"


pytestmark = pytest.mark.usefixtures("live_network")


# ---- every datagram, to the right collectors ----


@pytest.mark.parametrize(
    ("shape", "datagrams"), [("two-armed", 200_000), ("one-armed", 20_000), ("two inputs", 20_000)]
)
def test_every_datagram_comes_to_its_collectors(gfwd, tmp_path, shape, datagrams):
    """Whatever its exporter, in order, with its payload and its source; also when a collector moves to another MAC."""
    with Network(gfwd, tmp_path, shape) as network:
        for address in ("10.1.0.2", "10.1.0.3", "10.1.0.4"):
            assert network.us.neighbour(address) is None
        live = network.start()
        live.wait_for("forwarding from")
        network.exchange(datagrams // 2)
        before = network.mac(NEAR)
        network.near.set_mac("c0", "02:00:00:00:00:77")
        live.wait_for(f"has moved from {before.hex(':')} to 02:00:00:00:00:77")
        network.exchange(datagrams - datagrams // 2)
        ended = live.stop()
        assert ended.status == 0
        account = ended.account()
        assert account["received"] == account["forwarded"] == datagrams
        assert {name: copies["sent"] for name, copies in account["collectors"].items()} == network.wanted
        assert account["copies"]["sent"] == account["copies"]["wanted"]
        assert sum(port["ours"] for port in account["ports"].values()) == datagrams
        for who, at in network.hosts.items():
            # Nobody listens there, and before the kernel says so, it looks at the checksum.
            came = sum(number for (name, *_), (_, number) in network.expected.items() if name == who)
            assert (udp_counter(at, "NoPorts"), udp_counter(at, "InCsumErrors")) == (came, 0)
            assert len(network.kept[who]) > datagrams // 1_000
            assert all(map(scapy_agrees, network.kept[who]))


def scapy_agrees(frame: bytes) -> bool:
    """Whether scapy would have computed the same checksums."""
    whole = Ether(frame)
    anew = Ether(frame)
    del anew[IP].chksum, anew[UDP].chksum
    return bytes(anew) == bytes(whole) == frame


def test_a_wrong_checksum_stays_wrong(site):
    """Also a look at the reader: the collector's kernel does notice."""
    wire = site.stack.enter_context(Wire(site.exporter, "e0"))
    site.us.set_mac("in0", GFWD_MAC.hex(":"))
    live = site.run(TO_NEAR)
    wire.send(edges.EDGES["wrong UDP checksum"][0])
    wait_until(lambda: udp_counter(site.near, "InCsumErrors") == 1)
    wire.send(edges.EDGES["IPv4"][0])
    wait_until(lambda: udp_counter(site.near, "NoPorts") == 1)
    assert live.stop().account()["forwarded"] == 2


def test_two_workers_on_two_queues(gfwd, tmp_path):
    """All arrives, and in the order of each exporter."""
    with Network(gfwd, tmp_path, "two-armed", queues=2) as network:
        live = network.start("--workers", "2")
        live.wait_for("forwarding from xdp:in0 (native, 2 queues)")
        network.exchange(20_000)
        account = live.stop().account()
        assert account["forwarded"] == 20_000
        assert account["ports"]["xdp:in0"]["rx_queues"] == account["ports"]["xdp:out0"]["tx_queues"] == 2


# ---- what is not ours ----


def test_tcp_lives_on_the_same_interface(site):
    """A connection that was there before gfwd, and one that came after, while datagrams are forwarded."""
    with site.us.socket(kind=socket.SOCK_STREAM) as server:
        server.bind(("10.0.0.1", 9000))
        server.listen()
        with connected(site, server) as before:
            assert before.digests_agree(1 << 20)
            live = site.run(TO_NEAR)
            with connected(site, server) as after:
                stop = threading.Event()
                datagrams = threading.Thread(target=send_until, args=(site, stop))
                datagrams.start()
                try:
                    assert before.digests_agree(4 << 20)
                    assert after.digests_agree(4 << 20)
                finally:
                    stop.set()
                    datagrams.join()
            assert before.digests_agree(1 << 20)
        ended = live.stop()
        assert ended.status == 0
        account = ended.account()
        assert account["received"] == account["forwarded"] == len(site.collector.arrived()) > 0
        assert account["ports"]["xdp:in0"]["passed"] > 100


def send_until(site: Site, stop: threading.Event) -> None:
    """Datagrams, each when the one before has come."""
    sent = 0
    while not stop.is_set():
        site.sender.sendto(b"datagram", ("10.0.0.1", 514))
        sent += 1
        site.collector.wait_for(sent)


class Connection:
    """Both ends of a TCP connection, from the exporter's host to gfwd's."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.close()

    def digests_agree(self, size: int) -> bool:
        """Send random bytes there and back at once."""
        ends = self.client, self.server
        data = [os.urandom(size), os.urandom(size)]
        senders = [threading.Thread(target=end.sendall, args=(it,)) for end, it in zip(ends, data, strict=True)]
        for sender in senders:
            sender.start()
        got = [hashlib.sha256(), hashlib.sha256()]
        for end, digest in zip(reversed(ends), got, strict=True):
            left = size
            while left:
                piece = end.recv(min(left, 1 << 16))
                assert piece
                digest.update(piece)
                left -= len(piece)
        for sender in senders:
            sender.join()
        return [digest.digest() for digest in got] == [hashlib.sha256(it).digest() for it in data]


def connected(site: Site, server: socket.socket) -> Connection:
    client = site.exporter.socket(kind=socket.SOCK_STREAM)
    client.settimeout(60)
    client.connect(("10.0.0.1", 9000))
    server.settimeout(60)
    accepted, _ = server.accept()
    accepted.settimeout(60)
    return Connection(client, accepted)


def test_the_host_answers_arp_and_ping(site):
    live = site.run(TO_NEAR)
    assert site.exporter.neighbour("10.0.0.1") is None
    with site.exporter.socket(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP) as icmp:
        icmp.settimeout(30)
        icmp.sendto(edges.EDGES["ICMP"][0][34:], ("10.0.0.1", 0))
        answer, (source, _) = icmp.recvfrom(1_500)
    assert (source, answer[20]) == ("10.0.0.1", 0)  # echo reply
    assert site.exporter.neighbour("10.0.0.1") == site.us.mac("in0").hex(":")
    assert live.stop().account()["received"] == 0


def test_other_ports_and_other_addresses_are_the_kernels(site):
    """A server of the host's own gets its datagrams, and what the host routes for others is routed."""
    site.us.sysctl("ipv4/ip_forward", 1)
    route(site.exporter, "10.1.0.0/24", via="10.0.0.1")
    live = site.run(TO_NEAR)
    with site.us.socket() as server, site.near.socket() as beyond:
        for listening, at in ((server, ("10.0.0.1", 515)), (beyond, ("10.1.0.2", 514))):
            listening.bind(at)
            listening.settimeout(30)
            site.sender.sendto(b"for the kernel", at)
            assert listening.recv(100) == b"for the kernel"
    account = live.stop().account()
    assert account["received"] == 0
    assert account["ports"]["xdp:in0"]["passed"] >= 2


def test_frames_at_the_edges(site):
    """Each of tests/edges.py, once: where the whole lot ends, in gfwd's own account."""
    site.us.set_mac("in0", GFWD_MAC.hex(":"))
    wire = site.stack.enter_context(Wire(site.exporter, "e0"))
    came = site.stack.enter_context(Wire(site.near, "c0"))
    rules = "0.0.0.0/0 514 10.1.0.2 A\n::/0 514 fd01::2 A\n"
    macs = "--mac", f"10.1.0.2={site.near.mac('c0').hex(':')}", "--mac", "fd01::2=02:00:00:00:00:aa"
    live = site.run(rules, "--address", "10.0.0.1", "--address", "fd00::1", *macs)
    for frame, _ in edges.EDGES.values():
        wire.send(frame)
    wanted = Counter(place for _, place in edges.EDGES.values())
    forwarded: list[bytes] = []

    def all_came() -> bool:
        forwarded.extend(came.take())
        return len(forwarded) >= wanted[FORWARDED]

    wait_until(all_came)
    ended = live.stop()
    account = ended.account()
    assert account["forwarded"] == wanted.pop(FORWARDED)
    assert account["ports"]["xdp:in0"]["passed"] == wanted.pop(PASSED)
    assert ended.drops() == wanted
    assert account["received"] == len(edges.EDGES) - account["ports"]["xdp:in0"]["passed"]
    assert account["passed"] == 0


# ---- IPv6 ----


def test_ipv6(gfwd, tmp_path):
    """From exporter to collector, whose MAC the kernel finds out."""
    with ExitStack() as stack:
        exporter, us, near = (host(stack, speaks_ipv6=True) for _ in range(3))
        cable(exporter, "e0", us, "in0")
        cable(us, "out0", near, "c0")
        for at, interface, address in (
            (exporter, "e0", "fd00::2/64"),
            (us, "in0", "fd00::1/64"),
            (us, "out0", "fd01::1/64"),
            (near, "c0", "fd01::2/64"),
        ):
            at.address(interface, address)
        route(near, "fd00::/64", via="fd01::1")
        rules = tmp_path / "six.rules"
        rules.write_text("* 514 fd01::2 A\n")
        live = stack.enter_context(Live([*gfwd, "run", "--rules", rules, *BOTH_ARMS], us))
        live.wait_for("forwarding from")
        sender = stack.enter_context(exporter.socket(socket.AF_INET6))
        collector = stack.enter_context(near.socket(socket.AF_INET6))
        collector.bind(("fd01::2", 514))
        collector.settimeout(30)
        sent = [f"datagram {n}".encode() * (1 + n % 50) for n in range(1_000)]
        for datagram in sent:
            sender.sendto(datagram, ("fd00::1", 514))
            got, (source, source_port, *_) = collector.recvfrom(2_000)
            assert (got, source, source_port) == (datagram, "fd00::2", sender.getsockname()[1])
        ended = live.stop()
        assert f"neighbour fd01::2 on xdp:out0 is {near.mac('c0').hex(':')}" in ended.said
        account = ended.account()
        assert (account["received"], account["forwarded"]) == (1_000, 1_000)


# ---- one at rest ----


def test_idle_it_uses_next_to_no_cpu(site):
    live = site.run(TO_NEAR)
    live.wait_for("neighbour 10.1.0.2 on xdp:out0 is")
    before, began = live.cpu_s(), time.monotonic()
    time.sleep(2)
    assert live.cpu_s() - before < 0.2 * (time.monotonic() - began)
    assert live.stop().status == 0


# ---- told by a file ----


def test_all_of_it_in_a_file(gfwd, site, tmp_path):
    site.rules("* 514 near A\n")
    (tmp_path / "gfwd.toml").write_text(
        'rules = "gfwd.rules"\nports = {in = ["xdp:in0"], out = ["xdp:out0"]}\ncollector.near.host = "10.1.0.2"\n'
    )
    live = site.stack.enter_context(Live([*gfwd, "run", "-c", tmp_path / "gfwd.toml", "--json"], site.us))
    live.wait_for("forwarding from")
    assert site.forwards(b"told by a file")
    ended = live.stop()
    assert (ended.status, ended.account()["copies"]["sent"]) == (0, 1)


# ---- the end ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_has_come_by_the_signal_is_forwarded(site, number):
    """gfwd is frozen while datagrams come, so that the signal is there before it has seen one of them."""
    live = site.run(TO_NEAR)
    live.wait_for("neighbour 10.1.0.2 on xdp:out0 is")
    live.freeze()
    sent = [b"datagram %d" % n for n in range(1_000)]
    for start in range(0, len(sent), WAVE):
        for datagram in sent[start : start + WAVE]:
            site.sender.sendto(datagram, ("10.0.0.1", 514))
        time.sleep(0.01)  # a veth has room for 256; the rings behind it for more than these
    live.send(number)
    live.thaw()
    ended = live.ended()
    assert ended.status == 0
    account = ended.account()
    assert account["received"] == account["forwarded"] == account["copies"]["sent"] == len(sent)
    assert site.collector.payloads() == sent


def test_what_waits_for_a_neighbour_at_the_end_is_counted(site):
    site.near.sysctl("ipv4/conf/c0/arp_ignore", 8)
    live = site.run(TO_NEAR)
    for n in range(10):
        site.sender.sendto(b"datagram %d" % n, ("10.0.0.1", 514))
    ended = live.stop()
    assert ended.status == 0
    account = ended.account()
    assert account["received"] == account["copies"]["wanted"] == 10
    assert account["forwarded"] == account["copies"]["sent"] == 0
    # On a slow machine the neighbour may have been given up by then.
    assert account["copies"]["pending"] + account["copies"]["drops"]["neighbour_failed"] == 10


def test_a_worker_keeps_to_its_cpu(site):
    cpu = max(os.sched_getaffinity(0))
    live = site.run(TO_NEAR, "--cpu", str(cpu))
    assert site.forwards(b"datagram")
    pid = live.process.pid
    threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
    assert {cpu} in [os.sched_getaffinity(thread) for thread in threads]
    assert live.stop().status == 0


def test_after_its_end_all_is_the_kernels_again(site):
    live = site.run(TO_NEAR)
    assert (xdp_programs(site.us, "in0"), xdp_programs(site.us, "out0")) == (1, 1)
    live.stop()
    assert (xdp_programs(site.us, "in0"), xdp_programs(site.us, "out0")) == (0, 0)
    with site.us.socket() as server:
        server.bind(("10.0.0.1", 514))
        server.settimeout(30)
        site.sender.sendto(b"datagram", ("10.0.0.1", 514))
        assert server.recv(100) == b"datagram"


# ---- what it prints ----


def test_account_as_tables(site):
    live = site.start(TO_NEAR, "--in", "xdp:in0", "--out", "xdp:out0")
    live.wait_for("neighbour 10.1.0.2 on xdp:out0 is")
    site.sender.sendto(b"datagram", ("10.0.0.1", 514))
    site.collector.wait_for(1)
    ended = live.stop()
    words = " ".join(ended.out.split())
    assert "10.1.0.2 1 1 50 0 0" in words
    assert "xdp:in0 native 1 0" in words
    assert f"10.1.0.2 xdp:out0 {site.near.mac('c0').hex(':')} ready" in words


def test_account_as_json(site):
    live = site.run(TO_NEAR)
    live.wait_for("neighbour 10.1.0.2 on xdp:out0 is")
    account = live.stop().account()
    port = {"mode": "native", "ours": 0, "lost": 0, "error": None}
    assert account["ports"]["xdp:in0"].items() >= {**port, "rx_queues": 1, "tx_queues": 0}.items()
    assert account["ports"]["xdp:out0"].items() >= {**port, "rx_queues": 0, "tx_queues": 1}.items()
    mac = site.near.mac("c0").hex(":")
    assert account["neighbours"] == [{"address": "10.1.0.2", "port": "xdp:out0", "mac": mac, "state": "ready"}]


def test_a_signal_shows_the_status(site):
    live = site.run(TO_NEAR)
    live.wait_for("neighbour 10.1.0.2 on xdp:out0 is")
    site.sender.sendto(b"datagram", ("10.0.0.1", 514))
    site.collector.wait_for(1)
    live.send(signal.SIGUSR1)
    live.wait_for("collector", "dropped", "* 514 10.1.0.2 A")
    assert live.stop().account()["received"] == 1
