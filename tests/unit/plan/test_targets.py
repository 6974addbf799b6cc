"""What many rules have in common stands in the plan once."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from gfwd.native import core
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.targets import Targets
from gfwd.rules.model import Address, Balance, Collector, Group, Options, Prefix, Rule, RuleSet
from gfwd.rules.space import RuleSpace

RULES = 500


def collector(host: int, options: Options | None = None) -> Collector:
    address = Address(4, 0xC0000200 + host)
    return Collector(str(address), 514, address, f"c{host}", options)


def rule(number: int, *receivers: Collector | Group) -> Rule:
    return Rule(Prefix(4, 0x0A000000 + number, 32), ((514, 514),), receivers, "A", number)


def targets_of(rules: list[Rule], down: Collection[Collector] = ()) -> Targets:
    ruleset = RuleSet("some.rules", tuple(rules))
    space = RuleSpace(ruleset)
    routes = {
        one: Route(slot, (Hop(one.address, 0, 0),) if one.address else ())
        for slot, one in enumerate(ruleset.collectors())
    }
    targets = Targets(Blueprint(space=space, routes=routes, ports=(PlanPort(),), down=frozenset(down)))
    for counter, outcome in enumerate(space.outcomes):
        targets.rule(outcome, [counter])
    return targets


@pytest.mark.parametrize(("balance", "members"), [("exporter", core.SHARES), ("flow", core.SHARES), ("round-robin", 3)])
def test_a_group_has_its_members_once_whatever_is_named_beside_it(balance: Balance, members: int) -> None:
    group = Group("farm", balance, tuple(map(collector, range(3))))
    targets = targets_of([rule(number, group, collector(3 + number % 50)) for number in range(RULES)])
    assert len(targets.members) == members + 50
    assert len(targets.choices) // 4 == 2 * 50
    assert len(targets.specials) // 6 == RULES


@pytest.mark.parametrize("has_ttl", [False, True])
def test_one_member_with_a_ttl_is_enough_to_look_for_loops(has_ttl: bool) -> None:
    with_ttl = collector(7, Options(ttl=64) if has_ttl else Options(sample=2))
    group = Group("farm", "exporter", (collector(1), collector(2), with_ttl))
    targets = targets_of([rule(number, group) for number in range(RULES)])
    assert set(targets.specials[5::6]) == {int(has_ttl)}


@pytest.mark.parametrize("options", [None, Options(sample=2)])
def test_who_steps_in_and_gets_a_copy_anyway_gets_one(options: Options | None) -> None:
    """By whatever name: two collectors with the same destination and options are one."""
    spare, other = collector(9, options), collector(9, options)._replace(name="other")
    down = collector(1)._replace(options=(options or Options())._replace(backup=(spare,)))
    targets = targets_of([rule(1, down, other)], down={down})
    copies = targets.specials[2] if targets.specials else len(targets.entries)
    assert copies == 1
