"""What would leave for one datagram: names are looked up, and the plan's own choices are made."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, NamedTuple

from gfwd.config.model import USUAL_DNS, DnsSetting
from gfwd.daemon.names import once
from gfwd.daemon.report import HealthReport, HopReport, NameReport, WayReport
from gfwd.daemon.ways import Goal, goal_of
from gfwd.dns.choice import preferred, resolve_of
from gfwd.plan.blueprint import Hop, Route
from gfwd.plan.getters import Getter, Sharing, getter_of, sharings_of
from gfwd.plan.places import Places, places_of, spread
from gfwd.plan.shares import hop_shares, share_of
from gfwd.rules.explain import Explanation
from gfwd.rules.model import NO_OPTIONS, Address, Collector, Family, Group, Options, Receiver, each_collector
from gfwd.rules.space import receivers_of


class Live(NamedTuple):
    """What only a gfwd that runs knows: the ways, the health of collectors that are checked, by name, and the names
    that it asks for.
    """

    ways: Mapping[Goal, WayReport]
    health: Mapping[str, HealthReport]
    names: Mapping[str, NameReport] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy of a datagram, and who would get it.

    group: that it is a member of. one_of: of the group's copies one leaves, and which one hangs on more than the
    exporter and the port. instead_of: who is down. addresses: those that the collector has. address, port: where the
    copy goes. own: gfwd's own address, which it leaves with; None: with another one, or it is not known. drop: the drop
    cause, where none would leave, or else not_loaded; why: the same for people. way, health, name: what only a gfwd
    that runs knows; None without one, health where the collector is not checked, and name where it has none in the DNS.
    equals: next hops that it may take as well as that of the way, where which one hangs on more than the exporter and
    the port.
    """

    collector: Collector
    group: Group | None = None
    one_of: bool = False
    instead_of: Collector | None = None
    addresses: tuple[Address, ...] = ()
    address: Address | None = None
    port: int
    own: str | None = None
    drop: str | None = None
    why: str | None = None
    way: WayReport | None = None
    equals: tuple[HopReport, ...] = ()
    health: HealthReport | None = None
    name: NameReport | None = None

    @property
    def options(self) -> Options:
        return self.collector.options or NO_OPTIONS

    def as_json(self) -> dict[str, Any]:
        """As an object of JSON, without what only a running gfwd knows where there is none."""
        options = self.options
        return {
            "collector": str(self.collector),
            "group": self.group and self.group.name,
            "balance": self.group and self.group.balance,
            "one_of": self.one_of,
            "instead_of": self.instead_of and str(self.instead_of),
            "addresses": [str(address) for address in self.addresses],
            "address": self.address and str(self.address),
            "port": self.port,
            "source": "own" if options.own_source else "keep",
            "own": self.own,
            "source_port": options.source_port,
            "ttl": options.ttl,
            "sample": options.sample,
            "limit": options.limit,
            "out": options.out,
            "vlan": options.vlan,
            "drop": self.drop,
            "why": self.why,
            **({} if self.way is None else {"way": self.way.as_json()}),
            **({} if self.health is None else {"health": self.health._asdict()}),
            **({} if self.name is None else {"name": self.name._asdict()}),
        }


@dataclass(frozen=True, slots=True)
class Sender:
    """The copies of datagrams.

    answers: each collector's addresses, or why it has none. down: collectors that are. own: gfwd's own addresses, as
    far as they are known. live: what a gfwd that runs knows; None: nobody was asked. places: of collectors that stand
    for several.
    """

    answers: Mapping[Collector, once.Answer]
    down: frozenset[Collector] = frozenset()
    own: Sequence[Address] = ()
    live: Live | None = None
    places: Places = field(default_factory=dict)

    def copies(self, explanation: Explanation, source_port: int | None = None) -> list[Copy]:
        """Those that the rules that apply ask for, in the order in which they leave. source_port: the exporter's; None:
        it is not known.
        """
        rules = explanation.applying
        found: list[Copy] = []
        certain: set[Getter] = set()
        family = next((rule.source.family for rule in rules if rule.source is not None), None)
        for receiver, sharing in sharings_of(spread(receivers_of(rules), self.places, self.down, family), self.down):
            part = _part(receiver, explanation, source_port)
            getters = _getters(sharing, part)
            if len(getters) == 1:
                if getters[0] in certain:
                    continue  # the core sends nobody two copies
                certain.add(getters[0])
            for getter in getters:
                found.append(self._copy(receiver, getter, explanation, part, one_of=len(getters) > 1))
        return found

    def health_of_down(self, explanation: Explanation) -> list[HealthReport]:
        """Of those that would get copies, or have a share of them, were they not down."""
        health = {} if self.live is None else self.live.health
        wanted = each_collector(receivers_of(explanation.applying))
        return [health[str(one)] for one in wanted if one in self.down]

    def _copy(
        self,
        receiver: Receiver,
        getter: Getter,
        explanation: Explanation,
        part: int | None,
        *,
        one_of: bool,
    ) -> Copy:
        """part: of the exporters, or flows, that the datagram is in; None: that is not known, or plays no part."""
        collector, answer = getter.collector, self.answers[getter.collector]
        addresses = () if isinstance(answer, str) else answer
        address = self._address(collector, addresses, explanation.source.family)
        way = None if self.live is None or address is None else self.live.ways.get(goal_of(collector, address))
        equals: tuple[HopReport, ...] = ()
        if way is not None and address is not None:
            with_own = (collector.options or NO_OPTIONS).own_source
            way, equals = _by_its_hop(way, address, part, with_own=with_own)
        own = self._own(collector, address, way)
        drop, why = self._drop(getter, answer, address, way, own, explanation.source.family)
        return Copy(
            collector=collector,
            group=receiver if isinstance(receiver, Group) else None,
            one_of=one_of,
            instead_of=_instead_of(receiver, getter, self.down),
            addresses=addresses,
            address=address or next(iter(addresses), None),
            port=collector.port or explanation.port,
            own=own,
            drop=drop,
            why=why,
            way=way,
            equals=equals,
            health=None if self.live is None else self.live.health.get(str(collector)),
            name=None if self.live is None else self.live.names.get(self._host(collector)),
        )

    def _address(self, collector: Collector, addresses: Sequence[Address], family: Family) -> Address | None:
        """The plan's own choice; which port and neighbour a copy leaves by plays no part in it."""
        there = [address for address in addresses if self._has_way(collector, address)]
        if self.live is not None and (collector.options or NO_OPTIONS).own_source:
            ways = self.live.ways
            there = [one for one in there if _has_own(ways[goal_of(collector, one)])] or there
        hops = Route(0, tuple(Hop(address, 0, 0) for address in there)).hops_for(family)
        return hops[0].address if hops else None

    def _host(self, collector: Collector) -> str:
        """Of a place, that of the collector that it is a part of."""
        return next((one.host for one, its in self.places.items() if collector in its), collector.host)

    def _has_way(self, collector: Collector, address: Address) -> bool:
        if self.live is None:
            return True
        way = self.live.ways.get(goal_of(collector, address))
        return way is not None and way.next_hop is not None

    def _own(self, collector: Collector, address: Address | None, way: WayReport | None) -> str | None:
        if address is None or collector.options is None or not collector.options.own_source:
            return None
        if way is not None:
            return way.own
        return next((str(one) for one in self.own if one.family == address.family), None)

    def _drop(
        self,
        getter: Getter,
        answer: once.Answer,
        address: Address | None,
        way: WayReport | None,
        own: str | None,
        family: Family,
    ) -> tuple[str | None, str | None]:
        """The cause, and the same for people, in the core's order."""
        options = getter.collector.options or NO_OPTIONS
        if not getter.is_there:
            return "no_collector", "it is down, and has no backup that is up"
        if isinstance(answer, str):
            return "no_collector", answer
        if address is None:
            return self._nowhere(getter.collector, answer)
        if way is not None and options.own_source and own is None:
            return "no_collector", f"it is to get gfwd's own address, and {way.port} has none of IPv{address.family}"
        if address.family != family and not options.own_source:
            return (
                "family_mismatch",
                f"its address is IPv{address.family}, and the exporter's, which is kept, IPv{family}",
            )
        if way is not None and way.state == "failed":
            return "neighbour_failed", f"its next hop, {way.next_hop} behind {way.port}, does not answer"
        return None, None

    def _nowhere(self, collector: Collector, addresses: Iterable[Address]) -> tuple[str, str]:
        """What a gfwd that runs does not know, it does not send to: it runs by other rules."""
        assert self.live is not None
        if any(goal_of(collector, address) in self.live.ways for address in addresses):
            return "no_collector", "no route leaves by a port of gfwd's"
        why = "the gfwd that runs has other rules, and does not send there; gfwd reload has it read these"
        return "not_loaded", why


def sender(
    explanations: Sequence[Explanation], own: Iterable[Address], live: Live | None, dns: DnsSetting = USUAL_DNS
) -> Sender:
    """Looks up all names that copies would go to now, but for those that a gfwd that runs has looked up."""
    down = frozenset(_down(explanations, live))
    wanted = dict.fromkeys(
        getter.collector
        for explanation in explanations
        for _, sharing in sharings_of(receivers_of(explanation.applying), down)
        for getter in sharing.getters
    )
    told = {} if live is None else live.names
    answers = once.look_up([one for one in wanted if one.host not in told], dns)
    answers |= {one: _told(one, told[one.host], dns) for one in wanted if one.host in told}
    places = {
        one: places_of(one, found)
        for one, found in answers.items()
        if not isinstance(found, str) and len(found) > 1 and resolve_of(one, dns.resolve) == "all"
    }
    # Rules name a collector with its backups, and copies are those of one without.
    places |= {one: places[one.alone()] for one in _named(explanations) if one.alone() in places}
    for its in places.values():
        answers |= its
    return Sender(answers, down, tuple(own), live, places)


def _told(collector: Collector, name: NameReport, dns: DnsSetting) -> once.Answer:
    """The addresses that a gfwd that runs has for it."""
    addresses = [ip_address(text) for text in name.addresses]
    found = [Address(4 if one.version == 4 else 6, int(one)) for one in addresses]
    return preferred(found, resolve_of(collector, dns.resolve)) or name.error or "its name has not been answered yet"


def _named(explanations: Iterable[Explanation]) -> Iterator[Collector]:
    for explanation in explanations:
        yield from each_collector(receivers_of(explanation.applying))


def _down(explanations: Iterable[Explanation], live: Live | None) -> Iterator[Collector]:
    """Also backups that are: each stands there without its own, so one name may be that of two."""
    health = {} if live is None else live.health
    down = {name for name, its in health.items() if its.state == "down"}
    for explanation in explanations:
        for collector in each_collector(receivers_of(explanation.applying)):
            for one in (collector, *(collector.options or NO_OPTIONS).backup):
                if str(one) in down:
                    yield one


def _part(receiver: Receiver, explanation: Explanation, source_port: int | None) -> int | None:
    """Of the exporters, or of the flows, the part that the datagram is in; None: by turns, or it is not known."""
    balance = receiver.balance if isinstance(receiver, Group) else "exporter"
    if balance == "exporter":
        return share_of(explanation.source)
    if balance == "flow" and source_port is not None:
        return share_of(explanation.source, (source_port, explanation.port))
    return None


def _getters(sharing: Sharing, part: int | None) -> Sequence[Getter]:
    """Of those who share the copies, the one whose this datagram's is; all, where that is not known."""
    if part is not None and len(sharing.getters) > 1:
        return (sharing.getters[sharing.places()[part]],)
    return tuple(dict.fromkeys(sharing.getters))


def _has_own(way: WayReport) -> bool:
    """Whether gfwd has an address of its own by any of the next hops that are used."""
    return way.own is not None or any(hop.is_used and hop.own is not None for hop in way.hops)


def _by_its_hop(
    way: WayReport, address: Address, part: int | None, *, with_own: bool
) -> tuple[WayReport, tuple[HopReport, ...]]:
    """The way by the next hop that gets this part, and those that may get the copy as well.

    with_own: only those count where gfwd has an address of its own, as in the plan.
    """
    used = [hop for hop in way.hops if hop.is_used and (hop.own is not None or not with_own)]
    if not used:
        return way, ()
    if len(used) == 1:
        return way.by(used[0]), ()
    if part is None:
        return way.by(used[0]), tuple(used[1:])
    places = hop_shares([Hop(address, 0, 0, None, hop.via, hop.weight) for hop in used])
    return way.by(used[places[part]]), ()


def _instead_of(receiver: Receiver, getter: Getter, down: Collection[Collector]) -> Collector | None:
    """Whom it stands in for; None: it has its own copies."""
    members = each_collector([receiver])
    if any(member.alone() == getter.collector and member not in down for member in members):
        return None
    return next((member for member in members if getter == getter_of(member, down) and getter.is_there), None)
