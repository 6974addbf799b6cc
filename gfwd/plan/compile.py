"""Blueprint → the bytes of a plan, as gfwd/native/fw_abi.h describes them.

A plan is one block: a head, then dense arrays that refer to each other by small integers. Arrays of 32-bit integers are
built as such, entry after entry; what has other field widths goes through one struct.pack per section.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from gfwd.native import core
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort
from gfwd.rules.levels import NO_NODE
from gfwd.rules.model import ADDRESS_BITS, Collector, Family, Ports, Prefix, Rule
from gfwd.rules.space import RuleSpace

_U32 = "I"
_ALIGNMENT = 64  # a section starts at a cache line
_TOP_BITS_MAX = 16
_LOW_64 = (1 << 64) - 1
_UDP_PORTS = 65_536

Section = tuple[bytes, int]
"""A section's bytes, and how many entries they are."""


def compile_plan(blueprint: Blueprint) -> bytes:
    """The bytes to publish. Everything that they refer to by number must exist in the core, which checks it."""
    space = blueprint.space
    targets = _Targets(blueprint)
    rules = _rules(space, targets, blueprint.counters)
    nodes, ranges = _nodes(space)
    segments4, top4, top4_shift = _segments4(space)
    sections: dict[str, Section] = {
        "listen": (_listen(blueprint.listen), _UDP_PORTS // 8),
        "any": (_any(space), _UDP_PORTS),
        "ports": _packed("6sBB8sIIII", "plan_port", map(_port, blueprint.ports)),
        "targets": targets.section(),
        "rules": rules,
        "nodes": nodes,
        "ranges": ranges,
        "own4": _packed("4s4s", "plan_own4", _own4(blueprint.own)),
        "own6": _packed("QQQQ", "plan_own6", _own6(blueprint.own)),
        "top4": top4,
        "segments4": segments4,
        "segments6": _segments6(space),
    }
    only_egress = targets.egresses.pop() if len(targets.egresses) == 1 else core.NONE
    return _joined(sections, {"only_egress": only_egress, "tap_every": blueprint.tap_every, "top4_shift": top4_shift})


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
    return port.mac, port.keep_tags, len(port.tags), port.tags, port.mtu, port.punts, to, port.out_only


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


def _listen(ports: Ports) -> bytes:
    bits = 0
    for first, last in ports:
        bits |= (1 << last + 1) - (1 << first)
    return array(_U32, struct.unpack("<2048I", bits.to_bytes(_UDP_PORTS // 8, "little"))).tobytes()


# ---- rules and their targets ----


class _Targets:
    """The targets of all rules. Rules with the same collectors share theirs, so that few stay in the cache."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.egresses: set[int] = set()
        self._routes = blueprint.routes
        self._entries: list[tuple[object, ...]] = []
        self._spans: dict[tuple[tuple[Collector, ...], Family | None], tuple[int, int]] = {}

    def span(self, rule: Rule) -> tuple[int, int]:
        """Where the rule's targets stand: the first, and how many."""
        family = rule.source.family if rule.source is not None else None
        key = rule.collectors, family
        if key not in self._spans:
            self._spans[key] = len(self._entries), len(rule.collectors)
            self._entries.extend(self._entry(collector, family) for collector in rule.collectors)
        return self._spans[key]

    def _entry(self, collector: Collector, family: Family | None) -> tuple[object, ...]:
        route = self._routes[collector]
        port = (collector.port or 0).to_bytes(2, "big")
        hop = route.hop_for(family)
        if hop is None:
            return b"", 0, port, 0, 0, 0, route.counter
        self.egresses.add(hop.egress)
        return _address(hop), hop.address.family, port, 0, hop.neighbour, hop.egress, route.counter

    def section(self) -> Section:
        return _packed("16sB2sBIII", "plan_target", self._entries)


def _address(hop: Hop) -> bytes:
    return hop.address.value.to_bytes(ADDRESS_BITS[hop.address.family] // 8, "big")


def _rules(space: RuleSpace, targets: _Targets, counters: Sequence[int] | None) -> Section:
    entries = array(_U32)
    for rule, counter in zip(space.ranked, range(len(space.ranked)) if counters is None else counters, strict=True):
        entries.extend((*targets.span(rule), counter, 0))
    return entries.tobytes(), len(space.ranked)


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
