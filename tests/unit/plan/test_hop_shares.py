"""Several next hops to one address: who gets what by their weights, and nothing moves that need not."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from math import log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.native import core
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.getters import hop_turns, sharing_of
from gfwd.plan.shares import SHARES, hop_shares, shares
from gfwd.plan.targets import Targets
from gfwd.rules.model import Address, Balance, Collector, Group, Options, Rule, RuleSet
from gfwd.rules.space import RuleSpace

DEVIATIONS = 6  # one draw in a thousand million lies further away
FAR = Address(4, 0x0A080002)


def hop(number: int, weight: int = 1, address: Address = FAR, tags: bytes | None = None) -> Hop:
    return Hop(address, number, number, tags, f"10.1.{number}.2 xdp:out{number}", weight)


HOPS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 8)), min_size=2, max_size=6, unique_by=lambda one: one[0])


def model(hops: list[Hop], part: int) -> Hop:
    """Weighted rendezvous hashing as it is written down: the highest w / -ln h wins; the address turns the parts."""
    turned = int.from_bytes(blake2b(b"10.8.0.2", digest_size=8).digest(), "big") % SHARES ^ part

    def score(one: Hop) -> float:
        digest = blake2b(f"via {one.via} {turned}".encode(), digest_size=8).digest()
        return one.weight / -log((int.from_bytes(digest, "big") + 0.5) / 2**64)

    return max(hops, key=score)


@settings(max_examples=15, deadline=None)
@given(HOPS, st.data())
def test_the_stupid_model_has_the_same_winners_and_who_goes_leaves_only_its_own(
    drawn: list[tuple[int, int]], data: st.DataObject
) -> None:
    hops = [hop(*one) for one in drawn]
    gone = data.draw(st.sampled_from(hops))
    rest = [one for one in hops if one != gone]
    before, after = hop_shares(hops), hop_shares(rest)
    for part in range(SHARES):
        assert hops[before[part]] == model(hops, part)
        if hops[before[part]] != gone:
            assert rest[after[part]] == hops[before[part]]


@settings(max_examples=15, deadline=None)
@given(HOPS)
def test_next_hops_get_as_much_as_their_weights_say(drawn: list[tuple[int, int]]) -> None:
    hops = [hop(*one) for one in drawn]
    got, total = Counter(hop_shares(hops)), sum(one.weight for one in hops)
    for place, one in enumerate(hops):
        share = one.weight / total
        assert abs(got[place] - SHARES * share) < DEVIATIONS * sqrt(SHARES * share * (1 - share)) + 1


def test_which_member_of_a_group_says_nothing_of_the_next_hop() -> None:
    members = [Collector(f"10.8.0.{n}", 514, Address(4, 0x0A080000 + n)) for n in (2, 3)]
    chosen = shares(members)
    by_hop = [hop_shares([hop(0, address=one.address or FAR), hop(1, address=one.address or FAR)]) for one in members]
    pairs = Counter((member, by_hop[member][part]) for part, member in enumerate(chosen))
    tolerance = DEVIATIONS * sqrt(SHARES * 3 / 16)
    assert all(abs(pairs[member, way] - SHARES / 4) < tolerance for member in (0, 1) for way in (0, 1))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_turns(weights: list[int]) -> None:
    turns = hop_turns([hop(number, weight) for number, weight in enumerate(weights)])
    counts = Counter(turns)
    assert [counts[place] * weights[0] for place in range(len(weights))] == [weight * counts[0] for weight in weights]


# ---- in the plan ----


def compiled(receivers: tuple[Collector | Group, ...], ways: int) -> Targets:
    ruleset = RuleSet("some.rules", (Rule(None, ((514, 514),), receivers, "A", 1),))
    space = RuleSpace(ruleset)
    routes = {
        one: Route(slot, tuple(hop(number, 1, one.address or FAR) for number in range(ways)))
        for slot, one in enumerate(ruleset.collectors())
    }
    targets = Targets(Blueprint(space=space, routes=routes, ports=tuple(PlanPort() for _ in range(ways))))
    targets.rule(space.outcomes[0], [0])
    return targets


def collector(last: int, options: Options | None = None) -> Collector:
    return Collector(f"10.8.0.{last}", 514, Address(4, 0x0A080000 + last), f"c{last}", options)


def test_one_next_hop_is_no_special() -> None:
    plain = compiled((collector(1), collector(2)), 1)
    assert (len(plain.entries), len(plain.specials), len(plain.members)) == (2, 0, 0)
    named_port = compiled((collector(1, Options(out="xdp:out0")),), 1)
    assert (len(named_port.specials), named_port.options()) == (0, [])


def test_several_next_hops_are_a_choice_by_exporter() -> None:
    its = compiled((collector(1),), 2)
    assert len(its.entries) == 2 and {entry[-1] for entry in its.entries} == {0}  # one counter
    assert list(its.choices) == [0, SHARES, core.BALANCES["exporter"], 0]
    assert set(its.members) == {0, 1}


@settings(deadline=None)
@given(st.sampled_from(("exporter", "flow", "round-robin")), st.integers(2, 3), st.integers(1, 3))
def test_a_groups_shares_are_divided_further(balance: Balance, members: int, ways: int) -> None:
    """Each member keeps its share, and each of its next hops has some of that."""
    group = Group("farm", balance, tuple(collector(n) for n in range(1, members + 1)))
    one, several = compiled((group,), 1), compiled((group,), ways)
    assert len(several.entries) == members * ways

    def counters(targets: Targets) -> list[object]:
        return [targets.entries[target][-1] for target in targets.members]

    if balance == "round-robin":
        assert counters(several) == counters(one) * ways
    else:
        assert counters(several) == counters(one)
    assert set(several.members) == set(range(members * ways))
    assert several.choices[2] == core.BALANCES[balance]


def test_tags_are_an_option_of_the_target() -> None:
    ruleset = RuleSet("some.rules", (Rule(None, ((514, 514),), (collector(1),), "A", 1),))
    space, tag = RuleSpace(ruleset), b"\x81\x00\x00\x64"
    targets = Targets(Blueprint(space=space, routes={collector(1): Route(0, (hop(0, tags=tag),))}, ports=(PlanPort(),)))
    targets.rule(space.outcomes[0], [0])
    (option,) = targets.options()
    assert option[-4:] == (1, 4, b"", tag) and len(targets.specials) == 6


def test_who_is_alone_goes_by_exporter_and_has_his_share_to_himself() -> None:
    assert sharing_of(collector(1), ()).with_hops([[hop(0)]]) == [(0, 0)]


@pytest.mark.parametrize(("ways", "other_ways"), [(2, 3), (3, 2), (1, 4), (2, 4)])
def test_turns_are_whole_rounds_in_both_families(ways: int, other_ways: int) -> None:
    """A collector with addresses of both families, by so many next hops to each: none of them has more turns."""
    named = Collector("name.example.net", 514, None, "name")
    group = Group("farm", "round-robin", (named, collector(2)))
    near, far = Address(4, 0xC0000209), Address(6, 9)
    hops = [hop(number, address=near) for number in range(ways)]
    hops += [hop(number, address=far) for number in range(ways, ways + other_ways)]
    rule = Rule(None, ((514, 514),), (group,), "A", 1)
    routes = {named: Route(0, tuple(hops)), collector(2): Route(1, (hop(9),))}
    space = RuleSpace(RuleSet("some.rules", (rule,)))
    targets = Targets(Blueprint(space=space, routes=routes, ports=(PlanPort(),)))
    targets.rule(space.outcomes[0], [0])
    its = [target for target in targets.members if targets.entries[target][-1] == 0]
    assert len(its) * 2 == len(targets.members)
    others = targets.others()
    for numbers, n in ((its, ways), ([others[target] for target in its], other_ways)):
        turns = Counter(targets.entries[target][4] for target in numbers)
        assert len(turns) == n
        assert len(set(turns.values())) == 1
