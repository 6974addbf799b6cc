"""A card as FreeBSD's bytes have it, with drivers that are a few lines here: the obliging, and those that are not.

Numbers and places are those that FreeBSD's own compiler and headers give on a 64-bit machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfwd import system
from gfwd.config.port_name import PortName
from gfwd.daemon.card import freebsd, linux, order, record
from gfwd.daemon.card.system import Feature, this_system, words
from gfwd.daemon.ports import Wanted
from tests.said import Said

CAPABILITIES = {
    "rxcsum": 0x00001,
    "txcsum": 0x00002,
    "vlanhwtag": 0x00010,
    "vlanhwcsum": 0x00080,
    "tso4": 0x00100,
    "tso6": 0x00200,
    "lro": 0x00400,
    "vlanhwtso": 0x40000,
    "rxcsum6": 0x200000,
    "txcsum6": 0x400000,
}
VLAN_MTU, NETMAP, TXTLS_RTLMT = 0x8, 0x100000, 0x80000000
OTHERS = VLAN_MTU | NETMAP | TXTLS_RTLMT
UP, PROMISC, MONITOR = 0x1, 0x100, 0x40000
EPOCH = 1_000_000
INDEX = 3

Drive = Callable[[int, int], int]
"""What is on, and what is asked for → what is on then; or OSError."""


def bits(*names: str) -> int:
    return sum(CAPABILITIES[name] for name in names)


def obliging(_on: int, asked: int) -> int:
    return asked


class Card:
    """The interface in0, and what the kernel does at an ioctl."""

    def __init__(self, there: int, on: int, drive: Drive = obliging, flags: int = UP) -> None:
        self.there, self.on, self.flags, self._drive = there, on, flags, drive
        self.asked: list[int] = []

    def ioctl(self, _device: object, number: int, request: bytes) -> bytes:
        name, argument = request[:16], request[16:]
        assert len(argument) == 16
        if name != b"in0".ljust(16, b"\0"):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        if number == 0xC020691F:  # SIOCGIFCAP
            return name + struct.pack("=II8x", self.there, self.on)
        if number == 0x8020691E:  # SIOCSIFCAP
            (asked,) = struct.unpack("=I12x", argument)
            self.asked.append(asked)
            if asked & ~self.there:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            self.on = self._drive(self.on, asked)
        elif number == 0xC0206911:  # SIOCGIFFLAGS
            return name + struct.pack("=HH12x", self.flags & 0xFFFF, self.flags >> 16)
        elif number == 0x80206910:  # SIOCSIFFLAGS
            low, high = struct.unpack("=HH12x", argument)
            self.flags = low | high << 16
        elif number == 0x8020692C:  # SIOCGIFDATA
            (where,) = struct.unpack("=Q8x", argument)
            ctypes.memmove(where + 0x80, struct.pack("=Q", EPOCH), 8)
        else:
            pytest.fail(f"request {number:#x}")
        return request


@pytest.fixture
def use(monkeypatch, tmp_path):
    def to(card: Card) -> Card:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setattr(freebsd, "FOLDER", tmp_path / "gfwd")
        monkeypatch.setattr(freebsd, "ioctl", card.ioctl)
        monkeypatch.setattr(socket, "if_nametoindex", lambda _: INDEX)
        monkeypatch.setattr(socket, "if_nameindex", lambda: [(INDEX, "in0")])
        monkeypatch.setattr(order, "_HERE", freebsd)
        monkeypatch.setattr(record, "_HERE", freebsd)
        return card

    return to


# ---- drivers ----


def switches_twice(on: int, asked: int) -> int:
    """Without checksums no segmentation; asked for both in one request, it switches that off, and on again."""
    switched = on ^ asked
    now = on ^ switched & ~bits("tso4")
    if switched & bits("txcsum") and not now & bits("txcsum"):
        now &= ~bits("tso4")
    elif switched & ~on & bits("tso4") and not now & bits("txcsum"):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return now ^ switched & bits("tso4")


def one_at_a_time(on: int, asked: int) -> int:
    if (on ^ asked).bit_count() > 1:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return asked


def in_pairs(on: int, asked: int) -> int:
    """As those drivers that iflib(9) runs: both receive checksums are switched when one is."""
    pair = bits("rxcsum", "rxcsum6")
    return asked ^ ((on ^ asked) ^ pair) & pair if (on ^ asked) & pair else asked


def keeps_checksums(on: int, asked: int) -> int:
    """As the loopback interface: what comes before in its list is done."""
    if (on ^ asked) & bits("rxcsum6", "txcsum6"):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return asked


# ---- capabilities ----


def test_features_by_ifconfigs_words(use):
    use(Card(bits("rxcsum", "tso6", "lro") | OTHERS, bits("rxcsum") | VLAN_MTU))
    assert freebsd.features("in0") == {
        "rxcsum": Feature(is_on=True, is_asked=True, can_change=True),
        "tso6": Feature(is_on=False, is_asked=False, can_change=True),
        "lro": Feature(is_on=False, is_asked=False, can_change=True),
    }


@pytest.mark.parametrize("name", CAPABILITIES)
def test_each_has_its_bit(use, name):
    card = use(Card(bits(*CAPABILITIES), 0))
    freebsd.set_features("in0", {name: True})
    assert card.on == CAPABILITIES[name]


def test_every_feature_is_one_thing_to_people():
    assert sorted(name for offload in freebsd.OFFLOADS for name in offload.features) == sorted(CAPABILITIES)
    assert words(["tso6", "rxcsum6", "vlanhwtso", "else"], freebsd.OFFLOADS) == "tso, rxcsum, else"


def test_all_wishes_are_one_request(use):
    card = use(Card(bits(*CAPABILITIES) | OTHERS, bits("rxcsum", "lro") | OTHERS))
    freebsd.set_features("in0", {"rxcsum": False, "lro": False, "tso4": True, "of another system": True})
    assert card.asked == [bits("tso4") | OTHERS]


def test_what_is_so_already_is_no_request(use):
    card = use(Card(bits("rxcsum", "lro"), bits("lro")))
    freebsd.set_features("in0", {"rxcsum": False, "lro": True, "tso4": True})
    assert card.asked == []


def test_what_can_no_longer_be_had_is_not_asked_for(use):
    card = use(Card(bits("rxcsum"), bits("rxcsum", "lro")))
    freebsd.set_features("in0", {"rxcsum": False})
    assert card.asked == [0]


@pytest.mark.parametrize("drive", [obliging, switches_twice, one_at_a_time, in_pairs])
@given(on=st.sets(st.sampled_from(sorted(CAPABILITIES))))
def test_off_and_on_again(drive, on):
    if drive is in_pairs and {"rxcsum", "rxcsum6"} & on:
        on |= {"rxcsum", "rxcsum6"}
    if drive is switches_twice and "txcsum" not in on:
        on -= {"tso4"}
    before = bits(*on) | OTHERS
    card = Card(bits(*CAPABILITIES) | OTHERS, before, drive)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(freebsd, "ioctl", card.ioctl)
        freebsd.set_features("in0", dict.fromkeys(on, False))
        assert card.on == OTHERS
        freebsd.set_features("in0", dict.fromkeys(on, True))
        assert card.on == before


def test_a_refusal_is_no_reason_to_leave_the_rest(use):
    card = use(Card(bits(*CAPABILITIES), bits(*CAPABILITIES), keeps_checksums))
    with pytest.raises(OSError, match="not supported"):
        freebsd.set_features("in0", dict.fromkeys(CAPABILITIES, False))
    assert card.on == bits("rxcsum6", "txcsum6")


def test_commands():
    assert freebsd.command("ix0", ["tso4", "lro"], on=False) == "ifconfig ix0 -tso4 -lro"
    assert freebsd.command("ix0", ["tso4", "lro"], on=True) == "ifconfig ix0 tso4 lro"


# ---- flags ----


@pytest.mark.parametrize("others", [0, PROMISC | MONITOR, 0x80000000])
def test_up_and_down_leave_all_other_flags(use, others):
    card = use(Card(0, 0, flags=others))
    assert not freebsd.is_up("in0")
    freebsd.set_up("in0", on=True)
    assert (freebsd.is_up("in0"), card.flags) == (True, others | UP)
    freebsd.set_up("in0", on=False)
    assert (freebsd.is_up("in0"), card.flags) == (False, others)


# ---- in order ----


@pytest.mark.parametrize(("name", "module"), [("FreeBSD", freebsd), ("Linux", linux)])
def test_the_system_at_hand(monkeypatch, name, module):
    monkeypatch.setattr(system, "NAME", name)
    assert this_system.__wrapped__() is module


@pytest.mark.parametrize(
    ("kind", "is_anything"),
    [("netmap", True), ("vale", True), ("xdp", False)],
)
def test_what_netmap_cannot_have(kind, is_anything):
    assert bool(freebsd.unwanted(Wanted(PortName(kind, "in0"), True, True))) == is_anything


def test_in_order_and_back(use, tmp_path):
    before = bits("rxcsum", "rxcsum6", "txcsum", "tso4", "vlanhwtag", "vlanhwcsum") | OTHERS
    card = use(Card(bits(*CAPABILITIES) | OTHERS, before, flags=MONITOR))
    said = Said()
    wanted = Wanted(PortName("netmap", "netmap:in0"), True, True)
    with order.in_order([wanted], said.say, promiscuous=False):
        assert (card.on, card.flags) == (OTHERS, UP | MONITOR)
        (path,) = (tmp_path / "gfwd").iterdir()
        assert path.name == f"card.{freebsd.stack()}.in0.json"
    assert (card.on, card.flags, path.exists()) == (before, MONITOR, False)
    assert said == [
        "netmap:in0: switched off: rxcsum, txcsum, tso, vlanhwtag; they come back when gfwd ends",
        "netmap:in0: brought up; it goes down again when gfwd ends",
    ]


def test_what_the_driver_keeps(use):
    """It is said, and the rest is put in order all the same."""
    card = use(Card(bits(*CAPABILITIES), bits("rxcsum", "rxcsum6"), keeps_checksums, flags=0))
    said = Said()
    with order.card("netmap:in0", "in0", freebsd.OFFLOADS, said.say):
        assert (card.on, card.flags) == (bits("rxcsum6"), UP)
    assert (card.on, card.flags) == (bits("rxcsum", "rxcsum6"), 0)
    assert said == [
        "netmap:in0: switched off: rxcsum; it comes back when gfwd ends",
        "netmap:in0: brought up; it goes down again when gfwd ends",
        "netmap:in0: warning: rxcsum cannot be switched off (Operation not supported), so frames may come with "
        "checksums that nobody has finished; try: ifconfig in0 -rxcsum6",
    ]


def test_no_such_interface(use):
    use(Card(0, 0))
    said = Said()
    with order.card("netmap:in7", "in7", freebsd.OFFLOADS, said.say):
        pass
    assert said == []
