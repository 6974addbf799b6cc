"""Addresses that come and go, VLAN interfaces, and datagrams that are too long, as FreeBSD's kernel tells of them."""

from __future__ import annotations

import errno
import os
import platform
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.freebsd.hosts import EXPORTER, INET, Hosts, wait_until
from tests.freebsd.wire import sh

pytestmark = [
    pytest.mark.skipif(platform.system() != "FreeBSD", reason="needs FreeBSD"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make interfaces and open /dev/netmap"),
    pytest.mark.skipif(not Path("/dev/netmap").exists(), reason="netmap is not loaded: kldload netmap"),
]

IP_DONTFRAG = 67  # netinet/in.h
RULES = """
[[rule]]
source = "10.78.0.0/16"
ports = 2055
collectors = ["{}"]
priority = "A"
[[rule]]
source = "fd78::/16"
ports = 2055
collectors = ["fd78:2::9"]
priority = "A"
"""
NEW = {4: "10.78.1.3", 6: "fd78:1::3"}


@pytest.fixture
def hosts(tmp_path):
    with ExitStack() as stack:
        yield Hosts(stack, tmp_path)


def send(family: int, address: str, payload: bytes) -> None:
    with socket.socket(INET[family], socket.SOCK_DGRAM) as its:
        its.bind((EXPORTER[family], 0))
        its.sendto(payload, (address, 2055))


@pytest.mark.parametrize("host", ["", "*"])
@pytest.mark.parametrize("family", [4, 6])
def test_an_address_that_comes_and_goes(hosts, host, family):
    collector = hosts.collector(family)
    running = hosts.start(RULES.format("10.78.2.9"), host)
    inet, length = {4: ("inet", 32), 6: ("inet6", 128)}[family]
    extra = ("no_dad",) if family == 6 else ()
    sh("ifconfig", hosts.into.name, inet, f"{NEW[family]}/{length}", *extra, "alias")
    running.wait_for(NEW[family])
    send(family, NEW[family], b"come")
    assert collector.recv(100) == b"come"
    sh("ifconfig", hosts.into.name, inet, NEW[family], "-alias")
    wait_until(lambda: NEW[family] not in running.said().splitlines()[-1], "it is still gfwd's")
    assert running.stop()["forwarded"] == 1


@pytest.mark.parametrize("host", ["", "*"])
def test_the_interface_of_a_vlan(hosts, host):
    """Its routes lead to the port beneath, and copies leave there with its tag."""
    hosts.vlan(100)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("10.78.3.9", 2055))
        collector.settimeout(60)
        running = hosts.start(RULES.format("10.78.3.9"), host)
        send(4, "10.78.1.1", b"tagged")
        assert collector.recv(100) == b"tagged"
    (its,) = (one for one in hosts.ask("neighbours") if one["address"] == "10.78.3.9")
    assert (its["port"], its["state"]) == (f"netmap:{hosts.out.name}{host} vlan 100", "ready")
    running.stop()


@pytest.mark.parametrize("host", ["", "*"])
def test_an_exporter_is_told_that_it_was_too_long(hosts, host):
    """Its kernel takes it to heart, for an hour: so these addresses are new each time, and gfwd's alone."""
    alone = {4: f"10.78.1.{20 + os.urandom(1)[0] % 200}", 6: f"fd78:1::7:{os.urandom(2).hex()}:{os.urandom(2).hex()}"}
    sh("ifconfig", hosts.out.name, "mtu", "1280")
    if host:  # then nobody says where they are
        mac = sh("ifconfig", hosts.into.name, "ether").partition("ether ")[2].split()[0]
        sh("arp", "-s", alone[4], mac)
        sh("ndp", "-s", alone[6], mac)
    collector = hosts.collector(6)
    text = f'address = ["{alone[4]}", "{alone[6]}"]\n' + RULES.format("10.78.2.9") + "\n[icmp]\ntoo_big = true\n"
    running = hosts.start(text, host)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four:
        four.setsockopt(socket.IPPROTO_IP, IP_DONTFRAG, 1)
        four.bind((EXPORTER[4], 0))
        four.connect((alone[4], 2055))
        four.send(bytes(1_400))
        told: list[int | None] = []

        def is_told() -> bool:
            try:
                four.send(b"short")
            except OSError as error:
                told.append(error.errno)
            return bool(told)

        wait_until(is_told, running.said())
        assert told == [errno.EMSGSIZE]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        six.bind((EXPORTER[6], 0))
        six.connect((alone[6], 2055))
        collector.settimeout(2)

        def has_arrived() -> bool:
            with suppress(OSError):  # the news first, or nothing has come in time
                six.send(bytes(1_400))
                return len(collector.recv(2_000)) == 1_400
            return False

        wait_until(has_arrived, running.said())
    assert running.stop()["drops"]["too_big"] >= 2
