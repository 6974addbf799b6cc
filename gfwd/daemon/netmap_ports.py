"""Ports of netmap: cards, pipes and ports of VALE switches, opened in a core.

netmap:ix0 is the card alone: gfwd asks and answers ARP there itself. netmap:ix0* is the card and the host stack behind
it, which gets what is not gfwd's, and keeps the neighbours.
"""

from collections.abc import Iterable, Sequence

from gfwd.config.port_name import PortName
from gfwd.daemon import advice
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.daemon.ports import Port, Wanted
from gfwd.errors import GfwdError
from gfwd.l2.kernel import Kernel, Link
from gfwd.native.core import Core
from gfwd.rules.model import Prefix

_MAC_BYTES = 6


def open_netmap_ports(
    core: Core, kernel: Kernel, wanted: Iterable[Wanted], own: Sequence[Prefix], workers: int, say: Say
) -> list[Port]:
    """Those that could be opened; of the others, `say` hears why not. own: addresses that are ours."""
    ports = []
    for number, one in enumerate(wanted):
        try:
            ports.append(_open(core, one, _link(kernel, one.name, number, own), workers))
        except GfwdError as error:
            say(events.PORT_FAILED(str(error), port=str(one.name)))
    return ports


def _open(core: Core, wanted: Wanted, link: Link, workers: int) -> Port:
    name = wanted.name
    number = core.port_netmap(name.name)
    rx, tx = core.rings(number)
    if why := too_few_to_send(tx, workers):
        raise GfwdError(f"{name}: error: {why}")
    return Port(
        number=number,
        name=name,
        link=link,
        is_in=wanted.is_in,
        is_out=wanted.is_out,
        rx=rx,  # also where nothing of ours comes in: answers to our questions do
        tx=workers,
        mode="with the host" if name.has_host else "netmap",
        host=core.port_netmap(f"{name.name}^") if name.has_host else None,
        has_neighbours=name.has_host,
    )


def too_few_to_send(tx: int, workers: int) -> str:
    """Why a port cannot have so few TX rings; empty where it can."""
    return f"{workers} workers need a TX ring each, and it has {tx}: --workers {tx}" if tx < workers else ""


def _link(kernel: Kernel, name: PortName, number: int, own: Sequence[Prefix]) -> Link:
    if name.interface is None:
        return Link(-1 - number, name.name, _made_up_mac(own, number), 0, is_up=True, has_carrier=True)
    link = next((link for link in kernel.links() if link.name == name.interface), None)
    if link is None:
        raise GfwdError(f"{name}: error: there is no such interface")
    if not link.is_up:
        raise GfwdError(f"{name}: error: the interface is down; bring it up: {advice.bring_up(link.name)}")
    if len(link.mac) != _MAC_BYTES:
        raise GfwdError(f"{name}: error: the interface is not Ethernet")
    return link


def _made_up_mac(own: Sequence[Prefix], number: int) -> bytes:
    """Of no vendor's (locally administered): the port, and the first own address."""
    address = own[0].value if own else 0
    return bytes((2, number & 0xFF)) + (address & 0xFFFFFFFF).to_bytes(4)
