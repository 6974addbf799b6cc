"""Lists in IPFIX records (RFC 6313): its own examples, lists in lists, and lists that lie."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.cli import inspect_text
from gfwd.daemon.capture.datagrams import Datagram
from gfwd.daemon.inspect import Seen
from gfwd.netflow.cache import TemplateCache
from gfwd.netflow.decode import decode
from gfwd.netflow.lists import DEPTH_MOST
from gfwd.netflow.message import IPFIX, NETFLOW, Message
from tests.netflow import SENDER, VARIABLE, Spec, a_set, ipfix, specs, template, v9

BASIC, SUB, MULTI = 291, 292, 293
UNDEFINED, NONE_OF, EXACTLY_ONE_OF, ONE_OR_MORE_OF, ALL_OF, ORDERED = 255, 0, 1, 2, 3, 4


def variable(data: bytes) -> bytes:
    return (bytes([len(data)]) if len(data) < 255 else b"\xff" + len(data).to_bytes(2)) + data


def basic(semantic: int, field: Spec, *values: bytes) -> bytes:
    return bytes([semantic]) + specs([field]) + b"".join(values)


def sub(semantic: int, template_id: int, *records: bytes) -> bytes:
    return struct.pack(">BH", semantic, template_id) + b"".join(records)


def multi(semantic: int, *lists: tuple[int, bytes]) -> bytes:
    members = (struct.pack(">HH", template_id, 4 + len(body)) + body for template_id, body in lists)
    return bytes([semantic]) + b"".join(members)


def message(number: int, its_list: bytes, *templates: bytes) -> Message:
    """One record with one list."""
    sets = a_set(2, b"".join([template(999, [(number, VARIABLE)]), *templates])), a_set(999, variable(its_list))
    return decode(IPFIX, ipfix(*sets), SENDER, TemplateCache())


def value(number: int, its_list: bytes, *templates: bytes) -> Any:
    found = message(number, its_list, *templates)
    assert found.flaw is None
    ((record,),) = [found.sets[1].records() or []]
    (its,) = record.values()
    return its


PATH = template(257, [(8, 4), (12, 4)])
"""sourceIPv4Address, destinationIPv4Address."""
ENDS = bytes((192, 0, 2, 1, 192, 0, 2, 105)), bytes((192, 0, 2, 2, 192, 0, 2, 106))
ENDS_READ = [
    {"sourceIPv4Address": "192.0.2.1", "destinationIPv4Address": "192.0.2.105"},
    {"sourceIPv4Address": "192.0.2.2", "destinationIPv4Address": "192.0.2.106"},
]


@pytest.mark.parametrize(
    ("semantic", "name"),
    [
        *[(UNDEFINED, "undefined"), (NONE_OF, "noneOf"), (EXACTLY_ONE_OF, "exactlyOneOf")],
        *[(ONE_OR_MORE_OF, "oneOrMoreOf"), (ALL_OF, "allOf"), (ORDERED, "ordered"), (77, 77)],
    ],
)
def test_a_basic_list(semantic, name):
    """As in RFC 6313 §8.1: the egress interfaces of a multicast flow."""
    its = basic(semantic, (14, 4), *(struct.pack(">I", at) for at in (1, 4, 8)))
    assert value(BASIC, its) == {"semantic": name, "element": "egressInterface", "values": [1, 4, 8]}


def test_a_basic_list_of_variable_and_of_enterprise_values():
    names = basic(ORDERED, (82, VARIABLE), variable(b"eth0"), variable(b""), b"\xff\0\4eth1")
    assert value(BASIC, names)["values"] == ["eth0", "", "eth1"]
    own = basic(ALL_OF, (7, 2, 9), b"\1\2", b"\3\4")
    assert value(BASIC, own) == {"semantic": "allOf", "element": "enterprise9element7", "values": ["0102", "0304"]}


def test_a_list_without_values():
    assert value(BASIC, basic(NONE_OF, (14, 4)))["values"] == []
    assert value(SUB, sub(NONE_OF, 257), PATH)["records"] == []
    assert value(MULTI, multi(NONE_OF))["lists"] == []


def test_a_list_of_records():
    """RFC 6313 §8.3: flows that belong together."""
    assert value(SUB, sub(ALL_OF, 257, *ENDS), PATH) == {"semantic": "allOf", "template": 257, "records": ENDS_READ}


def test_a_list_of_lists_of_records_whose_templates_differ():
    other = template(258, [(82, VARIABLE)])
    found = value(MULTI, multi(ALL_OF, (257, ENDS[0]), (258, variable(b"eth0")), (400, b"123")), PATH, other)
    assert found == {
        "semantic": "allOf",
        "lists": [
            {"template": 257, "records": ENDS_READ[:1]},
            {"template": 258, "records": [{"interfaceName": "eth0"}]},
            {"template": 400, "records": None},
        ],
    }


def test_a_list_of_fixed_length_and_beside_others():
    """A list may have the same length in all records, too (RFC 6313 §4.5.1), and others beside it."""
    its = basic(ALL_OF, (4, 1), b"\6", b"\x11")
    sets = a_set(2, template(999, [(BASIC, len(its)), (4, 1)])), a_set(999, its + b"\7")
    (record,) = decode(IPFIX, ipfix(*sets), SENDER, TemplateCache()).sets[1].records() or []
    assert record == {
        "basicList": {"semantic": "allOf", "element": "protocolIdentifier", "values": [6, 17]},
        "protocolIdentifier": 7,
    }


def test_netflow_v9_has_none():
    sets = a_set(0, template(999, [(BASIC, 6)])), a_set(999, basic(ALL_OF, (4, 1), b"\6"))
    assert decode(NETFLOW, v9(*sets), SENDER, TemplateCache()).sets[1].records() == [{"basicList": "030004000106"}]


def nested(depth: int) -> bytes:
    """A list in a list …, and a protocol in the last one."""
    its = basic(ALL_OF, (4, 1), b"\6")
    for _ in range(depth - 1):
        its = basic(ALL_OF, (BASIC, VARIABLE), variable(its))
    return its


def test_lists_in_lists_to_a_depth():
    found = value(BASIC, nested(DEPTH_MOST))
    for _ in range(DEPTH_MOST - 1):
        (found,) = found["values"]
    assert found["values"] == [6]
    found = value(BASIC, nested(DEPTH_MOST + 1))
    for _ in range(DEPTH_MOST):
        (found,) = found["values"]
    assert found == basic(ALL_OF, (4, 1), b"\6").hex()


def test_a_template_that_stands_in_itself():
    """RFC 6313 does not forbid it: each list takes bytes, so there is an end."""
    its = b""
    for _ in range(50):
        its = sub(ALL_OF, 999, variable(its))
    found, depth = value(SUB, its), 0
    while isinstance(found, dict) and found["records"]:
        (found,), depth = found["records"][0].values(), depth + 1
    assert (depth, isinstance(found, str)) == (DEPTH_MOST, True)


@pytest.mark.parametrize(
    ("number", "its"),
    [
        (BASIC, b""),
        (BASIC, b"\3\0\4\0"),
        (BASIC, basic(ALL_OF, (7, 2, 9))[:-1]),
        (BASIC, basic(ALL_OF, (4, 0), b"")),
        (BASIC, basic(ALL_OF, (14, 4), b"\0\0\0\1\0")),
        (BASIC, basic(ALL_OF, (82, VARIABLE), b"\5eth")),
        (SUB, b"\3\1"),
        (SUB, sub(ALL_OF, 258, b"\5eth")),
        (MULTI, b""),
        (MULTI, multi(ALL_OF) + b"\1"),
        (MULTI, multi(ALL_OF) + struct.pack(">HH", 257, 3)),
        (MULTI, multi(ALL_OF) + struct.pack(">HH", 257, 9) + bytes(4)),
    ],
)
def test_a_broken_list_is_its_bytes(number, its):
    assert value(number, its, template(258, [(82, VARIABLE)])) == its.hex()


def test_for_people():
    other = template(258, [(82, VARIABLE)])
    lists = (
        (BASIC, basic(ALL_OF, (14, 4), b"\0\0\0\1", b"\0\0\0\4"), "basicList=allOf[egressInterface 1,4]"),
        (BASIC, basic(NONE_OF, (14, 4)), "basicList=noneOf[egressInterface]"),
        (
            MULTI,
            multi(ALL_OF, (258, variable(b"a") + variable(b"\x1b")), (400, b"1")),
            "subTemplateMultiList=allOf[258 {interfaceName=a} {interfaceName=\\x1b}; 400 no template]",
        ),
    )
    for number, its, text in lists:
        seen = Seen(0, Datagram(b"1234", 1, b"1234", 2, b"", False), message(number, its, other))
        assert [*inspect_text.datagrams([seen], with_records=True)][-1] == f"      {text}"


@given(its=st.binary(max_size=60), number=st.sampled_from([BASIC, SUB, MULTI]))
def test_any_bytes_are_something_for_json(its, number):
    json.dumps(value(number, its, template(257, [(SUB, VARIABLE)]), template(258, [(BASIC, VARIABLE), (4, 1)])))
