"""gfwd/netflow/registry.py anew: IANA's IPFIX Information Elements, asked of libfixbuf, which carries the registry.

    apt-get install libfixbuf9 && .venv/bin/python build/registry.py

Run by hand, when a newer libfixbuf has more elements: what it writes is kept with the code, so that nothing needs the
library. The figures are IANA's (https://www.iana.org/assignments/ipfix/), as fixed by RFC 7012; none is typed here.
"""

import ctypes
import ctypes.util
import sys
from collections.abc import Iterator
from pathlib import Path

REGISTRY = Path(__file__).parents[1] / "gfwd" / "netflow" / "registry.py"
LIBRARY = "libfixbuf.so.9"
TESTED = "libfixbuf 2.4.1 (22 December 2020; Debian 12, libfixbuf9 2.4.1+ds-2)"
IANA = 0  # the enterprise number that stands for the registry itself
MADE_UP = 9_000  # from here on, numbers are libfixbuf's own: for what NetFlow v9 numbers beyond IPFIX's 15 bits

TYPES = """
    octetArray unsigned8 unsigned16 unsigned32 unsigned64 signed8 signed16 signed32 signed64 float32 float64 boolean
    macAddress string dateTimeSeconds dateTimeMilliseconds dateTimeMicroseconds dateTimeNanoseconds ipv4Address
    ipv6Address basicList subTemplateList subTemplateMultiList
"""  # in the order of fbInfoElementDataType_t (fixbuf/public.h), which is that of RFC 5610 §3.1

TEXT = '''\
"""IANA's IPFIX Information Elements: number, name and abstract data type, one a line.

Made by build/registry.py from {source}; do not edit.
Source of the registry: https://www.iana.org/assignments/ipfix/ (RFC 7012 §4).
"""

from typing import Final

ELEMENTS: Final = """
{lines}
"""
'''


class Element(ctypes.Structure):
    """fbInfoElement_t of fixbuf/public.h, to its type."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("midx", ctypes.c_uint32),
        ("enterprise", ctypes.c_uint32),
        ("number", ctypes.c_uint16),
        ("length", ctypes.c_uint16),
        ("flags", ctypes.c_uint32),
        ("least", ctypes.c_uint64),
        ("most", ctypes.c_uint64),
        ("type", ctypes.c_uint8),
    )


def elements(library: str) -> Iterator[tuple[int, str, str]]:
    """Number, name and type of each element that IANA has registered."""
    ctypes.CDLL(ctypes.util.find_library("gthread-2.0") or "libgthread-2.0.so.0", ctypes.RTLD_GLOBAL)
    fixbuf = ctypes.CDLL(library)
    fixbuf.fbInfoModelAlloc.restype = ctypes.c_void_p
    fixbuf.fbInfoModelIterNext.restype = ctypes.POINTER(Element)
    fixbuf.fbInfoModelIterInit.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    fixbuf.fbInfoModelIterNext.argtypes = (ctypes.c_void_p,)
    types = TYPES.split()
    place = ctypes.create_string_buffer(256)  # a GHashTableIter is smaller
    fixbuf.fbInfoModelIterInit(place, fixbuf.fbInfoModelAlloc())
    while found := fixbuf.fbInfoModelIterNext(place):
        if found.contents.enterprise == IANA and found.contents.number < MADE_UP:
            yield found.contents.number, found.contents.name.decode(), types[found.contents.type]


def main(library: str = LIBRARY) -> None:
    lines = "\n".join(f"{number} {name} {kind}" for number, name, kind in sorted(elements(library)))
    REGISTRY.write_text(TEXT.format(source=TESTED, lines=lines), encoding="utf-8")
    print(REGISTRY)


if __name__ == "__main__":
    main(*sys.argv[1:])
