"""The names of a gfwd that runs: asked for when they are due, and what is said of them.

A change of the configuration is prepared, and taken when the plan with it is published.
"""

import math
import random as system_random
import selectors
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice

from gfwd.config.model import Config, DnsSetting
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.daemon.names import sources
from gfwd.daemon.names.asker import Asker
from gfwd.daemon.names.sources import Asking
from gfwd.daemon.names.usable import judged, own_addresses
from gfwd.daemon.report import NameReport
from gfwd.daemon.watch import Watch
from gfwd.dns.choice import ADDRESSES_MOST, preferred, resolve_of
from gfwd.dns.name import Answer, Name
from gfwd.dns.records import State, Terms
from gfwd.errors import UsageError
from gfwd.rules.model import Address, Collector, Prefix

Addresses = Mapping[Collector, tuple[Address, ...]]

FIRST_LOOK_S = 5.0
"""So long names that are new are waited for, before a start or a reload goes on without them."""

_LOST = "its copies are dropped (no_collector)"


def first_look(hosts: Iterable[str], asking: Asking) -> dict[str, Answer]:
    """The answers that come soon, each host being asked for at once."""
    waiting = {Name(host, Terms(), 0.0, lambda: 0.0) for host in hosts}
    found: dict[str, Answer] = {}
    end = time.monotonic() + FIRST_LOOK_S
    with Asker() as asker, selectors.DefaultSelector() as selector:
        selector.register(asker, selectors.EVENT_READ)
        for name in waiting:
            asker.ask((name, 1), asking)
        while len(found) < len(waiting) and (left := end - time.monotonic()) > 0:
            selector.select(left)
            found |= {name.host: answer for (name, _), answer in asker.taken()}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What is asked for by a configuration. own: gfwd's addresses, which no collector can have."""

    dns: DnsSetting
    asking: Asking
    own: frozenset[Address]
    collectors: tuple[Collector, ...]
    names: Mapping[str, Name]

    def addresses(self) -> Addresses:
        """Of each collector, those that its copies may go to."""
        return {one: self._of(one) for one in self.collectors}

    def _of(self, collector: Collector) -> tuple[Address, ...]:
        if collector.address is not None:
            return (collector.address,)
        usable = [address for address in self.names[collector.host].addresses if address not in self.own]
        return preferred(usable, resolve_of(collector, self.dns.resolve))


class Names(AbstractContextManager["Names"]):
    """`now` is time.monotonic(). say: takes an event for the log. random: see dns.name.Name.

    fileno() is readable when a lookup has ended.
    """

    def __init__(self, say: Say, random: Callable[[], float] = system_random.random) -> None:
        self._say, self._random = say, random
        self._asker = Asker()
        self._watch = Watch()
        dns = DnsSetting()
        self._held = _Held(dns=dns, asking=Asking(servers=()), own=frozenset(), collectors=(), names={})
        self._states: dict[str, State] = {}  # that were said
        self._troubles: dict[str, str] = {}  # likewise
        self._refused: dict[str, Collection[Address]] = {}  # likewise
        self._in_force: dict[str, tuple[Address, ...]] = {}  # that copies go to, as was said
        self._last_in_force: Addresses | None = None

    def __exit__(self, *_: object) -> None:
        self._asker.__exit__(*_)

    def fileno(self) -> int:
        return self._asker.fileno()

    def known(self) -> frozenset[str]:
        """The names that are asked for."""
        return frozenset(self._held.names)

    # ---- what is asked for ----

    def prepare(
        self, config: Config, own: Iterable[Prefix], asking: Asking, answers: Mapping[str, Answer], now: float
    ) -> _Held:
        """A name that is asked for already keeps what is known of it. answers: of those that are new, as far as they
        have come.
        """
        ours, dns = own_addresses(own), config.dns
        collectors = config.rules.collectors()
        hosts = dict.fromkeys(one.host for one in collectors if one.address is None)
        terms = Terms(dns.ttl_min, dns.ttl_max, dns.max_stale)
        names: dict[str, Name] = {}
        for host in hosts:
            names[host] = self._held.names.get(host) or Name(host, terms, now, self._random)
            if host not in self._held.names and host in answers:
                names[host].answered(names[host].begin(), judged(answers[host], ours).answer, now)
        return _Held(dns=dns, asking=asking, own=ours, collectors=collectors, names=names)

    def refuse_unknown(self, held: _Held, path: str) -> None:
        """Raises UsageError that names all that are new, and of which the DNS says that there is nothing: the rules in
        force are better than those.
        """
        new = [name for host, name in held.names.items() if host not in self._held.names]
        flaws = [f"{path}: error: collector {its.host}: {its.trouble}" for its in new if its.is_final]
        if flaws:
            advice = "mend the name, or give the collector's address instead"
            raise UsageError("\n".join([*flaws, advice]))

    def take(self, held: _Held, now: float) -> None:
        before, self._held = self._held, held
        self._watch.follow(sources.files(held.dns))
        terms = Terms(held.dns.ttl_min, held.dns.ttl_max, held.dns.max_stale)
        for host, name in held.names.items():
            name.follow(terms)
            if host in before.names:
                name.ask_soon(now)  # who reloads wants to have names looked up
        self._asker.follow(held.asking, set(held.names.values()))
        for said in (self._states, self._troubles, self._refused, self._in_force):
            for host in said.keys() - held.names.keys():
                said.pop(host)
        for name in held.names.values():
            self._tell_of_trouble(name, now)

    def addresses(self) -> Addresses:
        """Of each collector, those that its copies may go to."""
        return self._held.addresses()

    # ---- what happens ----

    def deadline(self) -> float | None:
        """When `advance` wants to be called next; None: not before a lookup has ended."""
        if not self._held.names:
            return None
        names = (name.deadline() for name in self._held.names.values())
        earliest = min(*names, self._watch.deadline() or math.inf)
        return earliest if earliest < math.inf else None

    def advance(self, now: float) -> bool:
        """Take what has come of lookups, and make those that are due. Returns whether addresses() may be others."""
        has_changed = False
        answered = set[Name]()
        for (name, number), answer in self._asker.taken():
            if self._held.names.get(name.host) is name:  # else nobody wants it any more
                answered.add(name)
                usable = judged(answer, self._held.own)
                self._tell_of_refused(name, usable.refused)
                name.answered(number, usable.answer, now)
                self._tell_of_trouble(name, now)
        has_changed |= bool(answered)
        if self._held.names and self._watch.has_changed(now):
            self._load(now)
        for name in self._held.names.values():
            if name.deadline() > now and name not in answered:
                continue  # of a thousand, a few have something to do
            before = name.addresses
            due = name.advance(now)
            if due is not None:
                self._asker.ask((name, due), self._held.asking)
            has_changed |= name.addresses != before
            self._tell_of_state(name, now)
        return has_changed

    def _load(self, now: float) -> None:
        """The files may say something else by now."""
        asking = sources.load(self._held.dns)
        before = self._held.asking
        if asking == before:
            return
        self._held = replace(self._held, asking=asking)
        self._asker.follow(asking, set(self._held.names.values()))
        for name in self._held.names.values():
            name.ask_soon(now)
        if asking.servers != before.servers:
            servers = ", ".join(map(str, asking.servers))
            self._say(events.DNS_SERVERS(f"names are asked of {servers} from now on", servers=servers))

    # ---- what is said ----

    def tell(self, in_force: Addresses) -> None:
        """in_force: what copies go by. Where that is something else for a name than before, it is said."""
        if in_force is self._last_in_force:
            return
        self._last_in_force = in_force
        for host in self._held.names:
            its = [found for one, found in in_force.items() if one.host == host]
            addresses = tuple(dict.fromkeys(address for found in its for address in found))
            before = self._in_force.get(host, ())
            if set(addresses) != set(before):
                self._tell_of_addresses(host, before, addresses)
            self._in_force[host] = addresses

    def _tell_of_addresses(self, host: str, before: Collection[Address], addresses: Collection[Address]) -> None:
        now_text, before_text = (", ".join(map(str, some)) for some in (addresses, before))
        if not addresses:  # said with the reason
            return
        if before:
            text = f"name {host}: its address is {now_text} now, and was {before_text}"
            self._say(events.NAME_MOVED(text, name=host, addresses=now_text, before=before_text))
        else:
            self._say(events.NAME_RESOLVED(f"name {host}: its address is {now_text}", name=host, addresses=now_text))

    def _tell_of_trouble(self, name: Name, now: float) -> None:
        host, said = name.host, self._troubles.get(name.host)
        if name.trouble is None:
            if self._troubles.pop(host, None) is not None:
                self._say(events.NAME_ANSWERED(f"name {host}: there are answers again", name=host))
        elif name.trouble != said:
            self._troubles[host] = name.trouble
            text = f"name {host}: warning: {name.trouble}; {self._what_follows(name, now)}"
            self._say(events.NAME_FAILED(text, name=host, why=name.trouble))

    def _what_follows(self, name: Name, now: float) -> str:
        age = name.age(now)
        if age is None:
            return f"it has no address, so {_LOST}; it is asked for again"
        return f"{', '.join(map(str, name.addresses))} stays, from an answer {age:.0f} s ago; it is asked for again"

    def _tell_of_state(self, name: Name, now: float) -> None:
        host, state, before = name.host, name.state, self._states.get(name.host)
        self._states[host] = state
        if state is State.STALE and before is not State.STALE:
            its = ", ".join(map(str, name.addresses))
            text = f"name {host}: warning: its last answer is {name.age(now) or 0:.0f} s old, and is used on: {its}"
            self._say(events.NAME_STALE(text, name=host, addresses=its))
        elif state is State.GONE and before is not State.GONE:
            text = f"name {host}: warning: its last answer is older than max_stale allows, so {_LOST}"
            self._say(events.NAME_GONE(text, name=host))

    def _tell_of_refused(self, name: Name, refused: Mapping[Address, str]) -> None:
        before = self._refused.get(name.host, ())
        # Whoever has the zone may name thousands, and others each time.
        first = dict(islice(sorted(refused.items()), ADDRESSES_MOST))
        for address, why in first.items():
            if address not in before:
                text = f"name {name.host}: warning: {address} is not used: {why}"
                self._say(events.NAME_REFUSED(text, name=name.host, address=str(address)))
        self._refused[name.host] = tuple(first)

    def report(self, now: float) -> tuple[NameReport, ...]:
        """How all of them stand, by name."""
        return tuple(self._report(name, now) for _, name in sorted(self._held.names.items()))

    def _report(self, name: Name, now: float) -> NameReport:
        ttl, age = name.ttl(now), name.age(now)
        return NameReport(
            name=name.host,
            state=name.state.name.lower(),
            addresses=tuple(map(str, self._in_force.get(name.host, name.addresses))),
            ttl=None if ttl is None else int(ttl),
            age=None if age is None else int(age),
            lookups=name.lookups,
            failures=name.failures,
            error=name.trouble,
        )
