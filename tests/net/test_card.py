"""The card in order, on veth pairs of the real kernel: what is changed is said, and put back whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfwd.config.port_name import PortName
from gfwd.daemon.card import linux
from gfwd.daemon.card.linux import LRO, OFFLOADS, RX_VLAN
from gfwd.daemon.card.order import card, in_order, put_back_left_over
from gfwd.daemon.card.system import Feature
from gfwd.daemon.ports import Wanted
from tests.net.network import Host, veth
from tests.said import Said

ROOT = Path(__file__).parents[2]
XDP, NETMAP = PortName("xdp", "in0"), PortName("netmap", "netmap:in0")
UNWANTED = [name for offload in OFFLOADS for name in offload.features]
ALL_WORDS = "rx-checksumming, tx-checksumming, tso, gso, gro, rx-vlan-offload, tx-vlan-offload"
"""What a veth has of them; its GRO is off as a rule."""
BACK = "left over from a gfwd that did not end properly, put back"

OWNER = """
import sys
from pathlib import Path
from gfwd.daemon.card import linux
from gfwd.daemon.card.order import card
linux.FOLDER, linux._SO_NETNS_COOKIE = Path(sys.argv[1]), int(sys.argv[3])
with card("xdp:" + sys.argv[2], sys.argv[2], linux.OFFLOADS, print, promiscuous=True):
    print("ready", flush=True)
    sys.stdin.read()
"""


class Place:
    """A host with an interface in0 that is up, and what was said there."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self.folder = stack, folder
        self.host, self._there = Host(), Host()
        for host in (self.host, self._there):
            stack.callback(host.close)
        self.said = Said()
        self.cable("in0")

    def cable(self, name: str) -> None:
        veth(self.host, name, self._there, name)
        self.host.up(name)
        with self.host.inside():
            linux.set_features(name, {"rx-gro": True})

    def rename(self, name: str, to: str) -> None:
        self.host.down(name)
        self.host.ip.link("set", index=self.host.index(name), ifname=to)
        self.host.up(to)

    def features(self, name: str = "in0") -> dict[str, Feature]:
        with self.host.inside():
            return linux.features(name)

    def on(self, name: str = "in0") -> set[str]:
        return {name for name, feature in self.features(name).items() if feature.is_on and name in UNWANTED}

    def is_up(self) -> bool:
        with self.host.inside():
            return linux.is_up("in0")

    def promiscuity(self, name: str = "in0") -> int:
        return int(self.host.ip.get_links(self.host.index(name))[0].get("IFLA_PROMISCUITY"))

    def records(self) -> list[Path]:
        return [*self.folder.glob("*")]

    def owner(self, name: str = "in0", prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Another process that has put it in order, until it ends."""
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{OWNER}"
        command = [*prefix, sys.executable, "-c", code, str(self.folder), name, str(linux._SO_NETNS_COOKIE)]
        process = self.host.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._stack.callback(process.communicate)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        self.said += iter(process.stdout.readline, "ready\n")
        return process

    def crash(self, name: str = "in0") -> None:
        """Another process has put it in order, and was killed."""
        process = self.owner(name)
        process.kill()
        process.wait()
        self.said.clear()

    def put_back(self) -> None:
        with self.host.inside():
            put_back_left_over(self.said.say)


@pytest.fixture
def make(tmp_path, monkeypatch) -> Iterator[Callable[[], Place]]:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(linux, "FOLDER", tmp_path / "gfwd")
    with ExitStack() as stack:
        yield lambda: Place(stack, tmp_path / "gfwd")


@pytest.fixture
def place(make) -> Place:
    made: Place = make()
    return made


# ---- what is changed ----


def test_netmap_wants_all_of_it_off(place):
    before = place.features()
    with place.host.inside(), in_order([Wanted(NETMAP, True, True)], place.said.say, promiscuous=False):
        assert place.said == [f"netmap:in0: switched off: {ALL_WORDS}; they come back when gfwd ends"]
        assert place.on() == set()
        assert {name for name, feature in before.items() if feature.is_asked and name not in UNWANTED} == {
            name for name, feature in place.features().items() if feature.is_asked
        }
        assert len(place.records()) == 1
        assert place.promiscuity() == 0
    assert place.features() == before
    assert place.records() == []
    assert len(place.said) == 1


def test_xdp_wants_tags_to_stay(place):
    before, on = place.features(), place.on()
    with place.host.inside(), in_order([Wanted(XDP, True, False)], place.said.say, promiscuous=True):
        assert place.said == ["xdp:in0: switched off: rx-vlan-offload; it comes back when gfwd ends"]
        assert place.on() == on - set(RX_VLAN.features)
        assert place.promiscuity() == 0
    assert place.features() == before


@pytest.mark.parametrize("wanted", [Wanted(XDP, False, True), Wanted(PortName("vale", "vale0:in0"), True, True)])
def test_where_nothing_has_to_be_changed(place, wanted):
    before = place.features()
    with place.host.inside(), in_order([wanted], place.said.say, promiscuous=True):
        assert place.features() == before
        assert (place.said, place.records(), place.promiscuity()) == ([], [], 0)


def test_what_is_off_already_stays_off(place):
    with place.host.inside():
        linux.set_features("in0", dict.fromkeys(UNWANTED, False))
        before = place.features()
        with card("netmap:in0", "in0", OFFLOADS, place.said.say):
            assert (place.said, place.records()) == ([], [])
    assert place.features() == before


def test_two_rings_of_one_card(place):
    """The card is put in order once, and put back when nobody needs it any more."""
    before = place.features()
    rings = [Wanted(PortName("netmap", f"netmap:in0-{ring}"), True, True) for ring in (0, 1)]
    with place.host.inside(), in_order(rings, place.said.say, promiscuous=True):
        assert place.said == [f"netmap:in0-0: switched off: {ALL_WORDS}; they come back when gfwd ends"]
        assert place.promiscuity() == 2
    assert (place.features(), place.promiscuity()) == (before, 0)


def test_put_back_also_when_what_follows_fails(place):
    before = place.features()
    with pytest.raises(ZeroDivisionError), place.host.inside(), card("netmap:in0", "in0", OFFLOADS, place.said.say):
        raise ZeroDivisionError
    assert (place.features(), place.records()) == (before, [])


def test_an_interface_that_is_down(place):
    place.host.down("in0")
    before = place.features()
    with place.host.inside(), card("netmap:in0", "in0", OFFLOADS, place.said.say):
        assert place.is_up()
        assert place.said == [
            f"netmap:in0: switched off: {ALL_WORDS}; they come back when gfwd ends",
            "netmap:in0: brought up; it goes down again when gfwd ends",
        ]
    assert not place.is_up()
    assert place.features() == before


@pytest.mark.parametrize("name", ["in7", "a-name-that-is-too-long-for-one"])
def test_no_such_interface(place, name):
    with place.host.inside(), card(f"xdp:{name}", name, OFFLOADS, place.said.say):
        pass
    assert (place.said, place.records()) == ([], [])  # who opens the port says so


def test_an_interface_that_goes_meanwhile(place):
    with place.host.inside(), card("xdp:in0", "in0", OFFLOADS, place.said.say):
        place.host.ip.link("del", index=place.host.index("in0"))
    assert place.said[1:] == ["xdp:in0: the interface is gone, so what gfwd has changed on it is not put back"]
    assert place.records() == []


def test_an_interface_that_is_renamed_meanwhile(place):
    """And another one gets its name."""
    place.cable("in1")
    before = place.features()
    with place.host.inside(), card("xdp:in0", "in0", OFFLOADS, place.said.say):
        place.rename("in0", "in9")
        place.rename("in1", "in0")
    assert len(place.said) == 1
    assert (place.features("in9"), place.records()) == (before, [])


def test_promiscuous_where_that_is_wanted(place):
    place.cable("in1")
    wanted = [Wanted(PortName("netmap", f"netmap:{name}"), name == "in0", True) for name in ("in0", "in1")]
    with place.host.inside(), in_order(wanted, place.said.say, promiscuous=True):
        assert (place.promiscuity("in0"), place.promiscuity("in1")) == (1, 0)
    assert place.promiscuity("in0") == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(on=st.sets(st.sampled_from(UNWANTED)), is_up=st.booleans(), is_netmap=st.booleans())
def test_it_is_afterwards_as_it_was_before(place, on, is_up, is_netmap):
    with place.host.inside():
        linux.set_features("in0", {name: name in on for name in UNWANTED})
        linux.set_up("in0", is_up)
        before = place.features()
        needed = linux.unwanted(Wanted(NETMAP if is_netmap else XDP, True, True))
        with card("in0", "in0", needed, place.said.say):
            assert not place.on() & {name for offload in needed for name in offload.features}
            assert place.is_up()
    assert (place.features(), place.is_up(), place.records()) == (before, is_up, [])


# ---- what cannot be changed ----


def test_what_the_driver_does_not_leave_to_us(place):
    """The loopback interface has its checksums for good. It has its TSO too, which can be changed."""
    place.host.up("lo")
    before = place.features("lo")
    with place.host.inside(), card("netmap:lo", "lo", OFFLOADS, place.said.say):
        assert place.on("lo") == {"rx-checksum", "tx-checksum-ip-generic", "tx-checksum-sctp"}
    assert place.said[1:] == [
        "netmap:lo: warning: rx-checksumming cannot be switched off, so frames may come with checksums that nobody has "
        "finished; try: ethtool -K lo rx-checksum off",
        "netmap:lo: warning: tx-checksumming cannot be switched off, so what the host sends leaves with wrong "
        "checksums; try: ethtool -K lo tx-checksum-ip-generic off tx-checksum-sctp off",
    ]
    assert place.features("lo") == before


def test_without_permission(place):
    before = place.features()
    owner = place.owner(prefix=("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"))
    words = ALL_WORDS.split(", ")
    assert [line.partition(" cannot")[0] for line in place.said] == [
        *(f"xdp:in0: warning: {word}" for word in words),
        "xdp:in0: warning: it",
    ]
    assert "cannot be switched off (Operation not permitted), so " in place.said[0]
    assert "ip link set dev in0 promisc on" in place.said[-1]
    assert owner.communicate() == ("", None)
    assert (place.features(), place.records()) == (before, [])


# ---- after a crash ----


def test_the_next_one_puts_it_back(place):
    before = place.features()
    place.crash()
    assert place.on() == set()
    assert place.promiscuity() == 0  # the kernel takes that back by itself
    place.put_back()
    assert place.said == [f"xdp:in0: switched off: {ALL_WORDS}: {BACK}"]
    assert (place.features(), place.records()) == (before, [])
    place.put_back()
    assert len(place.said) == 1


def test_what_was_down_goes_down(place):
    place.host.down("in0")
    place.crash()
    assert place.is_up()
    place.put_back()
    assert place.said == [f"xdp:in0: switched off: {ALL_WORDS}; brought up: {BACK}"]
    assert not place.is_up()


def test_put_back_and_changed_anew(place):
    before = place.features()
    place.crash()
    with place.host.inside(), in_order([Wanted(XDP, True, True)], place.said.say, promiscuous=False):
        assert place.said == [
            f"xdp:in0: switched off: {ALL_WORDS}: {BACK}",
            "xdp:in0: switched off: rx-vlan-offload; it comes back when gfwd ends",
        ]
        assert place.on() == {name for name in before if before[name].is_on and name in UNWANTED} - {*RX_VLAN.features}
    assert place.features() == before


def test_one_that_lives_is_left_alone(place):
    before = place.features()
    owner = place.owner()
    place.said.clear()
    place.put_back()
    assert (place.said, place.on(), place.promiscuity()) == ([], set(), 1)
    with place.host.inside():
        linux.set_features("in0", {"rx-gro": True})
        with card("xdp:in0", "in0", OFFLOADS, place.said.say):
            assert place.said == ["xdp:in0: warning: another gfwd has changed this interface, so it is left as it is"]
            assert place.on() == {"rx-gro"}
    assert place.on() == {"rx-gro"}
    assert len(place.records()) == 1
    owner.communicate()
    assert (owner.returncode, place.features(), place.records()) == (0, before, [])


def test_two_on_two_interfaces(place):
    place.cable("in1")
    before = place.features("in1")
    owner = place.owner()
    place.said.clear()
    with (
        place.host.inside(),
        in_order([Wanted(PortName("xdp", "in1"), True, True)], place.said.say, promiscuous=False),
    ):
        assert place.said == ["xdp:in1: switched off: rx-vlan-offload; it comes back when gfwd ends"]
        assert (place.on(), len(place.records())) == (set(), 2)
    assert (place.features("in1"), place.on(), len(place.records())) == (before, set(), 1)
    owner.communicate()
    assert place.records() == []


@pytest.mark.parametrize("has_cookie", [True, False], ids=["cookie", "inode"])
def test_an_interface_of_that_name_elsewhere(make, monkeypatch, has_cookie):
    """In another network namespace, with the same /run; also on a kernel before 5.14."""
    if not has_cookie:
        monkeypatch.setattr(linux, "_SO_NETNS_COOKIE", 0x7FFF)
    here, there = make(), make()
    before = here.features()
    here.crash()
    there.put_back()
    assert (here.on(), there.said, len(here.records())) == (set(), [], 1)
    with there.host.inside(), card("xdp:in0", "in0", OFFLOADS, there.said.say):
        assert len(there.records()) == 2
    here.put_back()
    assert (here.features(), here.records()) == (before, [])


def test_another_interface_has_the_name_now(place):
    place.crash()
    place.host.ip.link("del", index=place.host.index("in0"))
    place.cable("in0")
    with place.host.inside():
        linux.set_features("in0", {"tx-tcp-segmentation": False})
    before = place.features()
    place.put_back()
    assert place.said == ["xdp:in0: a gfwd that did not end properly has changed it, and the interface is gone since"]
    assert (place.features(), place.records()) == (before, [])


def test_renamed_since_the_crash(place):
    place.cable("in1")
    before = place.features()
    place.crash()
    place.rename("in0", "in9")
    place.rename("in1", "in0")
    place.put_back()
    assert place.said == [f"xdp:in0: switched off: {ALL_WORDS}: {BACK}"]
    assert (place.features("in9"), place.records()) == (before, [])


def whole_record(place: Place) -> dict:
    place.crash()
    (path,) = place.records()
    record: dict = json.loads(path.read_bytes())
    return record


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: b"",
        lambda record: b"\xff\x00",
        lambda record: b"[]",
        lambda record: b"null",
        lambda record: json.dumps(record).encode()[:-1],
        lambda record: json.dumps({"features": {}}).encode(),
        lambda record: json.dumps({**record, "features": ["rx-lro"]}).encode(),
        lambda record: json.dumps({**record, "interface": 7}).encode(),
        lambda record: json.dumps({**record, "identity": "7"}).encode(),
        lambda record: json.dumps({**record, "index": "7"}).encode(),
        lambda record: json.dumps({**record, "more": 7}).encode(),
    ],
)
def test_a_broken_record(place, spoil):
    record = whole_record(place)
    (path,) = place.records()
    path.write_bytes(spoil(record))
    before = place.features()
    place.put_back()
    assert place.said == [
        f"{path}: warning: it is broken, so whatever a gfwd that did not end properly has changed stays so; removed"
    ]
    assert (place.features(), place.records()) == (before, [])


# ---- where records are kept ----


def test_the_users_own_folder(place, monkeypatch, tmp_path):
    nowhere = tmp_path / "file"
    nowhere.write_bytes(b"")
    monkeypatch.setattr(linux, "FOLDER", nowhere / "gfwd")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    place.folder = tmp_path / "own" / "gfwd"
    with place.host.inside(), card("xdp:in0", "in0", OFFLOADS, place.said.say):
        assert (len(place.said), len(place.records())) == (1, 1)
    assert place.records() == []


def test_nowhere(place, monkeypatch, tmp_path):
    nowhere = tmp_path / "file"
    nowhere.write_bytes(b"")
    monkeypatch.setattr(linux, "FOLDER", nowhere / "gfwd")
    before = place.features()
    with place.host.inside(), card("xdp:in0", "in0", (LRO, RX_VLAN), place.said.say):
        assert place.said == [
            f"xdp:in0: warning: what is changed on it cannot be written down in {nowhere / 'gfwd'} (Not a directory), "
            "so nobody puts it back if gfwd crashes",
            "xdp:in0: switched off: rx-vlan-offload; it comes back when gfwd ends",
        ]
    assert place.features() == before
