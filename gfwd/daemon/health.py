"""The health of collectors: tries are made when they are due, and what comes of them says who is down.

For "arp" nothing is sent: neighbours.py asks for the next hop that the copies go to, and what it has found is the
result of the try. All else is tried in threads (probe/).
"""

import random as system_random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.daemon.probe import http, icmp, tcp
from gfwd.daemon.probe.prober import Prober
from gfwd.daemon.report import HealthReport
from gfwd.health.machine import State
from gfwd.health.watch import Outcome, Verdict, Watch, patience
from gfwd.health.words import check_text, result_text, why_down
from gfwd.native.core import NeighbourState
from gfwd.plan.blueprint import stand_in
from gfwd.rules.model import Address, Check, Collector, Group, RuleSet


class Way(NamedTuple):
    """An address that copies go to, and the neighbour that gets them, with its state as the core has it."""

    address: Address
    next_hop: Address
    state: NeighbourState


Look = Callable[[Collector], Sequence[Way]]
"""The ways that copies for a collector take now: one for each family, or none."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The collectors that are checked, and the watch of each.

    A collector that is a backup stands there without its own backups, so one name may be that of two: the same for a
    check. named: by its name, with its backups where it has some; in the order of the names.
    """

    of: Mapping[Collector, Watch] = field(default_factory=dict)
    named: Mapping[str, Collector] = field(default_factory=dict)

    def down(self) -> frozenset[Collector]:
        return frozenset(collector for collector, watch in self.of.items() if watch.state is State.DOWN)

    def all(self) -> list[tuple[str, Collector, Watch]]:
        """Each once."""
        return [(name, collector, self.of[collector]) for name, collector in self.named.items()]


class Health:
    """`now` is the same clock everywhere, in seconds. say: takes an event for the log. random: see Watch.

    A change of what is checked is prepared, and taken when the plan with it is published.
    """

    def __init__(
        self, prober: Prober, look: Look, say: Say, random: Callable[[], float] = system_random.random
    ) -> None:
        self._prober, self._look, self._say, self._random = prober, look, say, random
        self._now = Watched()
        self._names: frozenset[str] = frozenset()  # of all collectors, also of those that are not checked
        self._direct: frozenset[str] = frozenset()  # those that rules name themselves
        self._groups: tuple[Group, ...] = ()
        self._troubles: dict[Watch, str] = {}  # what was said of checks that cannot be made
        self._told: dict[str, str] = {}  # by collector that is down: what was said of its copies

    # ---- what is checked ----

    def prepare(self, collectors: Iterable[Collector], now: float) -> Watched:
        """Whose check is the same as before, and of the same host, keeps what is known of it."""
        its = tuple(collectors)
        before = {(name, collector.host, watch.check): watch for name, collector, watch in self._now.all()}
        watches: dict[str, Watch] = {}
        named: dict[str, Collector] = {}
        for collector in its:
            name, options = str(collector), collector.options
            if options is not None and options.check is not None and (name not in named or options.backup):
                key = name, collector.host, options.check
                watches[name] = before.get(key) or watches.get(name) or Watch(options.check, now, self._random)
                named[name] = collector
        return Watched({one: watches[str(one)] for one in its if str(one) in watches}, dict(sorted(named.items())))

    def take(self, watched: Watched, ruleset: RuleSet) -> None:
        before = self._now.down()
        self._now = watched
        if watched.of or before:
            self._names = frozenset(map(str, ruleset.collectors()))
            receivers = dict.fromkeys(receiver for rule in ruleset.rules for receiver in rule.receivers)
            self._direct = frozenset(str(one) for one in receivers if isinstance(one, Collector))
            self._groups = tuple(one for one in receivers if isinstance(one, Group))
        current = set(watched.of.values())
        self._troubles = {watch: said for watch, said in self._troubles.items() if watch in current}
        self.tell(before)

    def down(self) -> frozenset[Collector]:
        return self._now.down()

    # ---- tries ----

    def deadline(self) -> float | None:
        """When `advance` wants to be called next; None: not before a try has ended."""
        return min((watch.deadline() for watch in self._now.of.values()), default=None)

    def advance(self, now: float) -> None:
        """Take what has come of tries, and make those that are due."""
        watched = {watch: collector for _, collector, watch in self._now.all()}
        for watch, number, outcome in self._prober.taken():
            if watch in watched:  # else it is not checked any more
                self._judge(watched[watch], watch, number, outcome, now)
        for watch, collector in watched.items():
            due = watch.advance(now)
            if due is not None:
                self._try(collector, watch, due, now)

    def _try(self, collector: Collector, watch: Watch, number: int, now: float) -> None:
        ways = self._look(collector)
        if not ways:
            nowhere = Outcome(Verdict.FAILURE, "no route to it leaves by a port of gfwd's", check_text(watch.check))
            self._judge(collector, watch, number, nowhere, now)
        elif watch.check.kind == "arp":
            self._judge(collector, watch, number, _seen(ways), now)
        else:
            self._prober.ask(watch, number, _probe(watch.check, [way.address for way in ways]))

    def _judge(self, collector: Collector, watch: Watch, number: int, outcome: Outcome, now: float) -> None:
        before = watch.state
        watch.judged(number, outcome, now)
        if watch.trouble is None:
            self._troubles.pop(watch, None)
        elif watch.trouble != self._troubles.get(watch):
            self._troubles[watch] = watch.trouble
            counts = "down" if watch.state is State.DOWN else "up"
            text = f"collector {collector}: warning: it cannot be checked, and counts as {counts}: {watch.trouble}"
            self._say(events.COLLECTOR_NOT_CHECKED(text, collector=str(collector)))
        if before is State.UNKNOWN and watch.state is State.UP:
            text = f"collector {collector}: up: {outcome.what} ({outcome.target})"
            self._say(events.COLLECTOR_UP(text, collector=str(collector)))

    # ---- words ----

    def tell(self, before: Collection[Collector]) -> None:
        """Say who is down now and was not before, who is up again, and whose copies go elsewhere since then."""
        down = self.down()
        names_before = set(map(str, before))
        told_before, self._told = self._told, {}
        for name, collector, watch in self._now.all():
            if collector not in down:
                continue
            follows = self._told[name] = self._what_follows(collector, down)
            if name not in names_before:
                text = f"collector {name}: down: {why_down(watch)}{follows and f'; {follows}'}"
                self._say(events.COLLECTOR_DOWN(text, collector=name))
            elif follows and follows != told_before.get(name):
                text = f"collector {name}: still down, and now {follows}"
                self._say(events.COLLECTOR_STILL_DOWN(text, collector=name))
        for name in sorted(names_before - self._told.keys()):
            self._tell_of_one_up(name)

    def _tell_of_one_up(self, name: str) -> None:
        collector = self._now.named.get(name)
        watch = None if collector is None else self._now.of[collector]
        if watch is not None and watch.state is State.UP and watch.change is not None:
            text = f"collector {name}: up again after {watch.change.seconds:.0f} s"
            self._say(events.COLLECTOR_UP(text, collector=name))
        elif name in self._names:  # else it is gone
            is_other = "its check is another one" if watch is not None else "it is not checked any more"
            text = f"collector {name}: {is_other}, so it counts as up"
            self._say(events.COLLECTOR_UP(text, collector=name))

    def _what_follows(self, collector: Collector, down: frozenset[Collector]) -> str:
        """What becomes of its copies; empty for one that only steps in for others."""
        instead = self._instead(collector, down)
        lost = "so its copies are dropped (no_collector)"
        if instead is not None:
            return f"its copies go to {instead}"
        if collector.options is not None and collector.options.backup:
            return f"its backups are down, too, {lost}"
        return f"it has no backup, {lost}" if str(collector) in self._direct or self._groups_of(collector) else ""

    def _instead(self, collector: Collector, down: frozenset[Collector]) -> str | None:
        """Who gets its copies; None: nobody."""
        backup = stand_in(collector, down)
        if backup is not None:
            return str(backup)
        served: dict[bool, list[str]] = {True: [], False: []}
        for group in self._groups_of(collector):
            is_served = any(member not in down or stand_in(member, down) is not None for member in group.members)
            served[is_served].append(str(group))
        if not served[True] or str(collector) in self._direct:
            return None
        text = f"the others of {', '.join(served[True])}"
        return f"{text}, those of {', '.join(served[False])} to nobody (no_collector)" if served[False] else text

    def _groups_of(self, collector: Collector) -> list[Group]:
        return [group for group in self._groups if str(collector) in map(str, group.members)]

    def report(self, now: float) -> tuple[HealthReport, ...]:
        down = self.down()
        return tuple(
            HealthReport(
                collector=name,
                check=check_text(watch.check),
                state=watch.state.name.lower(),
                seconds=int(now - watch.since),
                result=result_text(watch),
                instead=self._instead(collector, down) if watch.state is State.DOWN else None,
            )
            for name, collector, watch in self._now.all()
        )


def _probe(check: Check, addresses: Sequence[Address]) -> partial[Outcome]:
    if check.url is not None:  # it says itself where
        return partial(http.probe, check.url, patience(check))
    if check.kind == "icmp":
        return partial(icmp.probe, addresses, patience(check))
    assert check.port is not None, "tcp has one"
    return partial(tcp.probe, addresses, check.port, patience(check))


def _seen(ways: Sequence[Way]) -> Outcome:
    """By the neighbours: one that has answered is enough."""
    target = f"arp {', '.join(str(way.next_hop) for way in ways)}"
    states = {way.state for way in ways}
    if NeighbourState.READY in states:
        return Outcome(Verdict.SUCCESS, "its next hop has answered", target)
    if states == {NeighbourState.FAILED}:
        return Outcome(Verdict.FAILURE, "its next hop does not answer", target)
    return Outcome(Verdict.OPEN, "its next hop has been asked", target)
