"""Port maps and the port tree, against dictionaries with one entry a port."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gfwd.rules.model import merge_ports
from gfwd.rules.portmap import (
    NumberedRange,
    PortMap,
    best_of,
    joined,
    number_at,
    paint,
    ports_of,
    together,
    worst_of,
)
from gfwd.rules.porttree import PortTree

NOBODY = 1000
PORTS = range(40)

raw_ranges = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 9), st.integers(0, 20)).map(lambda r: (r[0], r[0] + r[1], r[2])),
    max_size=12,
).map(lambda ranges: sorted(ranges, key=lambda numbered: numbered[2]))
port_maps = raw_ranges.map(paint)


def as_dict(ranges: list[NumberedRange] | PortMap) -> dict[int, int]:
    """Port → number, the first range that has the port counting."""
    numbers: dict[int, int] = {}
    for first, last, number in ranges:
        for port in range(first, last + 1):
            numbers.setdefault(port, number)
    return numbers


@given(raw_ranges)
def test_paint_keeps_what_was_painted_first(ranges: list[NumberedRange]) -> None:
    painted = paint(ranges)
    assert as_dict(painted) == as_dict(ranges)
    assert all(left[1] < right[0] for left, right in pairwise(painted))


@given(port_maps)
def test_number_at(port_map: PortMap) -> None:
    numbers = as_dict(port_map)
    assert [number_at(port_map, port) for port in PORTS] == [numbers.get(port) for port in PORTS]


@given(port_maps, port_maps)
def test_best_of(one: PortMap, other: PortMap) -> None:
    a, b = as_dict(one), as_dict(other)
    assert as_dict(best_of(one, other)) == {port: min(a.get(port, 99), b.get(port, 99)) for port in a.keys() | b.keys()}


@given(port_maps, port_maps)
def test_worst_of(one: PortMap, other: PortMap) -> None:
    a, b = as_dict(one), as_dict(other)
    assert as_dict(worst_of(one, other)) == {port: max(a[port], b[port]) for port in a.keys() & b.keys()}


@given(
    st.lists(port_maps, min_size=1, max_size=3), st.lists(st.tuples(st.integers(0, 38), st.integers(0, 9)), max_size=3)
)
def test_together(maps: list[PortMap], starts: list[tuple[int, int]]) -> None:
    ports = merge_ports((first, first + length) for first, length in starts)
    cut = list(together(maps, ports))
    dicts = [as_dict(port_map) for port_map in maps]
    assert [(port, numbers) for first, last, numbers in cut for port in range(first, last + 1)] == [
        (port, [numbers.get(port) for numbers in dicts]) for first, last in ports for port in range(first, last + 1)
    ]
    assert all(
        left[2] != right[2] or left[1] + 1 < right[0] for left, right in pairwise(cut) if not_cut(maps, right[0])
    )


def not_cut(maps: list[PortMap], port: int) -> bool:
    """Whether no range of any map begins or ends right before the port."""
    return not any(port in (first, last + 1) for port_map in maps for first, last, _ in port_map)


def test_together_to_the_last_port() -> None:
    assert list(together([((65535, 65535, 1),), ()], ((0, 65535),))) == [
        (0, 65534, [None, None]), (65535, 65535, [1, None]),
    ]  # fmt: skip


@given(port_maps)
def test_joined(port_map: PortMap) -> None:
    whole = joined(port_map)
    assert as_dict(whole) == as_dict(port_map)
    assert all(left[1] + 1 < right[0] or left[2] != right[2] for left, right in pairwise(whole))
    assert ports_of(whole, ()) == ports_of((), port_map) == merge_ports((port, port) for port in as_dict(port_map))


questions = st.tuples(st.integers(0, 35), st.integers(0, 35), st.integers(0, 20)).map(
    lambda q: (min(q[0], q[1]), max(q[0], q[1]), q[2])
)


@given(st.lists(port_maps, max_size=4), questions)
def test_tree_leaves_room_where_nothing_is_better(layers: list[PortMap], question: NumberedRange) -> None:
    tree = PortTree(NOBODY)
    lowest: dict[int, int] = {}
    states = []
    for layer in layers:
        states.append((tree.mark(), dict(lowest)))
        tree.lay(layer)
        for port, number in as_dict(layer).items():
            lowest[port] = min(lowest.get(port, NOBODY), number)
    states.append((tree.mark(), lowest))
    first, last, number = question
    for mark, expected in reversed(states):
        tree.go_back(mark)
        has_room = any(expected.get(port, NOBODY) >= number for port in range(first, last + 1))
        assert tree.leaves_room(first, last, number) == has_room


def test_tree_at_the_ends() -> None:
    tree = PortTree(NOBODY)
    tree.lay(((0, 0, 1), (65535, 65535, 1)))
    assert not tree.leaves_room(0, 0, 5) and not tree.leaves_room(65535, 65535, 5)
    assert tree.leaves_room(0, 1, 5) and tree.leaves_room(65534, 65535, 5)
    tree.lay(((0, 65535, 2),))
    assert not tree.leaves_room(0, 65535, 5)
    assert tree.leaves_room(1, 65534, 1)
    tree.go_back(0)
    assert tree.leaves_room(0, 0, 5)
