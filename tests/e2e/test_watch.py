"""watch = true: gfwd reloads by itself when its files have changed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.live import Live, Site, wait_until

pytestmark = pytest.mark.usefixtures("live_network")

SEVERAL_LOOKS_S = 4.0


class Watched:
    """A gfwd that runs by gfwd.toml and gfwd.rules, and watches them. Its collector has the addresses .2, .3 and .4."""

    def __init__(self, site: Site, gfwd: list[str], folder: Path) -> None:
        self.site, self.folder = site, folder
        for last in (3, 4):
            site.near.address("c0", f"10.1.0.{last}/24")
        self.toml, self.rules = folder / "gfwd.toml", folder / "gfwd.rules"
        self.toml.write_text(self.configuration())
        self.rules.write_text(self.to(2))
        self.live: Live = site.stack.enter_context(Live([*gfwd, "run", "-c", self.toml, "--json"], site.us))
        self.live.wait_for("forwarding from")

    def configuration(self, rules: str = "gfwd.rules") -> str:
        return f'watch = true\nrules = "{rules}"\nports.in = ["xdp:in0"]\nports.out = ["xdp:out0"]\n'

    def to(self, last: int) -> str:
        return f"* 514 10.1.0.{last} A\n"

    def reloads(self) -> int:
        return self.live.said().count(": reloaded, ")

    def goes_to(self, last: int) -> None:
        """Wait until datagrams arrive at this address; one after another, each of them arrives somewhere."""
        wait_until(lambda: self._arrives_at() == f"10.1.0.{last}", self.live.said)

    def _arrives_at(self) -> str:
        assert self.site.forwards(b"datagram %f" % time.monotonic())
        time.sleep(0.05)
        return self.site.collector.arrived()[-1].destination


@pytest.fixture
def its(site, gfwd, tmp_path):
    (tmp_path / "etc").mkdir()
    return Watched(site, gfwd, tmp_path / "etc")


def test_edits_of_both_files(its):
    its.goes_to(2)
    new = its.folder / "new"
    new.write_text(its.to(3))
    os.replace(new, its.rules)
    its.goes_to(3)
    its.rules.write_text(its.to(4))  # in place
    its.goes_to(4)
    (its.folder / "other.rules").write_text(its.to(2))
    its.toml.write_text(its.configuration("other.rules"))
    its.goes_to(2)
    (its.folder / "other.rules").write_text(its.to(3))  # which is watched from now on
    its.goes_to(3)
    its.toml.write_text(its.configuration("other.rules").replace("watch = true", "watch = false"))
    wait_until(lambda: its.reloads() == 5, its.live.said)
    (its.folder / "other.rules").write_text(its.to(4))
    time.sleep(SEVERAL_LOOKS_S)
    its.goes_to(3)
    its.live.send(signal.SIGHUP)
    its.goes_to(4)
    ended = its.live.stop()
    assert ended.status == 0 and ended.said.count("reloaded") == 6 and "error" not in ended.said
    assert ended.account()["copies"]["sent"] == len(its.site.collector.frames)


def test_a_symbolic_link_that_leads_elsewhere(site, gfwd, tmp_path):
    """As Kubernetes has it for config maps."""
    for version, last in (("one", 2), ("two", 3)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "gfwd.rules").write_text(f"* 514 10.1.0.{last} A\n")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "gfwd.rules").symlink_to("../..data/gfwd.rules")

    class Linked(Watched):
        def to(self, last: int) -> str:
            return self.rules.read_text() if last == 2 else super().to(last)

    its = Linked(site, gfwd, tmp_path / "etc")
    its.goes_to(2)
    (tmp_path / "..new").symlink_to("two")
    os.replace(tmp_path / "..new", tmp_path / "..data")
    its.goes_to(3)
    assert its.live.stop().status == 0


def test_a_touch_is_no_change(its):
    its.rules.touch()
    its.toml.write_text(its.configuration())
    time.sleep(SEVERAL_LOOKS_S)
    its.rules.write_text(its.to(3))
    its.goes_to(3)
    assert its.live.stop().said.count("reloaded") == 1


def test_what_is_wrong_is_said_once_and_can_be_mended(its):
    its.rules.write_text("* 514 nonsense! A\n")
    its.live.wait_for("gfwd.rules:1:7: error: ", "reload: error: nothing has changed")
    its.rules.touch()
    time.sleep(SEVERAL_LOOKS_S)
    assert its.live.said().count("nothing has changed") == 1
    its.goes_to(2)
    its.rules.write_text("* 514 nonsense? A\n")
    wait_until(lambda: its.live.said().count("nothing has changed") == 2, its.live.said)
    its.rules.write_text(its.to(2))  # as it runs
    wait_until(lambda: its.reloads() == 1, its.live.said)
    its.toml.write_text(its.configuration("later.rules"))
    its.live.wait_for("later.rules: error: cannot read the rules")
    (its.folder / "later.rules").write_text(its.to(4))  # a file that only what was refused has named
    its.goes_to(4)
    assert its.live.stop().status == 0


def test_a_file_that_is_deleted_and_comes_back(its):
    its.rules.unlink()
    time.sleep(1.5)
    assert "error" not in its.live.said()
    its.live.wait_for("gfwd.rules: error: cannot read the rules: No such file", "nothing has changed")
    its.goes_to(2)
    its.rules.write_text(its.to(3))
    its.goes_to(3)
    assert its.live.stop().said.count("nothing has changed") == 1


def test_watching_costs_next_to_nothing(its):
    time.sleep(SEVERAL_LOOKS_S)  # what was read at the start is looked at once more
    before = its.live.cpu_s()
    time.sleep(5.0)
    assert its.live.cpu_s() - before < 0.25
    assert its.live.stop().status == 0
