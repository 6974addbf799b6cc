"""The facts that the doctor judges by, gathered. Nothing is changed, and no card is taken."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from gfwd import system
from gfwd.daemon.card.system import this_system
from gfwd.daemon.doctor import netmap_device
from gfwd.daemon.doctor.facts import Asked, Facts, Interface, Netmap, Program, Xdp
from gfwd.daemon.names import once
from gfwd.daemon.names.once import Answer
from gfwd.daemon.ports import Port, Wanted
from gfwd.daemon.ways import Goal, NextHop, Ways, goal_of
from gfwd.errors import GfwdError
from gfwd.l2.kernel import InterfaceAddress, Kernel, Link, open_kernel
from gfwd.rules.model import Collector

_NEXT_HOPS_MOST = 65_536


class Host(Protocol):
    """What a system tells of itself, beside the tables that it has a Kernel for."""

    def interface(self, link: Link, addresses: Iterable[InterfaceAddress]) -> Interface: ...

    def xdp(self) -> Xdp | None: ...

    def netmap_settings(self) -> Mapping[str, int]: ...

    def netmap_users(self) -> tuple[Program, ...]: ...

    def bpf_errno(self) -> int: ...


def gather(asked: Asked) -> Facts:
    """All that the checks want to know. Raises GfwdError on a system that gfwd does not know."""
    host = _host()
    found = Facts(
        system=system.NAME,
        cpus=_cpus(),
        xdp=host.xdp(),
        netmap=_netmap(host),
        bpf_errno=host.bpf_errno(),
        names=once.look_up(asked.rules.collectors(), asked.dns) if asked.rules else {},
    )
    try:
        with open_kernel() as kernel:
            interfaces = _interfaces(host, kernel, asked, found.netmap)
            ways = _ways(kernel, asked, interfaces, found.names)
    except GfwdError as error:
        return replace(found, tables_error=str(error))
    except OSError as error:
        return replace(found, tables_error=f"the kernel does not tell of them: {error.strerror or error}")
    return replace(found, interfaces=interfaces, ways=ways)


def _host() -> Host:
    if system.NAME == "Linux":
        from gfwd.daemon.doctor.linux import LinuxHost

        return LinuxHost()
    if system.NAME == "FreeBSD":
        from gfwd.daemon.doctor.freebsd import FreeBSDHost

        return FreeBSDHost()
    raise GfwdError(f"gfwd doctor: error: nothing is known of {system.NAME}; gfwd runs on Linux and FreeBSD")


def _cpus() -> frozenset[int]:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # FreeBSD has it from 14.0 on
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _netmap(host: Host) -> Netmap:
    error = netmap_device.open_error()
    return Netmap(
        errno=error,
        speaks_api=error == 0 and netmap_device.speaks_api(),
        settings=host.netmap_settings(),
        users=host.netmap_users() if error == 0 else (),
    )


# ---- interfaces ----


def _interfaces(host: Host, kernel: Kernel, asked: Asked, its: Netmap) -> dict[str, Interface]:
    """Those of the ports, and what is at the other end of theirs; without ports, all."""
    links = {link.name: link for link in kernel.links()}

    def look(name: str) -> Interface:
        interface = host.interface(links[name], kernel.addresses(links[name].index))
        with suppress(OSError):
            return replace(interface, features=this_system().features(name))
        return interface

    wanted = [one.name.interface for one in asked.ports] if asked.ports else links
    found = {name: look(name) for name in wanted if name in links}
    for name in [one.other_end for one in found.values()]:
        if name in links and name not in found:  # one that has come since the links were read is not among them
            found[name] = look(name)
    if its.errno == 0 and its.speaks_api:
        for one in asked.of_kind("netmap"):
            if one.name.interface in found:
                found[one.name.interface] = _with_rings(found[one.name.interface])
    return found


def _with_rings(interface: Interface) -> Interface:
    try:
        return replace(interface, rings=netmap_device.rings(interface.link.name))
    except OSError as error:
        return replace(interface, netmap_error=error.strerror or str(error))


# ---- the ways to the collectors ----


def _ways(
    kernel: Kernel, asked: Asked, interfaces: Mapping[str, Interface], answers: Mapping[Collector, Answer]
) -> dict[Goal, NextHop | None]:
    """As `gfwd run` would find them by these ports."""
    goals = dict.fromkeys(
        goal_of(collector, address)
        for collector, answer in answers.items()
        if not isinstance(answer, str)
        for address in answer
    )
    ports = [
        _unopened(number, one, interfaces)
        for number, one in enumerate(asked.ports)
        if one.name.interface is None or one.name.interface in interfaces
    ]
    ways = Ways(kernel, ports, _NEXT_HOPS_MOST)
    found = ways.find(goals, asked.fixed, asked.gateways, asked.vlans)
    neighbours = {slot: hop for hop, slot in ways.slots.items()}
    return {goal: neighbours[hops[0].neighbour] if hops else None for goal, hops in found.items()}


def _unopened(number: int, one: Wanted, interfaces: Mapping[str, Interface]) -> Port:
    """number: its place among the ports asked for."""
    bare = Link(-1 - number, str(one.name), b"", 0, is_up=True, has_carrier=True)
    link = bare if one.name.interface is None else interfaces[one.name.interface].link
    return Port(
        number=number, name=one.name, link=link, is_in=one.is_in, is_out=one.is_out, rx=0, tx=0, mode="not open"
    )
