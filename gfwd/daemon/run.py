"""Run: the real core between interfaces of this host, until it is told to stop."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gfwd.daemon import names, signals
from gfwd.daemon.forwarder import Forwarder, Report, Setting
from gfwd.daemon.interface import Interface
from gfwd.daemon.workers import Threads
from gfwd.daemon.xdp_ports import Candidate, Port, Say, Wanted, candidates, open_ports
from gfwd.errors import GfwdError, UsageError
from gfwd.l2.kernel import Kernel
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
    inputs: tuple[Interface, ...]
    outputs: tuple[Interface, ...]
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
    wanted = [
        Wanted(interface, interface in job.inputs, interface in job.outputs)
        for interface in dict.fromkeys((*job.inputs, *job.outputs))
    ]
    with Kernel() as kernel:
        found = candidates(kernel, wanted, job.workers, say)
        own = job.own or _addresses_of_inputs(kernel, found)
        addresses = names.addresses(job.rules.collectors())
        names.refuse_own(job.rules.path, own, addresses)
        setting = Setting(rules=job.rules, own=own, listen=listen, addresses=addresses, macs=job.macs)
        try:
            outcome = _forward(job, setting, kernel, found, say, show, copies=False)
        except NeedsCopies:
            outcome = _forward(job, setting, kernel, found, say, show, copies=True)
    return Outcome(outcome.report, outcome.is_whole and len(found) == len(wanted))


def _forward(
    job: Run,
    setting: Setting,
    kernel: Kernel,
    found: Sequence[Candidate],
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
        ports = open_ports(core, found, say, copies=copies) if found else []
        _refuse_halves(ports, setting)
        workers = _workers(core, ports, job)
        forwarder = Forwarder(setting, space, kernel, core, ports, say)
        forwarder.follow_routes()
        with signals.Signals() as heard, Threads(workers, job.cpus) as threads:
            forwarder.serve(threads, heard, show)
            threads.stop()
            forwarder.drain(workers)
        report = forwarder.report()
        is_whole = len(ports) == len(found) and RunEnd.FAILED not in threads.ends()
        return Outcome(report, is_whole and all(port.is_whole() for port in report.ports))


# ---- what cannot be ----


def _addresses_of_inputs(kernel: Kernel, found: Sequence[Candidate]) -> tuple[Prefix, ...]:
    return tuple(
        Prefix(address.family, address.value, ADDRESS_BITS[address.family])
        for candidate in found
        if candidate.rx
        for address, _ in kernel.addresses(candidate.link.index)
    )


def _refuse_cpus(job: Run) -> None:
    allowed = os.sched_getaffinity(0)
    if job.cpus and len(job.cpus) != job.workers:
        raise UsageError(f"--cpu: error: {len(job.cpus)} CPUs for {job.workers} workers; give one for each")
    for cpu in job.cpus:
        if cpu not in allowed:
            text = ", ".join(map(str, sorted(allowed)))
            raise UsageError(f"--cpu: error: there is no CPU {cpu} for gfwd; there are {text}")


def _refuse_halves(ports: Sequence[Port], setting: Setting) -> None:
    if not any(port.rx for port in ports) or not any(port.tx for port in ports):
        way = "come in by" if not any(port.rx for port in ports) else "leave by"
        raise GfwdError(f"error: there is no port that datagrams could {way}")
    if not setting.own:
        inputs = " or ".join(str(port) for port in ports if port.rx)
        raise GfwdError(
            f"error: no address on {inputs}, so nothing can be for gfwd; give the interface one, or say which are "
            "gfwd's: --address 192.0.2.1"
        )


def _workers(core: Core, ports: Sequence[Port], job: Run) -> list[Worker]:
    """RX queues are dealt out in turn; each worker has its own TX queue on every port."""
    rx = [(port.number, queue) for port in ports for queue in range(port.rx)]
    if len(rx) < job.workers:
        raise UsageError(
            f"--workers: error: {job.workers} workers, and {len(rx)} RX queues in all; each needs one of its own"
        )
    return [
        core.worker(rx[number :: job.workers], [(port.number, number) for port in ports if port.tx])
        for number in range(job.workers)
    ]
