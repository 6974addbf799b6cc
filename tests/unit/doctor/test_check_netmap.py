"""Each check of netmap fires for its own reason, and for no other."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from gfwd.daemon.doctor.facts import Netmap, Program, Rings
from tests.unit.doctor.hosts import SETTINGS, one


@pytest.mark.parametrize(
    ("why", "line"),
    [
        (errno.ENOENT, "is not there: the netmap module is not loaded; mend it: modprobe netmap"),
        (errno.ENXIO, "is not there: the netmap module is not loaded; mend it: modprobe netmap"),
        (errno.EACCES, "no permission: run gfwd as root, or give its user the device"),
        (errno.EMFILE, "cannot be opened: Too many open files"),
    ],
)
def test_no_device(netmap, xdp, why, line):
    netmap.know(netmap=Netmap(errno=why, speaks_api=False))
    assert netmap.lines() == [f"/dev/netmap: error: {line}"]
    xdp.know(netmap=Netmap(errno=why))
    assert xdp.lines() == []
    xdp.ask(ports=())
    assert xdp.lines()[0] == f"/dev/netmap: note: {line}"


def test_no_device_on_freebsd(freebsd):
    freebsd.ask(ports=())
    freebsd.know(netmap=Netmap(errno=errno.ENOENT))
    assert freebsd.lines()[0] == (
        "/dev/netmap: error: is not there: the netmap module is not loaded; mend it: kldload netmap"
    )


def test_another_version(netmap):
    netmap.know(netmap=replace(netmap.facts.netmap, speaks_api=False))
    assert netmap.lines() == [
        "/dev/netmap: error: this netmap is of another version than 14, which gfwd speaks: it takes a newer kernel"
    ]


def test_a_card_that_is_taken(freebsd):
    freebsd.change("in0", in_netmap_mode=True)
    assert one(freebsd.lines()).startswith("netmap:in0: error: a program has it in netmap mode")


def test_other_programs_with_netmap_open(netmap, xdp):
    netmap.know(netmap=replace(netmap.facts.netmap, users=(Program("bridge", 7), Program("pkt-gen", 8))))
    assert netmap.lines() == [
        "/dev/netmap: warning: bridge (pid 7), pkt-gen (pid 8) has it open: if with the rings of a port asked for, "
        "gfwd will be refused"
    ]
    xdp.know(netmap=netmap.facts.netmap)
    assert xdp.lines() == []


def test_a_card_that_netmap_does_not_take(netmap):
    netmap.change("in0", rings=None, netmap_error="Invalid argument")
    assert netmap.lines() == ["netmap:in0: error: netmap does not take it: Invalid argument"]


@pytest.mark.parametrize(
    ("mode", "native", "start", "end"),
    [
        (0, True, "", ""),
        (1, True, "", ""),
        (1, None, "", ""),
        (0, False, "netmap:in0: warning: its driver does not know netmap", "slower"),
        (0, None, "netmap:in0: note: netmap does not tell whether its driver (ixgbe) knows netmap", "former only"),
        (1, False, "netmap:in0: error: its driver does not know netmap", "mend it: sysctl dev.netmap.admode=0"),
        (2, True, "dev.netmap.admode: warning: 2: netmap emulates all", "mend it: sysctl dev.netmap.admode=0"),
        (2, False, "dev.netmap.admode: warning: 2: netmap emulates all", "mend it: sysctl dev.netmap.admode=0"),
    ],
)
def test_native_or_emulated(freebsd, mode, native, start, end):
    freebsd.know(netmap=Netmap(settings={**SETTINGS, "admode": mode}))
    freebsd.change("in0", has_native_netmap=native)
    line = "".join(freebsd.lines())
    assert line.startswith(start) and line.endswith(end) and bool(line) == bool(start)


def test_buffers_too_small(netmap):
    for name in ("in0", "out0"):
        netmap.change(name, mtu=2_026)
    assert netmap.lines() == []
    for name in ("in0", "out0"):
        netmap.change(name, mtu=9_000)
    assert netmap.lines() == [
        "dev.netmap.buf_size: warning: 2,048 bytes, and a frame at an MTU of 9000 takes 9,022: netmap refuses the "
        "card, or longer frames are dropped (too_big); mend it: echo 16384 > /sys/module/netmap/parameters/buf_size"
    ]


def test_too_little_memory(netmap):
    for name in ("in0", "out0"):
        netmap.change(name, rings=Rings(64, 64, 4_096, 4_096))
    assert netmap.lines() == [
        "dev.netmap.ring_num: error: it is 200, and the cards asked for take 260 rings; mend it: echo 260 > "
        "/sys/module/netmap/parameters/ring_num",
        "dev.netmap.ring_size: error: it is 36,864, and the cards asked for take 65,792 bytes for a ring of 4,096 "
        "slots; mend it: echo 69632 > /sys/module/netmap/parameters/ring_size",
        "dev.netmap.buf_num: error: it is 163,840, and the cards asked for take 1,056,768 buffers; mend it: echo "
        "1056768 > /sys/module/netmap/parameters/buf_num",
    ]
