"""The driver of the neighbour machines, with nobody on the other side: in virtual time, on a wire that is a list."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd.config.model import USUAL_ICMP
from gfwd.config.port_name import PortName
from gfwd.daemon.neighbours import Neighbours
from gfwd.daemon.place import Place
from gfwd.daemon.ports import Port
from gfwd.daemon.punts import Punts
from gfwd.daemon.wire import WireAsker
from gfwd.errors import GfwdError
from gfwd.l2 import arp, ethernet, nd
from gfwd.l2.kernel import EntryState, InterfaceAddress, Link, LinkChange, NeighbourChange, Reread, RoutesChanged
from gfwd.l2.nd import Neighbour
from gfwd.l2.neighbour import Timing
from gfwd.native.core import NONE, NeighbourState, Record
from gfwd.rules.model import Address
from tests.said import Said

OURS = bytes.fromhex("020000000001")
MAC, OTHER = bytes.fromhex("020000000002"), bytes.fromhex("020000000003")
US, PEER, STRANGER = Address(4, 0x0A000001), Address(4, 0x0A000002), Address(4, 0x0A000009)
FAR_US, FAR_PEER = Address(4, 0x0A000101), Address(4, 0x0A000102)
ELSEWHERE = Address(4, 0xC0000201)
PEER6 = Address(6, 0xFE80 << 112 | 1)
LINK_LOCAL = nd.link_local(OURS)
TAGS = bytes.fromhex("81000064")
PENDING, FAILED = (0, None, NeighbourState.PENDING), (0, None, NeighbourState.FAILED)
READY, MOVED = (0, MAC, NeighbourState.READY), (0, OTHER, NeighbourState.READY)


def bytes_of(frame: arp.Arp | Neighbour | bytes) -> bytes:
    if isinstance(frame, bytes):
        return frame
    return arp.build(frame) if isinstance(frame, arp.Arp) else nd.build(frame)


class Wire:
    """The driver of port 0, and what it did."""

    def __init__(self) -> None:
        self.told: list = []
        self.said = Said()
        self.sent: list[arp.Arp | Neighbour] = []
        self.asker = WireAsker(
            inject=self.send,
            port=0,
            mac=OURS,
            addresses=(InterfaceAddress(US, 24), InterfaceAddress(FAR_US, 24)),
            tags=TAGS,
        )
        self.neighbours = Neighbours(lambda *news: self.told.append(news), self.said.say, lambda: 0.0)
        link = Link(-1, "mem:a", OURS, 0, is_up=True, has_carrier=True)
        port = Port(number=0, name=PortName("vale", "mem:a"), link=link, is_in=True, is_out=True, rx=1, tx=1, mode="")
        self.punts = Punts([port], self.neighbours, self.said.say, lambda: 0.0)
        self.punts.follow([self.asker], (), USUAL_ICMP, {}, 0)

    def send(self, port: int, frame: bytes) -> bool:
        assert port == 0
        ether = ethernet.parse(frame)
        self.sent.append(nd.parse(ether) if ether.type == ethernet.IPV6 else arp.parse(frame))
        return True

    def want(self, address: Address = PEER, slot: int = 0) -> None:
        self.neighbours.want(slot, "mem:a", address, self.asker, 0)

    def comes(self, frame: arp.Arp | Neighbour | bytes, now: float = 0.5, port: int = 0) -> None:
        """Where it has no tag, by the one that the asker has."""
        if not isinstance(frame, bytes):
            frame = bytes_of(frame._replace(tags=frame.tags or TAGS))
        self.punts.punted(Record(0, port, NONE, NONE, 0, frame), now)

    def replies(self, mac: bytes = MAC, now: float = 0.5) -> None:
        self.comes(arp.reply(arp.request(OURS, US, PEER), mac), now)

    def until(self, end: float) -> None:
        while (deadline := self.neighbours.deadline()) is not None and deadline <= end:
            self.neighbours.advance(deadline)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_asked_answered_told(wire):
    wire.want()
    assert wire.told == [PENDING]
    assert wire.sent == [arp.request(OURS, US, PEER, tags=TAGS)]
    wire.replies()
    assert wire.told == [PENDING, READY]
    assert wire.said == ["neighbour 10.0.0.2 on mem:a is 02:00:00:00:00:02"]
    assert wire.neighbours.deadline() == 30.5


def test_asked_again_by_unicast(wire):
    wire.want()
    wire.replies()
    wire.until(30.5)
    assert wire.sent[1:] == [arp.request(OURS, US, PEER, to=MAC, tags=TAGS)]
    wire.replies(now=30.6)
    assert wire.told == [PENDING, READY]
    assert len(wire.said) == 1


def test_asked_from_the_address_on_its_network(wire):
    wire.want(FAR_PEER)
    wire.want(ELSEWHERE, slot=1)
    assert [question.sender for question in wire.sent] == [FAR_US, US]
    wire.asker.ask(PEER6, None)
    assert wire.sent[-1].sender == LINK_LOCAL


def test_what_is_said_of_one_that_is_silent_moves_and_comes_back(wire):
    wire.want()
    wire.until(100)
    wire.replies(MAC, 100)
    wire.until(136)  # PROBE and SEARCH, and nobody answers
    wire.replies(OTHER, 136.5)
    assert [(mac, state) for _, mac, state in wire.told] == [
        (None, NeighbourState.PENDING),
        (None, NeighbourState.FAILED),
        (MAC, NeighbourState.READY),
        (None, NeighbourState.FAILED),
        (OTHER, NeighbourState.READY),
    ]
    assert wire.said == [
        "neighbour 10.0.0.2 on mem:a does not answer",
        "neighbour 10.0.0.2 on mem:a is 02:00:00:00:00:02",
        "neighbour 10.0.0.2 on mem:a does not answer",
        "neighbour 10.0.0.2 on mem:a has moved from 02:00:00:00:00:02 to 02:00:00:00:00:03",
    ]


def test_a_reply_that_nobody_asked_for_changes_nothing_by_itself(wire):
    wire.want()
    wire.replies()
    wire.replies(OTHER, 5)
    assert wire.told == [PENDING, READY]
    assert wire.sent[-1].destination == MAC  # but we ask
    wire.replies(OTHER, 5.1)
    wire.replies(MAC, 5.2)
    wire.until(30)
    assert wire.told == [PENDING, READY]
    assert wire.neighbours.deadline() == 35.2


@pytest.mark.parametrize(
    "frame",
    [
        arp.Arp(OTHER, MAC, arp.REPLY, MAC, PEER, OURS, US),
        arp.Arp(arp.BROADCAST, MAC, arp.REPLY, MAC, PEER, MAC, PEER),
        arp.Arp(OURS, MAC, arp.REPLY, MAC, PEER, OURS, STRANGER),
        arp.Arp(OURS, MAC, arp.REPLY, MAC, STRANGER, OURS, US),
        arp.Arp(OURS, MAC, arp.REPLY, OURS, PEER, OURS, US),
        arp.Arp(OURS, MAC, arp.REPLY, arp.BROADCAST, PEER, OURS, US),
        arp.Arp(OURS, MAC, arp.REPLY, bytes(6), PEER, OURS, US),
        arp.request(MAC, PEER, PEER),
        b"",
    ],
    ids=["to another", "to all", "another's answer", "of another", "ours", "group", "zero", "gratuitous", "nothing"],
)
def test_what_is_no_answer_to_our_question(wire, frame):
    wire.want()
    wire.comes(frame)
    assert wire.told == [PENDING]
    assert len(wire.sent) == 1


@pytest.mark.parametrize("tags", [TAGS[:3] + b"\1", TAGS[:2] + b"\0\0"])
def test_what_is_said_in_another_vlan_is_nothing_to_us(wire, tags):
    wire.want()
    wire.comes(arp.reply(arp.request(OURS, US, PEER, tags=tags), MAC))
    wire.comes(arp.request(MAC, STRANGER, FAR_US, tags=tags))
    assert wire.told == [PENDING]
    assert len(wire.sent) == 1


def test_a_request_for_an_own_address_is_answered(wire):
    asked = arp.request(MAC, STRANGER, FAR_US, tags=TAGS[:2] + b"\x20" + TAGS[3:])  # with a priority
    wire.comes(asked)
    assert wire.sent == [arp.reply(asked, OURS)]
    wire.comes(arp.request(MAC, STRANGER, PEER))  # for another
    wire.comes(arp.request(MAC, STRANGER, FAR_US, to=OTHER))  # which a card may take all the same
    wire.comes(arp.request(MAC, PEER, FAR_US), port=1)  # by a port with a host stack
    wire.comes(arp.reply(asked, MAC))
    assert len(wire.sent) == 1
    assert wire.told == []


def test_a_request_from_one_that_failed_makes_us_ask(wire):
    wire.want()
    wire.until(3)
    assert wire.told == [PENDING, FAILED]
    wire.comes(arp.request(MAC, PEER, STRANGER), 3.5)
    assert wire.sent[-1] == arp.request(OURS, US, PEER, tags=TAGS)


def test_one_that_fails_blocks_no_other(wire):
    wire.want()
    wire.want(STRANGER, slot=1)
    wire.replies()
    wire.until(10)
    assert {slot: state for slot, _, state in wire.told} == {0: NeighbourState.READY, 1: NeighbourState.FAILED}


def test_ipv6_is_asked_for_by_neighbour_discovery(wire):
    wire.want(PEER6)
    question = nd.solicit(OURS, LINK_LOCAL, PEER6, tags=TAGS)
    assert wire.sent == [question]
    wire.comes(nd.advertise(question, MAC))
    assert wire.told == [PENDING, READY]
    wire.until(30.5)
    assert wire.sent[1:] == [nd.solicit(OURS, LINK_LOCAL, PEER6, to=MAC, tags=TAGS)]
    # An answer to one may leave its MAC out (RFC 4861 §7.2.4).
    wire.comes(nd.advertise(question, MAC)._replace(mac=None), 30.6)
    assert wire.neighbours.deadline() == 60.6
    assert wire.told == [PENDING, READY]


@pytest.mark.parametrize(
    "change",
    [
        {"is_solicited": False},
        {"destination": OTHER},
        {"receiver": nd.ALL_NODES, "destination": nd.group_mac(nd.ALL_NODES), "is_solicited": False},
        {"receiver": Address(6, 0xFE80 << 112 | 9)},
        {"target": Address(6, 0xFE80 << 112 | 9)},
        {"mac": None},
        {"mac": OURS},
        {"mac": bytes(6)},
        {"mac": nd.group_mac(nd.ALL_NODES)},
    ],
    ids=["unsolicited", "to another MAC", "to all", "to another", "of another", "none", "ours", "zero", "group"],
)
def test_what_is_no_advertisement_for_us(wire, change):
    wire.want(PEER6)
    answer = nd.advertise(nd.solicit(OURS, LINK_LOCAL, PEER6, tags=TAGS), MAC)
    wire.comes(answer._replace(**change))
    assert wire.told == [PENDING]
    wire.comes(answer)
    assert wire.told == [PENDING, READY]


def test_an_attacker_is_not_followed_and_is_named(wire):
    wire.want()
    wire.replies()
    for second in range(5, 25):
        wire.replies(OTHER, second)  # to us, as if we had asked
        wire.comes(arp.announcement(OTHER, PEER), second + 0.1)
        if wire.sent[-1].destination == MAC:
            wire.replies(MAC, second + 0.2)
    assert wire.told == [PENDING, READY]
    assert [line for line in wire.said if "contested" in line or "too" in line] == [
        "neighbour 10.0.0.2 on mem:a: warning: 02:00:00:00:00:03 says that it has this address, too; "
        "02:00:00:00:00:02 still answers, and is kept"
    ]


LIES = [
    arp.announcement(OTHER, PEER),
    arp.announcement(OTHER, PEER)._replace(operation=arp.REPLY),
    arp.request(OTHER, PEER, US),
    arp.reply(arp.request(OURS, US, PEER), OTHER),
    arp.reply(arp.request(MAC, STRANGER, PEER), OTHER),
]


@given(
    st.lists(st.tuples(st.floats(0, 10), st.sampled_from(LIES)), max_size=60),
    st.floats(0.01, 0.9),
    st.booleans(),
)
def test_no_liar_takes_a_neighbour_that_answers(lies, delay, hears_all):
    """Whatever is said unasked, and whoever answers our questions first: the one that is known stays, as long as it
    answers, and is asked no more than once a second.
    """
    wire = Wire()
    wire.want()
    wire.replies()
    now, answered, asked = 0.5, len(wire.sent), 1
    coming: list[tuple[float, arp.Arp]] = []
    for wait, lie in lies:
        now += wait
        coming.append((now, lie))
    coming.sort(key=lambda one: one[0])
    while coming or (wire.neighbours.deadline() or 0) < 60:
        deadline = wire.neighbours.deadline()
        if coming and (deadline is None or coming[0][0] <= deadline):
            when, frame = coming.pop(0)
            wire.comes(frame, when)
        else:
            assert deadline is not None
            when = deadline
            wire.neighbours.advance(when)
        for question in wire.sent[answered:]:
            assert isinstance(question, arp.Arp)
            if question.operation == arp.REPLY:
                continue  # we answer a liar who asks for us, too
            assert question.destination == MAC
            asked += 1
            assert asked <= when + 2
            answers = [(when + delay, arp.reply(question, MAC))]
            if hears_all:
                answers.append((when + delay / 2, arp.reply(question, OTHER)))
            coming = sorted([*coming, *answers], key=lambda one: one[0])
        answered = len(wire.sent)
    assert wire.told == [PENDING, READY]


def test_a_move_that_is_said_is_followed_after_three_questions(wire):
    wire.want()
    wire.replies()
    wire.comes(arp.announcement(OTHER, PEER), 10)
    assert wire.sent[-1].destination == MAC
    wire.until(13)
    assert wire.sent[-1].destination == arp.BROADCAST
    assert wire.told == [PENDING, READY]
    wire.replies(OTHER, 13.1)
    assert wire.told == [PENDING, READY, MOVED]


def test_a_failed_one_is_not_resurrected_by_what_nobody_asked_for(wire):
    wire.want()
    wire.until(34)  # the questions come at 18, 34 …
    wire.replies(OTHER, 40)
    assert wire.told == [PENDING, FAILED]
    assert wire.sent[-1].destination == arp.BROADCAST  # but that makes us ask
    assert len(wire.sent) == 9
    wire.replies(MAC, 40.1)
    assert wire.told[-1] == READY


def test_a_slot_that_is_wanted_again_keeps_its_state(wire):
    wire.want()
    wire.replies()
    wire.want()
    assert wire.told == [PENDING, READY]
    wire.want(STRANGER)
    assert wire.told == [PENDING, READY, PENDING]
    wire.replies(now=2)  # of the one before
    assert wire.told == [PENDING, READY, PENDING]


def test_slots_that_change_places(wire):
    wire.want(PEER, 0)
    wire.want(STRANGER, 1)
    wire.want(STRANGER, 0)
    wire.want(PEER, 1)
    wire.replies()
    assert wire.told[-1] == (1, MAC, NeighbourState.READY)


def test_a_slot_that_is_forgotten_is_not_asked_for(wire):
    wire.want()
    wire.neighbours.forget(0)
    wire.neighbours.forget(0)
    assert wire.neighbours.deadline() is None
    wire.replies()
    assert wire.told == [PENDING]


def test_a_fixed_mac_is_told_and_stays(wire):
    wire.want()
    wire.neighbours.fix(0, OTHER)
    wire.replies()
    assert wire.told == [PENDING, MOVED]
    assert wire.neighbours.deadline() is None


def test_a_flood_leaves_nothing_behind(wire):
    wire.want()
    wire.replies()
    for n in range(1_000):
        wire.replies(OTHER, 5 + n / 1_000)
    assert len(wire.sent) == 2
    assert len(wire.neighbours._due) < 10


class Table:
    """A kernel that knows what it is told to know."""

    place = Place("interface", 7)

    def __init__(self, known: NeighbourChange | None = None) -> None:
        self.known = known
        self.trouble: str | None = None
        self.asked = 0
        self.told: list = []
        self.said = Said()
        self.neighbours = Neighbours(lambda *news: self.told.append(news), self.said.say, random=lambda: 0.0)
        self.neighbours.want(0, "xdp:out0", PEER, self, 0)

    def timing_of(self, address: Address) -> Timing:
        assert address in (PEER, STRANGER)
        return Timing(retransmit=5.0, broadcast_tries=1, unicast_tries=1)

    def ask(self, address: Address, mac: bytes | None) -> NeighbourChange | None:
        assert address in (PEER, STRANGER)
        self.asked += 1
        if self.trouble is not None:
            raise GfwdError(self.trouble)
        return self.known


def entry(mac: bytes | None, state: EntryState) -> NeighbourChange:
    return NeighbourChange(7, PEER, mac, state)


def link(*, has_carrier: bool) -> LinkChange:
    return LinkChange(Link(7, "out0", OURS, 1500, True, has_carrier), is_gone=False)


@pytest.mark.parametrize("state", [EntryState.CONFIRMED, EntryState.STALE, EntryState.PROBED])
def test_an_entry_that_is_there_is_used_at_once(state):
    table = Table(entry(MAC, state))
    assert table.told == [PENDING, READY]
    assert table.asked == 1
    assert table.neighbours.deadline() == (30 if state is EntryState.CONFIRMED else 1)


def test_an_entry_of_the_administrators_is_not_asked_for():
    table = Table(entry(MAC, EntryState.FIXED))
    assert table.told == [PENDING, READY]
    assert table.neighbours.deadline() is None


def test_a_kernel_that_will_not_ask():
    table = Table(entry(None, EntryState.FAILED))
    assert table.told == [PENDING, FAILED]
    table.neighbours.kernel_changed(link(has_carrier=False), 0.9)
    assert table.asked == 1
    table.known = None
    table.neighbours.kernel_changed(link(has_carrier=True), 1)
    assert table.asked == 2
    assert table.told == [PENDING, FAILED, PENDING]


def test_the_kernel_knows_best():
    table = Table()
    tell = table.neighbours.kernel_changed
    tell(entry(None, EntryState.ASKED), 0.1)
    tell(entry(MAC, EntryState.CONFIRMED), 0.2)
    tell(entry(MAC, EntryState.STALE), 20)  # to be asked again
    assert table.asked == 2
    tell(entry(MAC, EntryState.PROBED), 20.1)  # it does
    tell(entry(MAC, EntryState.CONFIRMED), 20.2)
    tell(entry(OTHER, EntryState.STALE), 30)  # a gratuitous ARP, which the kernel follows
    assert table.told == [PENDING, READY, MOVED]
    assert table.asked == 3
    tell(entry(None, EntryState.FAILED), 33)  # nobody answers to that: everyone is asked
    assert table.asked == 4
    assert table.told == [PENDING, READY, MOVED]
    tell(entry(None, EntryState.FAILED), 36)
    assert table.told == [PENDING, READY, MOVED, FAILED]


def test_nobody_can_be_asked():
    """It is said once, and whoever could not be asked for is asked for again."""
    table = Table()
    table.neighbours.want(1, "xdp:out0", STRANGER, table, 0)
    tell = table.neighbours.kernel_changed
    tell(entry(MAC, EntryState.CONFIRMED), 0.1)
    table.trouble = "neighbours: error: /dev/bpf: Too many open files"
    gone = replace(entry(None, EntryState.DELETED), address=STRANGER)
    tell(Reread((), (entry(MAC, EntryState.STALE), gone)), 2)  # both are to be asked for
    assert table.asked == 4
    assert table.said == ["neighbour 10.0.0.2 on xdp:out0 is 02:00:00:00:00:02", table.trouble]
    while table.asked < 10:
        deadline = table.neighbours.deadline()
        assert deadline is not None
        table.neighbours.advance(deadline)
    assert table.said.count(table.trouble) == 1
    assert table.told[-2:] == [(1, None, NeighbourState.FAILED), FAILED]
    table.trouble, table.known = None, entry(MAC, EntryState.STALE)
    deadline = table.neighbours.deadline()
    assert deadline is not None
    table.neighbours.advance(deadline + 60)
    assert READY in table.told[-2:]
    table.trouble = "neighbours: error: /dev/bpf: Too many open files"
    table.neighbours.advance(deadline + 120)
    assert table.said.count(table.trouble) == 2


def test_what_is_not_in_a_reread_is_gone():
    table = Table()
    table.neighbours.kernel_changed(Reread((), (entry(MAC, EntryState.CONFIRMED),)), 1)
    assert table.told == [PENDING, READY]
    table.neighbours.kernel_changed(RoutesChanged(), 2)
    table.neighbours.kernel_changed(Reread((), ()), 3)
    assert table.asked == 2
    table.neighbours.kernel_changed(Reread((), ()), 5)
    assert table.asked == 3
    assert table.told == [PENDING, READY]


def test_news_of_others_are_let_be():
    table = Table()
    table.neighbours.kernel_changed(NeighbourChange(8, PEER, MAC, EntryState.CONFIRMED), 1)
    table.neighbours.kernel_changed(NeighbourChange(7, STRANGER, MAC, EntryState.CONFIRMED), 1)
    assert table.told == [PENDING]
