"""What a name costs on a packet's way: nothing, since the plan is the same as by its address."""

from __future__ import annotations

import pytest

from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.plan.places import places_of
from gfwd.rules.model import Address, Collector, Options, Prefix, Rule, RuleSet
from gfwd.rules.space import RuleSpace

A, B = Address(4, 0x0A020203), Address(4, 0x0A020204)


def plan_of(*collectors: Collector, **found: tuple[Address, ...]) -> bytes:
    """A plan for one rule, in which every address is its own next hop, and one collector counts all."""
    rule = Rule(Prefix(4, 0x0A000000, 8), ((514, 514),), collectors, "A", 1)
    addresses = {one: (one.address,) if one.address else found[str(one)] for one in collectors}
    spread = {one: places_of(one, its) for one, its in addresses.items() if len(its) > 1}
    goals = {**addresses, **{place: its for places in spread.values() for place, its in places.items()}}
    slots = {A: 0, B: 1}
    return compile_plan(
        Blueprint(
            space=RuleSpace(RuleSet("some.rules", (rule,))),
            routes={one: Route(0, tuple(Hop(a, 0, slots[a]) for a in its)) for one, its in goals.items()},
            ports=(PlanPort(),),
            places=spread,
        )
    )


@pytest.mark.parametrize("options", [None, Options(resolve="prefer-v4"), Options(sample=10, resolve="first")])
def test_a_name_and_its_address(options):
    kept = None if options is None or options == Options(resolve="prefer-v4") else options._replace(resolve=None)
    named = Collector("flow.example.net", 9995, None, "flow", options)
    static = Collector("10.2.2.3", 9995, A, "flow", kept)
    assert plan_of(named, flow=(A,)) == plan_of(static)


def test_a_name_with_several_addresses():
    named = Collector("flow.example.net", 9995, None, "flow", Options(resolve="all"))
    static = [Collector(str(one), 9995, one) for one in (A, B)]
    assert plan_of(named, flow=(A, B)) == plan_of(*static)


def test_a_name_without_an_address_has_a_plan_too():
    assert plan_of(Collector("flow.example.net", 9995, None), **{"flow.example.net:9995": ()})
