"""Who looks at datagrams, as the core has it: the last three sections of a plan.

They stand behind all others, so that those who look come and go without another one being compiled.
"""

import struct
from array import array
from collections.abc import Collection, Sequence
from typing import NamedTuple

from gfwd.native import core
from gfwd.rules.model import ADDRESS_BITS, ALL_PORTS, Ports, Prefix

_LOW_64 = (1 << 64) - 1
_PORT_BYTES = 65_536 // 8
_SECTIONS = ("taps", "tap_sources", "tap_bits")
_ALIGNMENT = 8

NO_TAPS: dict[str, tuple[bytes, int]] = dict.fromkeys(_SECTIONS, (b"", 0))
"""The sections of a plan that nobody looks into."""


class Tap(NamedTuple):
    """Whose datagrams one looks at. number: below core.TAPS_MAX, another one for each.

    sources: all, where there are none; at most core.TAP_SOURCES_MAX. rules: numbers of outcomes of the rule space;
    None: all, and what no rule wants. every: one in so many; those with templates come beside them. is_whole: no
    fragments; else of several, the first.
    """

    number: int = 0
    sources: Sequence[Prefix] = ()
    ports: Ports = ALL_PORTS
    rules: Collection[int] | None = None
    every: int = 1
    is_whole: bool = False


WHOLE = Tap(is_whole=True)
"""All datagrams of ours that came in one piece."""


def with_taps(plan: bytes, taps: Sequence[Tap]) -> bytes:
    """The same plan, with those who look, and no others."""
    n_rules = core.plan_field(plan, "n_rules")
    sources: list[tuple[int, ...]] = []
    bits = array("I")
    entries = b""
    for tap in taps:
        ports = core.NONE if tap.ports == ALL_PORTS else _add(bits, _port_bits(tap.ports))
        rules = core.NONE if tap.rules is None else _add(bits, _rule_bits(tap.rules, n_rules))
        n = len(tap.sources)
        entries += struct.pack("=8I", tap.number, tap.every, len(sources), n, ports, rules, tap.is_whole, 0)
        sources += map(_source, tap.sources)
    sections = entries, b"".join(struct.pack("=5Q", *source) for source in sources), bits.tobytes()
    found = bytearray(plan[: core.plan_field(plan, _SECTIONS[0])])
    fields = dict(zip(("n_taps", "n_tap_sources", "n_tap_bits"), (len(taps), len(sources), len(bits)), strict=True))
    for name, section in zip(_SECTIONS, sections, strict=True):
        fields[name] = len(found)
        found += section + bytes(-len(section) % _ALIGNMENT)
    core.plan_changed(found, fields | {"bytes": len(found)})
    return bytes(found)


def _source(prefix: Prefix) -> tuple[int, ...]:
    bits = ADDRESS_BITS[prefix.family]
    mask = (1 << bits) - (1 << bits - prefix.length)
    return prefix.value >> 64, prefix.value & _LOW_64, mask >> 64, mask & _LOW_64, prefix.family


def _port_bits(ports: Ports) -> bytes:
    return sum((1 << last + 1) - (1 << first) for first, last in ports).to_bytes(_PORT_BYTES, "little")


def _rule_bits(rules: Collection[int], n: int) -> bytes:
    """n: how many rules there are."""
    found = bytearray(-(-n // 32) * 4)
    for rule in rules:
        found[rule // 8] |= 1 << rule % 8
    return bytes(found)


def _add(words: "array[int]", bits: bytes) -> int:
    """Where they begin among the words. bits: the lowest first."""
    start = len(words)
    words.extend(struct.unpack(f"<{len(bits) // 4}I", bits))
    return start
