"""Each field by itself: what it means, or exactly what is said about it, and at which of its characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.rules.fields import (
    FieldError,
    parse_collector,
    parse_ports,
    parse_priority,
    parse_source,
    quote,
    unreachable,
)
from gfwd.rules.model import (
    ADDRESS_BITS,
    ALL_PORTS,
    Address,
    Collector,
    Family,
    Ports,
    Prefix,
    merge_ports,
    ports_text,
)

NOT_A_SOURCE = "is not a source: write an address, a prefix such as 10.0.0.0/8 or 2001:db8::/32, * or default"
NOT_A_PORT = (
    "is not a port: write a number from 1 to 65535, a range such as 9995-9999, a list such as 514,9995-9999, or *"
)
NOT_A_COLLECTOR = (
    "is not a collector: write an address or a DNS name, each with or without a port, "
    "such as 10.2.2.6, [2001:db8::9]:2055 or flow.example.net:9995"
)
MULTICAST = "a multicast address is not one collector: write the collector's own address"
LOOPBACK = "a loopback address never leaves its host: write the collector's address on the network"
OWN_HOST = "addresses in 0.0.0.0/8 mean this very host (RFC 1122 §3.2.1.3): write the collector's own address"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("*", None),
        ("10.2.2.3", Prefix(4, 0x0A020203, 32)),
        ("10.2.2.3/32", Prefix(4, 0x0A020203, 32)),
        ("10.0.0.0/8", Prefix(4, 0x0A000000, 8)),
        ("0.0.0.0/0", Prefix(4, 0, 0)),
        ("255.255.255.255", Prefix(4, 0xFFFFFFFF, 32)),
        ("::/0", Prefix(6, 0, 0)),
        ("2001:DB8:1::/48", Prefix(6, 0x20010DB80001 << 80, 48)),
        ("2001:db8:0:0:0:0:0:9", Prefix(6, 0x20010DB8 << 96 | 9, 128)),
        ("fe80::1", Prefix(6, 0xFE80 << 112 | 1, 128)),
        ("127.0.0.1", Prefix(4, 0x7F000001, 32)),  # a capture of the loopback interface has it
        ("::/64", Prefix(6, 0, 64)),
        ("::fffe:0:0/95", Prefix(6, 0xFFFE << 32, 95)),
    ],
)
def test_source(text: str, source: Prefix | None) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.2.2.3/24", '"10.2.2.3/24" has bits set behind its length: write 10.2.2.0/24 or 10.2.2.3'),
        (
            "2001:db8::9/32",
            '"2001:db8::9/32" has bits set behind its length: write 2001:db8::/32 or 2001:db8::9',
        ),
        ("10.0.0.0/33", '"10.0.0.0/33": the length of a prefix is a number from 0 to 32'),
        ("::/129", '"::/129": the length of a prefix is a number from 0 to 128'),
        ("10.0.0.0/", '"10.0.0.0/": the length of a prefix is a number from 0 to 32'),
        ("10.0.0.0/08", '"10.0.0.0/08": the length of a prefix is a number from 0 to 32'),
        ("10.0.0.0/٨", '"10.0.0.0/٨": the length of a prefix is a number from 0 to 32'),
        ("10.0.0.0/255.0.0.0", '"10.0.0.0/255.0.0.0": write the netmask as a length: 10.0.0.0/8'),
        ("10.0.0.0/0.0.0.0", '"10.0.0.0/0.0.0.0": write the netmask as a length: 10.0.0.0/0'),
        ("10.2.2.3/255.255.255.255", '"10.2.2.3/255.255.255.255": write the netmask as a length: 10.2.2.3/32'),
        ("10.0.0.0/0.0.0.255", '"10.0.0.0/0.0.0.255": the length of a prefix is a number from 0 to 32'),
        ("010.1.1.1", '"010.1.1.1": leading zeros may mean octal: write 10.1.1.1'),
        ("10.1.1.000/24", '"10.1.1.000/24": leading zeros may mean octal: write 10.1.1.0'),
        ("10.1.1.256", '"10.1.1.256": each of the four numbers of an IPv4 address is 0 to 255'),
        ("fe80::1%eth0", '"fe80::1%eth0": an address stands here without its zone: write fe80::1'),
        (
            "::ffff:10.2.2.3",
            '"::ffff:10.2.2.3" is an IPv4-mapped address, which no datagram carries: write 10.2.2.3',
        ),
        (
            "::ffff:10.2.2.0/120",
            '"::ffff:10.2.2.0/120" is an IPv4-mapped address, which no datagram carries: write 10.2.2.0/24',
        ),
        ("10.2.2.3,10.2.2.4", '"10.2.2.3,10.2.2.4": only one source stands in a line; write a line for each'),
        ("DEFAULT", '"DEFAULT": write default, in small letters'),
        ("router.example", f'"router.example" {NOT_A_SOURCE}'),
        ("10.2.2", f'"10.2.2" {NOT_A_SOURCE}'),
        ("10/8", f'"10/8" {NOT_A_SOURCE}'),
        ("[::1]", f'"[::1]" {NOT_A_SOURCE}'),
        ("10.2.2.3\0", f'"10.2.2.3\\x00" {NOT_A_SOURCE}'),
        ("", f'"" {NOT_A_SOURCE}'),
    ],
)
def test_bad_source(text: str, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_source(text)
    assert (caught.value.text, caught.value.offset) == (message, 0)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("*", ALL_PORTS),
        ("1", ((1, 1),)),
        ("65535", ((65535, 65535),)),
        ("1-65535", ((1, 65535),)),
        ("514-514", ((514, 514),)),
        ("9995-9999,514", ((514, 514), (9995, 9999))),
        ("3,1,2", ((1, 3),)),
        ("1-10,5-20,20", ((1, 20),)),
        ("1-10,2-3", ((1, 10),)),
        ("514,514", ((514, 514),)),
    ],
)
def test_ports(text: str, ports: Ports) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("0", 0, f'"0" {NOT_A_PORT}'),
        ("65536", 0, f'"65536" {NOT_A_PORT}'),
        ("0514", 0, f'"0514" {NOT_A_PORT}'),
        ("syslog", 0, f'"syslog" {NOT_A_PORT}'),
        ("+5", 0, f'"+5" {NOT_A_PORT}'),
        ("5_14", 0, f'"5_14" {NOT_A_PORT}'),
        ("٥", 0, f'"٥" {NOT_A_PORT}'),
        ("1-", 0, f'"1-" {NOT_A_PORT}'),
        ("-9", 0, f'"-9" {NOT_A_PORT}'),
        ("1-2-3", 0, f'"1-2-3" {NOT_A_PORT}'),
        ("514,0-9", 4, f'"0-9" {NOT_A_PORT}'),
        ("514,9999-9995", 4, '"9999-9995" runs backwards: write 9995-9999'),
        ("514,*", 4, '"*" is all ports and stands alone, not in a list'),
        ("514,", 4, "a port is missing beside this comma: write a list as 514,9995-9999, without blanks"),
        (",514", 0, "a port is missing beside this comma: write a list as 514,9995-9999, without blanks"),
    ],
)
def test_bad_ports(text: str, offset: int, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_ports(text)
    assert (caught.value.text, caught.value.offset) == (message, offset)


V4 = Address(4, 0x0A020206)
V6 = Address(6, 0x20010DB8 << 96 | 9)


@pytest.mark.parametrize(
    ("text", "collector"),
    [
        ("10.2.2.6", Collector("10.2.2.6", None, V4)),
        ("10.2.2.6:9995", Collector("10.2.2.6", 9995, V4)),
        ("2001:DB8:0::9", Collector("2001:db8::9", None, V6)),
        ("[2001:db8::9]", Collector("2001:db8::9", None, V6)),
        ("[2001:db8::9]:2055", Collector("2001:db8::9", 2055, V6)),
        ("2001:db8::9:2055", Collector("2001:db8::9:2055", None, Address(6, 0x20010DB8 << 96 | 0x92055))),
        ("fe80::1", Collector("fe80::1", None, Address(6, 0xFE80 << 112 | 1))),
        ("Flow.Example.NET.", Collector("flow.example.net", None, None)),
        ("flow.example.net.:9995", Collector("flow.example.net", 9995, None)),
        ("archive", Collector("archive", None, None)),
        ("_x.2nd-host.a_b", Collector("_x.2nd-host.a_b", None, None)),
        ("10.example", Collector("10.example", None, None)),
        ("x" * 63 + ".y:1", Collector("x" * 63 + ".y", 1, None)),
    ],
)
def test_collector(text: str, collector: Collector) -> None:
    assert parse_collector(text) == collector
    assert parse_collector(str(collector)) == collector


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("10.2.2.6:", 9, '"" is not a collector\'s port: write a number from 1 to 65535'),
        ("10.2.2.6:0", 9, '"0" is not a collector\'s port: write a number from 1 to 65535'),
        ("[2001:db8::9]:70000", 14, '"70000" is not a collector\'s port: write a number from 1 to 65535'),
        ("flow:syslog", 5, '"syslog" is not a collector\'s port: write a number from 1 to 65535'),
        (
            "2001:db8:1:2:3:4:5:6:2055",
            0,
            '"2001:db8:1:2:3:4:5:6:2055": a port behind an IPv6 address needs brackets: '
            "write [2001:db8:1:2:3:4:5:6]:2055",
        ),
        (
            "2001:db8::9:12055",
            0,
            '"2001:db8::9:12055": a port behind an IPv6 address needs brackets: write [2001:db8::9]:12055',
        ),
        ("a:b:c", 0, '"a:b:c": not an IPv6 address; with a port, write [2001:db8::9]:2055'),
        ("[10.2.2.6]:9", 0, '"[10.2.2.6]:9": in brackets stands an IPv6 address: write [2001:db8::9]:2055'),
        ("[2001:db8::9", 0, '"[2001:db8::9": in brackets stands an IPv6 address: write [2001:db8::9]:2055'),
        ("[2001:db8::9]9", 0, '"[2001:db8::9]9": in brackets stands an IPv6 address: write [2001:db8::9]:2055'),
        ("fe80::1%eth0", 0, '"fe80::1%eth0": an address stands here without its zone: write fe80::1'),
        ("[fe80::1%eth0]:9", 0, '"[fe80::1%eth0]:9": an address stands here without its zone: write fe80::1'),
        ("010.2.2.6:9995", 0, '"010.2.2.6": leading zeros may mean octal: write 10.2.2.6'),
        ("10.2.2.300", 0, '"10.2.2.300": each of the four numbers of an IPv4 address is 0 to 255'),
        ("10.2.2", 0, '"10.2.2" is neither an address nor a name: a name does not end in a number'),
        ("9996", 0, '"9996" is neither an address nor a name: a name does not end in a number'),
        ("0.0.0.0", 0, f'"0.0.0.0": {OWN_HOST}'),
        ("0.1.2.3:9", 0, f'"0.1.2.3:9": {OWN_HOST}'),
        ("127.0.0.1", 0, f'"127.0.0.1": {LOOPBACK}'),
        ("::1", 0, f'"::1": {LOOPBACK}'),
        ("239.1.2.3", 0, f'"239.1.2.3": {MULTICAST}'),
        ("[ff02::1]:9", 0, f'"[ff02::1]:9": {MULTICAST}'),
        (
            "255.255.255.255",
            0,
            '"255.255.255.255": the broadcast address is not one collector: write the collector\'s own address',
        ),
        ("::", 0, "\"::\": the unspecified address is nobody's: write the collector's own address"),
        (
            "::ffff:10.2.2.6",
            0,
            '"::ffff:10.2.2.6": an IPv4-mapped address is carried by no datagram: write 10.2.2.6',
        ),
        ("10.2.2.0/24", 0, '"10.2.2.0/24": a collector is one host: write its address or name, without /'),
        (
            "flöw.example",
            0,
            '"flöw.example": write a name with other letters than a to z as the DNS has it, xn--…',
        ),
        ("-flow", 0, f'"-flow" {NOT_A_COLLECTOR}'),
        ("flow-.net", 0, f'"flow-.net" {NOT_A_COLLECTOR}'),
        ("flow..net", 0, f'"flow..net" {NOT_A_COLLECTOR}'),
        (".", 0, f'"." {NOT_A_COLLECTOR}'),
        ("*", 0, f'"*" {NOT_A_COLLECTOR}'),
        (":514", 0, f'"" {NOT_A_COLLECTOR}'),
        ("user@host", 0, f'"user@host" {NOT_A_COLLECTOR}'),
        (
            "x" * 64 + ".y",
            0,
            '"' + "x" * 64 + '.y" is too long for a DNS name: 253 characters are allowed, and 63 between two dots',
        ),
        (
            "x." * 127 + "y",
            0,
            '"' + "x." * 39 + 'x…" is too long for a DNS name: 253 characters are allowed, and 63 between two dots',
        ),
        ("B", 0, '"B": a single letter is a priority, and stands last in its line, behind a blank'),
    ],
)
def test_bad_collector(text: str, offset: int, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_collector(text)
    assert (caught.value.text, caught.value.offset) == (message, offset)


def test_longest_name() -> None:
    name = "x." * 126 + "y"
    assert len(name) == 253
    assert parse_collector(name).host == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", '"a": a priority is a capital letter: write A'),
        ("AA", '"AA" is not a priority: write one letter, A (best) to Z'),
        ("1", '"1" is not a priority: write one letter, A (best) to Z'),
        ("", '"" is not a priority: write one letter, A (best) to Z'),
        ("ß", '"ß" is not a priority: write one letter, A (best) to Z'),
    ],
)
def test_bad_priority(text: str, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_priority(text)
    assert caught.value.text == message


def test_priority() -> None:
    assert [parse_priority(letter) for letter in "AMZ"] == ["A", "M", "Z"]


def test_quote_disarms_and_shortens() -> None:
    assert quote("a\x1b[31m\ud800") == '"a\\x1b[31m\\ud800"'
    assert quote("x" * 80) == '"' + "x" * 80 + '"'
    assert quote("x" * 81) == '"' + "x" * 79 + '…"'


@given(st.sampled_from((4, 6)), st.data())
def test_canonical_sources_read_back(family: Family, data: st.DataObject) -> None:
    bits = ADDRESS_BITS[family]
    length = data.draw(st.integers(0, bits))
    prefix = Prefix(family, data.draw(st.integers(0, (1 << length) - 1)) << (bits - length), length)
    assert parse_source(str(prefix)) == prefix


@given(st.sampled_from((4, 6)), st.data(), st.none() | st.integers(1, 65535))
def test_canonical_collectors_read_back(family: Family, data: st.DataObject, port: int | None) -> None:
    address = Address(family, data.draw(st.integers(0, (1 << ADDRESS_BITS[family]) - 1)))
    if unreachable(address) is None:
        collector = Collector(str(address), port, address)
        assert parse_collector(str(collector)) == collector


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), min_size=1, max_size=9))
def test_canonical_ports_read_back(pairs: list[tuple[int, int]]) -> None:
    ports = merge_ports((min(pair), max(pair)) for pair in pairs)
    assert parse_ports(ports_text(ports)) == ports


@given(st.text(alphabet="0159afAZ:.[]/-,*%é\0\ud800 x"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse_field in (parse_source, parse_ports, parse_collector, parse_priority):
        try:
            parse_field(text)
        except FieldError as error:
            assert 0 <= error.offset <= len(text)
