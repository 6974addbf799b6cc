"""Who could look on where gfwd answers over the network."""

from __future__ import annotations

import pytest

from gfwd.config import values
from tests.unit.doctor.hosts import one


@pytest.mark.parametrize("endpoint", ["0.0.0.0:9055", "[::]:9055"])
def test_metrics_on_all_addresses(xdp, endpoint):
    xdp.ask(metrics=values.endpoint(endpoint))
    line = one(xdp.lines())
    assert line.startswith(f"metrics {endpoint}: warning: on all addresses of this host")
    assert "nobody is asked for a password" in line


@pytest.mark.parametrize("endpoint", ["8.8.8.8:9055", "[2a00::1]:9055"])
def test_metrics_on_an_address_of_the_internet(xdp, endpoint):
    xdp.ask(metrics=values.endpoint(endpoint))
    assert one(xdp.lines()).startswith(f"metrics {endpoint}: note: an address that the whole Internet may reach")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9055", "[::1]:9055", "10.0.0.1:9055", "[fd00::1]:9055"])
def test_metrics_on_an_address_for_few(xdp, endpoint):
    xdp.ask(metrics=values.endpoint(endpoint))
    assert xdp.lines() == []
