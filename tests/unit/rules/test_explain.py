"""Explanations: against a scan of all rules, and what counts as near."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.rules.classic import parse
from gfwd.rules.explain import MISSES_MAX, Denial, Explanation, Limit, Miss, Why, explain
from gfwd.rules.fields import parse_prefix
from gfwd.rules.model import ADDRESS_BITS, ALL_PORTS, Address, Exporters, Prefix, Rule, RuleSet
from tests.unit.rules.universe import (
    SAMPLE_PORTS,
    addresses,
    apply,
    lies_in,
    matches,
    optioned_rule_sets,
    rule_sets,
    scan,
)


def asked(text: str, source: int, port: int) -> Explanation:
    return explain(parse(text, "x").ranked(), Address(4, source), port)


def lines(misses: tuple[Miss, ...]) -> list[tuple[int, bool]]:
    return [(miss.rule.line, miss.would_apply) for miss in misses]


HOST = 0x0A020203  # 10.2.2.3


def test_why_rules_lose() -> None:
    told = asked(
        "default * d.example\n"
        "10.2.2.3 514 b.example B\n"
        "10.2.0.0/16 1-600 a.example A\n"
        "* * a.example A\n"
        "default 514 d.example\n"
        "10.2.2.4 514 x.example A\n",
        HOST,
        514,
    )
    assert [rule.line for rule in told.applying] == [4]
    assert [(loser.rule.line, loser.why) for loser in told.losers] == [
        (3, Why.EARLIER), (2, Why.PRIORITY), (5, Why.DEFAULT), (1, Why.DEFAULT),
    ]  # fmt: skip
    assert (lines(told.other_port), lines(told.other_source)) == ([], [(6, True)])


def test_of_two_defaults_the_later_one_wins() -> None:
    told = asked("default * d.example\ndefault 514 d.example\n", HOST, 514)
    assert [rule.line for rule in told.applying] == [2]
    assert [loser.why for loser in told.losers] == [Why.EARLIER]


def test_no_rule() -> None:
    told = asked("10.2.2.0/24 2055 a.example A\n10.2.3.0/24 514 a.example B\n::/0 514 a.example A\n", HOST, 514)
    assert (told.applying, told.losers) == ((), ())
    assert (lines(told.other_port), lines(told.other_source)) == ([(1, True)], [(2, True)])


def test_the_nearest_misses() -> None:
    """By port: first those that would win, then whose source says most, then whose port is nearest."""
    told = asked(
        "default 513 a.example\n"
        "* 515 a.example A\n"
        "10.2.2.3 9999,1 a.example B\n"
        "10.2.2.3 2055 a.example B\n"
        "10.0.0.0/8 513 a.example B\n"
        "* 514 a.example C\n"
        "10.2.2.3 515 a.example D\n",
        HOST,
        514,
    )
    assert [rule.line for rule in told.applying] == [6]
    assert lines(told.other_port) == [(3, True), (4, True), (5, True)]
    told = asked(
        "10.2.2.16/28 514 a.example B\n"
        "10.2.2.2 514 a.example B\n"
        "192.0.2.1 514 a.example A\n"
        "10.2.2.4/30 514 a.example B\n"
        "10.2.2.2 514 a.example D\n"
        "* 514 a.example C\n",
        HOST,
        514,
    )
    assert lines(told.other_source) == [(2, True), (4, True), (1, True)]


@given(rule_sets(), st.sampled_from(list(addresses())), st.sampled_from(SAMPLE_PORTS))
def test_every_rule_has_its_place(ruleset: RuleSet, address: Address, port: int) -> None:
    ranked = ruleset.ranked()
    told = explain(ranked, address, port)
    winner = scan(ruleset, address, port)
    assert told.applying == (() if winner is None else (winner,))
    matching = [rule for rule in ranked if matches(rule, address, port)]
    assert [*told.applying, *(loser.rule for loser in told.losers)] == matching
    assert (told.denial, told.limit, told.excepted) == (None, None, ())


@settings(max_examples=400)
@given(optioned_rule_sets(), st.sampled_from(list(addresses())), st.sampled_from(SAMPLE_PORTS))
def test_every_rule_has_its_place_with_options(ruleset: RuleSet, address: Address, port: int) -> None:
    ranked = ruleset.ranked()
    told = explain(ranked, address, port, ruleset.exporters)
    applying = apply(ruleset, address, port)
    assert (told.denial is None) == (applying is not None)
    assert told.applying == tuple(rule for rule in ranked if rule in (applying or ()))
    matching = [rule for rule in ranked if matches(rule, address, port)]
    assert [rule for rule in matching if rule not in told.applying] == [loser.rule for loser in told.losers]
    if applying is None:
        allowed = RuleSet(ruleset.path, ruleset.rules)
        assert {loser.rule for loser in told.losers if loser.why is Why.DENIED} == apply(allowed, address, port)
        assert told.other_port == told.other_source == told.excepted == ()
        return
    near = [rule for rule in ranked if rule not in matching]
    by_port = [rule for rule in near if matches(rule._replace(ports=ALL_PORTS), address, port)]
    by_exception = [rule for rule in near if matches(rule._replace(excepted=()), address, port)]
    by_source = [
        rule
        for rule in near
        if rule.source is not None
        and rule.source.family == address.family
        and not lies_in(address, rule.source)
        and matches(rule._replace(source=None, excepted=()), address, port)
    ]
    found = (told.other_port, by_port), (told.other_source, by_source), (told.excepted, by_exception)
    for misses, candidates in found:
        assert len(misses) == min(len(candidates), MISSES_MAX)
        for miss in misses:
            assert any(miss.rule is rule for rule in candidates)
            assert miss.would_apply == would_apply(ruleset, miss.rule, address, port)
    for miss in told.excepted:
        holding = [prefix for prefix in miss.rule.excepted if lies_in(address, prefix)]
        assert miss.excepted in holding
        assert miss.excepted and miss.excepted.length == max(prefix.length for prefix in holding)


def would_apply(ruleset: RuleSet, miss: Rule, address: Address, port: int) -> bool:
    """Whether it did, were it for this very exporter and port, too, without exceptions."""
    host = Prefix(address.family, address.value, ADDRESS_BITS[address.family])
    source = None if miss.priority is None else host
    changed = miss._replace(source=source, ports=((port, port),), excepted=())
    rules = tuple(changed if rule is miss else rule for rule in ruleset.rules)
    return changed in (apply(RuleSet(ruleset.path, rules), address, port) or ())


# ---- options ----


def optioned(text: str, always: tuple[int, ...] = (), excepted: dict[int, str] | None = None) -> tuple[Rule, ...]:
    """The rules of the text, best first; always: the lines of those that apply always. excepted: by line."""
    rules = tuple(
        rule._replace(
            applies_always=rule.line in always,
            excepted=tuple(map(parse_prefix, (excepted or {}).get(rule.line, "").split())),
        )
        for rule in parse(text, "x").rules
    )
    return RuleSet("x", rules).ranked()


def test_a_default_beside_rules_that_apply_always() -> None:
    ranked = optioned("default * d.example\ndefault 514 d.example\n* * a.example Z\n", always=(3,))
    told = explain(ranked, Address(4, HOST), 514)
    assert [rule.line for rule in told.applying] == [3]
    assert [(loser.rule.line, loser.why) for loser in told.losers] == [(2, Why.OTHERS), (1, Why.OTHERS)]
    ranked = optioned("default * d.example\n* 514 b.example B\n* * a.example Z\n", always=(3,))
    told = explain(ranked, Address(4, HOST), 514)
    assert [rule.line for rule in told.applying] == [2, 3]
    assert [(loser.rule.line, loser.why) for loser in told.losers] == [(1, Why.DEFAULT)]


def test_exceptions_are_near() -> None:
    ranked = optioned(
        "10.0.0.0/8 514 a.example A\n10.0.0.0/8 515 a.example A\n* * a.example B\n* 514 b.example C\n",
        always=(4,),
        excepted={1: "10.2.0.0/16 10.2.2.0/24 10.3.0.0/16", 2: "10.2.0.0/16", 4: "10.2.2.3"},
    )
    told = explain(ranked, Address(4, HOST), 514)
    assert [rule.line for rule in told.applying] == [3]
    assert [(miss.rule.line, str(miss.excepted), miss.would_apply) for miss in told.excepted] == [
        (1, "10.2.2.0/24", True), (4, "10.2.2.3", True),
    ]  # fmt: skip
    assert lines(told.other_port) == []


@pytest.mark.parametrize(
    ("allow", "deny", "denial"),
    [
        ("", "", None),
        ("", "10.0.0.0/8 10.2.2.0/24 11.0.0.0/8", Denial(Prefix(4, 0x0A020200, 24))),
        ("10.0.0.0/8", "10.2.2.4", None),
        ("11.0.0.0/8 ::/0", "", Denial(None)),
        ("10.0.0.0/8", "10.2.2.3", Denial(Prefix(4, HOST, 32))),
    ],
)
def test_who_is_denied(allow: str, deny: str, denial: Denial | None) -> None:
    exporters = Exporters(tuple(map(parse_prefix, allow.split())), tuple(map(parse_prefix, deny.split())))
    told = explain(optioned("* 514 a.example A\n* 514 a.example B\n"), Address(4, HOST), 514, exporters)
    assert told.denial == denial
    assert [loser.why for loser in told.losers] == [Why.DENIED, Why.PRIORITY][denial is None :]


def test_whose_limit_holds() -> None:
    wide, narrow = Prefix(4, 0x0A000000, 8), Prefix(4, 0x0A020200, 24)
    other = Prefix(6, 0, 0)

    def limit(*limits: tuple[Prefix, int | None], rate: int | None = None) -> Limit | None:
        return explain((), Address(4, HOST), 514, Exporters(limit=rate, limits=limits)).limit

    assert limit() is None
    assert limit((other, 3)) is None
    assert limit((other, 3), rate=9) == Limit(9, None)
    assert limit((narrow, 5), (wide, 7), rate=9) == Limit(5, narrow)
    assert limit((wide, 7), (narrow, None), rate=9) == Limit(None, narrow)
