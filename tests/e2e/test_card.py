"""gfwd run puts its cards in order, says so, and leaves them as they were, whichever way it ends."""

from __future__ import annotations

import signal

import pytest

from gfwd.daemon.card import linux
from gfwd.daemon.card.system import Feature
from tests.e2e.live import BOTH_ARMS, Site

TO_NEAR = "* 514 10.1.0.2 A\n"
CHANGED = "xdp:in0: switched off: rx-vlan-offload; it comes back when gfwd ends"
PUT_BACK = "xdp:in0: switched off: rx-vlan-offload: left over from a gfwd that did not end properly, put back"


pytestmark = pytest.mark.usefixtures("live_network")


def features(site: Site, name: str = "in0") -> dict[str, Feature]:
    with site.us.inside():
        return linux.features(name)


def sees_tags(site: Site) -> bool:
    there = features(site)
    return not any(there[name].is_on for name in linux.RX_VLAN.features)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_tags_stay_on_frames_while_it_runs(site, end):
    before, out = features(site), features(site, "out0")
    assert not sees_tags(site)
    live = site.run(TO_NEAR)
    live.wait_for(CHANGED)
    assert sees_tags(site)
    assert features(site, "out0") == out
    assert site.forwards(b"datagram")
    ended = live.stop(end)
    assert ended.status == 0
    assert ended.said.count("xdp:in0: ") == 1
    assert features(site) == before


def test_a_signal_before_it_is_ready(site):
    before = features(site)
    live = site.start(TO_NEAR, *BOTH_ARMS)
    live.wait_for(CHANGED)
    assert live.stop().status == 0
    assert features(site) == before


def test_killed(site):
    """The next one puts it back, and changes it anew."""
    before = features(site)
    live = site.run(TO_NEAR)
    live.kill()
    assert sees_tags(site)
    live = site.run(TO_NEAR)
    assert live.said().splitlines()[:2] == [PUT_BACK, CHANGED]
    assert sees_tags(site)
    assert site.forwards(b"datagram")
    assert live.stop().status == 0
    assert features(site) == before


def test_killed_and_another_one_cannot_start(site):
    before = features(site)
    site.run(TO_NEAR).kill()
    ended = site.start(TO_NEAR, "--in", "xdp:in7", "--out", "xdp:out0").ended()
    assert ended.status == 1
    assert PUT_BACK in ended.said.splitlines()
    assert features(site) == before


@pytest.mark.parametrize("name", ["in0", "out0"])
def test_an_interface_that_is_down(site, name):
    site.us.down(name)
    before = features(site, name)
    live = site.run(TO_NEAR)
    live.wait_for(f"xdp:{name}: brought up; it goes down again when gfwd ends")
    site.wait_until_it_forwards(b"datagram")
    assert live.stop().status == 0
    with site.us.inside():
        assert not linux.is_up(name)
    assert features(site, name) == before
