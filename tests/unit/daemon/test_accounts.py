"""Counters stay with the names that the operator reads, whatever a reload brings; over a real core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gfwd.daemon.accounts import Accounts
from gfwd.metrics.ledger import Ledger
from gfwd.native.core import Limits, NeighbourState
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.rules.model import ALL_PORTS, Address, Collector, Options, Rule, RuleSet
from gfwd.rules.space import RuleSpace
from tests.cores import Rig, mac
from tests.frames import datagram

EXPORTER, OWN = 0x0A020203, 0x0A020201


def named(name: str, host: int = 0xC0000201, options: Options | None = None) -> Collector:
    address = Address(4, host)
    return Collector(str(address), 514, address, name, options)


def rule(*receivers: Collector) -> Rule:
    return Rule(None, ALL_PORTS, receivers, "A", 1)


class Counted:
    """A core whose counters are read through Accounts."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._accounts = Accounts(rig.core)
        rig.core.set_neighbour(0, mac(0), NeighbourState.READY)

    def reload(self, *rules: Rule) -> None:
        ruleset = RuleSet("some.rules", rules)
        space = RuleSpace(ruleset)
        assignment = self._accounts.prepare(ruleset, space)
        routes = {
            one: Route(assignment.slot_of(one), (Hop(one.address, 0, 0),) if one.address else ())
            for one in ruleset.collectors()
        }
        blueprint = Blueprint(space=space, routes=routes, ports=(PlanPort(),), counters=assignment.rule_slots())
        self._rig.core.publish(compile_plan(blueprint))
        self._accounts.take(assignment)

    def send(self, count: int) -> None:
        for number in range(count):
            assert self._rig.core.arrive(0, datagram(4, EXPORTER, OWN, (number, 514)))
            self._rig.worker.step()
            self._rig.left(0)
            self._rig.worker.step()

    def ledger(self) -> Ledger:
        return self._accounts.ledger()

    def sent(self) -> dict[str, int]:
        return {name: its.sent for name, its in self.ledger().collectors.items()}


@pytest.fixture
def counted() -> Iterator[Counted]:
    with Rig(Limits(rules=2, collectors=2, neighbours=1, exporters=4, flows=64), (0,), (512,), 64) as rig:
        yield Counted(rig)


@pytest.mark.parametrize(
    "after",
    [
        named("flow", options=Options(limit=1_000_000)),
        named("flow", options=Options(ttl=64, backup=(named("spare"),))),
        named("flow", host=0xC0000202),
    ],
)
def test_a_collector_that_is_still_named_keeps_its_counters(counted: Counted, after: Collector) -> None:
    """And so do the rules that name it, which say the same as before."""
    counted.reload(rule(named("flow")))
    counted.send(3)
    counted.reload(rule(after))
    counted.send(2)
    ledger = counted.ledger()
    assert (counted.sent()["flow"], ledger.gone.sent) == (5, 0)
    assert [its.count.packets for its in ledger.rules] == [5]


def test_a_collector_that_is_its_own_and_a_backup_is_counted_once(counted: Counted) -> None:
    one, other = named("one"), named("other", 0xC0000202)
    with_backups = one._replace(options=Options(backup=(other,))), other._replace(options=Options(backup=(one,)))
    counted.reload(rule(*with_backups))
    counted.send(3)
    assert counted.sent() == {"one": 3, "other": 3}


def test_a_counter_that_was_given_away_starts_anew(counted: Counted) -> None:
    """There are two. In all, nothing that was counted is lost."""
    for number in range(1, 8):
        counted.reload(rule(named(f"c{number}")))
        counted.send(number)
        ledger = counted.ledger()
        assert counted.sent() == {f"c{number}": number}
        assert [its.count.packets for its in ledger.rules] == [number]
        assert ledger.gone.sent == sum(range(number))
        assert ledger.copies().sent == ledger.frames.forwarded
