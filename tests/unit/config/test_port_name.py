"""Ports as they are named on the command line."""

from __future__ import annotations

import pytest

from gfwd.config.port_name import PortName
from gfwd.config.values import port


@pytest.mark.parametrize(
    ("text", "name", "interface"),
    [
        ("xdp:eth0", PortName("xdp", "eth0"), "eth0"),
        ("xdp:eth0.100", PortName("xdp", "eth0.100"), "eth0.100"),
        ("netmap:ix0", PortName("netmap", "netmap:ix0"), "ix0"),
        ("netmap:ix0*", PortName("netmap", "netmap:ix0", True), "ix0"),
        ("netmap:ix0-1", PortName("netmap", "netmap:ix0-1"), "ix0"),
        ("netmap:ix0-0-3", PortName("netmap", "netmap:ix0-0-3"), "ix0"),
        ("netmap:x{1", PortName("netmap", "netmap:x{1"), None),
        ("netmap:x}1", PortName("netmap", "netmap:x}1"), None),
        ("vale0:a", PortName("vale", "vale0:a"), None),
    ],
)
def test_names(text, name, interface):
    assert port(text) == name
    assert str(name) == text
    assert name.interface == interface


@pytest.mark.parametrize(
    "text",
    ["", "eth0", "xdp:", "xdp:a/b", "xdp:" + "x" * 16, "xdp:a b", "netmap:", "netmap:ix0^", "vale0", "vale0:", "mem:a"],
)
def test_no_names(text):
    with pytest.raises(ValueError, match="right would be xdp:eth0"):
        port(text)
