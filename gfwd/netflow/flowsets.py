"""The sets of NetFlow v9 and IPFIX, and the templates in them (RFC 3954 §5, §6; RFC 7011 §3.3, §3.4).

Both have the same shape: a set's ID and length, then templates or records, then padding. They differ in which IDs say
template, in how an options template counts its fields, and in whose elements the fields are.
"""

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Final, NamedTuple

from construct import Int16ub, Int32ub, Struct

from gfwd.netflow.cache import Scope, TemplateCache
from gfwd.netflow.elements import IANA, scope
from gfwd.netflow.errors import DecodeError
from gfwd.netflow.lists import Lists
from gfwd.netflow.message import FlowSet, Kind, Message
from gfwd.netflow.template import Count, Field, Template, field

# A set's ID and length: there are so many of them that construct's two microseconds for each would show.
_SET: Final = struct.Struct(">HH")
_TEMPLATE: Final = Struct("id" / Int16ub, "count" / Int16ub).compile()
_OPTIONS: Final = Struct("id" / Int16ub, "first" / Int16ub, "second" / Int16ub).compile()
_FIELD: Final = Struct("number" / Int16ub, "length" / Int16ub).compile()
_ENTERPRISE: Final = Struct("number" / Int32ub).compile()

_UNKNOWN: Final = Count(None, None)  # records, where there is no template
_HEADER, _OPTIONS_HEADER, _FIELD_BYTES = 4, 6, 4
_DATA_FIRST: Final = 256  # lower set IDs are reserved, or say template; template IDs begin here
_ALL_OF_A_KIND: Final = (2, 3)  # of IPFIX, in the place of a template's ID (RFC 7011 §8.1)
_ENTERPRISE_BIT: Final = 0x8000
_REMEMBERED: Final = 256  # template sets; exporters repeat theirs, some in every datagram
_REMEMBERED_BYTES: Final = 2_048  # of the longest such set


class Learned(NamedTuple):
    """What a template set says. withdrawn: how often IPFIX takes templates back. flaw: what is wrong with the rest."""

    templates: tuple[Template, ...]
    withdrawn: int
    flaw: str | None


class Dialect(NamedTuple):
    """What NetFlow v9 and IPFIX differ in. kinds: set ID → what it holds. learn: (options?, body) → Learned. has_lists:
    whether records have lists in them (RFC 6313).
    """

    kinds: dict[int, Kind]
    learn: Callable[[bool, bytes], Learned]
    has_lists: bool


def read(message: Message, payload: bytes, at: int, dialect: Dialect, its_scope: Scope, cache: TemplateCache) -> None:
    """Put the sets from payload[at] on into the message, and templates into the cache. message.step gets the number of
    data records, where all of their templates are known; message.flaw what is wrong first. What is wrong inside a set
    leaves those behind it readable.

    Every set has 4 bytes or more, so there is an end.
    """
    n_records, is_sure = 0, True
    flaws: list[str | None] = []
    while len(payload) - at >= _HEADER:
        set_id, length = _SET.unpack_from(payload, at)
        if length == 0 and not any(payload[at:]):
            break  # datagrams are filled up with zeros, too
        if length < _HEADER or length > len(payload) - at:
            flaws.append(f"set {set_id} at byte {at} says {length} bytes, and there are {len(payload) - at}")
            is_sure = False
            break
        body = payload[at + _HEADER : at + length]
        kind = dialect.kinds.get(set_id)
        if kind is not None:
            found = _learned(dialect, kind is Kind.OPTIONS_TEMPLATE, body)
            for new in found.templates:
                cache.learn(its_scope, new)
            cache.withdrawals += found.withdrawn
            flaws.append(found.flaw)
            message.sets.append(FlowSet(set_id, kind, length, len(found.templates), templates=found.templates))
        else:
            template = cache.find(its_scope, set_id)
            count = _UNKNOWN if template is None else template.count(body)
            n_records += count.records or 0
            is_sure = is_sure and count.records is not None and count.flaw is None
            flaws.append(count.flaw if set_id >= _DATA_FIRST else f"set {set_id} at byte {at}: reserved")
            lists = None
            if template is not None and template.has_lists and dialect.has_lists:
                lists = Lists(partial(cache.find, its_scope)).read
            message.sets.append(FlowSet(set_id, Kind.DATA, length, count.records, body, template, lists=lists))
        at += length
    message.flaw = next(filter(None, flaws), None)
    message.step = n_records if is_sure else None


def _learned(dialect: Dialect, is_options: bool, body: bytes) -> Learned:
    if len(body) > _REMEMBERED_BYTES:
        return dialect.learn(is_options, body)
    return _remembered(dialect.learn, is_options, body)


@lru_cache(maxsize=_REMEMBERED)
def _remembered(learn: Callable[[bool, bytes], Learned], is_options: bool, body: bytes) -> Learned:
    return learn(is_options, body)


def _learn(records: Iterator[Template | None]) -> Learned:
    """Templates up to where something is wrong; None stands for a withdrawal."""
    templates: list[Template] = []
    withdrawn = 0
    try:
        for template in records:
            if template is None:
                withdrawn += 1
            else:
                templates.append(template)
    except DecodeError as error:
        return Learned(tuple(templates), withdrawn, str(error))
    return Learned(tuple(templates), withdrawn, None)


def _check(template_id: int, fields: list[Field], n_scope: int, *, is_options: bool, varies: bool) -> Template:
    template = Template(template_id, fields, n_scope, is_options=is_options, varies=varies)
    if template.least == 0:
        raise DecodeError(f"template {template_id} has records of no bytes")
    if sum(one.length == 0 for one in fields) > template.least:  # a datagram would hold more values than bytes
        raise DecodeError(f"template {template_id} has more fields of no bytes than there are bytes in a record")
    return template


def _is_padding(body: bytes, at: int) -> bool:
    """What is too short for a template; or an ID of 0, which none has, and nothing but zeros behind it."""
    return len(body) - at < _HEADER or (body[at] == 0 and not any(body[at:]))


def _id(template_id: int) -> int:
    if template_id < _DATA_FIRST:
        raise DecodeError(f"a template has the ID {template_id}, and they begin at 256")
    return template_id


# ---- NetFlow v9 ----


def learn_v9(is_options: bool, body: bytes) -> Learned:
    """RFC 3954 §5.2, §6.1."""
    return _learn(_v9_options(body) if is_options else _v9_templates(body))


def _v9_templates(body: bytes) -> Iterator[Template]:
    at = 0
    while not _is_padding(body, at):
        head = _TEMPLATE.parse(body[at : at + _HEADER])
        template_id, at = _id(head.id), at + _HEADER
        if head.count == 0:
            raise DecodeError(f"template {template_id} has no fields")
        fields = _v9_fields(template_id, body, at, head.count)
        at += head.count * _FIELD_BYTES
        yield _check(template_id, [field(IANA, *one) for one in fields], 0, is_options=False, varies=False)


def _v9_options(body: bytes) -> Iterator[Template]:
    """The header counts bytes: of the scope fields, and of the others."""
    at = 0
    while len(body) - at >= _OPTIONS_HEADER and not _is_padding(body, at):
        head = _OPTIONS.parse(body[at : at + _OPTIONS_HEADER])
        template_id, at = _id(head.id), at + _OPTIONS_HEADER
        if head.first % _FIELD_BYTES or head.second % _FIELD_BYTES:
            raise DecodeError(f"options template {template_id} has fields of {head.first} and {head.second} bytes")
        n_scope, n = head.first // _FIELD_BYTES, (head.first + head.second) // _FIELD_BYTES
        if n == 0:
            raise DecodeError(f"options template {template_id} has no fields")
        fields = _v9_fields(template_id, body, at, n)
        at += n * _FIELD_BYTES
        scopes = [Field(IANA, number, length, *scope(number)) for number, length in fields[:n_scope]]
        others = [field(IANA, *one) for one in fields[n_scope:]]
        yield _check(template_id, [*scopes, *others], n_scope, is_options=True, varies=False)


def _v9_fields(template_id: int, body: bytes, at: int, n: int) -> list[tuple[int, int]]:
    """Number and length of each."""
    if n * _FIELD_BYTES > len(body) - at:
        raise DecodeError(f"template {template_id} says {n} fields, and ends behind its set")
    places = range(at, at + n * _FIELD_BYTES, _FIELD_BYTES)
    return [tuple(_FIELD.parse(body[place : place + _FIELD_BYTES]).values()) for place in places]


# ---- IPFIX ----


def learn_ipfix(is_options: bool, body: bytes) -> Learned:
    """RFC 7011 §3.4.1, §3.4.2; withdrawals §8.1."""
    return _learn(_ipfix_templates(body, is_options))


def _ipfix_templates(body: bytes, is_options: bool) -> Iterator[Template | None]:
    at = 0
    while not _is_padding(body, at):
        template_id, count = _TEMPLATE.parse(body[at : at + _HEADER]).values()
        at += _HEADER
        if count == 0:  # a withdrawal: of one template, or of all of the kind, whose ID is the set's
            if template_id not in _ALL_OF_A_KIND:
                _id(template_id)
            yield None
            continue
        n_scope = 0
        if is_options:
            n_scope, at = int.from_bytes(body[at : at + 2]), at + 2
            if not 0 < n_scope <= count:
                raise DecodeError(f"options template {_id(template_id)} has {n_scope} scope fields of {count}")
        fields, at = _ipfix_fields(_id(template_id), body, at, count)
        yield _check(template_id, fields, n_scope, is_options=is_options, varies=True)


def _ipfix_fields(template_id: int, body: bytes, at: int, n: int) -> tuple[list[Field], int]:
    """The fields, and where they end."""
    fields: list[Field] = []
    for _ in range(n):
        if len(body) - at < _FIELD_BYTES:
            raise DecodeError(f"template {template_id} says {n} fields, and ends behind its set")
        number, length = _FIELD.parse(body[at : at + _FIELD_BYTES]).values()
        at += _FIELD_BYTES
        enterprise = IANA
        if number & _ENTERPRISE_BIT:
            number &= ~_ENTERPRISE_BIT
            if len(body) - at < 4:
                raise DecodeError(f"template {template_id} ends inside an enterprise number")
            enterprise, at = _ENTERPRISE.parse(body[at : at + 4]).number, at + 4
        fields.append(field(enterprise, number, length))
    return fields, at
