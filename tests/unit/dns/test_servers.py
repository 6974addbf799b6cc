"""resolv.conf, hosts, and the names that a host may be meant by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.dns.servers import Server, candidates, read_hosts, read_resolv_conf, search_list
from gfwd.rules.model import Address


def test_resolv_conf():
    conf = read_resolv_conf(
        "# by somebody\nnameserver 192.0.2.53\nnameserver fe80::1%eth0 ; the router\nnameserver nonsense\n"
        "domain old.example.net\nsearch Example.NET. corp.example . \nnameserver ::1\nnameserver 192.0.2.54\n"
        "options ndots:2 timeout:99 attempts:0 rotate timeout: edns0\nsortlist 1.2.3.4\n"
    )
    assert list(map(str, conf.servers)) == ["192.0.2.53", "fe80::1%eth0", "::1"]
    assert conf.search == ("example.net", "corp.example")
    assert (conf.ndots, conf.timeout, conf.attempts) == (2, 30, 1)


def test_without_a_server_it_is_the_one_on_this_host():
    conf = read_resolv_conf("search example.net\n")
    assert conf.servers == (Server(Address(4, 0x7F000001), 53),)
    assert conf.servers[0].address.is_loopback
    assert (conf.ndots, conf.timeout, conf.attempts) == (1, None, 2)


@pytest.mark.parametrize(
    ("server", "text"),
    [
        (Server(Address(4, 0xC0000235), 53), "192.0.2.53"),
        (Server(Address(4, 0xC0000235), 853), "192.0.2.53:853"),
        (Server(Address(6, 1), 53), "::1"),
        (Server(Address(6, 1), 5353), "[::1]:5353"),
    ],
)
def test_servers_as_they_are_written(server, text):
    assert str(server) == text
    assert server.address.is_loopback == ("::1" in text)


def test_hosts():
    found = read_hosts("10.2.2.3 Log log.example.net. # ours\n::1 localhost\n10.2.2.4 log\nx y\n10.2.2.5\n")
    assert found["log"] == (Address(4, 0x0A020203), Address(4, 0x0A020204))
    assert found["log.example.net"] == (Address(4, 0x0A020203),)
    assert set(found) == {"log", "log.example.net", "localhost"}


@pytest.mark.parametrize(
    ("host", "ndots", "names"),
    [
        ("log", 1, ["log.a.example", "log.b.example", "log"]),
        ("log.dc1", 1, ["log.dc1", "log.dc1.a.example", "log.dc1.b.example"]),
        ("log.dc1", 2, ["log.dc1.a.example", "log.dc1.b.example", "log.dc1"]),
        ("l" * 63 + ".dc1" * 47, 1, ["l" * 63 + ".dc1" * 47]),
    ],
)
def test_candidates(host, ndots, names):
    assert list(candidates(host, ["a.example", "b.example"], ndots)) == names


@given(st.text())
def test_any_text(text):
    """Nothing is raised, and what is taken can be asked for."""
    conf = read_resolv_conf(text)
    assert 1 <= len(conf.servers) <= 3 and len(conf.search) <= 6
    assert all(isinstance(name, str) for name in read_hosts(text))
    assert search_list(text.split()) == search_list(search_list(text.split()))
