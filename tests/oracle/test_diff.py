"""The comparison of two sets of rules against the stupid way: the twin is asked wherever something can change.

Rules are drawn, written as text, and read by gfwd; the twin has them as they were drawn. A name may have an IPv4
address, an IPv6 address, or both: copies go to the same places if they do in all three worlds.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from random import Random

import pytest

from gfwd.rules.classic import parse
from gfwd.rules.diff import Comparison, Difference
from gfwd.rules.model import Address, Prefix, Rule, address_text
from tests.oracle import twin
from tests.oracle.twin import BITS, Datagram, TwinRule, TwinTarget

SANITIZED = "GFWD_CORE" in os.environ  # nothing of this is in the core
SEEDS = 2 if SANITIZED else 8
PAIRS_OF_SETS = 40  # of each seed
POINTS_WANTED = 2_000  # of each seed, the least; there are many more

PORTS = (1, 2, 513, 514, 515, 2055, 9995, 9996, 65534, 65535)
BASES = {4: 0x0A020200, 6: 0x20010DB8 << 96}
HOSTS: dict[str, dict[int, tuple[int, ...]]] = {
    "192.0.2.1": {4: (4,)},
    "192.0.2.2": {4: (4,)},
    "2001:db8:ff::1": {6: (6,)},
    "2001:db8:ff::2": {6: (6,)},
    "one.example": {0: (4,), 1: (6,), 2: (4, 6)},
    "two.example": {0: (4,), 1: (6,), 2: (4, 6)},
}
"""Address families that a host has: always, or by world."""

WORLDS = range(3)


@dataclass(frozen=True)
class Collector:
    host: str
    port: int | None

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def families(self, world: int) -> tuple[int, ...]:
        families = HOSTS[self.host]
        return families[world] if world in families else next(iter(families.values()))


@dataclass(frozen=True)
class Drawn:
    """A rule as it was drawn."""

    source: twin.Prefix | None
    ports: tuple[tuple[int, int], ...]
    collectors: tuple[Collector, ...]
    priority: str | None

    def line(self) -> str:
        source = "*"
        if self.source is not None:
            family, value, length = self.source
            source = f"{address_text(4 if family == 4 else 6, value)}/{length}"
        if self.priority is None:
            source = "default"
        ports = ",".join(f"{low}-{high}" for low, high in self.ports) if self.ports != ((0, 65535),) else "*"
        return f"{source} {ports} {' '.join(map(str, self.collectors))} {self.priority or ''}\n"


def drawn_rule(rng: Random) -> Drawn:
    is_default = rng.random() < 0.1
    source = None if is_default or rng.random() < 0.2 else drawn_prefix(rng)
    hosts = [host for host, families in HOSTS.items() if source is None or families.get(source[0]) or 0 in families]
    collectors = [Collector(rng.choice(hosts), rng.choice((None, None, None, 514, 2055))) for _ in range(2)]
    return Drawn(
        source, drawn_ports(rng), tuple(collectors[: rng.choice((1, 1, 2))]), None if is_default else rng.choice("AABC")
    )


def drawn_prefix(rng: Random) -> twin.Prefix:
    """Few addresses, so that prefixes meet, nest and tile; now and then one at the end of the whole space."""
    family = rng.choice((4, 4, 6))
    bits = BITS[family]
    length = rng.choice((0, 1, bits - 8, bits - 3, bits - 2, bits - 1, bits, bits))
    value = BASES[family] + rng.randrange(8)
    if rng.random() < 0.1:
        value = rng.choice((0, (1 << bits) - 1))
    return family, value >> bits - length << bits - length, length


def drawn_ports(rng: Random) -> tuple[tuple[int, int], ...]:
    if rng.random() < 0.3:
        return ((0, 65535),)
    low, high = sorted((rng.choice(PORTS), rng.choice(PORTS)))
    return ((low, low if rng.random() < 0.5 else high),)


def drawn_pair(rng: Random) -> tuple[list[Drawn], list[Drawn]]:
    """Two sets that have much in common, or little."""
    old = [drawn_rule(rng) for _ in range(rng.randint(1, 12))]
    if rng.random() < 0.2:
        return old, [drawn_rule(rng) for _ in range(rng.randint(1, 12))]
    new = list(old)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randrange(len(new))
        match rng.randrange(6):
            case 0:
                new.insert(at, drawn_rule(rng))
            case 1 if len(new) > 1:
                del new[at]
            case 2:
                rng.shuffle(new)
            case 3:  # the same, in halves
                new[at : at + 1] = halved(new[at])
            case 4:
                new[at] = replace(new[at], collectors=new[at].collectors[::-1])
            case _:
                other = drawn_rule(rng)
                new[at] = replace(new[at], ports=other.ports, priority=new[at].priority and (other.priority or "A"))
    return old, new


def halved(rule: Drawn) -> list[Drawn]:
    if rule.priority is None:
        return [rule]
    families = [rule.source[0]] if rule.source else [4, 6]
    if not all(any(HOSTS[c.host].get(family) or 0 in HOSTS[c.host] for c in rule.collectors) for family in families):
        return [rule]  # a half without a collector is refused
    wholes = [rule.source] if rule.source else [(4, 0, 0), (6, 0, 0)]
    halves = [
        (family, value + (half << BITS[family] - length - 1), length + 1)
        for family, value, length in wholes
        if length < BITS[family]
        for half in (0, 1)
    ]
    return [replace(rule, source=half) for half in halves] or [rule]


# ---- the stupid way ----


def twins(rules: list[Drawn]) -> list[TwinRule]:
    target = TwinTarget(0, None, None, None, "ready", bytes(6), 0)
    return [TwinRule(rule.source, rule.ports, (target,), rule.priority, order) for order, rule in enumerate(rules)]


def winner(rules: list[TwinRule], family: int, source: int, port: int) -> int | None:
    """The place of the rule that wins."""
    datagram = Datagram(b"", 0, family, source, 0, port, ip_at=14, udp_at=34, ip_length=28)
    rule = twin.match(rules, datagram)
    return None if rule is None else rule.order


def arrives(rule: Drawn | None, family: int, port: int, world: int) -> list[tuple[str, int]]:
    """Where copies of a datagram arrive (docs/packets.md: rewrite and transmit, 1 and 2)."""
    if rule is None:
        return []
    sent = []
    for collector in dict.fromkeys(rule.collectors):
        if family in collector.families(world):
            sent.append((collector.host, collector.port or port))
    return sorted(sent)


def is_different(one: Drawn | None, other: Drawn | None, family: int, port: int) -> bool:
    return any(arrives(one, family, port, world) != arrives(other, family, port, world) for world in WORLDS)


class Case:
    """Two sets and what gfwd says of them; `look` holds that against the twin, at one point."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.old, self.new = drawn_pair(rng)
        self.texts = ["".join(rule.line() for rule in rules) for rules in (self.old, self.new)]
        old, new = (parse(text, name) for text, name in zip(self.texts, ("old", "new"), strict=True))
        self.comparison = Comparison(old, new)
        self.found = self.comparison.differences()
        self.twins = twins(self.old), twins(self.new)

    def look(self, family: int, source: int, port: int) -> bool:
        """Whether there is a difference."""
        before, after = (winner(rules, family, source, port) for rules in self.twins)
        one = None if before is None else self.old[before]
        other = None if after is None else self.new[after]
        there = [difference for difference in self.found if holds(difference, family, source, port)]
        message = f"{address_text(4 if family == 4 else 6, source)} {port}\n{self.texts[0]}---\n{self.texts[1]}"
        differs = is_different(one, other, family, port)
        assert len(there) == differs, message
        alone = self.comparison.at(Address(4 if family == 4 else 6, source), port)
        assert (alone is not None) == differs, message
        for difference in (*there, *([alone] if alone else [])):
            assert (place(difference.before), place(difference.after)) == (before, after), message
        return bool(there)

    def corners(self) -> Iterator[tuple[int, int, int]]:
        """Each side of every place where sources or ports begin or end, and all that these make together."""
        rules = [*self.old, *self.new]
        ports = {0, 65535, *(c.port for rule in rules for c in rule.collectors if c.port)}
        for rule in rules:
            ports |= {port for low, high in rule.ports for port in (low - 1, low, high, high + 1)}
        for family in (4, 6):
            last = (1 << BITS[family]) - 1
            sources = {0, last}
            for rule in rules:
                if rule.source is not None and rule.source[0] == family:
                    _, value, length = rule.source
                    end = value + (1 << BITS[family] - length) - 1
                    sources |= {value - 1, value, end, end + 1}
            for source, port in product(sources, ports):
                if 0 <= source <= last and 0 <= port <= 65535:
                    yield family, source, port

    def around(self) -> Iterator[tuple[int, int, int]]:
        """Points at random inside of each difference, and right outside of it."""
        for difference in self.found:
            for prefix in difference.sources:
                for one in [prefix] if prefix else [Prefix(4, 0, 0), Prefix(6, 0, 0)]:
                    last = (1 << BITS[one.family]) - 1
                    for low, high in difference.ports:
                        inside = self.rng.randint(one.value, one.last), self.rng.randint(low, high)
                        yield one.family, *inside
                        for source in {max(one.value - 1, 0), min(one.last + 1, last)}:
                            yield one.family, source, inside[1]
                        for port in {max(low - 1, 0), min(high + 1, 65535)}:
                            yield one.family, inside[0], port


def place(outcome: tuple[Rule, ...] | None) -> int | None:
    return None if outcome is None else outcome[0].line - 1


def holds(difference: Difference, family: int, source: int, port: int) -> bool:
    return any(low <= port <= high for low, high in difference.ports) and any(
        prefix is None or (prefix.family == family and prefix.value <= source <= prefix.last)
        for prefix in difference.sources
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_twin_agrees_everywhere(seed: int) -> None:
    seen: Counter[bool] = Counter()
    for number in range(PAIRS_OF_SETS):
        case = Case(Random(f"{seed}/{number}"))
        seen.update(case.look(*point) for point in case.corners())
        for point in case.around():
            case.look(*point)
        assert_short(case.found)
    assert seen.total() > POINTS_WANTED
    assert seen[True] and seen[False]


def assert_short(found: list[Difference]) -> None:
    """Nothing is left that could be told in one: two halves of a prefix, both families, or ports beside each other."""
    told = {
        (source, port_range, difference.before, difference.after)
        for difference in found
        for source in difference.sources
        for port_range in difference.ports
    }
    for source, (first, last), before, after in told:
        for other, (low, high), its_before, its_after in told:
            if (before, after) != (its_before, its_after) or (source, first) == (other, low):
                continue
            if source == other:
                assert high + 1 < first or last + 1 < low
            elif source is not None and other is not None and low <= last and first <= high:
                assert source.length + other.length > 0
                assert source.length == 0 or other not in parent(source).halves()
    for difference in found:
        assert all(high + 1 < low for (_, high), (low, _) in pairwise(difference.ports))


def parent(prefix: Prefix) -> Prefix:
    bits = BITS[prefix.family] - prefix.length + 1
    return Prefix(prefix.family, prefix.value >> bits << bits, prefix.length - 1)
