"""What is around the ports: gfwd's own addresses there, and who can be asked for the neighbours behind them."""

from collections.abc import Callable, Iterable, Sequence

from gfwd.daemon.links import Links
from gfwd.daemon.neighbours import Asker, KernelAsker
from gfwd.daemon.ports import Port
from gfwd.daemon.tagged_wires import TaggedWires
from gfwd.daemon.ways import Ways, tags_of
from gfwd.daemon.wire import WireAsker
from gfwd.l2.kernel import InterfaceAddress, Kernel, Link
from gfwd.rules.model import Address, Prefix


class Surroundings:
    """links: the ports' as they are now. inject: sends a frame out of a port without a host stack; wires: … into a VLAN
    that the host does not know.
    """

    def __init__(
        self,
        kernel: Kernel,
        ports: Iterable[Port],
        links: Links,
        ways: Ways,
        inject: Callable[[int, bytes], bool],
        wires: TaggedWires,
    ) -> None:
        self._kernel, self._links, self._ways, self._inject, self._wires = kernel, links, ways, inject, wires
        self._ports = {port.number: port for port in ports}

    def senders(self, own: Sequence[Prefix]) -> dict[int, tuple[Address, ...]]:
        """What copies may leave with by each port, first where exporters send to: that is whom collectors know.

        Those of VLANs on the port come last. Raises GfwdError.
        """
        return {port.number: self._senders(port, own) for port in self._ports.values() if port.is_out}

    def _senders(self, port: Port, own: Sequence[Prefix]) -> tuple[Address, ...]:
        ours = [Address(one.family, one.value) for one in own if one.size == 1]
        if port.is_bare:
            return tuple(ours)
        its = [port.link.index, *(link.index for (on, _), link in self._ways.stacked.items() if on == port.number)]
        there = [each.address for index in its for each in self._kernel.addresses(index)]
        return tuple(sorted((one for one in there if not one.is_link_local), key=lambda address: address not in ours))

    def askers(self, own: Sequence[Prefix]) -> dict[tuple[int, int | None], Asker]:
        """For all ports, and for the VLANs behind them that somebody is in. Raises GfwdError."""
        vlans = [(hop.port, hop.vlan) for hop in self._ways.slots]
        places = dict.fromkeys([*((number, None) for number in self._ports), *vlans])
        return {(number, vlan): self._asker(self._ports[number], vlan, own) for number, vlan in places}

    def _asker(self, port: Port, vlan: int | None, own: Sequence[Prefix]) -> Asker:
        """The kernel, where it has an interface there; else the wire."""
        stacked = None if vlan is None else self._ways.stacked.get((port.number, vlan))
        link = stacked or port.link
        if port.has_neighbours and (vlan is None or stacked is not None):
            return KernelAsker(self._kernel, link.index)
        return WireAsker(
            inject=self._wires.wire(port.number, port.link.name) if port.has_neighbours else self._inject,
            port=port.number,
            mac=self._links.of(port).mac,
            addresses=self._addresses(port, link, own),
            tags=tags_of(vlan),
        )

    def _addresses(self, port: Port, link: Link, own: Sequence[Prefix]) -> tuple[InterfaceAddress, ...]:
        """Our own there. Who sends to a port without a host stack may find addresses that gfwd alone has: nobody else
        would answer for them.
        """
        given = (InterfaceAddress(Address(its.family, its.value), its.length) for its in own if its.size == 1)
        if port.is_bare:
            return tuple(given)
        its = self._kernel.addresses(link.index)
        if port.has_neighbours or not port.is_in:
            return its
        routed = [one.link.index for one in self._ports.values() if not one.is_bare]
        theirs = {each.address for index in routed for each in self._kernel.addresses(index)}
        return (*its, *(one for one in given if one.address not in theirs))
