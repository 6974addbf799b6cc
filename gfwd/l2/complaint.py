"""What is said to an exporter whose datagram went nowhere: an ICMP error, where one may be sent at all.

RFC 1122 §3.2.2, RFC 1812 §4.3.2.7, RFC 4443 §2.4 (e): never about a later fragment, never about what was for many or
came from nobody, and never too often.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from gfwd.l2 import ethernet, icmp_message, ip
from gfwd.l2.hearing import Datagram
from gfwd.l2.ip import Packet
from gfwd.l2.pace import Bucket, Buckets
from gfwd.rules.model import ADDRESS_BITS, Address, Prefix

_A_SECOND: Final = 100  # in all …
_EXPORTER_A_SECOND: Final = 1  # … and to each exporter, after a few at once
_EXPORTER_BURST: Final = 3
_EXPORTERS_MOST: Final = 4_096  # that are told apart; it is 100 a second that matter then


class Complaint(NamedTuple):
    """packet: None where there would be one, but too many have been sent of late."""

    packet: Packet | None


class Complaints:
    """own: destination addresses that are ours."""

    def __init__(self) -> None:
        self._own: Sequence[Prefix] = ()
        self._all = Bucket(_A_SECOND, _A_SECOND)
        self._each = Buckets(_EXPORTER_A_SECOND, _EXPORTER_BURST, _EXPORTERS_MOST)

    def follow(self, own: Sequence[Prefix]) -> None:
        self._own = own

    def port_unreachable(self, about: Datagram, now: float) -> Complaint | None:
        """Nobody listens to that port; None: nothing may be said of it."""
        packet = icmp_message.port_unreachable(about.packet, about.ether.payload)
        return self._paced(packet, now) if self._may_be(about) else None

    def too_big(self, about: Datagram, mtu: int, now: float) -> Complaint | None:
        """It does not fit where it was to go, and `mtu` bytes of IP would have; None: nothing may be said of it."""
        packet = icmp_message.too_big(about.packet, about.ether.payload, mtu)
        return self._paced(packet, now) if self._may_be(about) else None

    def _may_be(self, about: Datagram) -> bool:
        ether, packet = about.ether, about.packet
        return (
            packet.protocol == ip.UDP
            and not packet.is_later
            and not ether.destination[0] & ethernet.GROUP_BIT
            and ether.is_from_one
            and ip.is_host(packet.source)
            and any(_is_host_of(prefix, packet.destination) for prefix in self._own)
        )

    def _paced(self, packet: Packet, now: float) -> Complaint:
        """An exporter that has had its share takes nothing from the others'."""
        is_due = self._each.takes(packet.destination, now) and self._all.takes(now)
        return Complaint(packet if is_due else None)


def _is_host_of(prefix: Prefix, address: Address) -> bool:
    """Whether it is one of ours, and no address of all (RFC 1122 §3.2.1.3: a network's first and last)."""
    if not prefix.holds(Prefix(address.family, address.value, ADDRESS_BITS[address.family])):
        return False
    return not ip.is_multicast(address) and (
        address.family == 6 or prefix.size <= 2 or prefix.value < address.value < prefix.last
    )
