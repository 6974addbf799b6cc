"""Answers as bytes: whole, cut, flipped, and not to the question."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.dns.answers import AnswerError, Kind, Question, Reply, question_bytes, read_reply
from gfwd.rules.model import Address
from tests.name_server import answer_to

ASK = Question("flow.example.net", 4, 0x1234)
ASK6 = Question("flow.example.net", 6, 0x1234)
ZONE = {"flow.example.net": ["10.2.2.3", "10.2.2.4", "2001:db8::3"]}


def message(question: Question = ASK, **more: object) -> dns.message.Message:
    return answer_to(dns.message.from_wire(question_bytes(question)), ZONE, 300, **more)  # type: ignore[arg-type]


def said(answer: dns.message.Message, question: Question = ASK) -> Reply:
    return read_reply(answer.to_wire(), question)


def v4(*lasts: int) -> list[Address]:
    return [Address(4, 0x0A020200 + last) for last in lasts]


def test_the_question():
    asked = dns.message.from_wire(question_bytes(ASK))
    assert asked.id == 0x1234 and asked.flags == dns.flags.RD and asked.edns == -1
    assert asked.question[0].to_text() == "flow.example.net. IN A"
    assert dns.message.from_wire(question_bytes(ASK6, wants_ad=True)).flags == dns.flags.RD | dns.flags.AD


def test_both_families():
    reply = said(message())
    assert (reply.kind, sorted(reply.addresses), reply.ttl) == (Kind.ADDRESSES, v4(3, 4), 300)
    reply = said(message(ASK6), ASK6)
    assert reply.addresses == (Address(6, (0x20010DB8 << 96) + 3),)


def test_a_chain_of_aliases():
    """Its TTL is the least on it, and the order of the records plays no part."""
    aliases = {"flow.example.net": "one.example.net", "one.example.net": "TWO.example.net"}
    question = dns.message.from_wire(question_bytes(ASK))
    answer = answer_to(question, {"TWO.example.net": ["10.2.2.3"]}, 300, aliases)
    answer.answer[1].ttl = 20
    answer.answer.reverse()
    reply = said(answer)
    assert (reply.kind, list(reply.addresses), reply.ttl) == (Kind.ADDRESSES, v4(3), 20)


def test_a_chain_without_an_end():
    aliases = {"flow.example.net": "one.example.net", "one.example.net": "flow.example.net"}
    reply = said(answer_to(dns.message.from_wire(question_bytes(ASK)), {}, 300, aliases))
    assert (reply.kind, reply.why) == (Kind.FAILED, "a chain of aliases without an end")


def test_a_chain_that_the_server_does_not_follow():
    answer = message(aliases={"flow.example.net": "one.example.net"})
    answer.set_rcode(dns.rcode.NOERROR)
    answer.authority.clear()
    reply = said(answer)
    assert (reply.kind, reply.alias, reply.ttl) == (Kind.NO_ADDRESS, "one.example.net", 300)


def test_an_alias_of_the_root_has_no_address():
    """As some say it who want to say that there is nothing; as a name it could not be asked for."""
    answer = message()
    answer.answer.clear()
    answer.answer.append(dns.rrset.from_text(f"{ASK.name}.", 60, "IN", "CNAME", "."))
    reply = said(answer)
    assert (reply.kind, reply.alias, reply.addresses) == (Kind.NO_ADDRESS, None, ())


def test_nothing_there():
    empty = Question("six.example.net", 4, 1)
    answer = answer_to(dns.message.from_wire(question_bytes(empty)), {"six.example.net": ["2001:db8::1"]}, 60)
    assert read_reply(answer.to_wire(), empty) == Reply(Kind.NO_ADDRESS, ttl=60)
    answer = answer_to(dns.message.from_wire(question_bytes(empty)), {}, 60)
    assert read_reply(answer.to_wire(), empty) == Reply(Kind.NO_NAME, ttl=60)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP, dns.rcode.FORMERR])
def test_a_server_that_does_not_say(rcode):
    answer = dns.message.make_response(dns.message.from_wire(question_bytes(ASK)))
    answer.set_rcode(rcode)
    assert said(answer) == Reply(Kind.FAILED, why=dns.rcode.to_text(rcode))
    answer.question.clear()
    assert said(answer).kind is Kind.FAILED
    answer.set_rcode(dns.rcode.NOERROR)
    with pytest.raises(AnswerError, match="another question"):
        said(answer)


def test_what_is_no_answer_to_the_question():
    answer = message()
    for other in (ASK._replace(number=0x1235), ASK._replace(name="log.example.net"), ASK6):
        with pytest.raises(AnswerError):
            read_reply(answer.to_wire(), other)
    with pytest.raises(AnswerError):
        read_reply(question_bytes(ASK), ASK)
    assert read_reply(answer.to_wire(), ASK._replace(name="FLOW.example.net")).kind is Kind.ADDRESSES


def test_truncated():
    answer = message()
    answer.flags |= dns.flags.TC
    assert said(answer) == Reply(Kind.TRUNCATED)
    assert read_reply(answer.to_wire()[:-7], ASK) == Reply(Kind.TRUNCATED)


def test_validated():
    assert not said(message()).is_authentic
    answer = message()
    answer.flags |= dns.flags.AD
    assert said(answer).is_authentic


ONE = {"flow.example.net": ["10.2.2.3", "2001:db8::3"], "one.example.net": ["10.2.2.3"]}
"""Of several addresses, dnspython writes another one first each time."""
WIRES = {
    "plain": answer_to(dns.message.from_wire(question_bytes(ASK)), ONE, 300).to_wire(),
    "alias": answer_to(
        dns.message.from_wire(question_bytes(ASK)), ONE, 300, {"flow.example.net": "one.example.net"}
    ).to_wire(),
    "IPv6": answer_to(dns.message.from_wire(question_bytes(ASK6)), ONE, 300).to_wire(),
}


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_cut_anywhere(wire):
    for length in range(len(wire)):
        with pytest.raises(AnswerError):
            read_reply(wire[:length], ASK)
    with pytest.raises(AnswerError):
        read_reply(wire + b"\0", ASK)


@given(st.sampled_from(list(WIRES.values())), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=8))
def test_flipped_anywhere(wire, flips):
    data = bytearray(wire)
    for place, value in flips:
        data[place % len(data)] = value
    try:
        reply = read_reply(bytes(data), ASK)
    except AnswerError:
        return
    assert all(address.family == 4 for address in reply.addresses)
    assert reply.ttl is None or 0 <= reply.ttl < 1 << 31


@given(st.binary(max_size=600))
def test_any_bytes(data):
    with pytest.raises(AnswerError):
        read_reply(data, Question("flow.example.net", 4, 0x7A69))
