"""Messages of the DNS (RFC 1035): a question for the addresses of a name, and what an answer says of them.

Whatever bytes come, AnswerError is all that is raised. What is not for the question (another id, another question) is
no answer to it: whoever waits for one goes on waiting.
"""

from enum import Enum, auto
from ipaddress import ip_address
from typing import Final, NamedTuple

# Those that answers are made of are imported here: dnspython would look for them by a name that is made at run time,
# which a frozen binary cannot follow.
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.SOA
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rrset

from gfwd.rules.model import Address, Family

_LINKS_MOST: Final = 16  # from alias to alias, in one answer
_TTL_MOST: Final = (1 << 31) - 1  # RFC 2181 §8
_TYPES: Final = {4: dns.rdatatype.A, 6: dns.rdatatype.AAAA}


class AnswerError(Exception):
    """These bytes are no answer to this question."""


class Kind(Enum):
    """What an answer says."""

    ADDRESSES = auto()
    NO_ADDRESS = auto()  # the name is there, and has none of this family
    NO_NAME = auto()  # NXDOMAIN: there is no such name
    TRUNCATED = auto()  # there is more than fits: ask by TCP
    FAILED = auto()  # the server could not, or would not, say


class Question(NamedTuple):
    """For the addresses of one family that a name has. number: the message's id, a random one (RFC 5452 §4.2)."""

    name: str
    family: Family
    number: int


class Reply(NamedTuple):
    """ttl: seconds for which the answer holds; None: it does not say. alias: the chain of aliases leads there, and the
    answer does not say what that has; ttl is that of the chain. is_authentic: AD (RFC 4035 §3.2.3): the server has
    found the signatures right. why: it failed, for people.
    """

    kind: Kind
    addresses: tuple[Address, ...] = ()
    ttl: int | None = None
    alias: str | None = None
    is_authentic: bool = False
    why: str = ""


def question_bytes(question: Question, *, wants_ad: bool = False) -> bytes:
    """The message that asks. wants_ad: the answer is to say whether it was validated (RFC 6840 §5.7)."""
    name = dns.name.from_text(f"{question.name}.")
    message = dns.message.make_query(name, _TYPES[question.family], id=question.number, use_edns=False)
    if wants_ad:
        message.flags |= dns.flags.AD
    return message.to_wire()


def read_reply(data: bytes, question: Question) -> Reply:
    """Raises AnswerError where it is none to this question."""
    try:
        return _read(data, question)
    except AnswerError:
        raise
    except Exception as error:  # dnspython has many, and not all are its own
        raise AnswerError(f"no message of the DNS: {error}") from error


def _read(data: bytes, question: Question) -> Reply:
    # Of a message that is cut off, the question is whole.
    head = dns.message.from_wire(data, question_only=True)
    if head.id != question.number or not head.flags & dns.flags.QR or head.opcode() != dns.opcode.QUERY:
        raise AnswerError("not the answer to this question: another id, or no answer")
    rcode = head.rcode()
    has_failed = rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
    if not _asks(head, question) and not (has_failed and not head.question):  # who refuses may not repeat it
        raise AnswerError("the answer to another question")
    if has_failed:
        return Reply(Kind.FAILED, why=dns.rcode.to_text(rcode))
    if head.flags & dns.flags.TC:
        return Reply(Kind.TRUNCATED)
    reply = _follow(dns.message.from_wire(data), question)
    return reply._replace(is_authentic=bool(head.flags & dns.flags.AD))


def _asks(message: dns.message.Message, question: Question) -> bool:
    name = dns.name.from_text(f"{question.name}.")
    wanted = [(name, _TYPES[question.family], dns.rdataclass.IN)]
    return [(its.name, its.rdtype, its.rdclass) for its in message.question] == wanted


def _follow(message: dns.message.Message, question: Question) -> Reply:
    """Along the chain of aliases (RFC 1034 §3.6.2), which need not stand in its order. The TTL is the least on it."""
    inside = [its for its in message.answer if its.rdclass == dns.rdataclass.IN]
    aliases = {its.name: its for its in inside if its.rdtype == dns.rdatatype.CNAME and len(its)}
    found = {its.name: its for its in inside if its.rdtype == _TYPES[question.family] and len(its)}
    start = at = dns.name.from_text(f"{question.name}.")
    ttls: list[int] = []
    for _ in range(_LINKS_MOST):
        if at in found:
            addresses = tuple(_address(question.family, its.address) for its in found[at])
            ttls.append(_ttl(found[at].ttl))
            return Reply(Kind.ADDRESSES, tuple(dict.fromkeys(addresses)), min(ttls))
        if at not in aliases:
            break
        ttls.append(_ttl(aliases[at].ttl))
        at = aliases[at][0].target
    else:
        return Reply(Kind.FAILED, why="a chain of aliases without an end")
    ttl = _negative_ttl(message)
    if message.rcode() == dns.rcode.NXDOMAIN:
        return Reply(Kind.NO_NAME, ttl=ttl)
    # A server that has followed the chain says by an SOA record that there is nothing at its end (RFC 2308 §2.2).
    # The root has no address, and cannot be asked for as other names are.
    if at not in (start, dns.name.root) and ttl is None:
        return Reply(Kind.NO_ADDRESS, ttl=min(ttls), alias=at.to_text(omit_final_dot=True))
    return Reply(Kind.NO_ADDRESS, ttl=ttl)


def _address(family: Family, text: str) -> Address:
    return Address(family, int(ip_address(text)))


def _negative_ttl(message: dns.message.Message) -> int | None:
    """How long it holds that there is nothing (RFC 2308 §5)."""
    for its in message.authority:
        if its.rdtype == dns.rdatatype.SOA and len(its):
            return min(_ttl(its.ttl), _ttl(its[0].minimum))
    return None


def _ttl(seconds: int) -> int:
    return seconds if 0 <= seconds <= _TTL_MOST else 0
