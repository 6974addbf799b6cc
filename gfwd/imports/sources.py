"""Entries → shares → rules.

Prefixes hold one another or have nothing in common. So the narrowest prefix that holds an address tells which other
ones do, and one rule for each prefix is enough, whatever the entries of all the wider ones add to it: rules are
written from wide to narrow with one priority, and the one written later wins.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final

from gfwd.imports.entries import Entry, Share, Source
from gfwd.imports.report import Place, Report
from gfwd.rules.classic import COLLECTORS_MAX
from gfwd.rules.model import ADDRESS_BITS, FAMILIES, Collector, Family, Ports, Prefix, Rule

MASK_PREFIXES_MAX: Final = 1024
"""Prefixes that one netmask with gaps may become."""

PRIORITY: Final = "A"

Shares = dict[Source, Share]
Written = list[tuple[Rule, tuple[Place, ...]]]


def masked(family: Family, value: int, mask: int) -> list[Prefix]:
    """The prefixes that hold exactly the addresses of which `mask` leaves `value`.

    A mask with gaps (255.255.0.255) takes several. Raises ValueError where it takes more than MASK_PREFIXES_MAX.
    """
    bits = ADDRESS_BITS[family]
    if value & ~mask:
        return []
    length = bits - ((mask & -mask).bit_length() - 1) if mask else 0
    gaps = [bit for bit in range(bits - length, bits) if not mask >> bit & 1]
    if 1 << len(gaps) > MASK_PREFIXES_MAX:
        raise ValueError("too many prefixes")
    values = [value]
    for bit in gaps:
        values += [other | 1 << bit for other in values]
    return [Prefix(family, other, length) for other in sorted(values)]


def ancestry(sources: Iterable[Source]) -> Iterator[tuple[Source, Source]]:
    """Each source once, the wide before the narrow, with the narrowest other one that holds it.

    Where none does, it is None, any source, which need not be among `sources`.
    """
    known = set(sources)
    if None in known:
        yield None, None
    open_prefixes: list[Prefix] = []
    for prefix in sorted(source for source in known if source is not None):
        while open_prefixes and not open_prefixes[-1].holds(prefix):
            open_prefixes.pop()
        yield prefix, open_prefixes[-1] if open_prefixes else None
        open_prefixes.append(prefix)


def united(entries: Iterable[Entry], report: Report) -> Shares:
    """The shares where the collectors of every entry that matches get a datagram."""
    by_source: dict[Source, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_source[entry.source].append(entry)
    shares: Shares = {None: Share((), ())}
    for source, parent in ancestry(by_source):
        collectors = dict.fromkeys(shares[parent].collectors)
        places = dict.fromkeys(shares[parent].places)
        for entry in by_source[source]:
            twice = []
            for collector in entry.collectors:
                if collector in collectors:
                    twice.append(str(collector))
                collectors[collector] = None
            if twice:
                report.warning(entry.place, f"{_some(twice)} would get a datagram more than once; gfwd sends one copy")
            places[entry.place] = None
        shares[source] = Share(tuple(collectors), tuple(places))
    return shares


def rules_of(shares: Mapping[Source, Share], ports: Ports, report: Report) -> Written:
    """The rules that say what the shares do, each with the places where that was said."""
    fitting = {source: _fitting(source, share, report) for source, share in shares.items()}
    holes = _holes(fitting)
    written: Written = []
    for source, share in fitting.items():
        if not share.collectors:
            continue
        rules = list(_rules_around(source, share, holes[source], fitting, ports))
        if holes[source]:
            report.note(share.places[0], f"rules: {len(rules):,}, around the exporters whose datagrams go nowhere")
        written += rules
    return sorted(written, key=lambda item: (item[0].source is not None, item[0].source or ()))


def without(prefix: Prefix, holes: list[Prefix]) -> list[Prefix]:
    """The prefixes that hold what `prefix` holds and none of the holes does."""
    inside = [hole for hole in holes if prefix.holds(hole)]
    if not inside:
        return [prefix]
    if prefix in inside:
        return []
    length = prefix.length + 1
    upper = prefix.value + prefix.size // 2
    halves = (Prefix(prefix.family, prefix.value, length), Prefix(prefix.family, upper, length))
    return [part for half in halves for part in without(half, inside)]


def _holes(shares: Mapping[Source, Share]) -> dict[Source, list[Prefix]]:
    """For each source the prefixes within that its rule must not reach.

    Those are the ones that go nowhere, and the ones that have holes themselves: what falls into a hole must not be
    caught by a rule that is wider still.
    """
    family_tree = list(ancestry(shares))
    nearest: dict[Source, Source] = {None: None}  # a source → itself, or the narrowest wider one that goes somewhere
    for source, parent in family_tree:
        nearest[source] = source if shares[source].collectors else nearest[parent]
    holes: dict[Source, list[Prefix]] = defaultdict(list)
    for source, parent in reversed(family_tree):  # the narrow first
        above = nearest[parent]
        if source is None or (shares[source].collectors and not holes[source]) or above not in shares:
            continue
        if _of_family(source.family, shares[above].collectors):
            holes[above].append(source)
    return holes


def _rules_around(
    source: Source, share: Share, holes: list[Prefix], sources: Container[Source], ports: Ports
) -> Iterator[tuple[Rule, tuple[Place, ...]]]:
    """One rule for a source, or, where others have a hole in it, one for each prefix that is left."""
    line = share.places[0].line
    if not holes:
        yield Rule(source, ports, share.collectors, None if source is None else PRIORITY, line), share.places
        return
    wholes = [source] if source is not None else [Prefix(family, 0, 0) for family in FAMILIES]
    for whole in wholes:
        collectors = _of_family(whole.family, share.collectors)
        for part in without(whole, holes):
            if collectors and (part == source or part not in sources):  # else that part has a rule of its own
                yield Rule(part, ports, collectors, PRIORITY, line), share.places


def _fitting(source: Source, share: Share, report: Report) -> Share:
    """The share without the collectors that no datagram from the source can reach, nor those that are too many."""
    collectors = share.collectors if source is None else _of_family(source.family, share.collectors)
    if len(collectors) > COLLECTORS_MAX:
        report.warning(
            share.places[-1],
            f"{len(collectors):,} receivers, of which gfwd has room for {COLLECTORS_MAX} in a rule: those from "
            f"{collectors[COLLECTORS_MAX]} on are left out",
        )
    return Share(collectors[:COLLECTORS_MAX], share.places)


def _of_family(family: Family, collectors: tuple[Collector, ...]) -> tuple[Collector, ...]:
    """Those that may have an address of the family: a name can turn out to have either."""
    return tuple(
        collector for collector in collectors if collector.address is None or collector.address.family == family
    )


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"
