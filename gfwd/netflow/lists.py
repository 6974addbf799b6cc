"""Lists inside of an IPFIX record (RFC 6313 §4.5): basicList, subTemplateList, subTemplateMultiList.

Lists may stand in lists, as deep as DEPTH_MOST. What lies deeper, and a list that is broken, is given as its bytes, in
hexadecimal: nothing is guessed. Every value takes a byte or more, as in a record, so that a list holds no more of them
than it has bytes.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from gfwd.netflow.elements import element
from gfwd.netflow.errors import DecodeError
from gfwd.netflow.template import VARIABLE, Record, Template, length_of
from gfwd.netflow.values import LISTS, reader

DEPTH_MOST: Final = 8

_BASIC_LIST, _SUB_LIST, _ = LISTS

_SEMANTICS: Final = {0: "noneOf", 1: "exactlyOneOf", 2: "oneOrMoreOf", 3: "allOf", 4: "ordered", 255: "undefined"}
"""§4.4: how the values of a list belong together."""

_ENTERPRISE_BIT: Final = 0x8000
_BASIC: Final = struct.Struct(">BHH")  # semantic, element, length of each
_SUB: Final = struct.Struct(">BH")  # semantic, template
_MEMBER: Final = struct.Struct(">HH")  # template, length with these four bytes
_ENTERPRISE_BYTES: Final = 4


class Lists:
    """Reads the lists of a domain's records. find: template by ID, None where it is unknown."""

    def __init__(self, find: Callable[[int], Template | None], depth: int = DEPTH_MOST) -> None:
        self._find = find
        self._depth = depth

    def read(self, kind: str, data: bytes) -> Any:
        """kind: one of the three. A plain object with semantic, and with element and values, template and records, or
        lists of those two.
        """
        if self._depth == 0:
            return data.hex()
        # Who reads the lists in this one has a level less.
        inside = Lists(self._find, self._depth - 1)
        try:
            if kind == _BASIC_LIST:
                return inside._basic(data)
            return inside._sub(data) if kind == _SUB_LIST else inside._multi(data)
        except (DecodeError, struct.error):  # struct.error: its header is cut
            return data.hex()

    # What follows raises one of the two where a list is broken.

    def _basic(self, data: bytes) -> dict[str, Any]:
        semantic, number, length = _BASIC.unpack_from(data)
        at, enterprise = _BASIC.size, 0
        if number & _ENTERPRISE_BIT:
            number &= ~_ENTERPRISE_BIT
            at += _ENTERPRISE_BYTES
            if len(data) < at:
                raise DecodeError("a list ends inside an enterprise number")
            enterprise = int.from_bytes(data[at - _ENTERPRISE_BYTES : at])
        name, kind = element(enterprise, number)
        parts = _parts(data, at, length)
        values = [self.read(kind, one) if kind in LISTS else reader(kind, len(one))(one) for one in parts]
        return {"semantic": _semantic(semantic), "element": name, "values": values}

    def _sub(self, data: bytes) -> dict[str, Any]:
        semantic, template_id = _SUB.unpack_from(data)
        return {"semantic": _semantic(semantic), **self._records(template_id, data[_SUB.size :])}

    def _multi(self, data: bytes) -> dict[str, Any]:
        lists = []
        semantic, at = data[:1], 1
        if not semantic:
            raise DecodeError("a list without a semantic")
        while at < len(data):
            template_id, length = _MEMBER.unpack_from(data, at)
            if length < _MEMBER.size or length > len(data) - at:
                raise DecodeError(f"a list says {length} bytes, and there are {len(data) - at}")
            lists.append(self._records(template_id, data[at + _MEMBER.size : at + length]))
            at += length
        return {"semantic": _semantic(semantic[0]), "lists": lists}

    def _records(self, template_id: int, body: bytes) -> dict[str, Any]:
        template = self._find(template_id)
        records: list[Record] | None = None
        if template is not None:
            if template.count(body).flaw is not None:
                raise DecodeError(f"a list of template {template_id} ends inside a record")
            records = template.records(body, self.read)
        return {"template": template_id, "records": records}


def _semantic(number: int) -> str | int:
    return _SEMANTICS.get(number, number)


def _parts(data: bytes, at: int, length: int) -> Iterator[bytes]:
    """Each value of a basicList."""
    if length == 0:
        raise DecodeError("a list of values without bytes")
    while at < len(data):
        start, size = length_of(data, at) if length == VARIABLE else (at, length)
        at = start + size
        if at > len(data):
            raise DecodeError("a value ends behind its list")
        yield data[start:at]
