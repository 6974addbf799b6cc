"""One template: how many records a set holds by it, and what is in them (RFC 7011 §3.4, RFC 3954 §5.2, §6.1)."""

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, NamedTuple

from gfwd.netflow.elements import IANA, PADDING, SAMPLING, element
from gfwd.netflow.errors import DecodeError
from gfwd.netflow.values import LISTS, Reader, is_unsigned, reader

Record = dict[str, Any]
"""Values by name; a name that stands in the template more than once has a list, in the template's order. A value is a
Value, or a list that stands in the record (lists.py).
"""

ListReader = Callable[[str, bytes], Any]
"""Kind and bytes of a list → what people read."""

VARIABLE: Final = 65_535
"""A field's length that says: each record has its own (RFC 7011 §7)."""

_LONG: Final = 255  # in the place of a length: two more bytes hold it
_FIELDS: Final = 65_536  # that are kept, to be shared by all templates that have them
_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Field(NamedTuple):
    """length: in bytes, or VARIABLE."""

    enterprise: int
    number: int
    length: int
    name: str
    type: str


@lru_cache(maxsize=_FIELDS)
def field(enterprise: int, number: int, length: int) -> Field:
    return Field(enterprise, number, length, *element(enterprise, number))


class Count(NamedTuple):
    """So many records, or None where nobody knows; and what is wrong with the one that follows."""

    records: int | None
    flaw: str | None


class _Reading(NamedTuple):
    """How a template's records are read. fixed: one record, where none of its fields is variable. readers: of the
    fields whose bytes are not what people read; lists: of fields that are lists, their kind; both by place in `names`.
    """

    fixed: struct.Struct | None
    names: tuple[str, ...]
    readers: tuple[tuple[int, Reader], ...]
    lists: tuple[tuple[int, str], ...]
    repeated: frozenset[str]


class Template:
    """Fields in the order of the record; the first n_scope of them are scope fields. is_options: it is an options
    template; NetFlow v9 has such without a scope, too. has_sampling: a record says how packets are sampled.

    varies: a length of 65,535 means VARIABLE, which NetFlow v9 does not have.
    """

    __slots__ = (
        "_gaps",
        "_reading",
        "fields",
        "has_lists",
        "has_sampling",
        "id",
        "is_options",
        "is_variable",
        "least",
        "n_scope",
    )

    def __init__(
        self,
        template_id: int,
        fields: Sequence[Field],
        n_scope: int = 0,
        *,
        is_options: bool = False,
        varies: bool = False,
    ) -> None:
        self.id = template_id
        self.fields = tuple(fields)
        self.n_scope = n_scope
        self.is_options = is_options
        self.has_sampling = any(one.number in SAMPLING and one.enterprise == IANA for one in fields)
        self.has_lists = any(one.type in LISTS for one in fields)
        self.is_variable = varies and any(one.length == VARIABLE for one in fields)
        lengths = (1 if self.is_variable and one.length == VARIABLE else one.length for one in fields)
        self.least = sum(lengths)
        """Bytes of the shortest record."""
        self._reading: _Reading | None = None
        self._gaps: tuple[int, ...] | None = None

    def count(self, body: bytes) -> Count:
        """The records in a set's body; what is left behind them is padding."""
        if self.least == 0:
            return Count(0, f"template {self.id} has records of no bytes")
        if not self.is_variable:
            return Count(len(body) // self.least, None)
        return self._count_variable(body)

    def records(self, body: bytes, lists: ListReader | None = None) -> list[Record]:
        """As many as count() says, whole ones. lists: who reads those in a record; None: they are left as bytes."""
        if self.least == 0:
            return []
        reading = self._reading = self._reading or self._read()
        found: list[Record] = []
        if reading.fixed is not None:
            whole = len(body) - len(body) % self.least
            found.extend(_record(reading, list(values), lists) for values in reading.fixed.iter_unpack(body[:whole]))
            return found
        with suppress(DecodeError):  # count() has said so
            found.extend(_record(reading, [*slices], lists) for slices in self._slices(body))
        return found

    def _count_variable(self, body: bytes) -> Count:
        """As _slices() would find them, without looking at what lies between two variable fields."""
        gaps = self._gaps = self._gaps or _gaps(self.fields)
        *before, behind = gaps
        at, n, end = 0, 0, len(body)
        while end - at >= self.least:
            for gap in before:
                at += gap
                length = body[at] if at < end else 0
                if length < _LONG:
                    at += 1 + length
                else:
                    at += 3 + int.from_bytes(body[at + 1 : at + 3])
            at += behind
            n += 1
            if at > end:
                return Count(n - 1, f"record {n} of template {self.id} ends behind its set")
        return Count(n, None)

    def _read(self) -> _Reading:
        shown = [one for one in self.fields if not _is_padding(one)]
        names = tuple(one.name for one in shown)
        fixed = None if self.is_variable else struct.Struct(">" + "".join(map(_code, self.fields)))
        readers = tuple(
            (at, _reader_of_any(one) if fixed is None else reader(one.type, one.length))
            for at, one in enumerate(shown)
            if one.type not in LISTS and (fixed is None or not is_unsigned(one.type, one.length))
        )
        lists = tuple((at, one.type) for at, one in enumerate(shown) if one.type in LISTS)
        repeated = frozenset(name for name, n in Counter(names).items() if n > 1)
        return _Reading(fixed, names, readers, lists, repeated)

    def _slices(self, body: bytes) -> Iterator[list[bytes]]:
        """The bytes of each field that is shown, record by record. Raises DecodeError where one does not end in time.

        Every record has `least` bytes or more, and that is more than none.
        """
        at, n = 0, 0
        while len(body) - at >= self.least:
            n += 1
            slices = []
            for one in self.fields:
                length = one.length
                if length == VARIABLE:
                    at, length = length_of(body, at)
                if at + length > len(body):
                    raise DecodeError(f"record {n} of template {self.id} ends behind its set")
                if not _is_padding(one):
                    slices.append(body[at : at + length])
                at += length
            yield slices


def _gaps(fields: Sequence[Field]) -> tuple[int, ...]:
    """Bytes of fixed length before each variable field, and behind the last one."""
    gaps = [0]
    for one in fields:
        if one.length == VARIABLE:
            gaps.append(0)
        else:
            gaps[-1] += one.length
    return tuple(gaps)


def length_of(body: bytes, at: int) -> tuple[int, int]:
    """Where a variable field's value begins, and how long it is (RFC 7011 §7); behind the end, where that is cut."""
    length = body[at] if at < len(body) else 0
    if length < _LONG:
        return at + 1, length
    return at + 3, int.from_bytes(body[at + 1 : at + 3])


def _is_padding(one: Field) -> bool:
    return one.number == PADDING and one.enterprise == 0


def _code(one: Field) -> str:
    if _is_padding(one):
        return f"{one.length}x"
    return _CODES[one.length] if is_unsigned(one.type, one.length) else f"{one.length}s"


def _reader_of_any(one: Field) -> Reader:
    """Of a field in a record that is read as slices: its length shows only there."""
    return lambda data: reader(one.type, len(data))(data)


def _record(reading: _Reading, values: list[Any], lists: ListReader | None) -> Record:
    """values: as struct has them, or all of them bytes."""
    for at, read in reading.readers:
        values[at] = read(values[at])
    for at, kind in reading.lists:
        values[at] = values[at].hex() if lists is None else lists(kind, values[at])
    if not reading.repeated:
        return dict(zip(reading.names, values, strict=True))
    record: Record = {}
    for name, value in zip(reading.names, values, strict=True):
        if name not in reading.repeated:
            record[name] = value
        elif isinstance(so_far := record.setdefault(name, []), list):
            so_far.append(value)
    return record
