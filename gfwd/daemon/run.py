"""Run: the real core between interfaces of this host, until it is told to stop."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gfwd.daemon import names, signals
from gfwd.daemon.card.order import in_order
from gfwd.daemon.forwarder import Forwarder, Report, Setting
from gfwd.daemon.netmap_ports import open_netmap_ports
from gfwd.daemon.port_name import PortName
from gfwd.daemon.ports import Port, Say, Wanted
from gfwd.daemon.workers import Threads
from gfwd.daemon.xdp_ports import open_xdp_ports
from gfwd.errors import GfwdError, UsageError
from gfwd.l2.kernel import Kernel, open_kernel
from gfwd.native.core import Core, Limits, NeedsCopies, RunEnd, Worker
from gfwd.rules.listen import named_ports
from gfwd.rules.model import ADDRESS_BITS, Address, Ports, Prefix, RuleSet
from gfwd.rules.space import RuleSpace

_MORE_NEIGHBOURS = 64  # slots, so that one that is given back is not taken again at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What to forward.

    own: addresses that are ours; None: those that the inputs have. listen: UDP ports that are ours; None: those that
    the rules name. macs: of neighbours that are not to be asked for. cpus: one for each worker, or none.
    """

    rules: RuleSet
    inputs: tuple[PortName, ...]
    outputs: tuple[PortName, ...]
    own: tuple[Prefix, ...] | None = None
    listen: Ports | None = None
    macs: Mapping[Address, bytes] = field(default_factory=dict)
    workers: int = 1
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The accounting, and whether all that was asked for worked to the end."""

    report: Report
    is_whole: bool


def listened_on(ruleset: RuleSet, listen: Ports | None) -> Ports:
    """The UDP ports that are ours. Raises UsageError where neither the rules nor the operator name one."""
    ports = listen or named_ports(ruleset)
    if not ports:
        raise UsageError(
            f"{ruleset.path}: error: no rule names a port, and on all of them gfwd would carry off answers to the "
            "host's own questions (DNS, NTP, DHCP)\nsay which are the exporters': --listen 514,2055,9990-9999; or, "
            "where the address is gfwd's alone, --listen all"
        )
    return ports


def run(job: Run, say: Say, show: Callable[[Report], None]) -> Outcome:
    """Forward until SIGINT or SIGTERM.

    `say` gets a line for whatever the operator should know meanwhile, `show` a report whenever a signal asks for one.
    """
    signals.ignore_early()
    _refuse_cpus(job)
    listen = listened_on(job.rules, job.listen)
    with open_kernel() as kernel:
        own = job.own or _addresses_of(kernel, job.inputs)
        addresses = names.addresses(job.rules.collectors())
        names.refuse_own(job.rules.path, own, addresses)
        setting = Setting(rules=job.rules, own=own, listen=listen, addresses=addresses, macs=job.macs)
        not_the_kernels = bool(set(own) - set(_addresses_of(kernel, job.inputs)))
        with signals.Signals() as heard, in_order(_wanted(job), say, promiscuous=not_the_kernels):
            try:
                return _forward(job, setting, kernel, heard, say, show, copies=False)
            except NeedsCopies:
                return _forward(job, setting, kernel, heard, say, show, copies=True)


def _forward(
    job: Run,
    setting: Setting,
    kernel: Kernel,
    heard: signals.Signals,
    say: Say,
    show: Callable[[Report], None],
    *,
    copies: bool,
) -> Outcome:
    space = RuleSpace(setting.rules)
    limits = Limits(
        rules=len(space.ranked),
        collectors=len(setting.addresses),
        neighbours=2 * len(setting.destinations()) + _MORE_NEIGHBOURS,  # all may move at once
    )
    with Core(limits) as core:
        ports = _open(core, kernel, job, setting, say, copies=copies)
        _refuse_halves(ports, setting)
        workers = _workers(core, ports, job)
        forwarder = Forwarder(setting, space, kernel, core, ports, workers, say)
        forwarder.follow_routes()
        with Threads(workers, job.cpus) as threads:
            forwarder.serve(threads, heard, show)
            threads.stop()
            forwarder.drain()
        report = forwarder.report()
        is_whole = len(ports) == len({*job.inputs, *job.outputs}) and RunEnd.FAILED not in threads.ends()
        return Outcome(report, is_whole and all(port.is_whole() for port in report.ports))


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
