"""FreeBSD's routing messages, as a FreeBSD 13.2 said them (tests/data/README.md)."""

import ipaddress
import json
import random
import time
from pathlib import Path

import pytest

from gfwd.l2 import rtsock
from gfwd.l2.rtsock import Interface, InterfaceAddress, Message, Other, Route
from gfwd.rules.model import Address, Prefix

RECORDED = json.loads(Path(__file__, "../../data/freebsd-13.2.json").resolve().read_text("ascii"))


def recorded(name: str) -> list[Message]:
    said = RECORDED[name]
    return [
        message
        for one in (said if isinstance(said, list) else [said])
        for message in rtsock.messages(bytes.fromhex(one))
    ]


def address(text: str) -> Address:
    its = ipaddress.ip_address(text)
    return Address(4 if its.version == 4 else 6, int(its))


def test_interfaces_and_their_addresses():
    found = recorded("iflist")
    links = [message for message in found if isinstance(message, Interface)]
    assert [(link.index, link.name, link.mac.hex(":"), link.mtu, link.link_state) for link in links] == [
        (1, "em0", "52:54:00:00:01:00", 1500, 2),
        (2, "em1", "52:54:00:00:01:01", 1500, 2),
        (3, "vtnet0", "52:54:00:00:02:00", 1500, 2),
        (4, "vtnet1", "52:54:00:00:02:01", 1500, 0),
        (5, "mgmt", "52:54:00:00:00:01", 1500, 2),
        (6, "vmx0", "52:54:00:00:04:00", 1500, 2),
        (7, "vmx1", "52:54:00:00:04:01", 1500, 0),
        (8, "lo0", "", 16384, 2),
    ]
    assert [link.name for link in links if link.flags & 0x1] == ["vtnet0", "mgmt", "vmx0", "lo0"]  # IFF_UP
    addresses = [message for message in found if isinstance(message, InterfaceAddress)]
    own = [(each.index, str(each.address), each.length) for each in addresses]
    assert own == [
        (3, "10.9.1.2", 24),
        (3, "fd09:1::2", 64),
        (3, "fe80::5054:ff:fe00:200", 64),  # without the interface's index in it
        (5, "10.0.2.15", 24),
        (6, "10.9.2.2", 24),
        (8, "::1", 128),
        (8, "fe80::1", 64),
        (8, "127.0.0.1", 8),
    ]


def test_neighbours():
    arp = {str(each.destination): each for each in recorded("arp") if isinstance(each, Route)}
    assert all(each.flags & rtsock.RTF_LLDATA for each in arp.values())
    assert (arp["10.9.1.1"].index, arp["10.9.1.1"].mac.hex(":"), arp["10.9.1.1"].expire) == (
        3,
        "1e:5c:61:ab:f4:0c",
        1555,
    )
    assert arp["10.9.1.77"].mac == b""  # it has not answered
    assert (arp["10.9.1.50"].flags & rtsock.RTF_STATIC, arp["10.9.1.50"].expire) == (rtsock.RTF_STATIC, 0)
    assert arp["10.9.1.2"].flags & rtsock.RTF_STATIC  # our own
    nd = {str(each.destination): each.mac.hex(":") for each in recorded("ndp") if isinstance(each, Route)}
    assert nd == {
        "fd09:1::1": "1e:5c:61:ab:f4:0c",
        "fd09:1::2": "52:54:00:00:02:00",
        "fe80::1c5c:61ff:feab:f40c": "1e:5c:61:ab:f4:0c",
        "fe80::5054:ff:fe00:200": "52:54:00:00:02:00",
    }


@pytest.mark.parametrize(
    ("to", "prefix", "gateway", "index", "dead"),
    [
        ("10.9.1.1", "10.9.1.0/24", None, 3, 0),
        ("192.0.2.7", "192.0.2.0/24", "10.9.1.1", 3, 0),
        ("198.51.100.9", "198.51.100.9", "10.9.2.7", 6, 0),
        ("203.0.113.1", "203.0.113.0/24", "127.0.0.1", 8, rtsock.RTF_BLACKHOLE),
        ("8.8.8.8", "0.0.0.0/0", "10.0.2.2", 5, 0),
        ("10.9.1.2", "10.9.1.2", None, 8, 0),
    ],
)
def test_routes(to, prefix, gateway, index, dead):
    (route,) = recorded(f"get {to}")
    assert isinstance(route, Route)
    assert (str(route.destination), route.index) == (prefix, index)
    assert route.gateway == (gateway and address(gateway))
    assert route.flags & (rtsock.RTF_BLACKHOLE | rtsock.RTF_REJECT) == dead
    assert (route.type, route.seq) == (rtsock.GET, 77)


def test_news():
    def said(name: str) -> set[tuple[int, bool]]:
        """Types, and whether they are of neighbours."""
        return {
            (each.type, isinstance(each, Route) and bool(each.flags & rtsock.RTF_LLDATA)) for each in recorded(name)
        }

    assert said("news up") == {(rtsock.IFINFO, False)}
    assert {(rtsock.NEWADDR, False), (rtsock.ADD, False), (rtsock.ADD, True)} <= said("news address")
    assert said("news ping") == {(rtsock.ADD, True)}  # of IPv6 only: of ARP, nothing is said
    assert said("news route") == {(rtsock.ADD, False)}
    assert {(rtsock.DELETE, False), (rtsock.DELADDR, False), (rtsock.IFINFO, False)} <= said("news down")
    assert {(rtsock.IFANNOUNCE, False), (rtsock.IFINFO, False)} == said("news epair")
    mtus = [each.mtu for each in recorded("news down") if isinstance(each, Interface) and each.index == 3]
    assert mtus == [1400, 1500]


def test_question():
    """What is asked reads back as what was asked."""
    for to in (address("192.0.2.7"), address("2001:db8::7")):
        (asked,) = rtsock.messages(rtsock.get(to, 77))
        bits = 32 if to.family == 4 else 128
        assert isinstance(asked, Route)
        assert (asked.type, asked.seq, asked.destination) == (rtsock.GET, 77, Prefix(to.family, to.value, bits))
        assert len(rtsock.get(to, 77)) % 8 == 0


def test_what_there_is_no_route_for():
    data = bytearray.fromhex(RECORDED["get 10.9.1.1"])
    data[24:28] = (3).to_bytes(4, "little")  # rtm_errno: ESRCH
    (answer,) = rtsock.messages(bytes(data))
    assert isinstance(answer, Route)
    assert (answer.error, answer.seq) == (3, 77)


def test_a_large_table_takes_no_longer_for_each_message():
    """Some 8 MB, which would be copied 20,000 times."""
    one = bytes.fromhex(RECORDED["get 10.9.1.1"])
    count = 20_000
    started = time.process_time()
    assert sum(1 for _ in rtsock.messages(one * count)) == count
    whole = time.process_time() - started
    started = time.process_time()
    for _ in range(count):
        list(rtsock.messages(one))
    assert whole < 3 * (time.process_time() - started)


def test_messages_of_another_version_are_only_counted():
    data = bytearray.fromhex(RECORDED["get 10.9.1.1"])
    data[2] = 6
    assert list(rtsock.messages(bytes(data))) == [Other(rtsock.GET)]


def test_cut_anywhere():
    """Cut bytes are no error, and what was whole before them is found."""
    whole = bytes.fromhex(RECORDED["iflist"])
    ends = {0}
    for message in list(rtsock.messages(whole)):
        start = max(ends)
        ends.add(start + int.from_bytes(whole[start : start + 2], "little"))
        assert isinstance(message, Interface | InterfaceAddress)
    for length in range(len(whole)):
        assert len(list(rtsock.messages(whole[:length]))) == sum(0 < end <= length for end in ends)


def test_any_bytes():
    """Flipped bytes are read without an exception, and without end."""
    everything = [bytes.fromhex(said) for name in ("iflist", "arp", "ndp") for said in [RECORDED[name]]]
    chance = random.Random(5)
    for _ in range(2_000):
        data = bytearray(chance.choice(everything))
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        list(rtsock.messages(bytes(data)))
