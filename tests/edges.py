"""Frames at the edges of what is ours: where each ends when it comes in by an AF_XDP port.

They come from SOURCE4 and SOURCE6 to OWN4 and OWN6, port LISTENED, on a port with the MAC frames.GFWD_MAC. What
docs/packets.md says of them holds, but the XDP program leaves a frame to the kernel ("passed", and the core never sees
it) where it cannot read the port that it is for, or where the frame is to another MAC. A fragment among them is the
only one of its datagram.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from tests.frames import (
    DESTINATION_OPTIONS,
    FRAGMENT,
    GFWD_MAC,
    HOP_BY_HOP,
    ICMPV6,
    IPV4,
    IPV6,
    MORE_FRAGMENTS,
    NO_NEXT_HEADER,
    ROUTING,
    UDP,
    Tags,
    arp_request,
    chain,
    ethernet,
    fragment_header,
    icmp_echo,
    ipv4,
    ipv6,
    llc,
    neighbour_solicitation,
    options_header,
    routing_header,
    tcp_syn,
    udp,
)
from tests.oracle.twin import BAD_CHECKSUM, FORWARDED, PASSED, SHORT, TTL_EXPIRED

OWN4, OWN6 = int(IPv4Address("10.0.0.1")), int(IPv6Address("fd00::1"))
SOURCE4, SOURCE6 = int(IPv4Address("192.0.2.2")), int(IPv6Address("2001:db8::2"))
LISTENED, UNHEARD = 514, 515
PAYLOAD = b"<14>an edge"
_ANOTHER_MAC = bytes.fromhex("020000000099")
_PORTS = 40_000, LISTENED
_UDP4 = udp(4, SOURCE4, OWN4, _PORTS, PAYLOAD)
_UDP6 = udp(6, SOURCE6, OWN6, _PORTS, PAYLOAD)
_LENGTH4 = 20 + len(_UDP4)


def four(segment: bytes = _UDP4, tags: Tags = (), to: bytes = GFWD_MAC, destination: int = OWN4, **header) -> bytes:
    return ethernet(ipv4(segment, SOURCE4, destination, **header), IPV4, tags, to)


def six(segment: bytes = _UDP6, tags: Tags = (), to: bytes = GFWD_MAC, destination: int = OWN6, **header) -> bytes:
    return ethernet(ipv6(segment, SOURCE6, destination, **header), IPV6, tags, to)


def with_headers(*headers: tuple[int, bytes], last: int = UDP, segment: bytes = _UDP6, **header) -> bytes:
    """IPv6 with extension headers."""
    first, payload = chain(headers, last, segment)
    return six(payload, next_header=first, **header)


_OPTIONS = DESTINATION_OPTIONS, options_header()
_FIRST = FRAGMENT, fragment_header(0, True)

ETHERNET = {
    "one tag": (four(tags=[(0x8100, 7)]), FORWARDED),
    "one service tag": (four(tags=[(0x88A8, 7)]), FORWARDED),
    "one old service tag": (four(tags=[(0x9100, 7)]), FORWARDED),
    "two tags": (four(tags=[(0x88A8, 7), (0x8100, 8)]), FORWARDED),
    "two tags, IPv6": (six(tags=[(0x9100, 7), (0x8100, 8)]), FORWARDED),
    "three tags": (four(tags=[(0x88A8, 7), (0x8100, 8), (0x8100, 9)]), PASSED),
    "cut in a tag": (four(tags=[(0x88A8, 7), (0x8100, 8)])[:20], PASSED),
    "trailer": (four() + bytes(7), FORWARDED),
    "another MAC": (four(to=_ANOTHER_MAC), PASSED),
    "another MAC, IPv6": (six(to=_ANOTHER_MAC), PASSED),
    "broadcast MAC": (four(to=b"\xff" * 6), PASSED),
    "multicast MAC": (four(to=bytes.fromhex("01005e000001")), PASSED),
    "no IP": (llc(), PASSED),
    "ARP": (arp_request(SOURCE4, OWN4), PASSED),
}
FOUR = {
    "IPv4": (four(), FORWARDED),
    "no payload": (four(udp(4, SOURCE4, OWN4, _PORTS)), FORWARDED),
    "options": (four(options=bytes((1, 1, 1, 0))), FORWARDED),
    "all the options that fit": (four(options=bytes((1,) * 40)), FORWARDED),
    "wrong UDP checksum": (four(udp(4, SOURCE4, OWN4, _PORTS, PAYLOAD, udp_checksum=1)), FORWARDED),
    "no UDP checksum": (four(udp(4, SOURCE4, OWN4, _PORTS, PAYLOAD, udp_checksum=0)), FORWARDED),
    "not to be fragmented": (four(fragment=0x4000), FORWARDED),
    "another address": (four(destination=OWN4 + 1), PASSED),
    "broadcast": (four(destination=0xFFFFFFFF), PASSED),
    "another port": (four(udp(4, SOURCE4, OWN4, (40_000, UNHEARD), PAYLOAD)), PASSED),
    "from the port, not to it": (four(udp(4, SOURCE4, OWN4, (LISTENED, 40_000), PAYLOAD)), PASSED),
    "TCP": (tcp_syn(4, SOURCE4, OWN4, _PORTS), PASSED),
    "ICMP": (icmp_echo(4, SOURCE4, OWN4), PASSED),
    "version 5": (four(version=5), PASSED),
    "TTL 2": (four(ttl=2), FORWARDED),
    "TTL 1": (four(ttl=1), TTL_EXPIRED),
    "TTL 0": (four(ttl=0), TTL_EXPIRED),
    "wrong header checksum": (four(checksum_error=1), BAD_CHECKSUM),
    "wrong header checksum, another port": (
        four(udp(4, SOURCE4, OWN4, (40_000, UNHEARD), PAYLOAD), checksum_error=1),
        PASSED,
    ),
    "first fragment": (four(fragment=MORE_FRAGMENTS, ident=3), FORWARDED),
    "first fragment, wrong header checksum": (four(fragment=MORE_FRAGMENTS, checksum_error=1), BAD_CHECKSUM),
    "first fragment, another port": (
        four(udp(4, SOURCE4, OWN4, (40_000, UNHEARD), PAYLOAD), fragment=MORE_FRAGMENTS),
        PASSED,
    ),
    "first fragment, cut behind the ports": (four(_UDP4[:4], fragment=MORE_FRAGMENTS), SHORT),
    "middle fragment": (four(fragment=MORE_FRAGMENTS | 1, ident=1), PASSED),
    "last fragment": (four(fragment=185, ident=2), PASSED),
    "total length beyond the frame": (four(total_length=_LENGTH4 + 1), SHORT),
    "total length below the header's": (four(total_length=19), SHORT),
    "no room for the UDP header": (four(total_length=27), SHORT),
    "UDP length below 8": (four(udp(4, SOURCE4, OWN4, _PORTS, PAYLOAD, length=7)), SHORT),
    "UDP length beyond the packet": (four(udp(4, SOURCE4, OWN4, _PORTS, PAYLOAD, length=len(_UDP4) + 1)), SHORT),
    "cut behind the ports": (four(_UDP4[:4]), SHORT),
    "cut in the ports": (four(_UDP4[:3]), PASSED),
    "cut behind the header": (four(b""), PASSED),
    "cut in the header": (four()[:33], PASSED),
    "header shorter than 20": (four(header_words=4), PASSED),
    "header longer than the frame": (four(b"", header_words=6), PASSED),
}
SIX = {
    "IPv6": (six(), FORWARDED),
    "hop-by-hop options": (with_headers((HOP_BY_HOP, options_header())), FORWARDED),
    "destination options": (with_headers(_OPTIONS), FORWARDED),
    "long options": (with_headers((DESTINATION_OPTIONS, options_header(1024))), FORWARDED),
    "routing header": (with_headers((ROUTING, routing_header(0))), FORWARDED),
    "routing header, segments left": (with_headers((ROUTING, routing_header(1))), PASSED),
    "atomic fragment": (with_headers((FRAGMENT, fragment_header(0, False))), FORWARDED),
    "six extension headers": (with_headers(*[_OPTIONS] * 6), FORWARDED),
    "seven extension headers": (with_headers(*[_OPTIONS] * 7), PASSED),
    "one of each": (
        with_headers(
            (HOP_BY_HOP, options_header()),
            _OPTIONS,
            (ROUTING, routing_header(0)),
            (FRAGMENT, fragment_header(0, False)),
            _OPTIONS,
        ),
        FORWARDED,
    ),
    "first fragment, IPv6": (with_headers(_FIRST), FORWARDED),
    "first fragment behind options": (with_headers(_OPTIONS, _FIRST), FORWARDED),
    "first fragment that begins with options": (with_headers(_FIRST, _OPTIONS), PASSED),
    "later fragment, IPv6": (with_headers((FRAGMENT, fragment_header(185, True, 2))), PASSED),
    "last fragment, IPv6": (with_headers((FRAGMENT, fragment_header(185, False, 3))), PASSED),
    "another address, IPv6": (six(destination=OWN6 + 1), PASSED),
    "another port, IPv6": (six(udp(6, SOURCE6, OWN6, (40_000, UNHEARD), PAYLOAD)), PASSED),
    "another port behind options": (
        with_headers(_OPTIONS, segment=udp(6, SOURCE6, OWN6, (40_000, UNHEARD), PAYLOAD)),
        PASSED,
    ),
    "TCP, IPv6": (tcp_syn(6, SOURCE6, OWN6, _PORTS), PASSED),
    "ICMPv6": (icmp_echo(6, SOURCE6, OWN6), PASSED),
    "ICMPv6 behind options": (with_headers(_OPTIONS, last=ICMPV6), PASSED),
    "neighbour solicitation": (neighbour_solicitation(SOURCE6, OWN6), PASSED),
    "no next header": (with_headers(_OPTIONS, last=NO_NEXT_HEADER), PASSED),
    "authentication header": (six(bytes(24) + _UDP6, next_header=51), PASSED),
    "version 4": (six(version=4), PASSED),
    "hop limit 2": (six(hop_limit=2), FORWARDED),
    "hop limit 1": (six(hop_limit=1), TTL_EXPIRED),
    "hop limit 0": (six(hop_limit=0), TTL_EXPIRED),
    "no UDP checksum, IPv6": (six(udp(6, SOURCE6, OWN6, _PORTS, PAYLOAD, udp_checksum=0)), BAD_CHECKSUM),
    "payload length beyond the frame": (six(payload_length=len(_UDP6) + 1), SHORT),
    "payload length 0": (six(payload_length=0), SHORT),
    "no room for the UDP header, IPv6": (six(payload_length=7), SHORT),
    "extension header beyond the payload": (with_headers(_OPTIONS, payload_length=4), SHORT),
    "UDP length below 8, IPv6": (six(udp(6, SOURCE6, OWN6, _PORTS, PAYLOAD, length=7)), SHORT),
    "cut behind the ports, IPv6": (six(_UDP6[:4]), SHORT),
    "cut in the ports, IPv6": (six(_UDP6[:3]), PASSED),
    "cut in an extension header": (with_headers(_OPTIONS, segment=b"")[:-1], PASSED),
    "cut in the header, IPv6": (six()[:53], PASSED),
}
EDGES = ETHERNET | FOUR | SIX
"""What it is: the frame, and where it ends."""
