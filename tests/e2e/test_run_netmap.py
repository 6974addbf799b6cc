"""gfwd run on netmap where there is none: each port says so. What was shown with netmap stands in docs/netmap.md."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

NO_NETMAP = "error: there is no /dev/netmap: load netmap (FreeBSD: kldload netmap; Linux: insmod netmap.ko)"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="gfwd runs on Linux only as yet"),
    pytest.mark.skipif(Path("/dev/netmap").exists(), reason="this machine has netmap"),
]


def test_without_netmap_every_port_says_so(run, write):
    rules = write("rules", "* 514 192.0.2.7 A")
    ports = ("--in", "netmap:x{1", "--out", "vale0:a")
    done = run("run", "--rules", rules, *ports, "--address", "192.0.2.1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"netmap:x{{1: {NO_NETMAP}",
        f"vale0:a: {NO_NETMAP}",
        "error: there is no port that datagrams could come in by",
    ]


def test_an_interface_that_is_not_there(run, write):
    rules = write("rules", "* 514 192.0.2.7 A")
    done = run("run", "--rules", rules, "--port", "netmap:nosuch0*")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "netmap:nosuch0*: error: there is no such interface"


def test_a_name_that_is_none(run, write):
    done = run("run", "--rules", write("rules", "* 514 192.0.2.7 A"), "--port", "netmap:")
    assert done.returncode == 2
    assert "'netmap:' is no port; right would be xdp:eth0" in done.stderr
