"""The text of single values: what is right, and what is said about the rest."""

import pytest

from gfwd.config import values
from gfwd.rules.model import ALL_PORTS


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/24", "192.0.2.1"),  # as an interface is written: the address alone is ours
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.0/32", "192.0.2.0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1/64", "2001:db8::1"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("::/0", "::/0"),
    ],
)
def test_own_prefix(text, prefix):
    assert str(values.own_prefix(text)) == prefix


@pytest.mark.parametrize("text", ["", "gfwd", "192.0.2", "192.0.2.256", "192.0.2.1/33", "2001:db8::1/129", "1/8"])
def test_no_own_prefix(text):
    with pytest.raises(ValueError, match="right would be"):
        values.own_prefix(text)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("all", ALL_PORTS),
        ("*", ALL_PORTS),
        ("514", ((514, 514),)),
        ("9990-9999,514,515", ((514, 515), (9990, 9999))),
    ],
)
def test_listen(text, ports):
    assert values.listen(text) == ports


@pytest.mark.parametrize("text", ["", "0", "65536", "ALL", "9-8", "514,"])
def test_no_listen(text):
    with pytest.raises(ValueError, match=r"; or all$"):
        values.listen(text)


@pytest.mark.parametrize(
    ("text", "address", "mac"),
    [
        ("192.0.2.1=02:00:00:00:00:01", "192.0.2.1", "020000000001"),
        ("2001:DB8:0::1=Aa:bB:cc:dd:ee:ff", "2001:db8::1", "aabbccddeeff"),
    ],
)
def test_neighbour(text, address, mac):
    found, octets = values.neighbour(text)
    assert (str(found), octets.hex()) == (address, mac)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.1",
        "192.0.2.1=",
        "=02:00:00:00:00:01",
        "192.0.2.1/24=02:00:00:00:00:01",
        "log.example.net=02:00:00:00:00:01",
        "192.0.2.1=020000000001",
        "192.0.2.1=02:00:00:00:00",
        "192.0.2.1=02:00:00:00:00:01:02",
        "192.0.2.1=02-00-00-00-00-01",
        "192.0.2.1=02:00:00:00:00:0g",
    ],
)
def test_no_neighbour(text):
    with pytest.raises(ValueError, match="is not IP=MAC"):
        values.neighbour(text)


@pytest.mark.parametrize("mac", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01"])
def test_no_group_is_a_neighbour(mac):
    with pytest.raises(ValueError, match="group address"):
        values.neighbour(f"192.0.2.1={mac}")


def test_count():
    assert values.count("15") == 15
    for text in ("", "0", "-1", "1.5", "1_000", "٣"):
        with pytest.raises(ValueError, match="not a number from 1 up"):
            values.count(text)


@pytest.mark.parametrize("text", ["127.0.0.1:9055", "0.0.0.0:1", "[::1]:65535", "[2001:db8::1]:9055"])
def test_endpoint(text):
    assert str(values.endpoint(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:http",
        "127.0.0.1:\u0663",
        "[127.0.0.1]:9055",
        "::1",
        "[::1]",
        "::1:9055",
        "localhost:9055",
        "*:9055",
        "[fe80::1]:9055",
        "[2001:db8::1%eth0]:9055",
        "1" * 5_000,
    ],
)
def test_no_endpoint(text):
    with pytest.raises(ValueError, match=r"right would be 127\.0\.0\.1:9055"):
        values.endpoint(text)


@pytest.mark.parametrize("text", ["8000", ":8000"])
def test_a_port_alone_is_no_endpoint(text):
    with pytest.raises(ValueError, match=r"at which address; for this host alone, right would be 127\.0\.0\.1:8000"):
        values.endpoint(text)


@pytest.mark.parametrize("text", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"])
def test_a_neighbour_is_one_host(text):
    with pytest.raises(ValueError, match="no single host"):
        values.host(text)


def test_a_neighbours_port_is_not_said_by_its_address():
    with pytest.raises(ValueError, match=r"write fe80::1$"):
        values.host("fe80::1%eth0")


def test_nobodys_mac():
    with pytest.raises(ValueError, match="nobody's MAC"):
        values.mac("00:00:00:00:00:00")
