"""Explanations: against a scan of all rules, and what counts as near."""

from hypothesis import given
from hypothesis import strategies as st

from gfwd.rules.classic import parse
from gfwd.rules.explain import MISSES_MAX, Explanation, Miss, Why, explain
from gfwd.rules.model import Address, Prefix, RuleSet
from tests.unit.rules.universe import SAMPLE_PORTS, addresses, matches, rule_sets, scan


def asked(text: str, source: int, port: int) -> Explanation:
    return explain(parse(text, "x").ranked(), Address(4, source), port)


def lines(misses: tuple[Miss, ...]) -> list[tuple[int, bool]]:
    return [(miss.rule.line, miss.would_win) for miss in misses]


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
    assert told.winner and told.winner.line == 4
    assert [(loser.rule.line, loser.why) for loser in told.losers] == [
        (3, Why.EARLIER), (2, Why.PRIORITY), (5, Why.DEFAULT), (1, Why.DEFAULT),
    ]  # fmt: skip
    assert (lines(told.other_port), lines(told.other_source)) == ([], [(6, True)])


def test_of_two_defaults_the_later_one_wins() -> None:
    told = asked("default * d.example\ndefault 514 d.example\n", HOST, 514)
    assert told.winner and told.winner.line == 2
    assert [loser.why for loser in told.losers] == [Why.EARLIER]


def test_no_rule() -> None:
    told = asked("10.2.2.0/24 2055 a.example A\n10.2.3.0/24 514 a.example B\n::/0 514 a.example A\n", HOST, 514)
    assert (told.winner, told.losers) == (None, ())
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
    assert told.winner and told.winner.line == 6
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
    assert told.winner is scan(ruleset, address, port)
    matching = [rule for rule in ranked if matches(rule, address, port)]
    assert [rule for rule in (told.winner, *(loser.rule for loser in told.losers)) if rule] == matching
    host = Prefix(address.family, address.value, 32 if address.family == 4 else 128)
    near = [rule for rule in ranked if rule not in matching]
    by_source = [rule for rule in near if rule.source is None or rule.source.holds(host)]
    by_port = [rule for rule in near if rule.source and matches(rule._replace(source=None), address, port)]
    by_port = [rule for rule in by_port if rule.source and rule.source.family == address.family]
    for misses, candidates in ((told.other_port, by_source), (told.other_source, by_port)):
        assert len(misses) == min(len(candidates), MISSES_MAX)
        for miss in misses:
            assert any(miss.rule is rule for rule in candidates)
            assert miss.would_win == (not matching or ranked.index(miss.rule) < ranked.index(matching[0]))
