"""Each check of netmap fires for its own reason, and for no other."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from gfwd.config import values
from gfwd.daemon.doctor.facts import Netmap, Program, Rings
from gfwd.daemon.ports import Wanted
from tests.unit.doctor.hosts import SETTINGS, Doctor, one


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
        "card, or longer frames are dropped (too_big); 20,480 buffers of 16,384 bytes take 320 MiB of the kernel's "
        "memory; mend it: echo 16384 > /sys/module/netmap/parameters/buf_size && echo 20480 > "
        "/sys/module/netmap/parameters/buf_num"
    ]


def test_larger_buffers_are_enough_for_the_cards(freebsd):
    for name in ("in0", "out0"):
        freebsd.change(name, mtu=4_000, rings=Rings(32, 32, 1_024, 1_024))
    assert one(freebsd.lines()).endswith(
        "; 135,168 buffers of 4,096 bytes take 528 MiB of the kernel's memory; mend it: sysctl "
        "dev.netmap.buf_size=4096 dev.netmap.buf_num=135168"
    )


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


# ---- rings ----


def through(doctor: Doctor, name: str, workers: int = 1, rings: Rings | None = None) -> list[str]:
    """One port for both directions, on in0 where it is a card's."""
    ports = (Wanted(values.port(name), True, True),)
    doctor.ask(ports=ports, workers=workers, rules=None, own=(values.own_prefix("192.0.2.1"),))
    doctor.know(cpus=frozenset(range(workers)), names={}, ways={})
    if rings:
        doctor.change("in0", rings=rings)
    return doctor.lines()


@pytest.mark.parametrize(
    ("name", "workers"),
    [("netmap:in0", 2), ("netmap:in0*", 1), ("netmap:in0-1", 1), ("netmap:in0-0-1", 2), ("netmap:x{1", 1)],
)
def test_enough_rings(netmap, name, workers):
    assert through(netmap, name, workers, Rings(2, 2, 512, 512)) == []


def test_no_such_ring(netmap):
    for name in ("netmap:in0-2", "netmap:in0-1-2", "netmap:in0-2*"):
        assert through(netmap, name, 1, Rings(2, 1, 512, 512)) == [
            f"{name}: error: there is no ring 2: the card has 2, from 0 up"
        ]


@pytest.mark.parametrize(
    ("name", "workers", "lines"),
    [
        (
            "netmap:in0",
            3,
            [
                "netmap:in0: error: 3 workers need a TX ring each, and it has 2: --workers 2",
                "--workers: error: 3 workers, and 2 RX queues in all; each needs one of its own",
            ],
        ),
        (
            "netmap:in0-1",
            2,
            [
                "netmap:in0-1: error: 2 workers need a TX ring each, and it has 1: --workers 1",
                "--workers: error: 2 workers, and 1 RX queues in all; each needs one of its own",
            ],
        ),
        (
            "netmap:in0*",
            2,
            ["--workers: error: the host stack has one ring, so one worker has to do; or leave out the *"],
        ),
        (
            "vale0:a",
            2,
            [
                "vale0:a: error: 2 workers need a TX ring each, and it has 1: --workers 1",
                "--workers: error: 2 workers, and 1 RX queues in all; each needs one of its own",
            ],
        ),
    ],
)
def test_more_workers_than_rings(netmap, name, workers, lines):
    assert through(netmap, name, workers, Rings(2, 2, 512, 512)) == lines


def test_more_rings_than_a_port_has_room_for(netmap):
    netmap.know(netmap=Netmap(settings={}))
    assert through(netmap, "netmap:in0", 1, Rings(65, 65, 512, 512)) == [
        "netmap:in0: error: 65 rings, and a port has up to 64: give the card fewer queues (ethtool -L in0)"
    ]
    assert through(netmap, "netmap:in0", 1, Rings(64, 64, 512, 512)) == []


# ---- what FreeBSD's neighbours are asked for by ----


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (errno.ENOENT, "cannot be opened (No such file or directory), so IPv4 neighbours cannot be asked for; a jail "),
        (errno.EACCES, "no permission, and IPv4 neighbours are asked for by it: run gfwd as root"),
    ],
)
def test_no_bpf(freebsd, why, words):
    freebsd.know(bpf_errno=why)
    assert freebsd.lines() == []
    assert one(through(freebsd, "netmap:in0*")).startswith(f"/dev/bpf: error: {words}")
