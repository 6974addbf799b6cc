"""A real core sends by the next hop that gfwd/plan/shares.py says, in order, and nobody two copies by two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from gfwd.native.core import Limits, NeighbourState
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.plan.shares import hop_shares, share_of, shares
from gfwd.rules import classic
from gfwd.rules.model import Address, Collector, Group, Receiver
from gfwd.rules.space import RuleSpace
from tests.cores import Rig, balances, mac
from tests.frames import datagram

OWN = 0x0A020201
LIMITS = Limits(rules=4, collectors=8, neighbours=8, exporters=64, flows=64)
RULES = classic.parse("* * 192.0.2.1 192.0.2.2 A\n", "hops.rules")
COLLECTORS = RULES.rules[0].collectors
WAYS = 3


def hops(collector: Collector, weights: tuple[int, ...] = (1, 1, 1)) -> tuple[Hop, ...]:
    """The neighbours are the same for all collectors: the routers before them."""
    assert collector.address is not None
    return tuple(Hop(collector.address, 0, slot, None, f"router {slot}", w) for slot, w in enumerate(weights))


@contextmanager
def rig(*receivers: Receiver, left_out: int | None = None, weights: tuple[int, ...] = (1, 1, 1)) -> Iterator[Rig]:
    rules = RULES._replace(rules=(RULES.rules[0]._replace(receivers=receivers),))
    routes = {
        one: Route(slot, tuple(hop for hop in hops(one, weights) if hop.neighbour != left_out))
        for slot, one in enumerate(COLLECTORS)
    }
    with Rig(LIMITS, (0,), (512,), 64) as its:
        for slot in range(WAYS):
            its.core.set_neighbour(slot, mac(slot), NeighbourState.READY)
        its.core.publish(compile_plan(Blueprint(space=RuleSpace(rules), routes=routes, ports=(PlanPort(),))))
        yield its


def sent(its: Rig, source: int, ports: tuple[int, int] = (4_000, 514)) -> dict[int, int]:
    """The last byte of each collector's address that a copy leaves for, and the slot of the next hop that gets it."""
    assert its.core.arrive(0, datagram(4, source, OWN, ports))
    its.worker.step()
    frames = its.left(0)
    its.worker.step()
    found = {frame[33]: frame[5] for frame in frames}
    assert len(found) == len(frames)  # nobody gets two
    return found


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 5)])
def test_the_core_and_the_plan_agree_and_only_those_move_whose_next_hop_goes(weights: tuple[int, ...]) -> None:
    rng, one = Random(1), COLLECTORS[0]
    sources = [rng.getrandbits(32) for _ in range(1_000)]
    table = hop_shares(hops(one, weights))
    with rig(one, weights=weights) as its:
        before = {source: sent(its, source)[1] for source in sources}
    assert before == {source: table[share_of(Address(4, source))] for source in sources}
    with rig(one, left_out=1, weights=weights) as its:
        for source in sources:
            after = sent(its, source)[1]
            assert after == before[source] if before[source] != 1 else after != 1


def test_a_groups_member_and_its_next_hop() -> None:
    group = Group("farm", "flow", COLLECTORS)
    members = shares(COLLECTORS)
    of_hop = [hop_shares(hops(one)) for one in COLLECTORS]
    with rig(group) as its:
        seen: Counter[tuple[int, int]] = Counter()
        for port in range(600):
            part = share_of(Address(4, 1), (port, 514))
            ((to, by),) = sent(its, 1, (port, 514)).items()
            assert (to, by) == (1 + members[part], of_hop[members[part]][part])
            seen[to, by] += 1
    assert len(seen) == len(COLLECTORS) * WAYS


def test_who_is_chosen_by_a_group_and_named_beside_it_gets_one_copy_whatever_the_next_hop() -> None:
    """The group chooses by flow, and so its next hop; beside it, the next hop is the exporter's."""
    group = Group("farm", "flow", COLLECTORS)
    with rig(group, COLLECTORS[0]) as its:
        numbers = Counter(len(sent(its, 1, (port, 514))) for port in range(300))
        copies = sum(ledger.wanted for ledger in its.core.collectors(2))
        assert balances(its.core, 2)
    assert numbers.keys() == {1, 2} and copies == sum(n * each for n, each in numbers.items())


def test_who_is_named_first_has_its_own_next_hop_whatever_a_group_chooses() -> None:
    """By the source address, and not by the flow: the copy of the group's choice is the one that is left out."""
    one, group = COLLECTORS[0], Group("farm", "flow", COLLECTORS[:1])
    table = hop_shares(hops(one))
    with rig(one, group) as its:
        for port in range(100):
            assert sent(its, 7, (port, 514)) == {1: table[share_of(Address(4, 7))]}


def test_turns_of_members_and_of_their_next_hops() -> None:
    with rig(Group("farm", "round-robin", COLLECTORS)) as its:
        got = [next(iter(sent(its, 1).items())) for _ in range(12)]
    assert got == [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2)] * 2
