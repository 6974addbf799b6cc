"""What a frame from the core is about, where no host stack is behind the port."""

from typing import Final, NamedTuple

from gfwd.l2 import arp, ethernet, icmp_message, ip, nd, rarp
from gfwd.l2.arp import Arp
from gfwd.l2.errors import FrameError
from gfwd.l2.ethernet import Ether
from gfwd.l2.icmp_message import Message
from gfwd.l2.ip import Packet
from gfwd.l2.nd import Neighbour

_NEIGHBOURS: Final = (nd.SOLICITATION, nd.ADVERTISEMENT)


class Echo(NamedTuple):
    """An echo request."""

    ether: Ether
    packet: Packet
    message: Message


class Datagram(NamedTuple):
    """A UDP datagram, or how it begins."""

    ether: Ether
    packet: Packet


Heard = Arp | Neighbour | Echo | Datagram


def parse(frame: bytes) -> Heard:
    """What it is. Raises FrameError where it is broken, or nothing that gfwd has an answer to.

    An Arp is ARP's or RARP's, as its operation says.
    """
    ether = ethernet.parse(frame)
    if not ether.is_from_one:
        raise FrameError("a frame from no single host")
    if ether.type == ethernet.ARP:
        return _from_one(arp.parse(frame))
    if ether.type == ethernet.RARP:
        return rarp.parse(frame)
    packet = ip.parse(ether.type, ether.payload)
    if packet.protocol == ip.UDP:
        return Datagram(ether, packet)
    message = icmp_message.parse(packet)
    if packet.family == 6 and message.type in _NEIGHBOURS:
        return _from_one(nd.parse(ether))
    if icmp_message.is_echo_request(packet.family, message):
        return Echo(ether, packet, message)
    raise FrameError(f"ICMP type {message.type}, to which there is no answer")


def beginning(frame: bytes) -> Datagram:
    """The datagram that begins so; the rest of it is not at hand. Raises FrameError."""
    ether = ethernet.parse(frame)
    return Datagram(ether, ip.parse(ether.type, ether.payload, is_whole=False))


def _from_one(heard: Arp | Neighbour) -> Arp | Neighbour:
    """Raises FrameError where it names a MAC that no single host has."""
    mac = heard.sender_mac if isinstance(heard, Arp) else heard.mac
    if mac is not None and not ethernet.is_single(mac):
        raise FrameError("a link-layer address of no single host")
    return heard
