"""A tiny universe of rules: so few prefixes and ports that every point of it can be looked at one by one."""

from collections.abc import Iterator

from hypothesis import strategies as st

from gfwd.rules.model import (
    ADDRESS_BITS,
    ALL_PORTS,
    Address,
    Collector,
    Exporters,
    Family,
    Ports,
    Prefix,
    Rule,
    RuleSet,
    merge_ports,
)

DEEPEST = 3  # bits: no prefix of the universe is longer
LAST_NAMED_PORT = 6  # rules name ports 1 to 6
SAMPLE_PORTS = range(LAST_NAMED_PORT + 2)  # 0 and 7 stand for all that only a `*` has

families: st.SearchStrategy[Family] = st.sampled_from((4, 6))


def prefix_of(family: Family, top_bits: int, length: int) -> Prefix:
    return Prefix(family, top_bits << (ADDRESS_BITS[family] - length), length)


@st.composite
def prefixes(draw: st.DrawFn, deepest: int = DEEPEST) -> Prefix:
    length = draw(st.integers(0, deepest))
    return prefix_of(draw(families), draw(st.integers(0, (1 << length) - 1)), length)


@st.composite
def port_sets(draw: st.DrawFn) -> Ports:
    if draw(st.integers(0, 2)) == 0:
        return ALL_PORTS
    pairs = draw(st.lists(st.tuples(*[st.integers(1, LAST_NAMED_PORT)] * 2), min_size=1, max_size=3))
    return merge_ports((min(pair), max(pair)) for pair in pairs)


@st.composite
def tilings(draw: st.DrawFn) -> list[Prefix | None]:
    """Sources that leave no address out of a prefix, or of everything: random ones rarely do."""
    whole = [prefix_of(4, 0, 0), prefix_of(6, 0, 0)] if draw(st.booleans()) else [draw(prefixes(DEEPEST - 1))]
    tiles: list[Prefix | None] = []
    while whole:
        prefix = whole.pop()
        if prefix.length < DEEPEST and draw(st.booleans()):
            half = 1 << (ADDRESS_BITS[prefix.family] - prefix.length - 1)
            whole += [
                Prefix(prefix.family, prefix.value, prefix.length + 1),
                Prefix(prefix.family, prefix.value + half, prefix.length + 1),
            ]
        else:
            tiles.append(prefix)
    return tiles


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSet:
    any_source = st.just([None])
    source_groups = st.one_of(any_source, prefixes().map(lambda prefix: [prefix]), tilings())
    rules: list[Rule] = []
    for sources in draw(st.lists(source_groups, min_size=1, max_size=10)):
        ports = draw(port_sets())
        priority = draw(st.sampled_from("ABCZ"))
        for source in sources:
            is_default = source is None and draw(st.booleans())
            collector = Collector(draw(st.sampled_from(("one", "two"))), None, None)
            rules.append(Rule(source, ports, (collector,), None if is_default else priority, len(rules) + 1))
    return RuleSet("tiny.rules", tuple(draw(st.permutations(rules))))


@st.composite
def optioned_rule_sets(draw: st.DrawFn) -> RuleSet:
    """Rules with exceptions, rules that apply always, and exporters that are denied."""
    ruleset = draw(rule_sets())
    some_prefixes = st.lists(prefixes(), max_size=2).map(tuple)
    rules = tuple(
        rule._replace(
            excepted=draw(some_prefixes), applies_always=rule.priority is not None and draw(st.integers(0, 2)) == 0
        )
        for rule in ruleset.rules
    )
    exporters = Exporters(
        allow=draw(st.one_of(st.just(()), some_prefixes)), deny=draw(st.one_of(st.just(()), some_prefixes))
    )
    return RuleSet(ruleset.path, rules, exporters)


def addresses() -> Iterator[Address]:
    """An address for each of the smallest prefixes."""
    for family in (4, 6):
        for top_bits in range(1 << DEEPEST):
            yield Address(family, prefix_of(family, top_bits, DEEPEST).value)


def matches(rule: Rule, address: Address, port: int) -> bool:
    if rule.source is not None and not lies_in(address, rule.source):
        return False
    if any(lies_in(address, prefix) for prefix in rule.excepted):
        return False
    return any(first <= port <= last for first, last in rule.ports)


def lies_in(address: Address, prefix: Prefix) -> bool:
    bits = ADDRESS_BITS[prefix.family] - prefix.length
    return prefix.family == address.family and prefix.value >> bits == address.value >> bits


def is_denied(exporters: Exporters, address: Address) -> bool:
    allowed = not exporters.allow or any(lies_in(address, prefix) for prefix in exporters.allow)
    return not allowed or any(lies_in(address, prefix) for prefix in exporters.deny)


def apply(ruleset: RuleSet, address: Address, port: int) -> set[Rule] | None:
    """Which rules apply, from the words of their definition; None: the exporter is denied."""
    if is_denied(ruleset.exporters, address):
        return None
    always = {rule for rule in ruleset.rules if rule.applies_always and matches(rule, address, port)}
    others = tuple(rule for rule in ruleset.rules if not rule.applies_always)
    winner = scan(RuleSet(ruleset.path, others), address, port)
    if winner is None or (always and winner.priority is None):
        return always
    return {winner, *always}


def scan(ruleset: RuleSet, address: Address, port: int) -> Rule | None:
    """Which rule wins, from the words of the rules' definition: a look at every rule."""
    winner: Rule | None = None
    for rule in ruleset.rules:
        if matches(rule, address, port) and (winner is None or not is_better(winner, rule)):
            winner = rule  # as good as the last one, and written later
    return winner


def is_better(one: Rule, other: Rule) -> bool:
    """Whether `one` beats a rule written later than itself."""
    if one.priority is None:
        return False
    return other.priority is None or one.priority < other.priority
