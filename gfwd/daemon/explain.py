"""What would leave for the collectors of a rule: names are looked up, and a plan's own choice of addresses is made."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gfwd.daemon import names
from gfwd.daemon.report import HealthReport, WayReport
from gfwd.health.words import time_text
from gfwd.plan.blueprint import Hop, Route
from gfwd.rules.explain import Explanation
from gfwd.rules.model import Address, Collector, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy of a datagram.

    addresses: those that the collector has. address, port: where the copy goes. drop: the drop cause, where none would
    leave, or else not_loaded, or replaced by a backup; why: the same for people. way, health: what only a gfwd that
    runs knows; None without one, and health where the collector is not checked.
    """

    collector: Collector
    addresses: tuple[Address, ...]
    address: Address | None
    port: int
    drop: str | None = None
    why: str | None = None
    way: WayReport | None = None
    health: HealthReport | None = None

    def as_json(self) -> dict[str, Any]:
        """As an object of JSON, without what only a running gfwd knows where there is none."""
        return {
            "collector": str(self.collector),
            "addresses": [str(address) for address in self.addresses],
            "address": self.address and str(self.address),
            "port": self.port,
            "drop": self.drop,
            "why": self.why,
            **({} if self.way is None else {"way": self.way._asdict()}),
            **({} if self.health is None else {"health": self.health._asdict()}),
        }


def look_up(explanations: list[Explanation]) -> dict[Collector, names.Answer]:
    """The addresses of all collectors of all winners, or why a name has none."""
    winners = [explanation.winner for explanation in explanations if explanation.winner is not None]
    return names.look_up(dict.fromkeys(collector for rule in winners for collector in rule.collectors))


def copies(explanation: Explanation, answers: Mapping[Collector, names.Answer]) -> list[Copy]:
    """The copies that the winner asks for, in its order; none without a winner."""
    rule = explanation.winner
    if rule is None:
        return []
    return [_copy(rule, collector, explanation, answers[collector]) for collector in rule.collectors]


def in_health(sent: Iterable[Copy], health: Mapping[str, HealthReport]) -> list[Copy]:
    """The copies with what a gfwd that runs knows of its collectors, by name: one that is down gets none."""
    found = []
    for copy in sent:
        its = health.get(str(copy.collector))
        if its is None or copy.drop is not None or its.state != "down":
            found.append(replace(copy, health=its))
        else:
            follows = "it has no backup that is up" if its.instead is None else f"it goes to {its.instead}"
            why = f"it is down for {time_text(its.seconds)} now, the last try: {its.result}; {follows}"
            drop = "no_collector" if its.instead is None else "replaced"
            found.append(replace(copy, health=its, drop=drop, why=why))
    return found


def on_their_ways(sent: Iterable[Copy], ways: Mapping[str, WayReport]) -> list[Copy]:
    """The copies with what a gfwd that runs knows of the ways, by address. One that it does not know, it does not send
    to: it runs by other rules.
    """
    found = []
    for copy in sent:
        way = ways.get(str(copy.address))
        if copy.drop is not None or copy.address is None:
            found.append(copy)
        elif way is None:
            why = "the gfwd that runs has other rules, and does not send there; gfwd reload has it read these"
            found.append(replace(copy, drop="not_loaded", why=why))
        elif way.next_hop is None:
            found.append(replace(copy, way=way, drop="no_collector", why="no route leaves by a port of gfwd's"))
        else:
            found.append(replace(copy, way=way))
    return found


def _copy(rule: Rule, collector: Collector, explanation: Explanation, answer: names.Answer) -> Copy:
    port = collector.port or explanation.port
    if isinstance(answer, str):
        return Copy(collector=collector, addresses=(), address=None, port=port, drop="no_collector", why=answer)
    # The plan's own choice; which port and neighbour a copy leaves by plays no part in it.
    hop = Route(0, tuple(Hop(address, 0, 0) for address in answer)).hop_for(rule.source and rule.source.family)
    address = hop and hop.address
    drop = why = None
    if address is not None and address.family != explanation.source.family:
        drop = "family_mismatch"
        why = f"its address is IPv{address.family}, and the exporter's, which is kept, IPv{explanation.source.family}"
    return Copy(collector=collector, addresses=answer, address=address, port=port, drop=drop, why=why)
