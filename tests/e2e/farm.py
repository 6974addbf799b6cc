"""Many exporters and a host with many collectors around a gfwd that has a gfwd.toml, for what options do."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tests.e2e.live import Arrived, Collector, Live, arrived, balances, cable, host, route, wait_until
from tests.net.network import Host

COLLECTORS = tuple(f"10.1.0.{last}" for last in range(2, 8))
EXPORTERS = tuple(f"10.9.0.{last}" for last in range(1, 41))
HEAD = """\
control = "{control}"
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]
"""
_IN_FLIGHT = 80  # copies: a veth keeps 256 packets, and what is more is lost
_AT_ONCE = 20


class Datagram(NamedTuple):
    """What an exporter sends to gfwd."""

    source: str
    payload: bytes
    port: int = 514
    source_port: int = 40_000


class Gfwd:
    """A gfwd in a host, told by a gfwd.toml."""

    def __init__(self, command: Sequence[str], at: Host, folder: Path, stack: ExitStack) -> None:
        self._command, self._at, self._stack = command, at, stack
        self.config, self.control = folder / "gfwd.toml", folder / "control"
        self.live: Live

    def run(self, config: str) -> None:
        """It is ready, and ends with the network at the latest."""
        self.config.write_text(config)
        started = Live([*self._command, "run", "-c", self.config, "--json"], self._at)
        self.live = self._stack.enter_context(started)
        self.live.wait_for("forwarding from")

    def reload(self, config: str) -> None:
        new = self.config.with_suffix(".new")
        new.write_text(config)
        new.replace(self.config)
        before = self.live.said().count(": reloaded, ")
        self.live.send(signal.SIGHUP)
        wait_until(lambda: self.live.said().count(": reloaded, ") > before, self.live.said)

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [*self._command, "status", "--json", "-c", self.config], capture_output=True, text=True, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def settled(self, received: int) -> dict[str, Any]:
        """Its status once it has received so many frames and both ledgers balance, and that is soon."""
        found: list[dict[str, Any]] = [{}]

        def is_settled() -> bool:
            found[0] = self.status()
            return found[0]["received"] >= received and balances(found[0])

        wait_until(is_settled, lambda: f"{received} frames sent, and the status is {found[0]}")
        assert found[0]["received"] == received
        return found[0]


class Farm(AbstractContextManager["Farm"]):
    """exporters e0 — in0 gfwd out0 — c0 collectors.

    The exporters, of EXPORTERS and fd09::1 to fd09::4, send to 10.0.0.1 and fd00::1; the collectors are COLLECTORS, and
    fd01::2 and fd01::3, seen from 10.1.0.1 and fd01::1.
    """

    def __init__(self, gfwd: Sequence[str], folder: Path) -> None:
        self.folder = folder
        with ExitStack() as stack:
            self.exporters, self.us, self.near = (host(stack, speaks_ipv6=True) for _ in range(3))
            cable(self.exporters, "e0", self.us, "in0")
            cable(self.us, "out0", self.near, "c0")
            for at, interface, addresses in (
                (self.us, "in0", ["10.0.0.1/24", "fd00::1/64"]),
                (self.us, "out0", ["10.1.0.1/24", "fd01::1/64"]),
                (self.exporters, "e0", ["10.0.0.2/24", "fd00::2/64", *(f"{one}/32" for one in EXPORTERS)]),
                (self.exporters, "e0", [f"fd09::{last}/128" for last in range(1, 5)]),
                (self.near, "c0", [*(f"{one}/24" for one in COLLECTORS), "fd01::2/64", "fd01::3/64"]),
            ):
                for address in addresses:
                    at.address(interface, address)
            route(self.near, "fd09::/64", via="fd01::1")
            self.collector = stack.enter_context(Collector(self.near, "c0"))
            self.stack = stack.pop_all()
        self.gfwd = Gfwd(gfwd, self.us, folder, self.stack)
        self.sent = 0
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._came: list[Arrived] = []
        self._counts = Counter[str]()

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    # ---- gfwd ----

    def head(self, *lines: str) -> str:
        """What stands at the head of each gfwd.toml; lines: keys of its top."""
        return "\n".join((*lines, HEAD.format(control=self.gfwd.control)))

    def run(self, text: str, *lines: str) -> None:
        self.gfwd.run(self.head(*lines) + text)

    def reload(self, text: str, *lines: str) -> None:
        self.gfwd.reload(self.head(*lines) + text)

    def settled(self) -> dict[str, Any]:
        """gfwd's status when it has received all that was sent."""
        return self.gfwd.settled(self.sent)

    def ended(self) -> dict[str, Any]:
        """Stop gfwd; its account, which balances."""
        ended = self.gfwd.live.stop()
        assert ended.status == 0, ended.said
        account = ended.account()
        assert account["received"] == self.sent
        return account

    # ---- datagrams ----

    def send(self, datagram: Datagram) -> None:
        is_v6 = ":" in datagram.source
        key = datagram.source, datagram.source_port
        if key not in self._sockets:
            self._sockets[key] = new = self.stack.enter_context(
                self.exporters.socket(socket.AF_INET6 if is_v6 else socket.AF_INET)
            )
            new.bind(key)
        self._sockets[key].sendto(datagram.payload, ("fd00::1" if is_v6 else "10.0.0.1", datagram.port))
        self.sent += 1

    def exchange(
        self, datagrams: Iterable[Datagram], copies: int | Mapping[str, int] = 1, *, witness: str = ""
    ) -> list[Arrived]:
        """Send no faster than they arrive, and wait until all have; returns what came.

        copies: of each datagram so many arrive (by its source, where that matters), at all collectors, or at the one
        that is the witness.
        """
        wanted, start = self.count(witness), len(self.came())
        for sent, datagram in enumerate(datagrams, 1):
            self.send(datagram)
            wanted += copies if isinstance(copies, int) else copies[datagram.source]
            if sent % _AT_ONCE == 0:
                self.wait_for(wanted - _IN_FLIGHT, witness)
        self.wait_for(wanted, witness)
        assert self.count(witness) == wanted
        return self.came()[start:]

    def wait_for(self, number: int, collector: str = "") -> None:
        """Until so many datagrams have come, to that collector or to all, since the farm is there."""
        wait_until(lambda: self.count(collector) >= number, lambda: f"{self.count(collector)} of {number} copies came")

    def count(self, collector: str = "") -> int:
        """How many datagrams have come so far over IPv4, to that collector or to all."""
        came = self.came()
        return self._counts[collector] if collector else len(came)

    def came(self) -> list[Arrived]:
        """All that has come so far over IPv4."""
        self.collector.look()
        new = [arrived(frame) for frame in self.collector.frames[len(self._came) :]]
        self._counts += by_destination(new)
        self._came += new
        return self._came


def by_destination(came: Iterable[Arrived]) -> Counter[str]:
    return Counter(one.destination for one in came)


def numbered(sources: Sequence[str], number: int, *, port: int = 514) -> list[Datagram]:
    """So many datagrams, from the sources in turn, of which each says its number."""
    return [Datagram(sources[n % len(sources)], b"%08d" % n, port) for n in range(number)]
