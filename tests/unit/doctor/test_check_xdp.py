"""Each check of AF_XDP fires for its own reason, and for no other."""

from __future__ import annotations

import pytest

from gfwd.config import values
from gfwd.daemon.doctor.facts import Program, Queues, Xdp
from gfwd.daemon.ports import Wanted
from tests.unit.doctor.hosts import one, rules


def test_xdp_on_freebsd(freebsd):
    freebsd.ask(ports=(Wanted(values.port("xdp:in0"), True, False), freebsd.asked.ports[1]))
    assert freebsd.lines() == ["xdp:in0: error: there is no AF_XDP on FreeBSD; the port would be netmap:in0"]


@pytest.mark.parametrize(
    ("its", "line"),
    [
        ({"kernel": (5, 9)}, "AF_XDP: error: this is Linux 5.9, and gfwd needs 5.10 or later"),
        ({"kernel": (4, 19)}, "AF_XDP: error: this is Linux 4.19, and gfwd needs 5.10 or later"),
        ({"has_sockets": False}, "AF_XDP: error: this kernel was built without it (CONFIG_XDP_SOCKETS)"),
        (
            {"missing": ("CAP_BPF", "CAP_PERFMON")},
            "AF_XDP: error: no permission: run gfwd as root, or give it CAP_BPF, CAP_PERFMON",
        ),
        (
            {"lockable": 1 << 20},
            "AF_XDP: error: gfwd needs 24,576 KiB of locked memory and a little more, and may have 1,024 (systemd: "
            "LimitMEMLOCK=infinity); mend it: ulimit -l unlimited",
        ),
    ],
)
def test_what_linux_grants(xdp, netmap, its, line):
    granted = Xdp(**{"kernel": (5, 10), **its})
    xdp.know(xdp=granted)
    assert xdp.lines() == [line]
    netmap.know(xdp=granted)
    assert netmap.lines() == []


def test_what_linux_grants_just_enough(xdp):
    xdp.know(xdp=Xdp(kernel=(5, 10), lockable=24 << 20))
    assert xdp.lines() == []


@pytest.mark.parametrize("mode", ["xdpdrv", "xdpgeneric"])
def test_a_foreign_program(xdp, mode):
    xdp.change("in0", xdp_mode=mode)
    assert xdp.lines() == [
        "xdp:in0: error: an XDP program is attached to it: take it off, or end what has attached it; mend it: ip link "
        f"set dev in0 {mode} off"
    ]
    xdp.change("in0", xdp_holder=Program("gfwd", 812))
    assert xdp.lines() == [
        "xdp:in0: error: an XDP program is attached to it, held by gfwd (pid 812): end that; mend it: kill 812"
    ]


def test_generic_mode(xdp):
    xdp.change("in0", has_native_xdp=False)
    xdp.change("out0", has_native_xdp=None)
    assert xdp.lines() == ["xdp:in0: warning: generic mode, which is slower: the driver ixgbe has no native XDP"]


def test_mtus(xdp):
    for name in ("in0", "out0"):
        xdp.change(name, mtu=3_000)
    assert xdp.lines() == []
    for name in ("in0", "out0"):
        xdp.change(name, mtu=3_500)
    assert [line.partition(": warning: ")[0] for line in xdp.lines()] == ["xdp:in0", "xdp:out0"]
    assert "may refuse native XDP" in xdp.lines()[0]
    for name in ("in0", "out0"):
        xdp.change(name, mtu=9_000, has_native_xdp=False, driver="")
    assert xdp.lines()[2:] == [
        "xdp:in0: warning: its MTU is 9000, and datagrams in frames longer than 3,840 bytes will be lost, counted; "
        "mend it: ip link set dev in0 mtu 3000"
    ]


def test_queues_and_workers(xdp):
    xdp.ask(workers=2, rules=None)
    xdp.know(cpus=frozenset({0, 1}))
    assert xdp.lines() == [
        "xdp:out0: error: 2 workers need a TX queue each, and it has 1; mend it: ethtool -L out0 combined 2",
        "--workers: error: 2 workers, and 1 RX queues in all; each needs one of its own",
    ]
    for name in ("in0", "out0"):
        xdp.change(name, queues=Queues(2, 2, 0))
    assert xdp.lines() == []


def test_too_many_queues(xdp):
    xdp.ask(rules=None)
    xdp.change("in0", queues=Queues(0, 0, 500))
    line = one(xdp.lines())
    assert line.startswith("xdp:in0: error: 500 RX queues, and a worker reads up to ")
    assert line.endswith("; mend it: ethtool -L in0 combined 1")


def test_few_exporters(xdp, tmp_path):
    xdp.change("in0", queues=Queues(8, 8, 0))
    assert xdp.lines() == [
        "xdp:in0: note: 8 RX queues for 1 exporter: some stay empty, and one worker looks at all of them; mend it: "
        "ethtool -L in0 rx 1 tx 1"
    ]
    for text in ("10.0.0.0/29 514 10.1.0.2 A\n", "10.0.0.2 514 10.1.0.2 A\n* 514 10.1.0.2 B\n"):
        xdp.ask(rules=rules(tmp_path, text))
        assert xdp.lines() == []


def test_more_workers_than_exporters(xdp):
    for name in ("in0", "out0"):
        xdp.change(name, queues=Queues(0, 0, 2))
    xdp.ask(workers=2)
    xdp.know(cpus=frozenset({0, 1}))
    assert one(xdp.lines()).startswith("--workers: warning: 2 workers for 1 exporter: a card puts each exporter into")
