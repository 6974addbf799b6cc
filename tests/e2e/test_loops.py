"""Loops between real interfaces: two gfwd that send to each other, and ways that lead back to the same one."""

from __future__ import annotations

import shutil
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.farm import Farm, Gfwd, numbered
from tests.e2e.live import balances, cable, host, route, wait_until

pytestmark = pytest.mark.usefixtures("live_network")

NUMBER = 2_000
_PORT = 514
_SOURCES = 3  # exporters of each side
_AT_ONCE = 20
_IN_FLIGHT = 60  # datagrams: of each there are several copies, and a veth keeps 256 packets
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h


def bind(to_bind: socket.socket, address: str, port: int) -> None:
    """As soon as it can be: an IPv6 address is good a moment after its link is up."""

    def is_bound() -> bool:
        with suppress(OSError):
            to_bind.bind((address, port))
            return True
        return False

    wait_until(is_bound, lambda: f"{address} cannot be bound to")


class Side:
    """A gfwd with exporters and a collector of its own; `link` leads to the other side.

    Side n of IPv4: the exporters 10.9.n.1 to 10.9.n.3 send to 10.0.n.1, the collector is 10.1.n.2, and gfwd is
    10.5.0.n to the other side. Of IPv6: fd09:0:0:n::1, fd00:0:0:n::1, fd01:0:0:n::2, and fd05::n.
    """

    def __init__(self, stack: ExitStack, number: int, family: int) -> None:
        self.number, self.family = number, family
        self.gfwd: Gfwd
        self.at, exporters, near = (host(stack, speaks_ipv6=True) for _ in range(3))
        cable(exporters, "e0", self.at, "in0")
        cable(self.at, "out0", near, "c0")
        sources = [self.address(9, last) for last in range(1, _SOURCES + 1)]
        bits, all_bits = ("/24", "/32") if family == 4 else ("/64", "/128")
        for at, interface, address in (
            (self.at, "in0", self.address(0, 1) + bits),
            (self.at, "out0", self.address(1, 1) + bits),
            (exporters, "e0", self.address(0, 2) + bits),
            (near, "c0", self.collector + bits),
            *((exporters, "e0", source + all_bits) for source in sources),
        ):
            at.address(interface, address)
        inet = socket.AF_INET if family == 4 else socket.AF_INET6
        if family == 6:
            route(near, "fd00::/8", via=self.address(1, 1))
        self._arrivals = stack.enter_context(near.socket(inet))
        self._arrivals.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        bind(self._arrivals, self.collector, _PORT)
        self._arrivals.setblocking(False)
        self._exporters = [stack.enter_context(exporters.socket(inet)) for _ in sources]
        for exporter, source in zip(self._exporters, sources, strict=True):
            bind(exporter, source, 40_000)
        self.came = Counter[bytes]()

    def address(self, net: int, last: int) -> str:
        return f"10.{net}.{self.number}.{last}" if self.family == 4 else f"fd0{net}:0:0:{self.number}::{last}"

    @property
    def collector(self) -> str:
        return self.address(1, 2)

    @property
    def to_the_other(self) -> str:
        return f"10.5.0.{self.number}" if self.family == 4 else f"fd05::{self.number}"

    def send(self, payload: bytes, nth: int) -> None:
        self._exporters[nth % _SOURCES].sendto(payload, (self.address(0, 1), _PORT))

    def look(self) -> int:
        """Take what has come to the collector; returns how many datagrams that are by now."""
        with suppress(BlockingIOError):
            while True:
                self.came[self._arrivals.recv(2_000)] += 1
        return self.came.total()

    def wait_for(self, number: int) -> None:
        """Until so many datagrams have come to the collector."""
        wait_until(lambda: self.look() >= number, lambda: f"{self.came.total()} of {number} came")

    def config(self, *collectors: str, options: str = "") -> str:
        """All that comes goes to these: by name "own" and "peer"."""
        return f"""control = "{self.gfwd.control}"
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
both = ["xdp:link"]
[collector.own]
host = "{self.collector}"
[collector.peer]
host = "{self.peer.to_the_other}"
{options}
[[rule]]
source = "*"
ports = {_PORT}
collectors = {str(list(collectors)).replace("'", '"')}
priority = "A"
"""

    peer: Side


class Two(AbstractContextManager["Two"]):
    """Two gfwd, joined by a cable."""

    def __init__(self, command: Sequence[str], folder: Path, family: int = 4) -> None:
        with ExitStack() as stack:
            self.sides = left, right = Side(stack, 1, family), Side(stack, 2, family)
            cable(left.at, "link", right.at, "link")
            for side in self.sides:
                side.at.address("link", side.to_the_other + ("/24" if family == 4 else "/64"))
            self._stack = stack.pop_all()
        left.peer, right.peer = right, left
        for side in self.sides:
            own = folder / f"side{side.number}"
            own.mkdir()
            side.gfwd = Gfwd(command, side.at, own, self._stack)
        self.sent = 0

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def exchange(self, number: int, *, both: bool = True) -> list[Counter[bytes]]:
        """Send so many datagrams, by exporters of both sides in turn; each comes to both collectors, or, where not
        `both`, those of the left side to the left one only.

        Returns how often each has come to either when nothing comes any more; none that is to come is missing.
        """
        new = [b"%08d" % n for n in range(self.sent, self.sent + number)]
        wanted = [set(new), set(new) if both else set(new[1::2])]
        before = [side.look() for side in self.sides]
        self.sent += number
        for n, payload in enumerate(new):
            self.sides[n % 2].send(payload, n // 2)
            if n % _AT_ONCE == 0:
                self._wait(before, [n - _IN_FLIGHT, n - _IN_FLIGHT if both else n // 2 - _IN_FLIGHT])
        self._wait(before, list(map(len, wanted)))
        self.quiet()
        found = [Counter({payload: n for payload in new if (n := side.came[payload])}) for side in self.sides]
        assert [set(its) for its in found] == wanted
        return found

    def _wait(self, before: Sequence[int], numbers: Sequence[int]) -> None:
        for side, start, number in zip(self.sides, before, numbers, strict=True):
            side.wait_for(start + number)

    def quiet(self) -> list[dict[str, Any]]:
        """The status of both, when neither receives anything any more; that is soon."""
        before: list[int] = []
        found: list[dict[str, Any]] = []

        def is_quiet() -> bool:
            nonlocal before, found
            found = [side.gfwd.status() for side in self.sides]
            now = [its["received"] for its in found]
            before, was = now, before
            return now == was and all(map(balances, found))

        wait_until(is_quiet, lambda: f"it goes on, with so many received: {before}")
        for side in self.sides:
            side.look()
        return found

    def loops(self) -> list[int]:
        return [its["drops"]["loop"] for its in self.quiet()]

    def end(self) -> list[dict[str, Any]]:
        """The accounts of both, which balance."""
        ended = [side.gfwd.live.stop() for side in self.sides]
        assert [one.status for one in ended] == [0, 0]
        return [one.account() for one in ended]


@pytest.mark.parametrize("family", [4, 6])
def test_two_that_point_at_each_other(gfwd, tmp_path, family):
    """Each collector gets each datagram once, but for what was under way when it began; what comes back is counted."""
    with Two(gfwd, tmp_path, family) as both:
        left, _ = both.sides
        for side in both.sides:
            side.gfwd.run(side.config("own", "peer"))
        for came in both.exchange(NUMBER):
            assert max(came.values()) <= 3
            assert came.total() - NUMBER <= 2 * 2 * _SOURCES * _IN_FLIGHT
            assert set(list(came.values())[NUMBER // 2 :]) == {1}
        loops = both.loops()
        assert sum(loops) >= NUMBER  # each comes back once at least
        for came in both.exchange(NUMBER):
            assert set(came.values()) == {1}
        left.gfwd.reload(left.config("own"))
        loops = both.loops()
        for came in both.exchange(NUMBER, both=False):
            assert set(came.values()) == {1}
        assert both.loops() == loops
        for account in both.end():
            assert {cause for cause, n in account["drops"].items() if n} == {"loop"}


@pytest.mark.parametrize("family", [4, 6])
def test_one_of_two_sends_with_its_own_address(gfwd, tmp_path, family):
    """What it has sent itself ends where it comes back; to the other it is new each time, and comes once more."""
    with Two(gfwd, tmp_path, family) as both:
        left, right = both.sides
        left.gfwd.run(left.config("own", "peer", options='source = "own"'))
        right.gfwd.run(right.config("own", "peer"))
        came = both.exchange(NUMBER)
        assert set(came[0].values()) == {1}
        assert Counter(came[1].values()) == {1: NUMBER // 2, 2: NUMBER // 2}  # those of its own exporters, twice
        assert both.loops() == [NUMBER, 0]
        left.gfwd.reload(left.config("own"))
        loops = both.loops()
        for its in both.exchange(NUMBER, both=False):
            assert set(its.values()) == {1}
        assert both.loops() == loops
        both.end()


# ---- one, and a way that leads back ----

ASTRAY, NEAR = "10.7.0.5", "10.1.0.2"
LEADS_BACK = "10.7.0.0/24"


def way_back(farm: Farm) -> None:
    """From the collectors' host to that of the exporters, who takes their own datagrams, too."""
    cable(farm.near, "back", farm.exporters, "forth")
    farm.near.address("back", "10.8.0.1/24")
    farm.exporters.address("forth", "10.8.0.2/24")
    farm.exporters.sysctl("ipv4/conf/all/accept_local", 1)
    for at in (farm.near, farm.exporters):
        at.sysctl("ipv4/ip_forward", 1)


def config(options: str) -> str:
    rule = f'[[rule]]\nsource = "*"\nports = {_PORT}\ncollectors = ["astray", "{NEAR}"]\npriority = "A"\n'
    return rule + f'[collector.astray]\nhost = "{ASTRAY}"\n{options}\n'


@pytest.mark.parametrize("options", ["", 'source = "own"'])
def test_a_network_of_ours_to_which_a_route_leads_back(farm: Farm, options):
    """The collector is in it, and the routers send its copies to gfwd again, by the other port."""
    way_back(farm)
    for at, via in ((farm.us, NEAR), (farm.near, "10.8.0.2"), (farm.exporters, "10.0.0.1")):
        route(at, LEADS_BACK, via=via)
    farm.run(config(options), f'address = ["10.0.0.1", "{LEADS_BACK}"]')
    comes_once_each(farm)


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
@pytest.mark.parametrize("options", ["", 'source = "own"'])
def test_a_load_balancer_that_turns_copies_round(farm: Farm, options):
    """The collector's address is one that NAT turns into gfwd's own."""
    way_back(farm)
    route(farm.us, LEADS_BACK, via=NEAR)
    route(farm.near, "10.0.0.0/24", via="10.8.0.2")
    nat = f"add table ip nat; add chain ip nat pre {{ type nat hook prerouting priority -100; }}; \
            add rule ip nat pre ip daddr {ASTRAY} dnat to 10.0.0.1"
    assert farm.near.start(["nft", nat], stdout=None, stderr=None).wait(30) == 0
    farm.run(config(options))
    comes_once_each(farm)


def comes_once_each(farm: Farm) -> None:
    """To the collector that is there; all that comes back is a loop."""
    sources = [f"10.9.0.{last}" for last in range(1, 4)]
    began = numbered(sources, 300)
    for at in range(0, 300, _AT_ONCE):
        for datagram in began[at : at + _AT_ONCE]:
            farm.send(datagram)
        farm.wait_for(at, NEAR)
    is_quiet(farm)
    warm = Counter(one.payload for one in farm.came() if one.destination == NEAR)
    assert set(warm) == {one.payload for one in began}
    assert max(warm.values()) <= 3 and warm.total() <= 300 + 3 * 2 * _AT_ONCE
    before = farm.gfwd.status()
    after = numbered(sources, NUMBER)
    came = Counter(one.payload for one in farm.exchange(after, witness=NEAR) if one.destination == NEAR)
    assert came == Counter(one.payload for one in after)
    status = is_quiet(farm)
    assert status["drops"]["loop"] == before["drops"]["loop"] + NUMBER
    assert status["received"] == before["received"] + 2 * NUMBER
    assert farm.gfwd.live.stop().account()["drops"]["loop"] == status["drops"]["loop"]


def is_quiet(farm: Farm) -> dict[str, Any]:
    """gfwd's status when it receives nothing any more."""
    found: list[dict[str, Any]] = [{"received": -1}]

    def is_so() -> bool:
        found.append(farm.gfwd.status())
        return found[-1]["received"] == found[-2]["received"] and balances(found[-1])

    wait_until(is_so, lambda: f"it goes on: {found[-1]}")
    return found[-1]
