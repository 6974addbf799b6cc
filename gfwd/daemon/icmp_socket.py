"""ICMP that the host sends for gfwd, by its routes, with a source address that may be gfwd's alone.

Takes root, or CAP_NET_RAW.
"""

import socket
import struct
from contextlib import suppress
from typing import Final

from gfwd import system
from gfwd.l2 import ip
from gfwd.l2.ip import Packet
from gfwd.rules.model import Address

_ANY_SOURCE: Final = {"Linux": 78, "FreeBSD": 64}  # linux/in6.h: IPV6_FREEBIND, netinet6/in6.h: IPV6_BINDANY


def send(packet: Packet, interface: int) -> None:
    """Send it; interface: the index of that by which a link-local destination is reached. Raises OSError."""
    if packet.family == 4:
        # With a header of our own, the kernel asks nobody whose source address that is (ip(4), raw(7)).
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as its:
            its.setblocking(False)
            its.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)  # which Linux takes for granted, and FreeBSD not
            its.sendto(ip.build(packet), (str(packet.destination), 0))
        return
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as its:
        its.setblocking(False)
        if not packet.source.is_link_local:
            with suppress(OSError):  # who may not ask for that may still have one that is the host's
                its.setsockopt(socket.IPPROTO_IPV6, _ANY_SOURCE[system.NAME], 1)
        # Not by bind(2): FreeBSD lets no raw socket have an address that is not the host's, whatever was set.
        source = struct.pack("16sI", packet.source.value.to_bytes(16), _zone(packet.source, interface))
        beside = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)]  # struct in6_pktinfo (RFC 3542 §6.1)
        place = (str(packet.destination), 0, 0, _zone(packet.destination, interface))
        its.sendmsg([packet.payload], beside, 0, place)  # the kernel makes the checksum (RFC 3542 §3.1)


def _zone(address: Address, interface: int) -> int:
    return interface if address.is_link_local else 0
