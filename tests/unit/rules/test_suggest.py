"""Rules for exporters that have none: what they take, what they leave alone, and whose collectors they have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.errors import ConfigError
from gfwd.rules.canonical import canonical_text, rule_text
from gfwd.rules.classic import parse
from gfwd.rules.fields import parse_source
from gfwd.rules.model import ADDRESS_BITS, Address, Collector, Prefix, Rule, RuleSet
from gfwd.rules.suggest import PLACEHOLDER, SEVERAL, Stray, Suggestion, cannot_be_named, suggest
from tests.unit.rules.universe import SAMPLE_PORTS, addresses, port_sets, rule_sets, scan

RULES = """\
10.1.0.1   514        192.0.2.1                A
10.1.0.2   514,2055   192.0.2.2                B
10.1.0.9   2055       192.0.2.3 2001:db8::3    C
2001:db8::1 514       2001:db8::4              D
"""


def address(text: str) -> Address:
    source = parse_source(text)
    assert source is not None
    return Address(source.family, source.value)


def told(text: str, matched: list[int], *strays: tuple, names: dict[Collector, str] | None = None) -> list[Suggestion]:
    """matched: by the lines. strays: (source, port, port of its kin…)."""
    ranked = tuple(called(rule, names or {}) for rule in parse(text, "x").ranked())
    found = [Stray(address(source), port, tuple(kin)) for source, port, *kin in strays]
    return suggest(ranked, [matched[rule.line - 1] for rule in ranked], found)


def called(rule: Rule, names: dict[Collector, str]) -> Rule:
    """The rule with collectors that have these names."""
    return rule._replace(receivers=tuple(one._replace(name=names.get(one)) for one in rule.collectors))


def texts(found: list[Suggestion]) -> list[str]:
    return [rule_text(one.rule) for one in found]


def test_the_collectors_that_most_datagrams_to_that_port_go_to() -> None:
    assert texts(told(RULES, [5, 9, 7, 0], ("10.9.9.9", 514))) == ["10.9.9.9 514 192.0.2.2 B"]
    assert texts(told(RULES, [9, 5, 7, 0], ("10.9.9.9", 514))) == ["10.9.9.9 514 192.0.2.1 A"]
    (one,) = told(RULES, [9, 5, 7, 0], ("10.9.9.9", 2055))
    assert rule_text(one.rule) == "10.9.9.9 2055 192.0.2.3 C"  # the other is of the other family
    assert one.model and (one.model.line, one.kin) == (3, None)


def test_of_its_own_family() -> None:
    assert texts(told(RULES, [9, 9, 9, 0], ("2001:db8::9", 514), ("2001:db8::9", 2055))) == [
        "2001:db8::9 514 2001:db8::4 D",
        "2001:db8::9 2055 2001:db8::3 C",
    ]


def test_the_collectors_of_its_protocol() -> None:
    """They listen on the port that they are sent to today."""
    (one,) = told(RULES, [0, 0, 1, 0], ("10.9.9.9", 9999, 9995, 2055))
    assert rule_text(one.rule) == "10.9.9.9 9999 192.0.2.3:2055 C"
    assert one.model and (one.model.line, one.kin) == (3, 2055)
    ((named,),) = [one.rule.receivers for one in told(RULES, [0, 0, 1, 0], ("10.9.9.9", 9999, 2055), names=NAMES)]
    assert str(named) == "flow"


NAMES = {Collector("192.0.2.3", None, Address(4, 0xC0000203)): "flow"}


def test_names_are_kept() -> None:
    assert texts(told(RULES, [0, 0, 1, 0], ("10.9.9.9", 2055), names=NAMES)) == ["10.9.9.9 2055 flow C"]


def test_a_placeholder_is_refused() -> None:
    (one,) = told(RULES, [1, 1, 1, 1], ("10.9.9.9", 162, 161))
    assert (one.model, one.kin, one.rule.receivers) == (None, None, (PLACEHOLDER,))
    assert rule_text(one.rule) == "10.9.9.9 162 <collector> A"
    with pytest.raises(ConfigError, match="is not a collector"):
        parse(rule_text(one.rule), "x")


def test_who_has_a_rule_for_another_port() -> None:
    one, other = told(RULES, [1, 1, 1, 1], ("10.1.0.1", 2055), ("10.1.1.1", 2055))
    assert [(str(stray.source), rule.line) for stray, rule in one.near] == [("10.1.0.1", 1)]
    assert other.near == ()
    (wide,) = told("10.1.0.0/16 162 192.0.2.1 A\n10.1.2.3 514 192.0.2.1 B\n", [0, 0], ("10.1.2.3", 2055))
    assert [rule.line for _, rule in wide.near] == [2]  # of several, the one that says most


def neighbours(number: int, port: int = 514) -> list[tuple]:
    return [(f"10.9.9.{host}", port) for host in range(1, number + 1)]


def test_several_neighbours_are_one_rule() -> None:
    few = told(RULES, [1, 0, 0, 0], *neighbours(SEVERAL - 1))
    assert len(few) == SEVERAL - 1
    (one,) = told(RULES, [1, 0, 0, 0], *neighbours(SEVERAL))
    assert rule_text(one.rule) == "10.9.9.0/24 514 192.0.2.1 A" and len(one.strays) == SEVERAL
    six = [(f"2001:db8:9::{host:x}", 514) for host in range(5)]
    assert texts(told(RULES, [0, 0, 0, 1], *six)) == ["2001:db8:9::/64 514 2001:db8::4 D"]
    assert len(told(RULES, [1, 1, 0, 0], *neighbours(2), ("10.9.9.3", 2055))) == 3  # not to the same port


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("10.9.9.77 514 192.0.2.9 A", "10.9.9.0/24 514 192.0.2.1 B"),
        ("10.9.9.64/26 * 192.0.2.9 M", "10.9.9.0/24 514 192.0.2.1 N"),
        ("10.9.9.77 515 192.0.2.9 M", "10.9.9.0/24 514 192.0.2.1 A"),
        ("10.9.10.1 514 192.0.2.9 M", "10.9.9.0/24 514 192.0.2.1 A"),
    ],
)
def test_a_rule_for_a_network_takes_nothing_from_those_in_it(inside: str, expected: str) -> None:
    text = f"10.1.0.1 514 192.0.2.1 A\n{inside}\n"
    assert texts(told(text, [9, 0], *neighbours(4))) == [expected]


def test_where_no_letter_is_left_each_has_a_rule_of_its_own() -> None:
    text = "10.1.0.1 514 192.0.2.1 A\n10.9.9.77 514 192.0.2.9 Z\n"
    assert len(told(text, [9, 0], *neighbours(4))) == 4


def test_what_no_rule_can_name() -> None:
    assert cannot_be_named(Stray(address("10.9.9.9"), 514)) is None
    assert "is not a port" in (cannot_be_named(Stray(address("10.9.9.9"), 0)) or "")
    mapped = Stray(Address(6, 0xFFFF_0A00_0001), 514)
    assert "IPv4-mapped" in (cannot_be_named(mapped) or "")


# A corner of one network, beside the wide prefixes of the universe.
CORNER = [Address(4, 0x0A090900 + low) for low in range(8)]
POINTS = [*addresses(), *CORNER, Address(4, 0x0A0909FF), Address(4, 0x0A090A00)]


@st.composite
def corner_rules(draw: st.DrawFn) -> RuleSet:
    """Rules for prefixes in that corner, and around it."""
    rules: list[Rule] = []
    for low, length in draw(st.lists(st.tuples(st.integers(0, 7), st.integers(23, 32)), min_size=1, max_size=6)):
        source = Prefix(4, (0x0A090900 + low) >> 32 - length << 32 - length, length)
        collector = Collector(draw(st.sampled_from(("one", "two"))), None, None)
        rules.append(Rule(source, draw(port_sets()), (collector,), draw(st.sampled_from("ABYZ")), len(rules) + 1))
    return RuleSet("corner.rules", tuple(rules))


@st.composite
def strays_of(draw: st.DrawFn, ruleset: RuleSet) -> list[Stray]:
    """Some of those points that have no rule; now and then many of one network."""
    ports = st.sampled_from(SAMPLE_PORTS[1:])
    found = dict.fromkeys(draw(st.lists(st.tuples(st.sampled_from(POINTS), ports), max_size=8)))
    if draw(st.booleans()):
        port = draw(ports)
        found |= dict.fromkeys((source, port) for source in CORNER)
    kin = draw(st.sampled_from([(), (1,), (3, 2)]))
    return [Stray(source, port, kin) for source, port in found if scan(ruleset, source, port) is None]


@given(st.data(), st.one_of(rule_sets(), corner_rules()))
def test_each_is_taken_and_nobody_else_is_touched(data: st.DataObject, ruleset: RuleSet) -> None:
    """Written behind the rules, the suggestions win what they are for, and nothing that had a rule."""
    strays = data.draw(strays_of(ruleset))
    ranked = ruleset.ranked()
    found = suggest(ranked, [data.draw(st.integers(0, 3)) for _ in ranked], strays)
    assert sorted(stray for one in found for stray in one.strays) == sorted(strays)
    whole = [one.rule for one in found if one.model is not None]
    if whole:
        again = parse(canonical_text(RuleSet("", tuple(whole))), "again").rules
        assert [rule._replace(line=0) for rule in again] == whole
    after = ruleset._replace(rules=(*ruleset.rules, *(one.rule for one in found)))
    for one in found:
        for stray in one.strays:
            assert scan(after, stray.source, stray.port) == one.rule
    for point in POINTS:
        for port in SAMPLE_PORTS:
            before = scan(ruleset, point, port)
            if before is not None:
                assert scan(after, point, port) == before


def test_hosts_stay_hosts() -> None:
    (one,) = told(RULES, [1, 1, 1, 1], ("10.9.9.9", 514))
    assert one.rule.source == Prefix(4, 0x0A090909, ADDRESS_BITS[4])
