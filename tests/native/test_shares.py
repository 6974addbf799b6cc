"""A real core gives each member of a group what gfwd/plan/shares.py says, and takes turns as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from gfwd.native.core import Limits, NeighbourState
from gfwd.plan.shares import share_of, shares
from gfwd.rules import classic
from gfwd.rules.model import Address, Balance, Group, RuleSet
from tests.cores import Rig, mac, plan_of_rules
from tests.frames import datagram

OWN = {4: 0x0A020201, 6: 0x2001_0DB8 << 96 | 1}
LIMITS = Limits(rules=4, collectors=8, neighbours=8, exporters=64, flows=64)
TEXT = "10.0.0.0/8 * 192.0.2.1 192.0.2.2 192.0.2.3 A\n* * 192.0.2.1 192.0.2.2 192.0.2.3 B\n"


def grouped(balance: Balance) -> tuple[RuleSet, Group]:
    """Two rules whose datagrams go to the same group."""
    ruleset = classic.parse(TEXT, "group.rules")
    group = Group("group", balance, ruleset.rules[0].collectors)
    return ruleset._replace(rules=tuple(rule._replace(receivers=(group,)) for rule in ruleset.rules)), group


@contextmanager
def rig(ruleset: RuleSet) -> Iterator[Rig]:
    with Rig(LIMITS, (0,), (512,), 64) as its:
        for slot in range(LIMITS.neighbours):
            its.core.set_neighbour(slot, mac(slot), NeighbourState.READY)
        its.core.publish(plan_of_rules(ruleset))
        yield its


def sent_to(its: Rig, source: int, ports: tuple[int, int] = (4_000, 514)) -> int:
    """The last byte of the one collector's address."""
    assert its.core.arrive(0, datagram(4, source, OWN[4], ports))
    its.worker.step()
    (frame,) = its.left(0)
    its.worker.step()
    return frame[33]


@pytest.mark.parametrize("balance", ["exporter", "flow"])
def test_the_core_and_the_plan_agree_on_shares(balance: Balance) -> None:
    rng = Random(balance)
    ruleset, group = grouped(balance)
    of_part = shares(group.members)
    with rig(ruleset) as its:
        for _ in range(2_000):
            source, ports = rng.getrandbits(32), (rng.getrandbits(16), rng.getrandbits(16))
            part = share_of(Address(4, source), ports if balance == "flow" else None)
            assert sent_to(its, source, ports) == 1 + of_part[part]


def test_turns_are_taken_whichever_rule_a_datagram_meets() -> None:
    """One rule's datagrams and another's alternate: would each have every other turn, it would be the same member's."""
    with rig(grouped("round-robin")[0]) as its:
        got = [sent_to(its, source) for source in [0x0A000001, 0x0B000001] * 30]
    assert got == [1, 2, 3] * 20


def test_more_rules_with_turns_than_collectors() -> None:
    """Rules for IPv4, IPv6 and both; two members."""
    text = "10.0.0.0/8 * 192.0.2.1 A\n::/0 * 2001:db8::1 A\n* * 192.0.2.2 B\n"
    ruleset = classic.parse(text, "group.rules")
    group = Group("group", "round-robin", (*ruleset.rules[0].collectors, *ruleset.rules[2].collectors))
    rules = tuple(rule._replace(receivers=(group,)) for rule in ruleset.rules)
    with rig(ruleset._replace(rules=rules)) as its:
        got = Counter(sent_to(its, source) for source in [0x0A000001, 0x0B000001] * 30)
    assert got == {1: 30, 2: 30}


def test_a_collector_that_two_groups_choose_gets_one_copy() -> None:
    ruleset, group = grouped("exporter")
    other = Group("other", "flow", group.members)
    receivers = (group, other, group.members[1])
    with rig(ruleset._replace(rules=(ruleset.rules[1]._replace(receivers=receivers),))) as its:
        copies: Counter[int] = Counter()
        for port in range(300):
            its.core.arrive(0, datagram(4, 0x0A000001, OWN[4], (port, 514)))
            its.worker.step()
            to = [frame[33] for frame in its.left(0)]
            assert len(to) == len(set(to))
            copies[len(to)] += 1
            its.worker.step()
        assert sum(ledger.wanted for ledger in its.core.collectors(3)) == sum(n * each for n, each in copies.items())
    assert len(copies) > 1  # now they choose the same, now they do not
