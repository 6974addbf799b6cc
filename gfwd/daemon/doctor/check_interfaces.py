"""The interfaces of the ports asked for; where none are, which interfaces could be ports."""

from collections.abc import Iterator

from gfwd.daemon import advice
from gfwd.daemon.card.system import this_system
from gfwd.daemon.doctor.facts import STACKED, Asked, Facts, Interface
from gfwd.daemon.doctor.finding import Finding, error, note, warning

_MAC_BYTES = 6

_WITHOUT_A_WIRE = {"dummy", "ifb"}


def could_be_ports(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """Where no port was asked for."""
    if asked.ports or facts.tables_error:
        return
    cards_there = [
        one
        for one in facts.interfaces.values()
        if _is_ethernet(one) and not one.is_stacked() and one.kind not in _WITHOUT_A_WIRE
    ]
    for interface in cards_there:
        yield note(interface.link.name, f"could be a port: {_as_ports(interface, facts)} ({_description(interface)})")
    for interface in facts.interfaces.values():
        if interface.is_stacked():
            yield note(interface.link.name, f"is {STACKED[interface.kind]}; a port would be {_beneath(interface)}")
    if not cards_there:
        yield warning("interfaces", "none of them could be a port: there is no Ethernet card")


def is_there(asked: Asked, facts: Facts) -> Iterator[Finding]:
    for one in asked.ports:
        if one.name.interface is not None and facts.of(one) is None and not facts.tables_error:
            yield error(one.name, "there is no such interface")


def is_ethernet(asked: Asked, facts: Facts) -> Iterator[Finding]:
    for one, interface in facts.there(asked.ports):
        if not _is_ethernet(interface) and not interface.is_stacked():
            yield error(one.name, "the interface is not Ethernet")


def is_no_stack_of_others(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """The kernel makes up what such an interface receives and sends, so neither netmap nor native XDP is at a card."""
    for one, interface in facts.there(asked.ports):
        if interface.is_stacked():
            slow = "in generic mode" if one.name.kind == "xdp" else "emulated by netmap"
            yield warning(
                one.name,
                f"it is {STACKED[interface.kind]}, which works {slow} at best, slower; the port should be "
                f"{_beneath(interface)}",
            )


def is_up(asked: Asked, facts: Facts) -> Iterator[Finding]:
    for one, interface in facts.there(asked.ports):
        if not interface.link.is_up:
            routes = ", but has no routes by it until then" if one.is_out else ""
            yield warning(
                one.name,
                f"the interface is down; gfwd brings it up when it starts{routes}",
                advice.bring_up(interface.link.name),
            )


def has_carrier(asked: Asked, facts: Facts) -> Iterator[Finding]:
    for one, interface in facts.there(asked.ports):
        if interface.link.is_up and not interface.link.has_carrier:
            other = facts.interfaces.get(interface.other_end or "")
            mend = advice.bring_up(other.link.name) if other is not None and not other.link.is_up else None
            yield warning(one.name, "the link has no carrier: is it plugged in, and is the other side up?", mend)


def offloads_can_be_off(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """What gfwd switches off while it runs, and what it cannot."""
    for one, interface in facts.there(asked.ports):
        features = interface.features or {}
        will_be_off = []
        for offload in this_system().unwanted(one):
            on = [features[name] for name in offload.features if name in features and features[name].is_on]
            if any(not feature.can_change for feature in on):
                yield warning(one.name, f"{offload.word} cannot be switched off, so {offload.means}")
            elif on:
                will_be_off.append(offload.word)
        if will_be_off:
            yield note(one.name, f"gfwd switches off while it runs: {', '.join(will_be_off)}")


def _is_ethernet(interface: Interface) -> bool:
    """The loopback interface of Linux has a MAC address too, of zeros."""
    return len(interface.link.mac) == _MAC_BYTES and any(interface.link.mac)


def _as_ports(interface: Interface, facts: Facts) -> str:
    name = interface.link.name
    return " or ".join(
        ([f"xdp:{name}"] if facts.xdp is not None else [])
        + ([f"netmap:{name}"] if facts.netmap.errno == 0 or facts.xdp is None else [])
    )


def _description(interface: Interface) -> str:
    link, queues = interface.link, interface.queues.to_read()
    state = "down" if not link.is_up else "up" if link.has_carrier else "no carrier"
    parts = {
        interface.driver: True,
        f"{queues} RX queues": queues > 1,
        f"MTU {link.mtu}": True,
        "AF_XDP in generic mode": interface.has_native_xdp is False,
        "netmap emulated": interface.has_native_netmap is False,
        state: True,
    }
    return ", ".join(part for part, is_so in parts.items() if part and is_so)


def _beneath(interface: Interface) -> str:
    return ": ".join(filter(None, ("what it is made of", " or ".join(interface.lower))))
