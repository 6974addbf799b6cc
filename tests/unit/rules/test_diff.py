"""Differences as they are told. That they are right everywhere is for tests/oracle/test_diff.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.rules.classic import parse
from gfwd.rules.cover import all_but
from gfwd.rules.diff import Comparison
from gfwd.rules.model import ALL_PORTS, Address, Family, Ports, Prefix, RuleSet, ports_text
from tests.unit.rules.universe import (
    DEEPEST,
    SAMPLE_PORTS,
    addresses,
    apply,
    families,
    lies_in,
    optioned_rule_sets,
    prefix_of,
)

Told = list[tuple[str, str, int | None, int | None]]


def told(old: str, new: str, listen: Ports = ALL_PORTS) -> Told:
    """Sources, ports, and the lines of the rules before and after."""
    return [
        (
            " ".join("*" if source is None else str(source) for source in difference.sources),
            ports_text(difference.ports),
            difference.before[0].line if difference.before else None,
            difference.after[0].line if difference.after else None,
        )
        for difference in Comparison(parse(old, "old"), parse(new, "new"), listen).differences()
    ]


BASE = """
10.2.2.3       514        192.0.2.1            B
10.2.0.0/16    514,2055   192.0.2.2            B
*              514        name.example         C
default        *          192.0.2.7 2001:db8::7
"""


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(f"# comment\n{BASE}  # more\n", id="comments"),
        pytest.param(BASE.replace(" C", " Z").replace(" B", " D"), id="renumbered"),
        pytest.param(BASE.replace("\n10.2.0.0/16 ", "\n10.2.0.0/17 514,2055 192.0.2.2 B\n10.2.128.0/17"), id="halves"),
        pytest.param(BASE.replace("514,2055", "2055,514"), id="ports in another order"),
        pytest.param(BASE.replace("192.0.2.7 2001:db8::7", "2001:db8::7 192.0.2.7"), id="collectors in another order"),
        pytest.param(BASE.replace("default", "*").rstrip() + " Z\n", id="a default that is the last rule"),
        pytest.param(BASE.replace("192.0.2.1 ", "192.0.2.1:514 "), id="the port that it has anyway"),
        pytest.param(f"10.2.2.3 514 192.0.2.9 B\n10.2.0.0/16 2055 192.0.2.9 C\n{BASE}", id="rules that never win"),
        pytest.param(BASE.replace("192.0.2.2 ", "192.0.2.2 2001:db8::2 "), id="a collector of the other family"),
    ],
)
def test_no_difference(new: str) -> None:
    assert told(BASE, new) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("10.0.0.1 514 a.example A", "10.0.0.1 514 b.example A", [("10.0.0.1", "514", 1, 1)]),
        ("10.0.0.1 514 a.example A", "10.0.0.1 515 a.example A",
         [("10.0.0.1", "514", 1, None), ("10.0.0.1", "515", None, 1)]),
        ("* 514 a.example A", "* 514 b.example A", [("*", "514", 1, 1)]),
        ("* 514 192.0.2.1 A", "* 514 192.0.2.2 A", [("0.0.0.0/0", "514", 1, 1)]),  # in IPv6, none ever leaves
        ("* 514 192.0.2.1 A", "* 514 192.0.2.1:515 A", [("0.0.0.0/0", "514", 1, 1)]),
        ("* 513-515 192.0.2.1 A", "* 513-515 192.0.2.1:514 A", [("0.0.0.0/0", "513,515", 1, 1)]),
        # Four addresses beside each other, and ports too, are one; a better rule makes a hole.
        ("default * a.example", "default * a.example\n10.0.0.0/31 7 b.example A\n10.0.0.2/31 8,7 b.example A",
         [("10.0.0.0/31", "7", 1, 2), ("10.0.0.2/31", "7-8", 1, 3)]),
        ("10.0.0.1 514 a.example A", "10.0.0.1 514 a.example A\n10.0.0.0/30 514 b.example B",
         [("10.0.0.0 10.0.0.2/31", "514", None, 2)]),
        ("default * 192.0.2.1", "0.0.0.0/1 * 192.0.2.1 A\n128.0.0.0/1 * 192.0.2.1 A", []),
        # Whichever rule names it, a name gets datagrams at its address of their family.
        ("* 514 a.example A", "::/0 514 a.example A\n0.0.0.0/0 514 a.example A", []),
    ],
)  # fmt: skip
def test_differences(old: str, new: str, expected: Told) -> None:
    assert told(old, new) == expected


def test_only_ports_that_are_listened_on() -> None:
    old, new = "default * a.example", "default * b.example"
    assert told(old, new, ((514, 514), (2055, 2056))) == [("*", "514,2055-2056", 1, 1)]
    comparison = Comparison(parse(old, "old"), parse(new, "new"), ((514, 514),))
    assert comparison.at(Address(4, 1), 514) is not None
    assert comparison.at(Address(4, 1), 515) is None


@st.composite
def pairs(draw: st.DrawFn) -> tuple[RuleSet, RuleSet]:
    """Sets with options that differ a little, or much."""
    old = draw(optioned_rule_sets())
    new = draw(optioned_rule_sets())
    if draw(st.integers(0, 3)):
        rules = list(old.rules)
        rules[draw(st.integers(0, len(rules) - 1))] = new.rules[0]._replace(line=rules[-1].line + 99)
        new = old._replace(rules=tuple(rules), exporters=draw(st.sampled_from((old.exporters, new.exporters))))
    return old, new


@settings(max_examples=300)
@given(pairs())
def test_with_options_a_difference_is_told_just_where_there_is_one(pair: tuple[RuleSet, RuleSet]) -> None:
    found = Comparison(*pair).differences()
    for address in addresses():
        for port in SAMPLE_PORTS:
            sides = [apply(ruleset, address, port) for ruleset in pair]
            before, after = ({str(one) for rule in side or () for one in rule.collectors} for side in sides)
            told_here = [
                difference
                for difference in found
                if any(source is None or lies_in(address, source) for source in difference.sources)
                and any(first <= port <= last for first, last in difference.ports)
            ]
            assert len(told_here) == (before != after)
            for difference in told_here:
                assert [None if side == () else set(side or ()) for side in difference[2:]] == sides


@given(optioned_rule_sets())
def test_a_set_is_not_different_from_itself(ruleset: RuleSet) -> None:
    assert Comparison(ruleset, ruleset).differences() == []


@given(optioned_rule_sets(), optioned_rule_sets())
def test_back_is_the_way_there_the_other_way_round(old: RuleSet, new: RuleSet) -> None:
    there = Comparison(old, new).differences()
    back = Comparison(new, old).differences()
    assert sorted(map(repr, there)) == sorted(repr(one._replace(before=one.after, after=one.before)) for one in back)


@given(families, st.sets(st.integers(0, (1 << DEEPEST) - 1), min_size=1))
def test_all_but(family: Family, numbers: set[int]) -> None:
    some = [prefix_of(family, number, DEEPEST) for number in sorted(numbers)]
    whole, left_out = all_but(some)
    assert all(whole.holds(prefix) for prefix in some)
    assert not any(all(half.holds(prefix) for prefix in some) for half in whole.halves()) or some == [whole]
    assert sum(prefix.size for prefix in [*some, *left_out]) == whole.size
    assert not any(prefix.holds(other) or other.holds(prefix) for prefix in some for other in left_out)
    assert all(whole.holds(prefix) for prefix in left_out)


def test_all_but_of_one() -> None:
    assert all_but([Prefix(4, 0x0A000000, 8)]) == (Prefix(4, 0x0A000000, 8), [])
