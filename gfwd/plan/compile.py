"""Blueprint → the bytes of a plan, as gfwd/native/fw_abi.h describes them.

A plan is one block: a head, then dense arrays that refer to each other by small integers. Arrays of 32-bit integers are
built as such, entry after entry; what has other field widths goes through one struct.pack per section.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import itemgetter

from gfwd.native import core
from gfwd.plan.blueprint import Blueprint, PlanPort
from gfwd.plan.taps import NO_TAPS, with_taps
from gfwd.plan.targets import Targets
from gfwd.rules.levels import NO_NODE, Levels
from gfwd.rules.model import ADDRESS_BITS, FAMILIES, Exporters, Ports, Prefix
from gfwd.rules.space import RuleSpace

_U32 = "I"
_ALIGNMENT = 64  # a section starts at a cache line
_TOP_BITS_MAX = 16
_LOW_64 = (1 << 64) - 1
_UDP_PORTS = 65_536
_PORT_WORDS = _UDP_PORTS // 32
_NS = 1_000_000_000

Section = tuple[bytes, int]
"""A section's bytes, and how many entries they are."""


def compile_plan(blueprint: Blueprint) -> bytes:
    """The bytes to publish. Everything that they refer to by number must exist in the core, which checks it."""
    space = blueprint.space
    targets = Targets(blueprint)
    rules = _rules(space, targets, blueprint.counters)
    nodes, ranges = _nodes(space)
    segments4, top4, top4_shift = _segments4(space)
    sections: dict[str, Section] = {
        "listen": (_port_bits(blueprint.listen), _PORT_WORDS),
        "any": (_any(space), _UDP_PORTS),
        "ports": _packed("6sBB8sIIII", "plan_port", map(_port, blueprint.ports)),
        "targets": _packed("16sB2sBIII", "plan_target", targets.entries),
        "rules": rules,
        "nodes": nodes,
        "ranges": ranges,
        "own4": _packed("4s4s", "plan_own4", _own4(blueprint.own)),
        "own6": _packed("QQQQ", "plan_own6", _own6(blueprint.own)),
        "top4": top4,
        "segments4": segments4,
        "segments6": _segments6(space),
        "options": _packed("16s2sBBIIBB2s8s", "plan_option", targets.options()),
        "specials": _integers(targets.specials, 6),
        "choices": _integers(targets.choices, 4),
        "others": _integers(targets.others(), 1),
        "senders": _packed("QQQ", "plan_sender", _senders(blueprint)),
        "members": _integers(targets.members, 1),
        "counters": _integers(targets.counters, 1),
        "follow": (_port_bits(blueprint.follow), _PORT_WORDS) if blueprint.follow else (b"", 0),
        **_paces(blueprint.exporters),
        **NO_TAPS,  # behind all others
    }
    only_egress = targets.egresses.pop() if len(targets.egresses) == 1 else core.NONE
    head = {
        "only_egress": only_egress,
        "top4_shift": top4_shift,
        "pace_of_rest": _pace(blueprint.exporters.limit),
    }
    plan = _joined(sections, head)
    return with_taps(plan, blueprint.taps) if blueprint.taps else plan


def _joined(sections: dict[str, Section], head: dict[str, int]) -> bytes:
    """Head and sections behind each other, each section at the next multiple of the alignment."""
    uncounted = ("listen", "any")  # their size is fixed
    padded = [bytes(data).ljust(-len(data) % _ALIGNMENT + len(data), b"\0") for data, _ in sections.values()]
    head_bytes = core.struct_bytes("plan")
    start = head_bytes + -head_bytes % _ALIGNMENT
    offsets = list(accumulate(map(len, padded), initial=start))
    head |= dict(zip(sections, offsets[:-1], strict=True))
    head |= {f"n_{name}": n for name, (_, n) in sections.items() if name not in uncounted}
    head |= {"abi": core.ABI, "bytes": offsets[-1]}
    return b"".join([core.plan_head(head).ljust(start, b"\0"), *padded])


def _packed(layout: str, name: str, entries: Iterable[Sequence[object]]) -> Section:
    """Entries of struct fw_`name`, whose fields are `layout` in native byte order without gaps."""
    rows = list(entries)
    one = struct.Struct(f"={layout}")
    if one.size != core.struct_bytes(name):
        raise core.CoreError(f"struct fw_{name} has {core.struct_bytes(name)} bytes, and is written with {one.size}")
    return b"".join(one.pack(*row) for row in rows), len(rows)


# ---- what is ours ----


def _port(port: PlanPort) -> tuple[object, ...]:
    to = core.NONE if port.passes_to is None else port.passes_to
    punts = {
        core.PUNTS_NEIGHBOURHOOD: port.punts,
        core.PUNTS_CLOSED: port.punts_closed,
        core.PUNTS_TOO_BIG: port.punts_too_big,
    }
    bits = sum(bit for bit, is_set in punts.items() if is_set)
    return port.mac, port.keep_tags, len(port.tags), port.tags, port.mtu, bits, to, port.out_only


def _mask(prefix: Prefix) -> int:
    bits = ADDRESS_BITS[prefix.family]
    return (1 << bits) - (1 << bits - prefix.length)


def _own4(own: Iterable[Prefix]) -> list[tuple[bytes, bytes]]:
    """The core asks before it counts, so there is one entry at least: a value that its mask never leaves."""
    rows = [(prefix.value.to_bytes(4), _mask(prefix).to_bytes(4)) for prefix in own if prefix.family == 4]
    return rows or [(b"\xff" * 4, bytes(4))]


def _own6(own: Iterable[Prefix]) -> list[tuple[int, int, int, int]]:
    pairs = [(prefix.value, _mask(prefix)) for prefix in own if prefix.family == 6]
    return [(value >> 64, value & _LOW_64, mask >> 64, mask & _LOW_64) for value, mask in pairs]


def _senders(blueprint: Blueprint) -> list[tuple[int, int, int]]:
    """The addresses that copies may leave with, also to collectors that are down."""
    found = {
        own
        for collector, route in blueprint.routes.items()
        if collector.options is not None and collector.options.own_source
        for hop in route.hops
        if (own := blueprint.ports[hop.egress].own_of(hop.address.family)) is not None
    }
    return [(own.value >> 64, own.value & _LOW_64, own.family) for own in sorted(found)]


def _port_bits(ports: Ports) -> bytes:
    """A bit for each port."""
    bits = 0
    for first, last in ports:
        bits |= (1 << last + 1) - (1 << first)
    return array(_U32, struct.unpack("<2048I", bits.to_bytes(_UDP_PORTS // 8, "little"))).tobytes()


# ---- rules, and whom they are for ----


def _rules(space: RuleSpace, targets: Targets, counters: Sequence[int] | None) -> Section:
    slots = range(len(space.ranked)) if counters is None else counters
    slot_of = {id(rule): slot for rule, slot in zip(space.ranked, slots, strict=True)}
    entries = array(_U32)
    for outcome in space.outcomes:
        entries.extend(targets.rule(outcome, [slot_of[id(rule)] for rule in outcome]))
    return entries.tobytes(), len(space.outcomes)


def _integers(values: "array[int]", each: int) -> Section:
    """Entries of so many integers."""
    return values.tobytes(), len(values) // each


# ---- exporters' limits ----


def _paces(exporters: Exporters) -> dict[str, Section]:
    """The limit of each address, by segments as in _segments4; nothing where nobody has one."""
    if exporters.limit is None and not any(limit for _, limit in exporters.limits):
        return {"paces4": (b"", 0), "paces6": (b"", 0)}
    limits = sorted(exporters.limits, key=itemgetter(0))
    levels = Levels((), ((prefix, ()) for prefix, _ in limits))
    found: list[list[tuple[int, int]]] = []
    for family in FAMILIES:
        starts, nodes = levels.segments(family)
        rows = zip(starts, (exporters.limit if node == NO_NODE else limits[node][1] for node in nodes), strict=True)
        found.append([(start, _pace(limit)) for start, limit in rows])
    v4, v6 = found
    return {
        "paces4": _packed("II", "plan_pace4", v4),
        "paces6": _packed("QQQ", "plan_pace6", [(start >> 64, start & _LOW_64, ns) for start, ns in v6]),
    }


def _pace(limit: int | None) -> int:
    """Nanoseconds from one to the next; 0: no limit."""
    return 0 if limit is None else max(1, _NS // limit)


# ---- the way from a source and a port to a rule ----


def _any(space: RuleSpace) -> bytes:
    """A rule number for each port."""
    table = array(_U32, [core.NONE]) * _UDP_PORTS
    for first, last, number in space.any_ranges:
        table[first : last + 1] = array(_U32, [number]) * (last - first + 1)
    return table.tobytes()


def _nodes(space: RuleSpace) -> tuple[Section, Section]:
    entries = array(_U32)
    ranges: list[int] = []
    best_of: list[int] = []
    first = 0
    for parent, port_map in zip(space.parents, space.ranges, strict=True):
        best = core.NONE if parent == NO_NODE else best_of[parent]
        for lo, hi, number in port_map:
            ranges += lo, hi, number
            best = min(best, number)
        best_of.append(best)
        entries.extend((_node_number(parent), first, len(port_map), best))
        first += len(port_map)
    return (entries.tobytes(), len(best_of)), (struct.pack("=" + "HHI" * first, *ranges), first)


def _node_number(node: int) -> int:
    return core.NONE if node == NO_NODE else node


def _segments4(space: RuleSpace) -> tuple[Section, Section, int]:
    """The segments, and an index by the address's top bits: with as many places as segments, few are left to search."""
    starts, nodes = space.segments(4)
    entries = array(_U32)
    for start, node in zip(starts, nodes, strict=True):
        entries.extend((start, _node_number(node)))
    bits = max(1, min(_TOP_BITS_MAX, len(starts).bit_length()))
    shift = 32 - bits
    top = array(_U32, (bisect_right(starts, place << shift) - 1 for place in range((1 << bits) + 1)))
    return (entries.tobytes(), len(starts)), (top.tobytes(), len(top)), shift


def _segments6(space: RuleSpace) -> Section:
    starts, nodes = space.segments(6)
    rows = ((start >> 64, start & _LOW_64, _node_number(node)) for start, node in zip(starts, nodes, strict=True))
    return _packed("QQQ", "plan_segment6", rows)
