"""What a port without a host stack answers to what comes in there: a frame → the frame that answers it, or none.

ARP (RFC 826), neighbour discovery (RFC 4861), echo (RFC 1122 §3.2.2.6, RFC 4443 §4.2) and RARP (RFC 903).
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from gfwd.l2 import ethernet, icmp_message, ip, rarp
from gfwd.l2.arp import Arp
from gfwd.l2.ethernet import Ether
from gfwd.l2.hearing import Echo, Heard
from gfwd.l2.nd import Neighbour
from gfwd.l2.own import OwnAddresses
from gfwd.l2.pace import Bucket
from gfwd.rules.model import Address

_RARP_A_SECOND = 100


class Kind(Enum):
    """What gfwd sends of itself; the values are those that operators see."""

    ARP = "arp"
    ND = "nd"
    ECHO = "echo"
    RARP = "rarp"
    PORT_UNREACHABLE = "port_unreachable"
    TOO_BIG = "too_big"


class Answer(NamedTuple):
    """frame: None where there would be one, but too many have been sent of late."""

    kind: Kind
    frame: bytes | None


class Answers:
    """Those of one port. echo: so many replies to echo requests a second; 0: none. rarp: addresses of stations."""

    def __init__(self, mac: bytes, own: OwnAddresses, echo: int, rarp: Mapping[bytes, Address]) -> None:
        self._mac, self._own, self._stations = mac, own, rarp
        self._echo = Bucket(echo, echo)
        self._rarp = Bucket(_RARP_A_SECOND, _RARP_A_SECOND)

    def follow(self, mac: bytes, echo: int, rarp: Mapping[bytes, Address]) -> None:
        """As they are from now on."""
        self._mac, self._stations = mac, rarp
        if echo != self._echo.rate:
            self._echo = Bucket(echo, echo)

    def to(self, heard: Heard, now: float) -> Answer | None:
        """None: there is no answer to that."""
        if isinstance(heard, Arp) and heard.operation in (rarp.REQUEST, rarp.REPLY):
            return self._to_station(heard, now)
        if isinstance(heard, Arp | Neighbour):
            frame = self._own.answer(heard)
            return None if frame is None else Answer(Kind.ARP if isinstance(heard, Arp) else Kind.ND, frame)
        return self._to_echo(heard, now) if isinstance(heard, Echo) else None

    def _to_station(self, asked: Arp, now: float) -> Answer | None:
        server, address = self._own.first(4), self._stations.get(asked.target_mac)
        if asked.operation != rarp.REQUEST or server is None or address is None:
            return None
        frame = rarp.build(rarp.reply(asked, self._mac, server, address))
        return Answer(Kind.RARP, frame if self._rarp.takes(now) else None)

    def _to_echo(self, asked: Echo, now: float) -> Answer | None:
        """Only to one host, of what was for one of our addresses alone (RFC 1122 §3.2.2.6)."""
        ether, packet = asked.ether, asked.packet
        if not self._echo.rate or ether.destination != self._mac or packet.destination not in self._own:
            return None
        if not ip.is_host(packet.source) or packet.source in self._own:
            return None
        reply = ip.build(icmp_message.echo_reply(packet, asked.message))
        frame = ethernet.build(Ether(ether.source, self._mac, ether.type, reply, ether.tags))
        return Answer(Kind.ECHO, frame if self._echo.takes(now) else None)
