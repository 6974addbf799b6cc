"""NetFlow v9 and IPFIX: templates, data, and all that can be wrong with them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.netflow.cache import Scope, TemplateCache
from gfwd.netflow.decode import decode
from gfwd.netflow.message import IPFIX, NETFLOW, Kind, Message
from tests.netflow import (
    SENDER,
    VARIABLE,
    Spec,
    a_set,
    ipfix,
    options_ipfix,
    options_v9,
    template,
    v9,
)

NAT = [(8, 4), (225, 4), (7, 2), (227, 2), (230, 1), (323, 8)]
NAT_RECORD = bytes((100, 64, 0, 1, 198, 51, 100, 7)) + struct.pack(">HHBQ", 40_000, 1_024, 1, 1_700_000_000_123)
NAT_VALUES = {
    "sourceIPv4Address": "100.64.0.1",
    "postNATSourceIPv4Address": "198.51.100.7",
    "sourceTransportPort": 40_000,
    "postNAPTSourceTransportPort": 1_024,
    "natEvent": 1,
    "observationTimeMilliseconds": "2023-11-14T22:13:20.123Z",
}


def read(payload: bytes, cache: TemplateCache | None = None) -> Message:
    return decode(NETFLOW, payload, SENDER, TemplateCache() if cache is None else cache)


def test_session_log_of_a_cgn():
    """The template stands before its data, in the same datagram."""
    message = read(v9(a_set(0, template(256, NAT)), a_set(256, NAT_RECORD * 3 + b"\0\0\0"), sequence=7, source=9))
    assert (message.protocol, message.version, message.sequence, message.source_id) == (NETFLOW, 9, 7, 9)
    assert [(one.id, one.kind, one.n_records) for one in message.sets] == [
        (0, Kind.TEMPLATE, 1),
        (256, Kind.DATA, 3),
    ]
    assert message.sets[1].records() == [NAT_VALUES] * 3
    assert message.flaw is None


def test_data_without_template_is_left_as_it_is():
    message = read(v9(a_set(256, bytes(40))))
    assert (message.sets[0].n_records, message.sets[0].records(), message.flaw) == (None, None, None)


def test_ipfix_with_enterprise_and_variable_fields():
    fields: list[Spec] = [(82, VARIABLE), (12_000, 4, 9), (1, VARIABLE, 29_305), (1, 4)]
    long = bytes(300)
    record = b"\x04eth0" + bytes((1, 2, 3, 4)) + b"\xff\x01\x2c" + long + struct.pack(">I", 77)
    message = read(ipfix(a_set(2, template(300, fields)), a_set(300, record * 2)))
    assert (message.flaw, message.step) == (None, 2)
    values = {"interfaceName": "eth0", "enterprise9element12000": "01020304", "octetDeltaCount": 77}
    assert message.sets[1].records() == [{**values, "reverseOctetDeltaCount": long.hex()}] * 2


def test_options_of_v9():
    """What a router says of its sampling."""
    options = a_set(1, options_v9(257, [(1, 4)], [(34, 4), (35, 1)]) + b"\0\0")
    message = read(v9(options, a_set(257, bytes(4) + struct.pack(">IB", 1_000, 2))))
    assert message.sets[0].kind is Kind.OPTIONS_TEMPLATE
    assert message.sets[1].records() == [{"scopeSystem": 0, "samplingInterval": 1_000, "samplingAlgorithm": 2}]


def test_options_of_ipfix():
    options = a_set(3, options_ipfix(258, [(149, 4), (305, 4), (306, 4)], 1))
    message = read(ipfix(options, a_set(258, struct.pack(">III", 5, 1, 99))))
    assert message.sets[1].records() == [
        {"observationDomainId": 5, "samplingPacketInterval": 1, "samplingPacketSpace": 99}
    ]


def test_an_element_that_stands_twice():
    message = read(v9(a_set(0, template(256, [(4, 1), (4, 1), (5, 1)])), a_set(256, bytes((6, 17, 0)))))
    assert message.sets[1].records() == [{"protocolIdentifier": [6, 17], "ipClassOfService": 0}]


def test_padding_in_a_record_means_nothing():
    message = read(v9(a_set(0, template(256, [(210, 3), (4, 1)])), a_set(256, b"abc\x06")))
    assert message.sets[1].records() == [{"protocolIdentifier": 6}]


def test_a_new_template_takes_the_place_of_the_old_one():
    cache = TemplateCache()
    read(v9(a_set(0, template(256, [(4, 1)]))), cache)
    read(v9(a_set(0, template(256, [(5, 1), (4, 1)]))), cache)
    assert read(v9(a_set(256, b"\1\6")), cache).sets[0].records() == [{"ipClassOfService": 1, "protocolIdentifier": 6}]
    assert len(cache) == 1


@pytest.mark.parametrize(("make", "other"), [(v9, {"source": 2}), (ipfix, {"domain": 2})])
def test_a_template_holds_for_its_domain(make, other):
    cache = TemplateCache()
    set_id = 0 if make is v9 else 2
    read(make(a_set(set_id, template(256, [(4, 1)]))), cache)
    assert read(make(a_set(256, b"\6")), cache).sets[0].n_records == 1
    assert read(make(a_set(256, b"\6"), **other), cache).sets[0].n_records is None


def test_a_template_holds_for_an_exporter_in_v9_and_for_a_session_in_ipfix():
    """RFC 3954 §5.1; RFC 7011 §8."""
    elsewhere = SENDER._replace(session=(50_001, b"\xc0\x00\x02\x02", 2055))
    stranger = SENDER._replace(exporter=b"\xc0\x00\x02\x63")
    cache = TemplateCache()
    read(v9(a_set(0, template(256, [(4, 1)]))), cache)
    read(ipfix(a_set(2, template(256, [(4, 1)]))), cache)
    data = a_set(256, b"\6")
    assert decode(NETFLOW, v9(data), elsewhere, cache).sets[0].n_records == 1
    assert decode(NETFLOW, v9(data), stranger, cache).sets[0].n_records is None
    assert decode(IPFIX, ipfix(data), elsewhere, cache).sets[0].n_records is None
    assert decode(IPFIX, ipfix(data), SENDER, cache).sets[0].n_records == 1


def test_withdrawals_are_ignored_and_counted():
    """RFC 7011 §8.4: over UDP they must be ignored."""
    cache = TemplateCache()
    read(ipfix(a_set(2, template(256, [(4, 1)]))), cache)
    message = read(ipfix(a_set(2, template(256, [])), a_set(256, b"\6")), cache)
    assert (message.flaw, message.sets[1].n_records, cache.withdrawals) == (None, 1, 1)


# ---- broken ----

GOOD = a_set(0, template(256, [(4, 1)]))
GOOD_IPFIX = a_set(2, template(256, [(82, VARIABLE)]))
FLAWS = [
    ("header cut", v9()[:19], "a NetFlow v9 header has 20 bytes, and here are 19"),
    ("IPFIX header cut", ipfix()[:15], "an IPFIX header has 16 bytes, and here are 15"),
    ("set of 3 bytes", v9(a_set(0, b"", length=3)), "set 0 at byte 20 says 3 bytes"),
    ("set of 0 bytes", v9(a_set(256, b"\1", length=0)), "set 256 at byte 20 says 0 bytes"),
    ("set too long", v9(a_set(256, b"abc", length=8)), "set 256 at byte 20 says 8 bytes, and there are 7"),
    ("template without fields", v9(a_set(0, template(256, []))), "template 256 has no fields"),
    ("count of fields lies", v9(a_set(0, template(256, [(4, 1)], count=900))), "says 900 fields, and ends behind"),
    ("template ID", v9(a_set(0, template(255, [(4, 1)]))), "a template has the ID 255"),
    ("fields of no bytes", v9(a_set(0, template(256, [(4, 0)] * 5))), "template 256 has records of no bytes"),
    ("many fields of no bytes", v9(a_set(0, template(256, [(4, 1), *[(5, 0)] * 2]))), "more fields of no bytes"),
    ("options of half a field", v9(a_set(1, struct.pack(">HHH", 256, 3, 4) + bytes(12))), "fields of 3 and 4 bytes"),
    ("options without fields", v9(a_set(1, struct.pack(">HHH", 256, 0, 0) + b"\1")), "options template 256 has no"),
    ("reserved set", v9(a_set(2, b"1234")), "set 2 at byte 20: reserved"),
    ("enterprise number cut", ipfix(a_set(2, template(256, [(4, 1, 9)])[:-2])), "ends inside an enterprise number"),
    ("withdrawal of nothing", ipfix(a_set(2, b"\0\x09\0\0\1")), "a template has the ID 9"),
    ("no scope", ipfix(a_set(3, options_ipfix(256, [(4, 1)], 0))), "has 0 scope fields of 1"),
    ("too many scopes", ipfix(a_set(3, options_ipfix(256, [(4, 1)], 2))), "has 2 scope fields of 1"),
    ("too short a length", ipfix(GOOD_IPFIX, length=16), "the header says 16 bytes, and here are"),
    ("too long a length", ipfix(GOOD_IPFIX, length=999), "the header says 999 bytes, and here are"),
    ("no room for its header", ipfix(GOOD_IPFIX, length=3), "the header says 3 bytes, and here are"),
    (
        "variable length lies",
        ipfix(GOOD_IPFIX, a_set(256, b"\1a\x05b")),
        "record 2 of template 256 ends behind its set",
    ),
    ("long length lies", ipfix(GOOD_IPFIX, a_set(256, b"\xff\xff\xff")), "record 1 of template 256 ends behind"),
    ("long length cut", ipfix(GOOD_IPFIX, a_set(256, b"\xff\0")), "record 1 of template 256 ends behind"),
]


@pytest.mark.parametrize(("payload", "flaw"), [(one[1], one[2]) for one in FLAWS], ids=[one[0] for one in FLAWS])
def test_what_is_wrong_is_said(payload, flaw):
    message = read(payload)
    assert message.flaw is not None
    assert flaw in message.flaw


def test_what_stands_behind_a_broken_template_is_read_all_the_same():
    message = read(v9(a_set(0, template(257, [])), GOOD, a_set(256, b"\6")))
    assert message.flaw == "template 257 has no fields"
    assert [one.n_records for one in message.sets] == [0, 1, 1]


def test_zeros_behind_the_last_set_are_padding():
    assert read(v9(GOOD) + bytes(64)).flaw is None


def test_a_step_is_only_known_where_all_is():
    """IPFIX counts data records (RFC 7011 §3.1)."""
    cache = TemplateCache()
    assert read(ipfix(GOOD_IPFIX, a_set(256, b"\1a\1b\0")), cache).step == 3
    assert read(ipfix(a_set(256, b"\1a"), a_set(999, b"\1a")), cache).step is None
    assert read(ipfix(a_set(256, b"\1a\2")), cache).step is None


# ---- bounds ----


def test_the_cache_forgets_what_was_not_used_for_the_longest_time():
    cache = TemplateCache(templates=2)
    for template_id in (256, 257):
        read(v9(a_set(0, template(template_id, [(4, 1)]))), cache)
    read(v9(a_set(256, b"\6")), cache)
    read(v9(a_set(0, template(258, [(4, 1)]))), cache)
    known = [cache.find(Scope(SENDER.exporter, None, 0), template_id) is not None for template_id in (256, 257, 258)]
    assert (known, len(cache), cache.forgotten) == ([True, False, True], 2, 1)


def test_the_cache_is_bounded_by_fields_too():
    cache = TemplateCache(templates=1_000, fields=100)
    for source in range(50):
        read(v9(a_set(0, template(256, [(4, 1)] * 30)), source=source), cache)
        assert cache.fields <= 100
    assert (len(cache), cache.forgotten, cache.fields) == (3, 47, 90)


FIELD = st.tuples(st.integers(1, 500), st.integers(1, 16)) | st.tuples(
    st.integers(1, 500), st.just(VARIABLE) | st.integers(1, 16), st.integers(1, 99_999)
)


@given(fields=st.lists(FIELD, min_size=1, max_size=12), data=st.data())
def test_any_template_finds_its_own_records(fields, data):
    """What was put together by a template is taken apart by it, whatever the lengths."""
    records = []
    for _ in range(data.draw(st.integers(1, 4))):
        record = b""
        for field in fields:
            value = data.draw(st.binary(min_size=0, max_size=300)) if field[1] == VARIABLE else bytes(field[1])
            size = b"" if field[1] != VARIABLE else _length(value, data.draw(st.booleans()))
            record += size + value
        records.append(record)
    message = read(ipfix(a_set(2, template(256, fields)), a_set(256, b"".join(records))))
    assert message.flaw is None
    found = message.sets[1].records()
    assert found is not None
    assert message.sets[1].n_records == len(found) == len(records)


def _length(value: bytes, is_long: bool) -> bytes:
    return b"\xff" + len(value).to_bytes(2) if is_long or len(value) >= 255 else bytes([len(value)])
