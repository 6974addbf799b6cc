"""gfwd/netflow/registry.py anew: what IANA and enterprises call the fields of IPFIX and NetFlow, by libfds.

    .venv/bin/python build/registry.py FOLDER

FOLDER is /etc/libfds/system/elements of Debian's package libfds0, wherever that was unpacked. Run by hand, when a newer
libfds has more elements: what it writes is kept with the code, so that nothing needs the library. None is typed here.
It is refused where an element would be lost, or get another name or type: names are what scripts look for.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

REGISTRY = Path(__file__).parents[1] / "gfwd" / "netflow" / "registry.py"
TESTED = "libfds 0.6.0 (CESNET, 5 August 2024, BSD-3-Clause or GPL-2+; Debian sid, libfds0 0.6.0-2)"

IANA = 0  # the enterprise number that stands for the registry itself
FILES = ("iana.xml", "netflowExtra.xml", "cisco.xml", "cert.xml", "cesnet.xml", "flowmon.xml", "muni.xml")
BEYOND = 4_294_967_295
"""What netflowExtra.xml says for an enterprise: its elements are those of NetFlow v9 whose numbers are beyond IPFIX's
15 bits, and it takes their highest bit off."""
HIGHEST = 32_768

TYPES = """
    octetArray unsigned8 unsigned16 unsigned32 unsigned64 signed8 signed16 signed32 signed64 float32 float64 boolean
    macAddress string dateTimeSeconds dateTimeMilliseconds dateTimeMicroseconds dateTimeNanoseconds ipv4Address
    ipv6Address basicList subTemplateList subTemplateMultiList
"""  # RFC 5610 §3.1
AS_WRITTEN = {name.lower(): name for name in TYPES.split()}  # libfds says ipv6address, too

TEXT = '''\
"""Information Elements by enterprise: number, name and abstract data type, one a line.

0 is IANA's registry (https://www.iana.org/assignments/ipfix/, RFC 7012 §4), to 491; its numbers from 32,768 on are
those that Cisco has in NetFlow v9 alone. 9 is Cisco, 6871 CERT (yaf), 8057 CESNET, 16982 Masaryk University, 39499
Flowmon.

Made by build/registry.py; do not edit. Source of the lists:
{source}.
"""

from typing import Final

REVERSED: Final = {reversed}
"""Enterprise → the bit of a number that says the other direction of a flow, where it has one (RFC 5103 §6.2)."""

ELEMENTS: Final[dict[int, str]] = {{
{parts}
}}
'''


def elements(folder: Path) -> Iterator[tuple[int, int, str, str]]:
    """Enterprise, number, name and type of each element."""
    for file in FILES:
        root = ElementTree.parse(folder / file).getroot()
        owner = int(root.findtext("scope/pen", ""))
        enterprise, base = (IANA, HIGHEST) if owner == BEYOND else (owner, 0)
        for element in root.iter("element"):
            its = {part.tag: part.text or "" for part in element}
            yield enterprise, base + int(its["id"]), its["name"], AS_WRITTEN[its["dataType"].lower()]


def reversed_by_bit(folder: Path) -> Iterator[tuple[int, int]]:
    """Enterprise, and the bit, which libfds counts from 1."""
    for file in FILES:
        root = ElementTree.parse(folder / file).getroot()
        its = root.find("scope/biflow")
        if its is not None and its.get("mode") == "split":
            yield int(root.findtext("scope/pen", "")), 1 << (int(its.text or "") - 1)


def changed(those: list[tuple[int, int, str, str]]) -> list[str]:
    """What is said of elements that were known before, and are other ones now, or none."""
    from gfwd.netflow.registry import ELEMENTS

    now = {(enterprise, number): (name, kind) for enterprise, number, name, kind in those}
    lines = []
    for enterprise, text in ELEMENTS.items():
        for number, *before in (line.split() for line in text.split("\n") if line):
            found = now.get((enterprise, int(number)))
            if found != tuple(before):
                lines.append(f"enterprise {enterprise}, element {number}: was {before}, is {found}")
    return lines


def main(folder: str) -> None:
    those = sorted(elements(Path(folder)))
    lines = changed(those)
    if lines:
        sys.exit("\n".join(lines))
    parts = []
    for enterprise in sorted({one[0] for one in those}):
        rows = "\n".join(f"{number} {name} {kind}" for owner, number, name, kind in those if owner == enterprise)
        parts.append(f'    {enterprise}: """\n{rows}\n""",')
    text = TEXT.format(source=TESTED, reversed=dict(reversed_by_bit(Path(folder))), parts="\n".join(parts))
    REGISTRY.write_text(text, encoding="utf-8")
    print(REGISTRY)


if __name__ == "__main__":
    main(*sys.argv[1:])
