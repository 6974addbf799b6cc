"""Datagrams of the other protocols, values, elements, and what a terminal is spared."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.asn1.asn1 import ASN1_IPADDRESS, ASN1_OID, ASN1_TIME_TICKS
from scapy.layers.snmp import SNMP as Snmp
from scapy.layers.snmp import SNMPinform, SNMPtrapv1, SNMPtrapv2, SNMPvarbind

from gfwd.netflow.cache import TemplateCache
from gfwd.netflow.decode import decode
from gfwd.netflow.elements import element
from gfwd.netflow.message import NETFLOW, SFLOW, SNMP, SYSLOG, Message, Part
from gfwd.netflow.plain import plain
from gfwd.netflow.printable import printable
from gfwd.netflow.summary import Summary
from gfwd.netflow.values import reader
from tests.netflow import SENDER, a_set, flow_sample, options_v9, sflow, tagged, template, v5, v9

SECOND = 10**9


def read(protocol: str, payload: bytes) -> Message:
    return decode(protocol, payload, SENDER, TemplateCache())


# ---- NetFlow v1, v5, v7 ----


def test_v5():
    message = read(NETFLOW, v5(2, 700, sampling=1 << 14 | 100))
    assert (message.count, message.sequence, message.step, message.sampling) == (2, 700, 2, 100)
    assert (message.sys_uptime, message.unix_secs, message.source_id) == (1000, 1_700_000_000, 0x0102)
    (its,) = message.sets
    assert (its.id, its.kind.value, its.n_records) == (None, "data", 2)
    assert (its.records() or [])[1] == {
        "sourceIPv4Address": "10.0.0.1",
        "destinationIPv4Address": "10.1.0.1",
        "ipNextHopIPv4Address": "10.2.0.1",
        "ingressInterface": 3,
        "egressInterface": 4,
        "packetDeltaCount": 7,
        "octetDeltaCount": 700,
        "flowStartSysUpTime": 10,
        "flowEndSysUpTime": 20,
        "sourceTransportPort": 1234,
        "destinationTransportPort": 53,
        "tcpControlBits": 0x1B,
        "protocolIdentifier": 17,
        "ipClassOfService": 8,
        "bgpSourceAsNumber": 65001,
        "bgpDestinationAsNumber": 65002,
        "sourceIPv4PrefixLength": 24,
        "destinationIPv4PrefixLength": 16,
    }


def test_v5_whose_count_lies():
    message = read(NETFLOW, v5(30, records=2))
    assert message.flaw == "the header says 30 records, and there is room for 2"
    assert message.sets[0].n_records == 2


@pytest.mark.parametrize(("version", "header", "record"), [(1, 16, 48), (7, 24, 52)])
def test_v1_and_v7(version, header, record):
    """48 bytes are a record of v1 on the wire, and 52 one of v7."""
    payload = struct.pack(">HHII", version, 2, 5, 6).ljust(header, b"\0") + bytes(range(record)) * 2
    message = read(NETFLOW, payload)
    assert (message.version, message.flaw, message.sets[0].n_records) == (version, None, 2)
    assert (message.sequence is None) == (version == 1)
    first, second = message.sets[0].records() or []
    assert first == second
    assert (first["sourceIPv4Address"], first["octetDeltaCount"]) == ("0.1.2.3", 0x14151617)


@pytest.mark.parametrize("version", [0, 2, 6, 8, 11, 65535])
def test_other_versions_are_not_guessed_at(version):
    message = read(NETFLOW, struct.pack(">H", version) + bytes(100))
    assert message.flaw == f"version {version}: known are NetFlow 1, 5, 7, 9 and IPFIX (10)"


# ---- sFlow ----


def test_sflow():
    counters = tagged(2, struct.pack(">III", 8, 1, 1) + tagged(1, bytes(88)))
    strange = tagged(4096 << 12 | 3, b"1234")
    message = read(SFLOW, sflow(flow_sample(tagged(1, bytes(16)), sequence=5), counters, strange, sequence=77))
    assert (message.sequence, message.count, message.step, message.flaw) == (77, 3, 1, None)
    assert message.details == {"agent": "192.0.2.9"}
    assert message.samples is not None
    flow, count, other = message.samples()
    assert (flow.kind, flow.sequence, flow.sampling, flow.records) == ("flow", 5, 400, [Part("raw_header", 16)])
    assert (count.kind, count.source_id, count.records) == ("counters", 1, [Part("interface", 88)])
    assert (other.kind, other.length, other.records) == ("4096:3", 4, ())


def test_sflow_samples_of_large_interface_numbers():
    """expanded_flow and expanded_counters (sflow_version_5.txt §5.3), and what an agent had no room for."""
    flow = tagged(3, struct.pack(">11I", 5, 0, 70_000, 400, 9, 77, 0, 70_000, 0, 70_001, 1) + tagged(1, bytes(16)))
    counters = tagged(4, struct.pack(">4I", 6, 3, 99, 1) + tagged(1, bytes(88)))
    found = read(SFLOW, sflow(flow, counters)).samples
    assert found is not None
    one, other = found()
    assert (one.kind, one.source_id, one.sampling, one.drops) == ("expanded_flow", 70_000, 400, 77)
    assert (other.kind, other.source_id, other.drops) == ("expanded_counters", 3 << 24 | 99, None)
    assert (one.records, other.records) == ([Part("raw_header", 16)], [Part("interface", 88)])


def test_sflow_that_lies():
    assert read(SFLOW, sflow(n=2**32 - 1)).flaw == "the header says 4294967295 samples, and there are 0"
    long = read(SFLOW, sflow(tagged(1, b"", length=2**32 - 1)))
    assert long.flaw == "sample 1 says 4294967295 bytes, and ends behind the datagram"
    many = flow_sample()[:-4] + struct.pack(">I", 2**32 - 1)
    found = read(SFLOW, sflow(many)).samples
    assert found is not None and found()[0].records == []


# ---- syslog ----


@pytest.mark.parametrize(
    ("line", "version", "expected"),
    [
        (
            b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",  # RFC 3164 §5.4
            "3164",
            ("auth", "crit", "Oct 11 22:14:15", "mymachine", "su", "'su root' failed for lonvick on /dev/pts/8"),
        ),
        (
            b'<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" '
            b'eventSource="App]lication\\""] \xef\xbb\xbfAn application event',  # RFC 5424 §6.5
            "5424",
            (
                "local4",
                "notice",
                "2003-10-11T22:14:15.003Z",
                "mymachine.example.com",
                "evntslog",
                "An application event",
            ),
        ),
        (b"<13>just text", "3164", ("user", "notice", None, None, None, "just text")),
        (b"<191>1 - - - - - -", "5424", ("local7", "debug", None, None, None, "")),
        (b"<0>", "3164", ("kern", "emerg", None, None, None, "")),
        (
            b"<13>2003-10-11T22:14:15.003+02:00 host app[7]: as rsyslog forwards it",
            "3164",
            ("user", "notice", "2003-10-11T22:14:15.003+02:00", "host", "app", "as rsyslog forwards it"),
        ),
        (
            b"<189>29: *Mar  1 00:01:02.003 UTC: %SYS-5-CONFIG_I: Configured from console",
            "3164",
            *[("local7", "notice", "Mar  1 00:01:02.003 UTC", None, "%SYS-5-CONFIG_I", "Configured from console")],
        ),
        (
            b"<189>29: router1: 1w2d: %LINK-3-UPDOWN: Interface up",
            "3164",
            ("local7", "notice", "1w2d", "router1", "%LINK-3-UPDOWN", "Interface up"),
        ),
        (
            b"<166>Jul 12 2024 10:11:12 fw : %ASA-6-302013: Built outbound TCP",
            "3164",
            ("local4", "info", "Jul 12 2024 10:11:12", "fw", "%ASA-6-302013", "Built outbound TCP"),
        ),
        (
            b"<166>Oct 11 22:14:15 relay %ASA-6-302013: Built",
            "3164",
            ("local4", "info", "Oct 11 22:14:15", "relay", "%ASA-6-302013", "Built"),
        ),
        (b"<166>%ASA-6-302013: Built", "3164", ("local4", "info", None, None, "%ASA-6-302013", "Built")),
    ],
)
def test_syslog(line, version, expected):
    message = read(SYSLOG, line)
    names = ("facility", "severity", "timestamp", "hostname", "app", "text")
    assert (message.version, message.flaw) == (version, None)
    assert tuple(message.details[name] for name in names) == expected


def test_syslog_that_begins_with_its_length():
    """As over TCP (RFC 6587 §3.4.1); it is read all the same."""
    message = read(SYSLOG, b"16 <34>1 - - - - - -")
    assert (message.version, message.details["facility"]) == ("5424", "auth")
    assert message.flaw == "it begins with its length, as over TCP (RFC 6587); over UDP, none does"


@pytest.mark.parametrize("line", [b"", b"<", b"<192>x", b"hello", b"<1234>x"])
def test_no_syslog(line):
    assert read(SYSLOG, line).flaw == "it does not begin with a syslog priority, <0> to <191>"


# ---- SNMP ----

BINDINGS = [
    SNMPvarbind(oid=ASN1_OID("1.3.6.1.2.1.1.3.0"), value=ASN1_TIME_TICKS(4_200)),
    SNMPvarbind(oid=ASN1_OID("1.3.6.1.6.3.1.1.4.1.0"), value=ASN1_OID("1.3.6.1.6.3.1.1.5.3")),
    SNMPvarbind(oid=ASN1_OID("1.3.6.1.2.1.2.2.1.1"), value=ASN1_OID("1.3")),
]


@pytest.mark.parametrize(("pdu", "kind"), [(SNMPtrapv2, "trap"), (SNMPinform, "inform")])
def test_snmp_v2c(pdu, kind):
    """As scapy makes them; the community is a password, and stands nowhere in what is said."""
    payload = bytes(Snmp(version=1, community="s3cret", PDU=pdu(varbindlist=BINDINGS)))
    message = read(SNMP, payload)
    assert (message.version, message.flaw) == ("2c", None)
    assert message.details == {
        **{"kind": kind, "community": "hidden", "uptime": 42_000},
        **{"trap": "1.3.6.1.6.3.1.1.5.3", "bindings": 3},
    }
    assert "s3cret" not in json.dumps(plain(message))


def test_snmp_v1_trap():
    trap = SNMPtrapv1(
        enterprise=ASN1_OID("1.3.6.1.4.1.9"),
        agent_addr=ASN1_IPADDRESS("192.0.2.77"),
        generic_trap=2,
        specific_trap=0,
        time_stamp=100,
        varbindlist=BINDINGS[2:],
    )
    message = read(SNMP, bytes(Snmp(version=0, community="public", PDU=trap)))
    assert (message.version, message.flaw) == ("1", None)
    assert message.details == {
        **{"kind": "trap", "community": "hidden", "trap": "linkDown", "enterprise": "1.3.6.1.4.1.9"},
        **{"specific": 0, "agent": "192.0.2.77", "uptime": 1_000, "bindings": 1},
    }


ENGINE = bytes.fromhex("80001f8880e9630000d61ff449")


def ber(tag: int, *content: bytes) -> bytes:
    inside = b"".join(content)
    return bytes([tag]) + (bytes([len(inside)]) if len(inside) < 128 else b"\x81" + bytes([len(inside)])) + inside


def snmp_v3(flags: int, data: bytes, *, model: int = 3) -> bytes:
    """RFC 3412 §6, RFC 3414 §2.4."""
    head = ber(0x30, ber(2, b"\1"), ber(2, b"\x05\xdc"), ber(4, bytes([flags])), ber(2, bytes([model])))
    user = ber(0x30, ber(4, ENGINE), ber(2, b"\5"), ber(2, b"\1\0"), ber(4, b"s3cret"), ber(4, b""), ber(4, b""))
    return ber(0x30, ber(2, b"\3"), head, ber(4, user), data)


def pdu() -> bytes:
    """What v2c and v3 have in common."""
    whole = bytes(Snmp(version=1, community="", PDU=SNMPtrapv2(varbindlist=BINDINGS)))
    return whole[whole.index(b"\xa7") :]


HEADER = {"user": "hidden", "engine": ENGINE.hex(), "engine_boots": 5, "engine_time": 256}
TRAP = {"kind": "trap", "uptime": 42_000, "trap": "1.3.6.1.6.3.1.1.5.3", "bindings": 3}


@pytest.mark.parametrize(
    ("flags", "data", "expected"),
    [
        (0, ber(0x30, ber(4, ENGINE), ber(4, b""), pdu()), {"is_authenticated": False, "is_encrypted": False, **TRAP}),
        (1, ber(0x30, ber(4, ENGINE), ber(4, b""), pdu()), {"is_authenticated": True, "is_encrypted": False, **TRAP}),
        (3, ber(4, b"encrypted"), {"is_authenticated": True, "is_encrypted": True}),
    ],
)
def test_snmp_v3(flags, data, expected):
    """Of what is encrypted, the header; the user is named no more than a community."""
    message = read(SNMP, snmp_v3(flags, data))
    assert (message.version, message.flaw) == ("3", None)
    assert message.details == HEADER | expected
    assert "s3cret" not in json.dumps(plain(message))


def test_snmp_v3_whose_pdu_is_broken_still_says_whose_it_is():
    message = read(SNMP, snmp_v3(1, ber(4, b"")))
    assert message.flaw == "SNMP without ScopedPDU in its place"
    assert message.details == HEADER | {"is_authenticated": True, "is_encrypted": False}


def test_snmp_that_is_cut_anywhere():
    """Its version is said as soon as it stands there, and what is wrong always."""
    payload = bytes(Snmp(version=1, community="s3cret", PDU=SNMPtrapv2(varbindlist=BINDINGS)))
    for size in range(len(payload)):
        message = read(SNMP, payload[:size])
        assert message.flaw is not None
        assert message.version == ("2c" if size >= 5 else None), size


# ---- values ----


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("unsigned64", b"\x01\x00\x00", 65_536),
        ("unsigned8", bytes(9), "00" * 9),
        ("signed32", b"\xff", -1),
        ("float64", struct.pack(">f", 0.5), 0.5),
        ("float32", struct.pack(">f", float("nan")), "nan"),
        ("boolean", b"\2", False),
        ("boolean", b"\7", 7),
        ("macAddress", b"\2\0\0\0\0\1", "02:00:00:00:00:01"),
        ("ipv4Address", b"\x0a\0\0\1", "10.0.0.1"),
        ("ipv4Address", b"\x0a\0\0", "0a0000"),
        ("ipv6Address", bytes(15) + b"\1", "::1"),
        ("string", b"Gi0/1\0\0\0", "Gi0/1"),
        ("string", b"\xff\xfe", "\\xff\\xfe"),
        ("dateTimeSeconds", b"\0\0\0\1", "1970-01-01T00:00:01Z"),
        ("dateTimeMilliseconds", (1_700_000_000_007).to_bytes(8), "2023-11-14T22:13:20.007Z"),
        ("dateTimeMilliseconds", b"\xff" * 8, (2**64 - 1) // 1000),
        ("dateTimeMicroseconds", struct.pack(">II", 2_208_988_800, 1 << 31), "1970-01-01T00:00:00.500000Z"),
        ("dateTimeMicroseconds", bytes(8), "00" * 8),
        ("basicList", b"\1\2", "0102"),
    ],
)
def test_values(kind, data, expected):
    assert reader(kind, len(data))(data) == expected


@given(kind=st.sampled_from(sorted({element(0, n).type for n in range(500)})), data=st.binary(max_size=40))
def test_any_bytes_of_any_type_are_something_for_json(kind, data):
    json.dumps(reader(kind, len(data))(data), allow_nan=False)


def test_elements():
    """A few that IANA's registry has; all of a CGN's session logs (RFC 8158 §8.3) among them."""
    cgn = "natEvent natPoolId natPoolName natInstanceID internalAddressRealm externalAddressRealm natQuotaExceededEvent"
    names = {element(0, number).name for number in range(600)}
    assert names >= {*cgn.split(), "natThresholdEvent", "portRangeStart", "portRangeEnd", "postNATSourceIPv6Address"}
    assert element(0, 1) == ("octetDeltaCount", "unsigned64")
    assert element(29_305, 1) == ("reverseOctetDeltaCount", "unsigned64")
    assert element(0, 50_000) == ("element50000", "octetArray")
    assert element(9, 40_000).name == "enterprise9element40000"
    assert element(0, 40_000) == ("userName", "string")  # Cisco's, which IPFIX has no number for
    assert element(9, 12_235) == ("appHTTPHost", "string")
    assert (element(6871, 14).name, element(6871, 0x4000 | 14).name) == ("initialTCPFlags", "reverseInitialTCPFlags")
    assert element(0, 491) == ("bgpDestinationLargeCommunityList", "basicList")


def test_nothing_moves_the_cursor():
    assert printable(b"a\x1b[2J\r\nb\x7f\xc2\x9b\xff") == "a\\x1b[2J\\x0d\\x0ab\\x7f\\x9b\\xff"
    assert printable("a\u202eb\u2028") == "a\\u202eb\\u2028"
    assert printable("long text", 4) == "long…"


@given(st.binary(max_size=100))
def test_whatever_it_is_it_prints_on_one_line(data):
    assert printable(data).isprintable()


# ---- the summary ----


def test_summary():
    summary = Summary()
    options = a_set(1, options_v9(257, [(1, 4)], [(34, 4)]))
    for at, payload in enumerate((v5(3, 0), v9(options, a_set(257, struct.pack(">II", 0, 512))), v9(a_set(999, b"1")))):
        summary.take((1_700_000_005 + at) * SECOND, "192.0.2.1", len(payload), read(NETFLOW, payload))
    summary.take(0, "192.0.2.2", 99, read(SFLOW, sflow(flow_sample(rate=99), n=2)))
    first, second = summary.exporters.values()
    assert (first.datagrams, first.records, first.nameless_sets, first.rate()) == (3, 4, 1, 1.0)
    assert (first.sampling, first.skew, dict(first.protocols)) == (
        {512},
        (-7, -5),
        {("NetFlow", 5): 1, ("NetFlow", 9): 2},
    )
    assert (second.sampling, second.flaws, second.rate(), second.skew) == ({99}, 1, None, None)


def test_each_interface_of_an_sflow_agent_may_have_a_sampling_of_its_own():
    """The second comes later, in a sample of the other kind."""
    expanded = tagged(3, struct.pack(">11I", 1, 0, 7, 4_000, 0, 0, 0, 7, 0, 8, 0))
    cut = tagged(1, struct.pack(">II", 1, 1))
    summary = Summary()
    for payload in (sflow(flow_sample(rate=1_000)), sflow(cut, expanded, flow_sample(rate=1_000))):
        summary.take(0, "192.0.2.1", len(payload), read(SFLOW, payload))
    assert summary.exporters["192.0.2.1"].sampling == {1_000, 4_000}


@pytest.mark.parametrize(
    ("fields", "values", "expected"),
    [
        ([(34, 4), (35, 1)], struct.pack(">IB", 512, 2), 512),
        ([(48, 1), (49, 1), (50, 2)], struct.pack(">BBH", 1, 2, 1_000), 1_000),
        ([(305, 4), (306, 4)], struct.pack(">II", 1, 99), 100),
        ([(309, 4), (310, 4)], struct.pack(">II", 2, 100), 50),
        ([(311, 8)], struct.pack(">d", 0.001), 1_000),
        ([(311, 8)], struct.pack(">d", 0.0), None),
        ([(311, 8)], struct.pack(">d", 5e-324), None),  # one of infinitely many
        ([(34, 4)], bytes(4), None),
    ],
)
@pytest.mark.parametrize("how", ["options", "options without a scope", "data"])
def test_sampling(fields, values, expected, how):
    """NetFlow v9's elements, and RFC 5477's; in options, or with every flow."""
    scopes = [(1, 4)] if how == "options" else []
    head = a_set(0, template(257, fields)) if how == "data" else a_set(1, options_v9(257, scopes, fields))
    payload = v9(head, a_set(257, bytes(4 * len(scopes)) + values))
    summary = Summary()
    summary.take(0, "192.0.2.1", len(payload), read(NETFLOW, payload))
    assert summary.exporters["192.0.2.1"].sampling == ({expected} if expected else set())


def test_more_exporters_than_there_is_room_for_are_counted():
    summary = Summary(most=2)
    for n in range(5):
        summary.take(0, f"192.0.2.{n}", 72, read(NETFLOW, v5(1)))
    assert (len(summary.exporters), summary.not_told_apart) == (2, 3)
