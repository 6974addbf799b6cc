"""Run: the real core between interfaces of this host, until it is told to stop."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from gfwd.config.port_name import PortName
from gfwd.daemon import signals
from gfwd.daemon.card.order import in_order
from gfwd.daemon.control import Control
from gfwd.daemon.forwarder import Forwarder, Setting
from gfwd.daemon.job import Run
from gfwd.daemon.keep_up import KeepUp
from gfwd.daemon.netmap_ports import open_netmap_ports
from gfwd.daemon.ports import Port, Say, Wanted
from gfwd.daemon.reload import Fresh, Reader, prepare
from gfwd.daemon.report import Report
from gfwd.daemon.service import Render, Service, setting_of
from gfwd.daemon.workers import Threads
from gfwd.daemon.xdp_ports import open_xdp_ports
from gfwd.errors import GfwdError, UsageError
from gfwd.l2.kernel import Kernel, open_kernel
from gfwd.native.core import Core, Limits, NeedsCopies, RunEnd, Worker
from gfwd.rules.model import ADDRESS_BITS, Prefix

# What a reload may bring more of. Counters and slots that nobody uses are address space, no memory.
_ROOM_FOR_RULES = 65_536
_ROOM_FOR_COLLECTORS = 4_096
_ROOM_FOR_NEIGHBOURS = 256


@dataclass(frozen=True, slots=True)
class _Around:
    """What stays when a core has to be given up for another one. See run()."""

    kernel: Kernel
    heard: signals.Signals
    reader: Reader
    say: Say
    render: Render


@dataclass(frozen=True, slots=True)
class Outcome:
    """The accounting, and whether all that was asked for worked to the end."""

    report: Report
    is_whole: bool


def run(read: Callable[[], Run], say: Say, render: Render) -> Outcome:
    """Forward until SIGINT or SIGTERM. read: says what, at the start and whenever a reload is asked for.

    `say` gets a line for whatever the operator should know meanwhile.
    """
    signals.ignore_early()
    job = read()
    _refuse_cpus(job)
    with open_kernel() as kernel:
        fresh = prepare(job)
        own = _own(kernel, job)
        setting = setting_of(fresh, own)
        not_the_kernels = bool(set(own) - set(_addresses_of(kernel, job.inputs)))
        with (
            signals.Signals() as heard,
            Reader(read) as reader,
            in_order(_wanted(job), say, promiscuous=not_the_kernels),
        ):
            around = _Around(kernel, heard, reader, say, render)
            try:
                return _forward(fresh, setting, around, copies=False)
            except NeedsCopies:
                return _forward(fresh, setting, around, copies=True)


def _forward(fresh: Fresh, setting: Setting, around: _Around, *, copies: bool) -> Outcome:
    job, kernel, say = fresh.job, around.kernel, around.say
    with Core(_limits(fresh, setting)) as core:
        ports = _open(core, kernel, job, setting, say, copies=copies)
        _refuse_halves(ports, setting)
        workers = _workers(core, ports, job)
        forwarder = Forwarder(kernel, core, ports, workers, say)
        forwarder.take(setting, fresh.space)
        service = Service(forwarder, job, around.reader, lambda its: _own(kernel, its), say, around.render)
        with (
            Control(Path(job.control), service.asked) if job.control else nullcontext() as control,
            KeepUp(ports, say),
            Threads(workers, job.cpus) as threads,
        ):
            service.serve(kernel.fileno(), workers, threads, around.heard, control)
            threads.stop()
            forwarder.drain()
        report = forwarder.report()
        is_whole = len(ports) == len({*job.inputs, *job.outputs}) and RunEnd.FAILED not in threads.ends()
        return Outcome(report, is_whole and all(port.is_whole() for port in report.ports))


def _limits(fresh: Fresh, setting: Setting) -> Limits:
    return Limits(
        rules=2 * len(fresh.space.ranked) + _ROOM_FOR_RULES,
        collectors=2 * len(setting.addresses) + _ROOM_FOR_COLLECTORS,
        neighbours=2 * len(setting.destinations()) + _ROOM_FOR_NEIGHBOURS,
    )


def _open(core: Core, kernel: Kernel, job: Run, setting: Setting, say: Say, *, copies: bool) -> list[Port]:
    xdp = [one for one in _wanted(job) if one.name.kind == "xdp"]
    netmap = [one for one in _wanted(job) if one.name.kind != "xdp"]
    return [
        *open_xdp_ports(core, kernel, xdp, job.workers, say, copies=copies),
        *open_netmap_ports(core, kernel, netmap, setting.own, job.workers, say),
    ]


def _wanted(job: Run) -> list[Wanted]:
    return [
        Wanted(name, name in job.inputs, name in job.outputs) for name in dict.fromkeys((*job.inputs, *job.outputs))
    ]


def _own(kernel: Kernel, job: Run) -> tuple[Prefix, ...]:
    return job.own or _addresses_of(kernel, job.inputs)


def _addresses_of(kernel: Kernel, names: Iterable[PortName]) -> tuple[Prefix, ...]:
    """What the kernel has there. Who has no interface has none; who names one that is not there hears of that later."""
    interfaces = {name.interface for name in names}
    return tuple(
        Prefix(address.family, address.value, ADDRESS_BITS[address.family])
        for link in kernel.links()
        if link.name in interfaces
        for address, _ in kernel.addresses(link.index)
    )


# ---- what cannot be ----


def _refuse_cpus(job: Run) -> None:
    if not job.cpus:
        return
    if len(job.cpus) != job.workers:
        raise UsageError(f"--cpu: error: {len(job.cpus)} CPUs for {job.workers} workers; give one for each")
    if not hasattr(os, "sched_setaffinity"):  # FreeBSD has it from 14.0 on
        raise UsageError("--cpu: error: this system cannot do that; try: cpuset -l CPUS gfwd run …, without --cpu")
    allowed = os.sched_getaffinity(0)
    for cpu in job.cpus:
        if cpu not in allowed:
            text = ", ".join(map(str, sorted(allowed)))
            raise UsageError(f"--cpu: error: there is no CPU {cpu} for gfwd; there are {text}")


def _refuse_halves(ports: Sequence[Port], setting: Setting) -> None:
    if not any(port.is_in for port in ports) or not any(port.is_out for port in ports):
        way = "come in by" if not any(port.is_in for port in ports) else "leave by"
        raise GfwdError(f"error: there is no port that datagrams could {way}")
    if not setting.own:
        inputs = " or ".join(str(port) for port in ports if port.is_in)
        raise GfwdError(
            f"error: no address on {inputs}, so nothing can be for gfwd; give the interface one, or say which are "
            "gfwd's: --address 192.0.2.1"
        )


def _workers(core: Core, ports: Sequence[Port], job: Run) -> list[Worker]:
    """RX rings are dealt out in turn; each worker has its own TX ring on every port."""
    rx = [(port.number, ring) for port in ports for ring in range(port.rx)]
    hosts = [port.host for port in ports if port.host is not None]
    if len(rx) < job.workers:
        raise UsageError(
            f"--workers: error: {job.workers} workers, and {len(rx)} RX queues in all; each needs one of its own"
        )
    if hosts and job.workers > 1:
        raise UsageError("--workers: error: the host stack has one ring, so one worker has to do; or leave out the *")
    return [
        core.worker(
            [*rx[number :: job.workers], *((host, 0) for host in hosts)],
            [*((port.number, number) for port in ports if port.tx), *((host, 0) for host in hosts)],
        )
        for number in range(job.workers)
    ]
