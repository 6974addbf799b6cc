"""What hurts on the way to the collectors: addresses, names, routes, MTUs, filters."""

from collections.abc import Iterable, Iterator

from gfwd.daemon import advice
from gfwd.daemon.doctor.facts import Asked, Facts
from gfwd.daemon.doctor.finding import Finding, error, note, warning
from gfwd.daemon.mtus import Sized, gaps
from gfwd.daemon.names import once
from gfwd.daemon.ports import Wanted
from gfwd.daemon.ways import Goal, goal_of, no_way_by
from gfwd.l2.routes import gateway_for
from gfwd.rules.model import ADDRESS_BITS, Address, Collector, Prefix

_STRICT, _LOOSE = 1, 2  # rp_filter


def gfwd_has_an_address(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """Where an input is missing, that is worse, and said already."""
    inputs = asked.inputs()
    all_there = len(list(facts.there(inputs))) == sum(one.name.interface is not None for one in inputs)
    if inputs and all_there and not _own(asked, facts):
        yield error(
            " or ".join(str(one.name) for one in inputs),
            "no address there, so nothing can be for gfwd; give the interface one, or say which are gfwd's: "
            "--address 192.0.2.1",
        )


def names_have_addresses(_: Asked, facts: Facts) -> Iterator[Finding]:
    for host, why in {its.host: why for its, why in facts.names.items() if isinstance(why, str)}.items():
        yield error(f"collector {host}", f"{why}; {once.ADVICE}")


def collectors_are_others(asked: Asked, facts: Facts) -> Iterator[Finding]:
    for collector in once.with_own_address(_own(asked, facts), _addresses(facts)):
        yield error(f"collector {collector}", "is gfwd's own address: what is sent there would come back")


def collectors_have_routes(asked: Asked, facts: Facts) -> Iterator[Finding]:
    out = asked.outputs()
    there = [interface.link.name for _, interface in facts.there(out)]
    if not out or facts.tables_error:
        return
    own = {Address(prefix.family, prefix.value) for prefix in _own(asked, facts) if prefix.size == 1}
    for goal, collectors in _collectors(facts).items():
        if facts.ways.get(goal) is None and goal.address not in own:
            by = [name for name in (str(one.name) for one in out) if goal.out in (None, name)] or [str(goal.out)]
            gateway = gateway_for(goal.address, asked.gateways)
            yield error(
                f"collector {', '.join(map(str, collectors))}",
                no_way_by(by, gateway),
                advice.reach(goal.address, gateway, there[0]) if there else None,
            )


def mtus_match(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """What is longer than an interface carries leaves in fragments, or, where it must not be cut, not at all. No
    command mends it: what is longer than the network behind it carries would be lost there, the host's own packets too.
    """

    def sized(ports: Iterable[Wanted]) -> list[Sized]:
        return [Sized(str(one.name), its.link.name, its.link.mtu) for one, its in facts.there(ports)]

    for gap in gaps(sized(asked.inputs()), sized(_used(asked, facts))):
        yield warning(gap.out.port, str(gap))


def this_host_takes_kept_sources(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """What gfwd forwards passes by this host's own filters, coming and going, unless it leaves by a veth pair whose
    other end is on this host: there the exporters' addresses come in by another interface than routes to them name.
    """
    for one, interface in facts.there(_used(asked, facts)):
        other = facts.interfaces.get(interface.other_end or "")
        if other is not None and other.rp_filter == _STRICT:
            name = other.link.name.replace(".", "/")  # as sysctl(8) writes a name with dots in it
            yield warning(
                one.name,
                f"at its other end, {other.link.name}, this host drops packets whose source is not on that side "
                "(rp_filter): all that gfwd forwards",
                f"sysctl -w net.ipv4.conf.{name}.rp_filter={_LOOSE}",
            )


def others_take_kept_sources(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """Of what lies behind a gateway, nothing can be seen from here."""
    behind: dict[tuple[int, Address], list[str]] = {}
    for goal, collectors in _collectors(facts).items():
        hop = facts.ways.get(goal)
        if hop is not None and hop.address != goal.address:
            behind.setdefault((hop.port, hop.address), []).extend(map(str, collectors))
    for (number, gateway), its in behind.items():
        yield note(
            asked.ports[number].name,
            f"collector {', '.join(its)}: behind the gateway {gateway}, and copies keep their exporters' addresses: "
            "if nothing arrives, look there for filters on sources (rp_filter, uRPF, anti-spoofing)",
        )


def _own(asked: Asked, facts: Facts) -> tuple[Prefix, ...]:
    """As `gfwd run` finds them."""
    if asked.own is not None:
        return asked.own
    return tuple(
        Prefix(address.family, address.value, ADDRESS_BITS[address.family])
        for _, interface in facts.there(asked.inputs())
        for address, _ in interface.addresses
    )


def _used(asked: Asked, facts: Facts) -> list[Wanted]:
    """Ports that some copy leaves by; without rules, all that copies could leave by."""
    if asked.rules is None:
        return list(asked.outputs())
    numbers = {hop.port for hop in facts.ways.values() if hop is not None}
    return [one for number, one in enumerate(asked.ports) if number in numbers]


def _addresses(facts: Facts) -> dict[Collector, tuple[Address, ...]]:
    return {collector: answer for collector, answer in facts.names.items() if not isinstance(answer, str)}


def _collectors(facts: Facts) -> dict[Goal, list[Collector]]:
    """Each place that copies are to come to, and the collectors that are there."""
    found: dict[Goal, list[Collector]] = {}
    for collector, addresses in _addresses(facts).items():
        for address in addresses:
            found.setdefault(goal_of(collector, address), []).append(collector)
    return found
