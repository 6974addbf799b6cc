"""The driver of health checks, with tries that have the outcomes the test says: in virtual time, without a socket."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest

from gfwd.daemon.health import Health, Way
from gfwd.daemon.probe.prober import Probe, Prober
from gfwd.health.watch import Outcome, Verdict
from gfwd.native.core import NeighbourState
from gfwd.plan.blueprint import stand_in
from gfwd.rules.model import ALL_PORTS, Address, Check, Collector, Group, Options, Receiver, Rule, RuleSet
from tests.said import Said

ICMP, ARP = Check("icmp", interval=1, rise=1, fall=1), Check("arp", interval=1, rise=1, fall=1)
BAD = Outcome(Verdict.FAILURE, "no answer", "icmp")
GOOD = Outcome(Verdict.SUCCESS, "an answer", "icmp")


def collector(name: str, check: Check | None = ICMP, *backup: Collector, last: int = 6) -> Collector:
    options = Options(check=check, backup=backup) if check or backup else None
    return Collector(f"10.2.2.{last}", None, Address(4, 0x0A020200 + last), name, options)


def rules(*receivers: Receiver) -> RuleSet:
    return RuleSet("x", (Rule(None, ALL_PORTS, receivers, "A", 1),))


class Tries(Prober):
    """Has tries made by nobody: each ends at once, as `outcomes` says of its collector."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[object, int]] = []

    def ask(self, who: object, number: int, probe: Probe) -> None:
        self.asked.append((who, number))

    def taken(self) -> Iterator[tuple[object, int, Outcome]]:
        yield from ()


class Checked:
    """What is checked, what was said of it, and the ways that copies take."""

    def __init__(self, *receivers: Receiver) -> None:
        self.said = Said()
        self.ways: dict[str, tuple[Way, ...]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.now = 0.0
        self.tries = Tries()
        self.health = Health(self.tries, self.look, self.said.say, lambda: 0.5)
        self.tries.taken = self.taken  # type: ignore[method-assign]
        self.reload(*receivers)

    def reload(self, *receivers: Receiver) -> None:
        ruleset = rules(*receivers)
        self.names = {}
        watched = self.health.prepare(ruleset.collectors(), self.now)
        self.names = {watch: str(one) for one, watch in watched.of.items()}
        self.health.take(watched, ruleset)

    def look(self, of: Collector) -> tuple[Way, ...]:
        assert of.address is not None
        return self.ways.get(str(of), (Way(of.address, of.address, NeighbourState.READY),))

    def taken(self) -> Iterator[tuple[object, int, Outcome]]:
        asked, self.tries.asked = self.tries.asked, []
        for who, number in asked:
            if who in self.names:
                yield who, number, self.outcomes.get(self.names[who], GOOD)

    def turn(self, seconds: float = 1.2) -> None:
        """Let one try of each begin and end; then what has changed is told, as a forwarder does."""
        before = self.health.down()
        self.now += seconds
        self.health.advance(self.now)
        self.health.advance(self.now)
        self.health.tell(before)

    def say(self, name: str, outcome: Outcome) -> list[str]:
        """The lines that follow when its next try has this outcome."""
        self.outcomes[name] = outcome
        self.turn()
        said, self.said[:] = list(self.said), []
        return said


@pytest.fixture
def closing() -> Iterator[list[Checked]]:
    made: list[Checked] = []
    yield made
    for one in made:
        one.tries.__exit__()


@pytest.fixture
def checked(closing):
    def make(*receivers: Receiver) -> Checked:
        made = Checked(*receivers)
        closing.append(made)
        return made

    return make


FLOW2, FLOW3 = collector("flow2", None, last=7), collector("flow3", None, last=8)


def test_up_down_up(checked):
    its = checked(collector("flow"))
    assert its.say("flow", GOOD) == ["collector flow: up: an answer (icmp)"]
    assert its.say("flow", GOOD) == []
    assert its.say("flow", BAD) == [
        "collector flow: down: no answer (icmp); it has no backup, so its copies are dropped (no_collector)"
    ]
    assert its.say("flow", BAD) == []
    assert its.say("flow", GOOD) == ["collector flow: up again after 2 s"]
    assert its.health.down() == frozenset()


def test_the_first_backup_that_is_not_down(checked):
    two = collector("flow2", ICMP, last=7)
    its = checked(collector("flow", ICMP, two, FLOW3))
    its.say("flow", GOOD)
    assert its.say("flow", BAD) == ["collector flow: down: no answer (icmp); its copies go to flow2"]
    assert its.say("flow2", BAD) == [
        "collector flow: still down, and now its copies go to flow3",
        "collector flow2: down: no answer (icmp)",
    ]
    assert {one.collector: (one.state, one.instead) for one in its.health.report(its.now)} == {
        "flow": ("down", "flow3"),
        "flow2": ("down", None),
    }


def test_two_that_are_each_others_backups(checked):
    """As a backup, each stands without its own backups, and is down with itself."""
    one, two = collector("one"), collector("two", last=7)
    its = checked(collector("one", ICMP, two), collector("two", ICMP, one, last=7))
    its.turn()
    assert len(its.said) == 2
    its.said.clear()
    assert its.say("one", BAD) == ["collector one: down: no answer (icmp); its copies go to two"]
    assert its.say("two", BAD) == [
        "collector one: still down, and now its backups are down, too, so its copies are dropped (no_collector)",
        "collector two: down: no answer (icmp); its backups are down, too, so its copies are dropped (no_collector)",
    ]
    assert len(its.health.down()) == 4
    assert [report.collector for report in its.health.report(its.now)] == ["one", "two"]


@pytest.mark.parametrize("down", ["", "a", "b", "ab", "x", "xab"])
def test_stand_in_and_its_stupid_twin(down):
    a, b = collector("a", None, last=1), collector("b", None, last=2)
    x = collector("x", None, a, b)
    names: Collection[Collector] = {one for one in (a, b, x) if str(one) in down}
    assert stand_in(x, names) == next((one for one in [a, b] if str(one) not in down), None)
    assert stand_in(a, names) is None


def test_backups_that_are_down_too(checked):
    two = collector("flow2", ICMP, last=7)
    its = checked(collector("flow", ICMP, two))
    its.outcomes["flow2"] = BAD
    assert "collector flow: down: no answer (icmp); its backups are down, too, so its copies are dropped" in "".join(
        its.say("flow", BAD)
    )


def test_a_group_goes_on_without_it(checked):
    one, two = collector("one"), collector("two", last=7)
    its = checked(Group("pool", "flow", (one, two)))
    its.turn()
    its.said.clear()
    assert its.say("one", BAD) == ["collector one: down: no answer (icmp); its copies go to the others of pool"]
    assert its.say("two", BAD) == [
        "collector one: still down, and now it has no backup, so its copies are dropped (no_collector)",
        "collector two: down: no answer (icmp); it has no backup, so its copies are dropped (no_collector)",
    ]
    assert its.say("two", GOOD) == [
        "collector one: still down, and now its copies go to the others of pool",
        "collector two: up again after 1 s",
    ]


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ((NeighbourState.READY,), "up: its next hop has answered (arp 10.2.2.1)"),
        ((NeighbourState.FAILED,), "down: its next hop does not answer (arp 10.2.2.1); "),
        ((NeighbourState.FAILED, NeighbourState.READY), "up: its next hop has answered (arp 10.2.2.1, 10.2.2.1)"),
        ((NeighbourState.PENDING,), None),
        ((NeighbourState.FAILED, NeighbourState.PENDING), None),
        ((), "down: no route to it leaves by a port of gfwd's (arp); "),
    ],
)
def test_by_the_neighbour(checked, states, said):
    its = checked(collector("flow", ARP))
    hop = Address(4, 0x0A020201)
    its.ways["flow"] = tuple(Way(Address(4, 0x0A020206), hop, state) for state in states)
    lines = its.say("flow", BAD)
    assert its.tries.asked == []
    assert lines == [] if said is None else lines[0].startswith(f"collector flow: {said}")


def test_of_two_groups_one_goes_on(checked):
    """Each group has others of its own, and a member that somebody steps in for is one who gets copies."""
    one, two = (collector(name, ICMP, last=n) for n, name in enumerate(("one", "two"), 11))
    three = collector("three", ICMP, FLOW2, last=13)
    its = checked(Group("left", "exporter", (one, two)), Group("right", "exporter", (one, three)))
    its.say("three", GOOD)
    its.say("two", BAD)
    its.say("three", BAD)
    told = its.say("one", BAD)
    instead = "the others of right, those of left to nobody (no_collector)"
    assert told[0] == f"collector one: down: no answer (icmp); its copies go to {instead}"
    assert [report.instead for report in its.health.report(its.now) if report.collector == "one"] == [instead]


def test_what_cannot_be_tried_is_said_once(checked):
    its = checked(collector("flow"))
    untried = Outcome(Verdict.UNTRIED, "not permitted")
    assert its.say("flow", untried) == [
        "collector flow: warning: it cannot be checked, and counts as up: not permitted"
    ]
    assert its.say("flow", untried) == []
    assert its.health.report(its.now)[0].result == "cannot be checked: not permitted"
    its.say("flow", GOOD)
    assert len(its.say("flow", untried)) == 1


# ---- reload ----


def down(its: Checked) -> list[str]:
    return sorted(map(str, its.health.down()))


def test_the_same_check_keeps_what_is_known(checked):
    its = checked(collector("flow"))
    its.say("flow", BAD)
    its.reload(collector("flow", ICMP, FLOW2))  # another backup, the same check
    assert down(its) == ["flow"]
    assert its.said == ["collector flow: still down, and now its copies go to flow2"]
    its.reload(collector("flow", ICMP, FLOW2), collector("new", last=9))
    assert down(its) == ["flow"] and len(its.said) == 1


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (
            collector("flow", ICMP._replace(interval=2)),
            ["collector flow: its check is another one, so it counts as up"],
        ),
        (collector("flow", last=9), ["collector flow: its check is another one, so it counts as up"]),
        (collector("flow", None), ["collector flow: it is not checked any more, so it counts as up"]),
        (collector("other", last=9), []),
    ],
)
def test_another_check_starts_anew(checked, after, said):
    its = checked(collector("flow"))
    its.say("flow", BAD)
    its.reload(after)
    assert (down(its), its.said) == ([], said)


def test_one_that_goes_takes_its_state_along(checked):
    its = checked(collector("flow"))
    its.say("flow", BAD)
    its.reload(FLOW2)
    assert its.health.deadline() is None
    its.reload(collector("flow"))
    assert (down(its), its.health.report(its.now)[0].state) == ([], "unknown")


def test_nothing_is_checked(checked):
    its = checked(FLOW2)
    assert its.health.deadline() is None and its.health.report(0) == ()
    its.turn()
    assert its.said == []
