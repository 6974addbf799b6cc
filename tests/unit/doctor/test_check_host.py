"""Each check of the host fires for its own reason, and for no other."""

from __future__ import annotations

from tests.unit.doctor.hosts import one


def test_tables_that_cannot_be_read(xdp):
    xdp.know(
        tables_error="the kernel's tables: error: they change faster than they can be read", interfaces={}, ways={}
    )
    assert xdp.lines()[0] == "interfaces: error: they change faster than they can be read"
    assert not any("no such interface" in line or "no route" in line for line in xdp.lines())


def test_cpus(xdp):
    xdp.ask(cpus=(0, 7))
    assert xdp.lines() == ["--cpu: error: there is no CPU 7 for gfwd; there are 0"]


def test_more_workers_than_cpus(netmap):
    netmap.ask(workers=2)
    assert one(netmap.lines()).startswith("--workers: warning: 2 workers, and CPUs for 1: ")
