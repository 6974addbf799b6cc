"""The table of checks: where all is well, none of them has anything to say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gfwd.daemon.doctor import (
    Finding,
    Severity,
    check_host,
    check_interfaces,
    check_listeners,
    check_netmap,
    check_ways,
    check_xdp,
    checks,
)


def test_where_all_is_well(xdp):
    assert xdp.lines() == []


def test_where_all_is_well_with_netmap(netmap):
    assert netmap.lines() == []


def test_where_all_is_well_on_freebsd(freebsd):
    assert freebsd.lines() == []


def test_each_check_stands_in_the_table_once():
    assert len(set(checks.CHECKS)) == len(checks.CHECKS)
    modules = (check_host, check_interfaces, check_listeners, check_netmap, check_ways, check_xdp)
    written = [its for module in modules for name, its in vars(module).items() if is_check(module, name, its)]
    assert set(written) == set(checks.CHECKS)


def is_check(module: Any, name: str, its: Any) -> bool:
    return callable(its) and getattr(its, "__module__", "") == module.__name__ and not name.startswith("_")


def test_a_finding_as_text_and_as_json():
    finding = Finding(Severity.WARNING, "xdp:in0", "the interface is down", "ip link set dev in0 up")
    assert str(finding) == "xdp:in0: warning: the interface is down; mend it: ip link set dev in0 up"
    assert str(replace(finding, mend=None)) == "xdp:in0: warning: the interface is down"
    assert finding.as_json() == {
        "severity": "warning",
        "what": "xdp:in0",
        "message": "the interface is down",
        "mend": "ip link set dev in0 up",
    }
