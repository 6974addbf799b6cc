"""The card in order, on interfaces of a real FreeBSD: what is changed is said, and put back whatever happens.

A loopback interface of the test's own has checksums only, and keeps half of them. GFWD_CARDS="ix0 ix1" names cards that
nobody needs meanwhile; most of this is tried on them too. They are afterwards as they were before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gfwd import system
from gfwd.config.port_name import PortName
from gfwd.daemon.card import freebsd
from gfwd.daemon.card.order import card, in_order, put_back_left_over
from gfwd.daemon.card.system import words
from gfwd.daemon.ports import Wanted
from tests.said import Said

pytestmark = [
    pytest.mark.skipif(system.NAME != "FreeBSD", reason="needs FreeBSD"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to change interfaces"),
]

ROOT = Path(__file__).parents[2]
CARDS = os.environ.get("GFWD_CARDS", "").split()
LOOPBACK = "loopback"
PROMISC = 0x100
BACK = "left over from a gfwd that did not end properly, put back"

OWNER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from gfwd.daemon.card import freebsd, order
freebsd.FOLDER = Path(sys.argv[2])
with order.card("netmap:" + sys.argv[3], sys.argv[3], freebsd.OFFLOADS, print, promiscuous=True):
    print("ready", flush=True)
    sys.stdin.read()
"""


def ifconfig(*arguments: str) -> str:
    return subprocess.run(["ifconfig", *arguments], check=True, capture_output=True, text=True).stdout


class Place:
    """An interface that is down, with all that it can have switched on; and what was said of it."""

    def __init__(self, stack: ExitStack, name: str, folder: Path) -> None:
        self._stack, self.name, self.folder = stack, name, folder
        self.said = Said()

    def on(self) -> set[str]:
        return {name for name, feature in freebsd.features(self.name).items() if feature.is_on}

    def switched_off(self, before: set[str]) -> str:
        """What should have been said of that by now."""
        gone = [name for offload in freebsd.OFFLOADS for name in offload.features if name in before - self.on()]
        return f"switched off: {words(gone, freebsd.OFFLOADS)}"

    def flags(self) -> int:
        with freebsd.kernel_socket() as kernel:
            return freebsd._flags(kernel, self.name)

    def is_promiscuous(self) -> bool:
        return bool(self.flags() & PROMISC)

    def records(self) -> list[Path]:
        return [*self.folder.glob("*")]

    def owner(self) -> subprocess.Popen[str]:
        """Another process that has put it in order, until it ends."""
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(ROOT), str(self.folder), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(process.communicate)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        assert "ready\n" in iter(process.stdout.readline, "")
        return process

    def crash(self) -> None:
        """Another process has put it in order, and was killed."""
        process = self.owner()
        process.kill()
        process.wait()


@contextmanager
def own_loopback(name: str = "") -> Iterator[str]:
    """name: what it is renamed to."""
    made = ifconfig("lo", "create", *(["name", name] if name else [])).strip()
    try:
        yield made
    finally:
        ifconfig(made, "destroy")


@contextmanager
def borrowed(name: str) -> Iterator[str]:
    found, was_up = freebsd.features(name), freebsd.is_up(name)
    freebsd.set_up(name, on=False)
    freebsd.set_features(name, dict.fromkeys(found, True))
    try:
        yield name
    finally:
        freebsd.set_up(name, was_up)
        freebsd.set_features(name, {feature: its.is_on for feature, its in found.items()})


@pytest.fixture
def place(request, monkeypatch, tmp_path) -> Iterator[Place]:
    """Of a card, where a test is said to be for one; else of a loopback interface."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(freebsd, "FOLDER", tmp_path / "gfwd")
    name = getattr(request, "param", LOOPBACK)
    with ExitStack() as stack:
        interface = stack.enter_context(own_loopback() if name == LOOPBACK else borrowed(name))
        yield Place(stack, interface, tmp_path / "gfwd")


for_all = pytest.mark.parametrize("place", [LOOPBACK, *CARDS], indirect=True)
for_cards = pytest.mark.parametrize("place", CARDS, indirect=True)


# ---- what is changed ----


@for_all
def test_in_order_and_back(place):
    before, flags = place.on(), place.flags()
    wanted = Wanted(PortName("netmap", f"netmap:{place.name}"), True, True)
    with in_order([wanted], place.said.say, promiscuous=False):
        assert place.said[:2] == [
            f"{wanted.name}: {place.switched_off(before)}; they come back when gfwd ends",
            f"{wanted.name}: brought up; it goes down again when gfwd ends",
        ]
        assert freebsd.is_up(place.name)
        assert not place.is_promiscuous()
        (path,) = place.records()
        assert json.loads(path.read_bytes())["identity"] == freebsd.identity(place.name)
        if place.name in CARDS:
            assert (place.on(), len(place.said)) == (set(), 2)
    assert (place.on(), place.records()) == (before, [])
    assert not freebsd.is_up(place.name)
    assert (place.flags() ^ flags) & ~0x440 == 0  # but for what the driver says of itself


def test_what_the_driver_keeps(place):
    """A loopback interface gives up its checksums of IPv4 alone: refused in one request, they go one by one."""
    name = place.name
    with card("netmap:lo", name, freebsd.OFFLOADS, place.said.say):
        assert place.on() == {"rxcsum6", "txcsum6"}
    assert place.said[2:] == [
        "netmap:lo: warning: rxcsum cannot be switched off (Operation not supported), so frames may come with "
        f"checksums that nobody has finished; try: ifconfig {name} -rxcsum6",
        "netmap:lo: warning: txcsum cannot be switched off (Operation not supported), so netmap drops what the host "
        f"sends without a checksum; try: ifconfig {name} -txcsum6",
    ]


@for_cards
def test_what_is_off_already_stays_off(place):
    freebsd.set_up(place.name, on=True)
    freebsd.set_features(place.name, dict.fromkeys(place.on(), False))
    with card("netmap:in0", place.name, freebsd.OFFLOADS, place.said.say):
        assert (place.said, place.records()) == ([], [])
    assert (place.on(), freebsd.is_up(place.name)) == (set(), True)


@for_all
def test_they_are_ifconfigs_words(place):
    before = place.on()
    for word in before - {"rxcsum6", "txcsum6"}:  # which a loopback interface keeps
        subprocess.run(freebsd.command(place.name, [word], on=False).split(), check=True)
        assert word not in place.on()
        subprocess.run(freebsd.command(place.name, [word], on=True).split(), check=True)
        assert place.on() == before


@pytest.mark.parametrize("name", ["in7", "a-name-that-is-too-long-for-one"])
def test_no_such_interface(tmp_path, monkeypatch, name):
    monkeypatch.setattr(freebsd, "FOLDER", tmp_path / "gfwd")
    said = Said()
    with card(f"netmap:{name}", name, freebsd.OFFLOADS, said.say):
        pass
    assert (said, [*tmp_path.iterdir()]) == ([], [])


# ---- promiscuous ----


@for_all
def test_promiscuous_while_somebody_wants_it(place):
    with freebsd.promiscuous(place.name):
        with freebsd.promiscuous(place.name):
            assert place.is_promiscuous()
        assert place.is_promiscuous()
    assert not place.is_promiscuous()


@for_all
def test_what_the_operator_made_promiscuous_stays_so(place):
    ifconfig(place.name, "promisc")
    with freebsd.promiscuous(place.name):
        pass
    assert place.is_promiscuous()
    ifconfig(place.name, "-promisc")
    assert not place.is_promiscuous()


# ---- after a crash ----


@for_all
def test_the_next_one_puts_it_back(place):
    before = place.on()
    place.crash()
    changed = place.switched_off(before)
    assert freebsd.is_up(place.name)
    assert not place.is_promiscuous()  # the kernel takes that back by itself
    put_back_left_over(place.said.say)
    assert place.said == [f"netmap:{place.name}: {changed}; brought up: {BACK}"]
    assert (place.on(), place.records()) == (before, [])
    assert not freebsd.is_up(place.name)


@for_all
def test_one_that_lives_is_left_alone(place):
    before = place.on()
    owner = place.owner()
    changed = place.on()
    assert place.is_promiscuous()
    put_back_left_over(place.said.say)
    assert (place.said, place.on()) == ([], changed)
    freebsd.set_up(place.name, on=False)
    with card("netmap:in0", place.name, freebsd.OFFLOADS, place.said.say):
        assert place.said == ["netmap:in0: warning: another gfwd has changed this interface, so it is left as it is"]
    owner.communicate()
    assert (owner.returncode, place.on(), place.records()) == (0, before, [])


def test_another_interface_has_the_name_now(place):
    """Its number may be the same; when it came to be is not."""
    place.crash()
    ifconfig(place.name, "destroy")
    subprocess.run(["sleep", "2"], check=True)
    ifconfig(place.name, "create")
    before = place.on()
    put_back_left_over(place.said.say)
    assert place.said == [
        f"netmap:{place.name}: a gfwd that did not end properly has changed it, and the interface is gone since"
    ]
    assert (place.on(), place.records()) == (before, [])


@pytest.mark.parametrize("is_taken", [False, True])
def test_renamed_meanwhile(place, is_taken):
    """Also where another interface has got the name."""
    before, name = place.on(), place.name
    with ExitStack() as stack:
        with card("netmap:lo", name, freebsd.OFFLOADS, place.said.say):
            changed, said = place.on(), len(place.said)
            subprocess.run(["sleep", "2"], check=True)  # the next one is to be of another second
            ifconfig(name, "name", "renamed0")
            stack.callback(ifconfig, "renamed0", "name", name)
            if is_taken:
                stack.enter_context(own_loopback(name))
            place.name = "renamed0"
            assert place.on() == changed
        assert (place.on(), place.records(), len(place.said)) == (before, [], said)


def test_gone_meanwhile(place):
    with card("netmap:lo", place.name, freebsd.OFFLOADS, place.said.say):
        ifconfig(place.name, "destroy")
    assert place.said[-1] == "netmap:lo: the interface is gone, so what gfwd has changed on it is not put back"
    assert place.records() == []
    ifconfig(place.name, "create")


def test_a_jail_with_a_network_stack_of_its_own():
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from gfwd.daemon.card import freebsd; print(freebsd.stack())"
    )
    jail = ["jail", "-c", "path=/", "vnet", f"command={sys.executable}", "-c", code]
    done = subprocess.run(jail, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no such jail here: {done.stderr.strip()}")
    assert int(done.stdout) > freebsd.stack()
