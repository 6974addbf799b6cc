"""Collectors that are named twice, against a stupid twin that compares each rule with each other one."""

from hypothesis import given
from hypothesis import strategies as st

from gfwd.rules.fields import parse_collector, parse_ports, parse_prefix
from gfwd.rules.model import Group, Options, Ports, Prefix, Receiver, Rule, RuleSet, common_ports
from gfwd.rules.repeats import repeats

SIX, SEVEN = parse_collector("10.2.2.6:9995"), parse_collector("10.2.2.7")
SLOW = SIX._replace(name="slow", options=Options(limit=5))
FARM = Group("farm", "exporter", (SLOW, SEVEN))
BARN = Group("barn", "exporter", (SIX._replace(name="six"), SEVEN))
AGAIN = BARN._replace(name="again", members=(SIX, SEVEN))


def rule(
    source: str,
    ports: str,
    *receivers: Receiver,
    priority: str | None = "A",
    without: str = "",
    always: bool = False,
    line: int = 0,
) -> Rule:
    prefix = None if source == "*" else parse_prefix(source)
    excepted = tuple(parse_prefix(one) for one in without.split())
    return Rule(prefix, parse_ports(ports), receivers, priority, line, excepted, always)


def said(*rules: Rule) -> list[str]:
    """The lines count from 1."""
    numbered = tuple(rule._replace(line=line) for line, rule in enumerate(rules, 1))
    return [f"{problem.line}: {problem.text}" for problem in repeats(RuleSet("x", numbered))]


def test_one_place_in_one_rule() -> None:
    twice = "both send to 10.2.2.6:9995, so that it may get two copies: keep one"
    assert said(rule("*", "514", SIX, SEVEN)) == []
    assert said(rule("*", "514", SIX, SLOW)) == [f"1: 10.2.2.6:9995 and slow {twice}"]
    assert said(rule("*", "514", FARM, SIX)) == [f"1: farm and 10.2.2.6:9995 {twice}"]
    assert len(said(rule("*", "514", FARM, SEVEN, SIX, SLOW))) == 3
    assert len(said(rule("*", "514", FARM, BARN))) == 1, "once for two groups, though they share both"


def test_a_collector_that_keeps_the_port_of_a_rule_for_one() -> None:
    with_port = parse_collector("10.2.2.7:514")
    (text,) = said(rule("*", "514", SEVEN, with_port))
    assert text.startswith("1: 10.2.2.7 and 10.2.2.7:514 both send to 10.2.2.7:514")
    assert said(rule("*", "514,515", SEVEN, with_port)) == said(rule("*", "515", SEVEN, with_port)) == []


def test_a_rule_beside() -> None:
    beside = "applies beside this rule, and sends all that this one is for to"
    wide = rule("10.0.0.0/8", "500-600", SIX, always=True)
    assert said(wide, rule("10.1.0.0/16", "514", SLOW, SEVEN)) == [f"2: line 1 {beside} slow, too: keep one"]
    assert said(wide._replace(applies_always=False), rule("10.1.0.0/16", "514", SIX, always=True)) == []
    for other in (
        rule("*", "514", SIX),
        rule("10.1.0.0/16", "514,700", SIX),
        rule("11.0.0.0/8", "514", SIX),
        rule("10.1.0.0/16", "514", SEVEN),
        rule("*", "514", SIX, priority=None),
    ):
        assert said(wide, other) == [], other
    both = said(rule("*", "*", AGAIN, SIX, always=True), rule("10.0.0.0/8", "514", BARN, SIX))
    assert both[-1] == f"2: line 1 {beside} barn and 10.2.2.6:9995, too: keep one"


def test_exceptions_of_the_rule_beside() -> None:
    for hole, without, covers in (
        ("10.2.0.0/16", "", True),
        ("10.1.2.0/24", "", False),
        ("10.1.2.0/24", "10.1.2.0/23", True),
        ("10.1.2.0/24", "10.1.2.0/25", False),
        ("10.0.0.0/9", "", False),
    ):
        wide = rule("10.0.0.0/8", "*", SIX, without=hole, always=True)
        assert bool(said(wide, rule("10.1.0.0/16", "514", SIX, without=without))) == covers, (hole, without)


SOURCES = st.sampled_from(["*", "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.128.0.0/9", "::/0"])
PORTS = st.sampled_from(["*", "514", "514,2055", "500-600", "2055"])
PLAIN = st.builds(
    lambda source, ports, receivers, priority, always: rule(
        source, ports, *receivers, priority=priority, always=always and priority is not None
    ),
    SOURCES,
    PORTS,
    st.lists(st.sampled_from([SIX, SEVEN, FARM]), min_size=1, max_size=2, unique=True),
    st.sampled_from(["A", "A", "B", None]),
    st.booleans(),
)


def holds(source: Prefix | None, ports: Ports, rule: Rule) -> bool:
    is_wider = source is None or (rule.source is not None and source.holds(rule.source))
    return is_wider and common_ports(ports, rule.ports) == rule.ports


@given(st.lists(PLAIN, max_size=7))
def test_against_the_twin(rules: list[Rule]) -> None:
    rules = [rule._replace(line=line) for line, rule in enumerate(rules, 1)]
    wanted = set()
    for rule in rules:
        for other in rules:
            is_same = (other.source, other.ports) == (rule.source, rule.ports)
            if not other.applies_always or rule.priority is None or other is rule:
                continue
            if is_same and rule.applies_always and other.line > rule.line:
                continue  # the later one of the two is told
            if holds(other.source, other.ports, rule) and set(other.receivers) & set(rule.receivers):
                wanted.add(rule.line)
    told = {problem.line for problem in repeats(RuleSet("x", tuple(rules))) if "beside" in problem.text}
    assert told == wanted
