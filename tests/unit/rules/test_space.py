"""The rule space against a scan of all rules, and its parts against their definitions."""

from itertools import pairwise

import pytest
from hypothesis import given, settings

from gfwd.errors import ConfigError, GfwdError
from gfwd.rules import apply_all
from gfwd.rules.classic import parse
from gfwd.rules.levels import NO_NODE
from gfwd.rules.model import ADDRESS_BITS, Family, RuleSet
from gfwd.rules.portmap import PortMap
from gfwd.rules.space import RuleSpace
from tests.unit.rules.universe import SAMPLE_PORTS, addresses, apply, families, optioned_rule_sets, rule_sets, scan

SAMPLE = """
10.0.0.0/8     514        192.0.2.1  B
10.2.0.0/16    500-600    192.0.2.2  C
10.2.2.3       *          192.0.2.3  D
*              514,9995   192.0.2.4  C
10.2.2.3       7,514      192.0.2.5  A
2001:db8::/32  514        192.0.2.6 name  A
default        *          192.0.2.7
"""


def test_sample() -> None:
    space = RuleSpace(parse(SAMPLE, "sample"))
    line = [rule.line for rule in space.ranked]
    assert line == [7, 6, 2, 5, 3, 4, 8]
    assert list(map(str, space.prefixes)) == ["10.0.0.0/8", "10.2.0.0/16", "10.2.2.3", "2001:db8::/32"]
    assert space.parents == [NO_NODE, 0, 1, NO_NODE]
    assert space.any_ranges == ((0, 513, 6), (514, 514, 3), (515, 9994, 6), (9995, 9995, 3), (9996, 65535, 6))
    assert space.ranges[2] == (
        (0, 6, 5), (7, 7, 1), (8, 513, 5), (514, 514, 1), (515, 65535, 5),
    )  # fmt: skip
    starts, nodes = space.segments(4)
    assert [(hex(start), node) for start, node in zip(starts, nodes, strict=True)] == [
        ("0x0", -1), ("0xa000000", 0), ("0xa020000", 1), ("0xa020203", 2), ("0xa020204", 1), ("0xa030000", 0),
        ("0xb000000", -1),
    ]  # fmt: skip
    assert space.segments(6) == ([0, 0x20010DB8 << 96, 0x20010DB9 << 96], [-1, 3, -1])
    assert space.winner(4, 0x0A020203, 514) == 1
    assert space.winner(4, 0x0A020203, 8) == 5
    assert space.levels(4, 0x0A020203, 514) == [3, 1, 4, 2]


def test_without_a_default_some_points_have_no_winner() -> None:
    space = RuleSpace(parse("10.2.2.3 514 192.0.2.1 A\n", "x"))
    assert space.winner(4, 0x0A020203, 514) == 0
    assert space.winner(4, 0x0A020203, 515) is None
    assert space.winner(4, 0x0A020204, 514) is None
    assert space.winner(6, 0x0A020203, 514) is None


def test_segments_reach_to_the_last_address() -> None:
    space = RuleSpace(parse("255.255.255.255 1 a.example A\n::/0 1 a.example A\n0.0.0.0 1 a.example A\n", "x"))
    assert space.segments(4) == ([0, 1, 0xFFFFFFFF], [0, -1, 1])
    assert space.segments(6) == ([0], [2])


@given(rule_sets())
def test_winner_is_that_of_a_scan(ruleset: RuleSet) -> None:
    space = RuleSpace(ruleset)
    for address in addresses():
        for port in SAMPLE_PORTS:
            number = space.winner(address.family, address.value, port)
            assert (None if number is None else space.ranked[number]) == scan(ruleset, address, port)


@given(rule_sets())
def test_nodes_form_a_forest(ruleset: RuleSet) -> None:
    space = RuleSpace(ruleset)
    assert space.prefixes == sorted({rule.source for rule in ruleset.rules if rule.source})
    for node, prefix in enumerate(space.prefixes):
        holders = [other for other in space.prefixes if other != prefix and other.holds(prefix)]
        smallest = max(holders, key=lambda holder: holder.length, default=None)
        parent = space.parents[node]
        assert (None if parent == NO_NODE else space.prefixes[parent]) == smallest
        assert parent < node


@given(rule_sets(), families)
def test_segments_name_the_deepest_node(ruleset: RuleSet, family: Family) -> None:
    space = RuleSpace(ruleset)
    starts, nodes = space.segments(family)
    assert starts[0] == 0 and starts == sorted(set(starts)) and len(starts) == len(nodes)
    assert all(left != right for left, right in pairwise(nodes))
    for first, beyond, node in zip(starts, [*starts[1:], 1 << ADDRESS_BITS[family]], nodes, strict=True):
        for value in (first, beyond - 1):
            holders = [
                number
                for number, prefix in enumerate(space.prefixes)
                if prefix.family == family and prefix.value <= value <= prefix.last
            ]
            assert node == max(holders, key=lambda number: space.prefixes[number].length, default=NO_NODE)


@settings(max_examples=400)
@given(optioned_rule_sets())
def test_rules_apply_as_their_words_say(ruleset: RuleSet) -> None:
    """With exceptions, rules that apply always, and denied exporters."""
    space = RuleSpace(ruleset)
    for address in addresses():
        for port in SAMPLE_PORTS:
            number = space.winner(address.family, address.value, port)
            rules = () if number is None else space.outcomes[number]
            expected = apply(ruleset, address, port)
            assert expected == (None if number is not None and not rules else set(rules))
            assert [rule for rule in space.ranked if rule in rules] == list(rules)


def test_combinations_that_go_to_too_many_are_refused() -> None:
    text = "".join(f"* 514 {','.join(f'10.{n}.{half}.{m}' for m in range(1, 71))} A\n" for n, half in ((1, 1), (1, 2)))
    rules = tuple(rule._replace(applies_always=True) for rule in parse(text, "x").rules)
    with pytest.raises(
        ConfigError, match=r"x:2: error: the rules that apply together \(lines 2, 1\) name 140 collectors"
    ):
        RuleSpace(RuleSet("x", rules))


def test_more_combinations_than_memory_is_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_all, "MOST", 10)
    text = "".join(f"10.0.0.{n} * 192.0.2.1 A\n" for n in range(1, 12))
    rules = tuple(rule._replace(applies_always=True) for rule in parse(text, "x").rules)
    with pytest.raises(GfwdError, match="more than 10 combinations"):
        RuleSpace(RuleSet("x", rules))


@given(optioned_rule_sets())
def test_combined_port_maps_are_well_formed(ruleset: RuleSet) -> None:
    space = RuleSpace(ruleset)
    assert is_well_formed(space.any_ranges)
    assert all(map(is_well_formed, space.ranges))


def is_well_formed(port_map: PortMap) -> bool:
    """Sorted, disjoint, and no two neighbours that could be one."""
    return all(first <= last for first, last, _ in port_map) and all(
        left[1] < right[0] and (left[2] != right[2] or left[1] + 1 < right[0]) for left, right in pairwise(port_map)
    )


@given(rule_sets())
def test_port_maps_are_well_formed(ruleset: RuleSet) -> None:
    space = RuleSpace(ruleset)
    assert is_well_formed(space.any_ranges)
    assert all(map(is_well_formed, space.ranges))
