"""A port without a host stack, and a VLAN behind it: what is answered in which, and how it is counted."""

from __future__ import annotations

import pytest

from gfwd.config.model import USUAL_ICMP
from gfwd.config.port_name import PortName
from gfwd.daemon.neighbours import Neighbours
from gfwd.daemon.ports import Port
from gfwd.daemon.punts import Punts
from gfwd.daemon.wire import WireAsker
from gfwd.l2 import arp
from gfwd.l2.kernel import InterfaceAddress, Link
from gfwd.native.core import NONE, NeighbourState, Record
from gfwd.rules.model import Address
from tests.said import Said

OURS, THEIRS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
US, PEER = Address(4, 0x0A000001), Address(4, 0x0A000002)
COLLECTORS, STRANGERS = bytes.fromhex("81000064"), bytes.fromhex("8100001e")


class Trunk:
    """Port 0: the untagged network, and the VLAN that a collector is in."""

    def __init__(self) -> None:
        self.sent: list[arp.Arp] = []
        self.said = Said()
        self.told: list[tuple[object, ...]] = []
        self.neighbours = Neighbours(lambda *news: self.told.append(news), self.said.say, lambda: 0.0)
        link = Link(-1, "vale0:a", OURS, 0, is_up=True, has_carrier=True)
        port = Port(number=0, name=PortName("vale", "vale0:a"), link=link, is_in=True, is_out=True, rx=1, tx=1, mode="")
        self.punts = Punts([port], self.neighbours, self.said.say, lambda: 0.0)
        self.untagged, self.tagged = self.asker(b""), self.asker(COLLECTORS)
        self.punts.follow([self.untagged, self.tagged], (), USUAL_ICMP, {}, 0)

    def asker(self, tags: bytes) -> WireAsker:
        return WireAsker(inject=self.send, port=0, mac=OURS, addresses=(InterfaceAddress(US, 24),), tags=tags)

    def send(self, _: int, frame: bytes) -> bool:
        if frame[12:14] == b"\x08\x06" or frame[16:18] == b"\x08\x06":
            self.sent.append(arp.parse(frame))
        return True

    def comes(self, frame: arp.Arp, tags: bytes, now: float = 0.5) -> None:
        self.punts.punted(Record(0, 0, NONE, NONE, 0, arp.build(frame._replace(tags=tags))), now)

    def answers(self, tags: bytes, now: float) -> bool:
        self.sent.clear()
        self.comes(arp.request(THEIRS, PEER, US), tags, now)
        return [(one.operation, one.tags) for one in self.sent] == [(arp.REPLY, tags)]


@pytest.fixture
def trunk() -> Trunk:
    return Trunk()


@pytest.mark.parametrize("said_in", [b"", COLLECTORS, STRANGERS])
def test_who_has_our_address_has_it_in_his_own_vlan(trunk, said_in):
    trunk.comes(arp.announcement(THEIRS, US), said_in)
    assert {tags: trunk.answers(tags, 0.6) for tags in (b"", COLLECTORS)} == {
        tags: tags != said_in for tags in (b"", COLLECTORS)
    }
    assert len(trunk.said) == (said_in != STRANGERS)
    assert all(said.startswith("vale0:a vlan 100: " if said_in else "vale0:a: ") for said in trunk.said)


def test_answers_are_counted_by_port_and_stay_counted(trunk):
    """What Prometheus has twice it refuses, and a counter never goes back."""
    assert trunk.answers(b"", 0.5) and trunk.answers(COLLECTORS, 0.6)
    assert [tuple(one) for one in trunk.punts.counts()] == [("vale0:a", "arp", "sent", 2)]
    trunk.punts.follow([trunk.untagged], (), USUAL_ICMP, {}, 1)
    assert [tuple(one) for one in trunk.punts.counts()] == [("vale0:a", "arp", "sent", 2)]


def test_a_link_that_is_back_has_all_behind_it_asked_for_again(trunk):
    trunk.neighbours.want(0, "vale0:a vlan 100", PEER, trunk.tagged, 0)
    while (deadline := trunk.neighbours.deadline()) is not None and deadline < 20:
        trunk.neighbours.advance(deadline)
    assert trunk.told[-1] == (0, None, NeighbourState.FAILED)
    trunk.sent.clear()
    trunk.neighbours.port_came_up(1, 20)
    assert not trunk.sent
    trunk.neighbours.port_came_up(0, 20)
    assert [(one.target, one.tags) for one in trunk.sent] == [(PEER, COLLECTORS)]
