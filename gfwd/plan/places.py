"""A collector whose name has several addresses, each of which gets copies: it stands for several places.

A place is a collector with an address of its own, and with the options of the one that it is a part of. Where a rule
names the collector, each place gets a copy; where a group does, each is a member. Of places for both families, the
first one has the first address of each, and so on: an exporter's datagrams go to those of its own family.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest

from gfwd.native import core
from gfwd.plan.blueprint import stand_in
from gfwd.rules.model import NO_OPTIONS, Address, Collector, Family, Group, Receiver, each_collector

Places = Mapping[Collector, Mapping[Collector, tuple[Address, ...]]]
"""Of collectors that stand for several: their places, each with its addresses."""


def places_of(collector: Collector, addresses: Sequence[Address]) -> dict[Collector, tuple[Address, ...]]:
    """Its places, by its addresses."""
    v4, v6 = ([address for address in addresses if address.family == family] for family in (4, 6))
    pairs = [tuple(address for address in pair if address is not None) for pair in zip_longest(v4, v6)]
    options = (collector.options or NO_OPTIONS)._replace(backup=(), check=None, resolve=None)
    return {
        Collector(
            str(pair[0]), collector.port, pair[0], str(collector), None if options == NO_OPTIONS else options
        ): pair
        for pair in pairs
    }


def spread(
    receivers: tuple[Receiver, ...], places: Places, down: Collection[Collector], family: Family | None
) -> tuple[Receiver, ...]:
    """The receivers with the places of those that stand for several; with those of a backup, where it steps in.

    family: of the exporters, where it is known: places without an address of it are left out. As many as a datagram can
    have copies: each has its first place, and the others as long as there is room.
    """
    if not places:
        return receivers
    room = core.TARGETS_MAX - len(each_collector(receivers))

    def all_of(collector: Collector) -> Iterable[Collector]:
        nonlocal room
        who = stand_in(collector, down) if collector in down else collector
        its = None if who is None else places.get(who)
        if its is None:
            return (collector,)
        fit = [place for place, found in its.items() if family is None or any(a.family == family for a in found)]
        taken = (fit or list(its))[: 1 + max(0, room)]
        room -= len(taken) - 1
        return taken

    found: list[Receiver] = []
    for receiver in receivers:
        if isinstance(receiver, Group):
            members = dict.fromkeys(place for member in receiver.members for place in all_of(member))
            found.append(receiver._replace(members=tuple(members)))
        else:
            found.extend(all_of(receiver))
    return tuple(found)
