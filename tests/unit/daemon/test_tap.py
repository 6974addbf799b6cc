"""Those who look, by a real core and real sockets: each gets his own, hears what he misses, and holds up nobody."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.daemon.capture.file import Frame
from gfwd.daemon.tap import words
from gfwd.daemon.tap.live import LiveTap
from gfwd.daemon.tap.plans import Plans
from gfwd.daemon.tap.streams import LOOKERS_MOST, Streams
from gfwd.daemon.tap.taps import Tapped, Taps
from gfwd.daemon.tap.verdict import Verdict, Way
from gfwd.daemon.tap.want import Want
from gfwd.daemon.tap.words import NO_WAY, BadStream, Shown, Words
from gfwd.errors import GfwdError, UsageError
from gfwd.native.core import TAPS_MAX, Limits, NeighbourState
from gfwd.plan.blueprint import Blueprint, Hop, PlanPort, Route
from gfwd.rules import classic
from gfwd.rules.model import ALL_PORTS, Collector, Group, Prefix, RuleSet
from gfwd.rules.space import RuleSpace
from tests.cores import Rig, mac
from tests.frames import datagram

OWN, EXPORTER = 0x0A020201, 0x0A020203
RULES = "10.2.2.0/24 514 192.0.2.1 A\n* 2055 192.0.2.1 192.0.2.2 B\n"
PATH = "/etc/gfwd/gfwd.rules"
LIMITS = Limits(rules=16, collectors=16, neighbours=4, ring_slots=256)


class Running:
    """A core with rules, and those who look at it."""

    def __init__(self, stack: ExitStack) -> None:
        self.rig = stack.enter_context(Rig(LIMITS, (0,), (2_048,), 1_024))
        self.plans = Plans(self.rig.core)
        self.take(RULES)
        self.taps = Taps(self.rig.core, [self.rig.worker], self.plans)
        self.streams = stack.enter_context(Streams(self.taps))
        self._stack = stack
        for slot in range(LIMITS.neighbours):
            self.rig.core.set_neighbour(slot, mac(slot), NeighbourState.READY)

    def take(self, rules: str | RuleSet, down: frozenset[Collector] = frozenset()) -> None:
        ruleset = classic.parse(rules, PATH) if isinstance(rules, str) else rules
        collectors = {one: n for n, one in enumerate(ruleset.collectors())}
        routes = {one: Route(n, (Hop(one.address, 0, n),)) for one, n in collectors.items() if one.address is not None}
        self.plans.publish(Blueprint(space=RuleSpace(ruleset), routes=routes, ports=(PlanPort(),), down=down), PATH)

    def send(self, n: int = 1, port: int = 514, size: int = 0) -> None:
        for _ in range(n):
            assert self.rig.core.arrive(0, datagram(4, EXPORTER, OWN, (40_000, port), bytes(size)))
            self.rig.worker.step()
            self.rig.left(0)

    def look(self, want: Want = Want()) -> LiveTap:  # noqa: B008 (which cannot change)
        """From outside, over a socket."""
        ours, theirs = socket.socketpair()
        self.streams.open(want)(ours, b'{"ok": {}}\n')
        looker = LiveTap("here", lambda: theirs, ends_by_signal=False)
        self._stack.callback(theirs.close)
        return looker

    def all_of(self, looker: LiveTap) -> list[Frame]:
        """To the end, which it asks for."""
        looker.stop()
        looker._until = 0.0
        looker._socket.settimeout(0.01)  # it reads what there is by now, and then we go on
        found: list[Frame] = []
        while looker._end is None:
            self.streams.look()
            found += looker.frames()
            looker.problem = None
        return found


@pytest.fixture
def its() -> Iterator[Running]:
    with ExitStack() as stack:
        yield Running(stack)


def drain(its: Running) -> None:
    its.taps.drain(None)
    its.streams.look()


# ---- over a socket ----


def test_each_gets_what_he_looks_for(its):
    both, one = its.look(), its.look(Want(ports=((2055, 2055),)))
    its.send(port=514)
    its.send(port=2055)
    its.send(port=9)
    drain(its)
    first, second, third = its.all_of(both)
    assert first.live is not None and second.live is not None and third.live is not None
    assert first.live.verdict == Verdict("forwarded", Way((f"{PATH}:1",), ("192.0.2.1",)))
    assert third.live.verdict == Verdict("no_rule", None)
    (only,) = its.all_of(one)
    assert only == second
    assert len(its.streams) == len(its.taps) == 0


def test_who_is_slow_is_told_what_he_misses_and_where(its):
    slow, quick = its.look(), its.look(Want(sample=1_000))
    shown, sent = 0, 0
    while its.streams._lookers and not any(looker.slow for looker in its.streams._lookers.values()):
        its.send(100, size=1_000)
        sent += 100
        drain(its)
    assert sent < 20_000  # which are 20 MB
    found = its.all_of(slow)
    shown = len(found)
    notes = "\n".join(slow.notes())
    assert 0 < shown < sent
    assert f"{sent - shown:,} datagrams not shown: they came faster" in notes
    assert "tap had no room" not in notes
    assert len(its.all_of(quick)) == sent // 1_000
    assert not any(frame.live is None or frame.live.is_behind_gap for frame in found)  # the gap is behind them


def test_a_gap_of_the_tap_is_told_where_it_is(its):
    looker = its.look()
    its.send(300)
    drain(its)
    its.send(2)
    drain(its)
    gaps = [frame.live is not None and frame.live.is_behind_gap for frame in its.all_of(looker)]
    assert gaps == [False] * 256 + [True, False]
    assert "44 datagrams not shown: gfwd's tap had no room; --sample N takes fewer" in looker.notes()
    assert "302 datagrams went through" in looker.notes()[0]


def test_who_leaves_looks_no_more(its):
    looker = its.look()
    assert len(its.taps) == 1
    looker._socket.close()
    its.streams.look()
    its.send()
    its.streams.look()
    assert len(its.taps) == len(its.streams) == 0
    assert its.rig.core.work().tapped == 0


def test_no_more_than_so_many(its):
    for _ in range(LOOKERS_MOST):
        its.look()
    with pytest.raises(GfwdError, match="8 look at datagrams already"):
        its.streams.open(Want())


def test_the_end_comes_to_all(its):
    lookers = [its.look(), its.look(Want(rule="2"))]
    its.send(3)
    its.streams.finish()
    assert [len(list(looker.frames())) for looker in lookers] == [3, 0]
    assert all(looker.problem is None for looker in lookers)


# ---- inside gfwd ----


def test_gfwd_itself_may_look(its):
    taken: list[Tapped] = []
    numbers = [its.taps.open(Want(ports=((2055, 2055),)), taken.append) for _ in range(TAPS_MAX)]
    with pytest.raises(GfwdError, match="32 look"):
        its.taps.open(Want(), taken.append)
    its.send(port=2055)
    its.send(port=514)
    its.taps.drain(None)
    assert len(taken) == TAPS_MAX
    assert its.taps.count(numbers[0]) == (1, 1, 0)
    for number in numbers:
        its.taps.close(number)
    assert its.taps.deadline() is None


def test_who_comes_gets_nothing_that_was_for_another(its):
    """Who had his number before has left some behind."""
    first: list[Tapped] = []
    second: list[Tapped] = []
    number = its.taps.open(Want(), first.append)
    its.send(10)
    its.taps.close(number)
    its.taps._next = number
    assert its.taps.open(Want(), second.append) == number
    its.send(2)
    its.taps.drain(None)
    assert (len(first), len(second)) == (0, 2)
    assert its.taps.count(number).matched == 2


def test_a_rule_number_is_that_of_its_plan(its):
    taken: list[Tapped] = []
    its.taps.open(Want(), taken.append)
    its.send(port=514)
    its.take("* 9 192.0.2.9 A\n" + RULES)
    its.send(port=514)
    for _ in range(10):
        its.take(RULES)
    its.send(port=514)
    its.taps.drain(None)
    ways = [None if one.in_force is None else one.in_force.way(one.record.rule) for one in taken]
    assert ways == [None, None, Way((f"{PATH}:1",), ("192.0.2.1",))]  # the plan before the last eight is forgotten
    taken.clear()
    its.send(port=514)
    its.take("* 9 192.0.2.9 A\n" + RULES)
    its.send(port=514)
    its.taps.drain(None)
    lines = [one.in_force.way(one.record.rule) for one in taken if one.in_force is not None]
    assert [way and way.rules for way in lines] == [(f"{PATH}:1",), (f"{PATH}:2",)]


def test_a_rule_is_followed_and_may_be_gone(its):
    taken: list[Tapped] = []
    number = its.taps.open(Want(rule="gfwd.rules:2"), taken.append)

    def seen() -> int:
        taken.clear()
        its.send(port=2055)
        its.send(port=514)
        its.taps.drain(None)
        return len(taken)

    assert seen() == 1
    its.take("* 9 192.0.2.9 A\n" + RULES)
    assert seen() == 1 and not its.taps.is_gone(number)
    its.take("* * 192.0.2.1 A\n")
    assert seen() == 0 and its.taps.is_gone(number)
    its.take(RULES)
    assert seen() == 1 and not its.taps.is_gone(number)


def test_who_gets_it_as_things_are(its):
    one, two, three = classic.parse("* 1 192.0.2.1 192.0.2.2 192.0.2.3 A", PATH).rules[0].collectors
    ruleset = classic.parse("* 514 192.0.2.1 A\n", PATH)
    (rule,) = ruleset.rules
    group = Group("all", "flow", (two, three))
    ruleset = ruleset._replace(rules=(rule._replace(receivers=(one, group)),))
    taken: list[Tapped] = []
    its.taps.open(Want(), taken.append)
    for down in (frozenset[Collector](), frozenset([two])):
        its.take(ruleset, down)
        its.send()
    its.taps.drain(None)
    assert [tapped.in_force and tapped.in_force.way(tapped.record.rule) for tapped in taken] == [
        Way((f"{PATH}:1",), ("192.0.2.1", {"group": "all", "one_of": ["192.0.2.2", "192.0.2.3"]})),
        Way((f"{PATH}:1",), ("192.0.2.1", {"group": "all", "one_of": ["192.0.2.3"]})),
    ]


@pytest.mark.parametrize("name", ["3", "0", "other.rules:1", "fwd.rules:1", "", "x"])
def test_no_such_rule(its, name):
    with pytest.raises(UsageError, match=f"{PATH}:LINE"):
        its.taps.open(Want(rule=name), list[Tapped]().append)
    assert len(its.taps) == 0


# ---- words ----

shown = st.builds(
    Shown,
    time=st.integers(0, (1 << 64) - 1),
    way=st.integers(0, NO_WAY),
    fate=st.integers(0, 255),
    is_of_sample=st.booleans(),
    frame=st.binary(max_size=100),
)
told = st.tuples(st.sampled_from(("way", "lost", "gone", "end")), st.dictionaries(st.text(), st.integers()))


@given(st.lists(shown | told), st.integers(1, 50))
def test_what_is_told_is_heard_however_it_comes(those, piece):
    data = b"".join(words.datagram(one) if isinstance(one, Shown) else words.word(*one) for one in those)
    ear, heard = Words(), []
    for at in range(0, len(data), piece):
        ear.put(data[at : at + piece])
        heard += ear.take()
    assert heard == those


@given(st.binary(min_size=5, max_size=60))
def test_anything_else_has_one_end(data):
    ear = Words()
    ear.put(data)
    with suppress(BadStream):
        ear.take()


def test_lengths_have_bounds():
    for head in (b"\x01\xff\xff\xff\xff", b"\x02\x00\x20\x00\x00", b"\x01\x00\x00\x00\x01\x00"):
        ear = Words()
        ear.put(head)
        with pytest.raises(BadStream):
            ear.take()


@given(
    st.lists(st.sampled_from([Prefix(4, 0x0A000000, 8), Prefix(4, 5, 32), Prefix(6, 0, 0), Prefix(6, 1, 128)])),
    st.sampled_from([ALL_PORTS, ((1, 5), (9, 9)), ((1, 65_535),)]),
    st.none() | st.text(),
    st.integers(1, 1 << 31),
)
def test_what_is_wanted_is_understood(exporters, ports, rule, sample):
    want = Want(tuple(exporters), ports, rule, sample)
    assert Want.read(json.loads(json.dumps(want.as_json()))) == want


@pytest.mark.parametrize(
    "odd", [b"\x01\xff\xff\xff\xff", words.word("way", 7), words.word("end", {}), words.word("lost", {"tap": "x"})]
)
def test_a_stream_of_another_version(odd):
    ours, theirs = socket.socketpair()
    ours.sendall(b'{"ok": {}}\n' + odd)
    looker = LiveTap("here", lambda: theirs, ends_by_signal=False)
    assert list(looker.frames()) == []
    assert looker.problem is not None and "it may be of another version" in looker.problem
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b'{"error": "no", "status": 2}\n', "no"), (b"", "has ended before it answered"), (b"{", "ended before")],
)
def test_no_stream(answer, said):
    ours, theirs = socket.socketpair()
    ours.sendall(answer)
    ours.close()
    with pytest.raises(GfwdError, match=said):
        LiveTap("here", lambda: theirs)
