"""What is said of ports that would hurt the copies that leave by them: once, and again when it has become otherwise."""

from collections.abc import Collection, Iterable

from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.daemon.mtus import Gap, Sized, gaps
from gfwd.daemon.ports import Port
from gfwd.daemon.ways import Ways
from gfwd.l2.kernel import Link


class PortRemarks:
    """The last that was said."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._gaps: frozenset[Gap] = frozenset()
        self._odd_vlans: frozenset[Link] = frozenset()

    def tell(self, ports: Iterable[tuple[Port, Link]], used: Collection[int], ways: Ways) -> None:
        """ports: each with its link as it is now. used: numbers of those that copies leave by."""
        real = {port.number: (port, link) for port, link in ports if not port.is_bare}
        self._tell_of_gaps(
            [_sized(port, link) for port, link in real.values() if port.is_in],
            [_sized(port, link) for port, link in real.values() if port.number in used],
        )
        self._tell_of_vlans({number: link.mac for number, (_, link) in real.items()}, ways)

    def _tell_of_gaps(self, inputs: Iterable[Sized], outputs: Iterable[Sized]) -> None:
        before, self._gaps = self._gaps, frozenset(gaps(inputs, outputs))
        for gap in sorted(self._gaps - before):
            text = f"{gap.out.port}: warning: {gap}: {gap.mends()}"
            self._say(events.MTU_SMALLER(text, port=gap.out.port, mtu=gap.out.mtu, mtu_in=gap.into.mtu))

    def _tell_of_vlans(self, macs: dict[int, bytes], ways: Ways) -> None:
        """Whose frames leave with another source MAC than the host's own do."""
        used = {(hop.port, hop.vlan) for hop in ways.slots}
        odd = (link for place, link in ways.stacked.items() if place in used and link.mac != macs[place[0]])
        before, self._odd_vlans = self._odd_vlans, frozenset(odd)
        for link in self._odd_vlans - before:
            self._say(
                events.PORT_WARNING(
                    f"{link.name}: warning: it has a MAC of its own, and copies in that VLAN leave with that of the "
                    "interface beneath it: where a switch lets only known MACs by, let both be the same",
                    port=link.name,
                )
            )


def _sized(port: Port, link: Link) -> Sized:
    return Sized(str(port), link.name, link.mtu)
