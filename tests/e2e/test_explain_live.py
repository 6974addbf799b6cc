"""What gfwd explain --live says is what a gfwd that runs does, while collectors go down and come up again."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.e2e.live import Arrived, Live, Site

pytestmark = pytest.mark.usefixtures("live_network")

CONFIG = """control = "{folder}/control"
[ports]
in = ["xdp:in0"]
out = ["xdp:out0"]

[collector.one]
host = "10.1.0.2"
port = 5140
{quick}
[collector.two]
host = "10.1.0.3"
port = 5140
{quick}
[collector.sure]
host = "10.1.0.4"
backup = ["spare"]
{quick}
[collector.spare]
host = "10.1.0.5"
source = "own"
source_port = 5000
ttl = 9

[group.farm]
members = ["one", "two"]

[[rule]]
source = "*"
ports = 514
collectors = ["farm"]
priority = "A"

[[rule]]
source = "10.0.0.2"
ports = 514
collectors = ["sure"]
priority = "B"
apply = "all"
"""
QUICK = 'check = "tcp:7"\ninterval = 1\nrise = 1\nfall = 2\n'
ADDRESSES = {"one": "10.1.0.2", "two": "10.1.0.3", "sure": "10.1.0.4", "spare": "10.1.0.5"}


class Told:
    """gfwd in a site, whose collectors are up where somebody listens."""

    def __init__(self, site: Site, run: Any, gfwd: list[str], folder: Any) -> None:
        self.site, self._run, self._config = site, run, folder / "gfwd.toml"
        self._config.write_text(CONFIG.format(folder=folder, quick=QUICK))
        for address in ADDRESSES.values():
            if address != "10.1.0.2":
                site.near.address("c0", f"{address}/24")
        self._servers: dict[str, socket.socket] = {}
        for name in ("one", "two", "sure"):
            self.listen(name)
        self.live = site.stack.enter_context(Live([*gfwd, "run", "-c", self._config, "--json"], site.us))
        self.live.wait_for(*(f"collector {name}: up" for name in self._servers))

    def listen(self, name: str) -> None:
        server = self._servers[name] = self.site.stack.enter_context(self.site.near.socket(kind=socket.SOCK_STREAM))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((ADDRESSES[name], 7))
        server.listen(64)

    def silence(self, name: str) -> None:
        self._servers.pop(name).close()
        self.live.wait_for(f"collector {name}: down: ")

    def explain(self, *words: str) -> str:
        done = self._run("explain", "10.0.0.2:514", "-c", self._config, "--live", *words)
        assert (done.returncode, done.stderr) == (0, ""), done
        text: str = done.stdout
        return text

    def copies(self) -> list[dict[str, Any]]:
        """As explain tells them; they are those that leave, or the test fails."""
        told = json.loads(self.explain("--json"))
        before = self.site.collector.look()
        self.site.sender.sendto(b"x", ("10.0.0.1", 514))
        leaving = [copy for copy in told["copies"] if copy["drop"] is None]
        self.site.collector.wait_for(before + len(leaving))
        for copy, came in zip(leaving, self.site.collector.arrived()[before:], strict=True):
            self._compare(copy, came)
        assert {one["collector"] for one in told["down"]} == {"one", "two", "sure"} - self._servers.keys()
        copies: list[dict[str, Any]] = told["copies"]
        return copies

    def _compare(self, copy: dict[str, Any], came: Arrived) -> None:
        source_port = self.site.sender.getsockname()[1]
        assert came.destination == copy["address"] == ADDRESSES[copy["collector"]]
        assert came.source == (copy["own"] or "10.0.0.2")
        assert came.ports == (copy["source_port"] or source_port, copy["port"])
        assert came.ttl == (copy["ttl"] or 63)
        assert (came.to_mac.hex(":"), copy["way"]["port"]) == (copy["way"]["mac"], "xdp:out0")


def test_while_collectors_come_and_go(site, run, gfwd, tmp_path):
    told = Told(site, run, gfwd, tmp_path)
    chosen, sure = told.copies()
    assert (chosen["group"], sure["collector"], sure["instead_of"]) == ("farm", "sure", None)
    assert (chosen["health"]["state"], sure["health"]["state"]) == ("up", "up")
    other = ({"one", "two"} - {chosen["collector"]}).pop()

    told.silence(chosen["collector"])
    left, _ = told.copies()
    assert (left["collector"], left["group"], left["one_of"]) == (other, "farm", False)
    text = told.explain()
    assert f"down     {chosen['collector']} " in text and "checked by tcp:7: Connection refused" in text, text

    told.silence("sure")
    _, spare = told.copies()
    assert (spare["collector"], spare["instead_of"], spare["own"]) == ("spare", "sure", "10.1.0.1")
    text = told.explain()
    assert "spare, in place of sure, source 10.1.0.1 (gfwd's own), source port 5000, TTL 9" in text, text

    told.silence(other)
    *none, _ = told.copies()
    assert [one["drop"] for one in none] == ["no_collector"]

    told.listen("sure")
    told.live.wait_for("collector sure: up again after ")
    *_, sure = told.copies()
    assert (sure["collector"], sure["instead_of"]) == ("sure", None)
    assert told.live.stop().status == 0
