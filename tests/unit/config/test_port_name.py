"""Ports as they are named on the command line."""

from __future__ import annotations

import pytest

from gfwd.config.port_name import PortName
from gfwd.config.values import port


@pytest.mark.parametrize(
    ("text", "name", "interface", "rings"),
    [
        ("xdp:eth0", PortName("xdp", "eth0"), "eth0", None),
        ("xdp:eth0-1", PortName("xdp", "eth0-1"), "eth0-1", None),
        ("xdp:eth0.100", PortName("xdp", "eth0.100"), "eth0.100", None),
        ("netmap:ix0", PortName("netmap", "netmap:ix0"), "ix0", None),
        ("netmap:ix0*", PortName("netmap", "netmap:ix0", True), "ix0", None),
        ("netmap:ix0-1", PortName("netmap", "netmap:ix0-1"), "ix0", range(1, 2)),
        ("netmap:ix0-0-3", PortName("netmap", "netmap:ix0-0-3"), "ix0", range(4)),
        ("netmap:ix0-0-3*", PortName("netmap", "netmap:ix0-0-3", True), "ix0", range(4)),
        ("netmap:x{1", PortName("netmap", "netmap:x{1"), None, None),
        ("netmap:x}1", PortName("netmap", "netmap:x}1"), None, None),
        ("vale0:a", PortName("vale", "vale0:a"), None, None),
        ("vale0:a-1", PortName("vale", "vale0:a-1"), None, None),
    ],
)
def test_names(text, name, interface, rings):
    assert port(text) == name
    assert str(name) == text
    assert name.interface == interface
    assert name.rings == rings


@pytest.mark.parametrize(
    "text",
    ["", "eth0", "xdp:", "xdp:a/b", "xdp:" + "x" * 16, "xdp:a b", "netmap:", "netmap:ix0^", "vale0", "vale0:", "mem:a"],
)
def test_no_names(text):
    with pytest.raises(ValueError, match="right would be xdp:eth0"):
        port(text)
