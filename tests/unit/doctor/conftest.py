"""Hosts where all is well: with ports of AF_XDP, with ports of netmap on Linux, and on FreeBSD."""

import pytest

from gfwd.daemon import advice
from tests.unit.doctor.hosts import Doctor, rules


@pytest.fixture
def xdp(tmp_path) -> Doctor:
    return Doctor("xdp", rules(tmp_path, "10.0.0.2 514 10.1.0.2 A\n"))


@pytest.fixture
def netmap(tmp_path) -> Doctor:
    return Doctor("netmap", rules(tmp_path, "10.0.0.2 514 10.1.0.2 A\n"))


@pytest.fixture
def freebsd(netmap: Doctor, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.setattr(advice, "_IS_FREEBSD", True)
    netmap.know(system="FreeBSD", xdp=None)
    return netmap
