"""Run: the real core between interfaces of this host, until it is told to stop."""

import os
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from gfwd.config.model import Config
from gfwd.daemon import signals
from gfwd.daemon.card.order import in_order
from gfwd.daemon.control import Control
from gfwd.daemon.course import Setting
from gfwd.daemon.drain import drain
from gfwd.daemon.forwarder import Forwarder
from gfwd.daemon.keep_up import KeepUp
from gfwd.daemon.listeners.metrics import MetricsListener
from gfwd.daemon.log.event import Say
from gfwd.daemon.log.writer import Log
from gfwd.daemon.loss import LossProof
from gfwd.daemon.names.names import Names
from gfwd.daemon.netmap_ports import open_netmap_ports
from gfwd.daemon.notify import Notify
from gfwd.daemon.own import addresses_on
from gfwd.daemon.ports import Port, Wanted
from gfwd.daemon.probe.prober import Prober
from gfwd.daemon.reload import Fresh, Reader, prepare
from gfwd.daemon.report import Report
from gfwd.daemon.service import Render, Service, setting_of, tell_of
from gfwd.daemon.tagged_wires import TaggedWires
from gfwd.daemon.tap.debug import Debug
from gfwd.daemon.tap.streams import Streams
from gfwd.daemon.tap.taps import Taps
from gfwd.daemon.unknown import UnknownExporters
from gfwd.daemon.workers import Threads
from gfwd.daemon.xdp_ports import open_xdp_ports
from gfwd.errors import GfwdError, UsageError
from gfwd.l2.kernel import Kernel, open_kernel
from gfwd.native.core import Core, Limits, NeedsCopies, RunEnd, Worker
from gfwd.rules.model import Prefix

# What a reload may bring more of. Counters and slots that nobody uses are address space, no memory.
_ROOM_FOR_RULES = 65_536
_ROOM_FOR_COLLECTORS = 4_096
_ROOM_FOR_NEIGHBOURS = 256
_ROOM_FOR_A_NAME = 16  # next hops: one usually, and more where its addresses are neighbours themselves
_ROOM_FOR_NAMES = 1_024


@dataclass(frozen=True, slots=True)
class _Around:
    """What stays when a core has to be given up for another one. See run()."""

    kernel: Kernel
    heard: signals.Signals
    reader: Reader
    names: Names
    metrics: MetricsListener
    log: Log
    render: Render
    debug: Debug | None
    notify: Notify


@dataclass(frozen=True, slots=True)
class Outcome:
    """The accounting, and whether all that was asked for worked to the end."""

    report: Report
    is_whole: bool


def run(read: Callable[[], Config], log: Log, render: Render, debug: Debug | None = None) -> Outcome:
    """Forward until SIGINT or SIGTERM. read: says what, at the start and whenever a reload is asked for.

    log: whatever the operator should know meanwhile; it goes where the configuration says. debug: who shows what is
    forwarded.
    """
    signals.ignore_early()
    _allow_files()
    config = read()
    log.take(config.log)
    _refuse_cpus(config)
    with Notify(os.environ) as notify, open_kernel() as kernel:
        fresh = prepare(config)
        own = _own(kernel, config)
        names = Names(log.say)
        held = names.prepare(config, own, fresh.asking, fresh.answers, time.monotonic())
        setting = setting_of(fresh, own, held.addresses())
        names.take(held, time.monotonic())
        tell_of(fresh.remarks, log.say)
        not_the_kernels = bool(set(own) - set(addresses_on(kernel, config.inputs)))
        with (
            signals.Signals() as heard,
            Reader(read) as reader,
            names,
            MetricsListener(config.listeners.metrics, log.say) as metrics,
            in_order(_wanted(config), log.say, promiscuous=not_the_kernels),
        ):
            around = _Around(kernel, heard, reader, names, metrics, log, render, debug, notify)
            try:
                return _forward(fresh, setting, around, copies=False)
            except NeedsCopies:
                return _forward(fresh, setting, around, copies=True)


def _forward(fresh: Fresh, setting: Setting, around: _Around, *, copies: bool) -> Outcome:
    config, kernel, log = fresh.config, around.kernel, around.log
    with Core(_limits(fresh, setting)) as core, Prober() as prober, TaggedWires() as wires:
        ports = _open(core, kernel, config, setting, log.say, copies=copies)
        _refuse_halves(ports, setting)
        workers = _workers(core, ports, config)
        forwarder = Forwarder(kernel, core, ports, workers, log.say, prober, wires)
        forwarder.take(setting, fresh.space)
        unknown = UnknownExporters(core)
        taps = Taps(core, workers, forwarder.plans)
        lookers = Streams(taps)
        if around.debug is not None:
            lookers.open(around.debug.want)(around.debug.connection(), b"")
        service = Service(
            forwarder,
            unknown,
            LossProof(core, workers),
            around.names,
            config,
            around.reader,
            lambda its: _own(kernel, its),
            around.metrics,
            log,
            around.render,
            lookers,
            around.notify,
        )
        with (
            lookers,
            Control(Path(config.control), service.asked) if config.control else nullcontext() as control,
            KeepUp(ports, log.say),
            Threads(workers, config.cpus) as threads,
        ):
            service.serve((kernel.fileno(), prober.fileno(), *wires.filenos()), workers, threads, around.heard, control)
            threads.stop()
            drain(core, ports, workers, log.say)
            lookers.finish()
        report = service.report()
        is_whole = len(ports) == len({*config.inputs, *config.outputs}) and RunEnd.FAILED not in threads.ends()
        return Outcome(report, is_whole and all(port.is_whole() for port in report.ports))


def _allow_files() -> None:
    """Each try of a check takes two, and hundreds may be under way. Services are often started with 1,024, and may have
    many more for the asking.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a system may not let even as many be
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _limits(fresh: Fresh, setting: Setting) -> Limits:
    names = _ROOM_FOR_A_NAME * sum(collector.address is None for collector in setting.addresses)
    return Limits(
        rules=2 * len(fresh.space.ranked) + _ROOM_FOR_RULES,
        collectors=2 * len(setting.addresses) + _ROOM_FOR_COLLECTORS,
        neighbours=4 * len(setting.destinations()) + _ROOM_FOR_NEIGHBOURS + min(names, _ROOM_FOR_NAMES),
        **fresh.config.sizes._asdict(),
    )


def _open(core: Core, kernel: Kernel, config: Config, setting: Setting, say: Say, *, copies: bool) -> list[Port]:
    xdp = [one for one in _wanted(config) if one.name.kind == "xdp"]
    netmap = [one for one in _wanted(config) if one.name.kind != "xdp"]
    return [
        *open_xdp_ports(core, kernel, xdp, config.workers, say, copies=copies),
        *open_netmap_ports(core, kernel, netmap, setting.own, config.workers, say),
    ]


def _wanted(config: Config) -> list[Wanted]:
    return [
        Wanted(name, name in config.inputs, name in config.outputs)
        for name in dict.fromkeys((*config.inputs, *config.outputs))
    ]


def _own(kernel: Kernel, config: Config) -> tuple[Prefix, ...]:
    return config.own or addresses_on(kernel, config.inputs)


# ---- what cannot be ----


def _refuse_cpus(config: Config) -> None:
    if not config.cpus:
        return
    if len(config.cpus) != config.workers:
        raise UsageError(f"--cpu: error: {len(config.cpus)} CPUs for {config.workers} workers; give one for each")
    if not hasattr(os, "sched_setaffinity"):  # FreeBSD has it from 14.0 on
        raise UsageError("--cpu: error: this system cannot do that; try: cpuset -l CPUS gfwd run …, without --cpu")
    allowed = os.sched_getaffinity(0)
    for cpu in config.cpus:
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


def _workers(core: Core, ports: Sequence[Port], config: Config) -> list[Worker]:
    """RX rings are dealt out in turn; each worker has its own TX ring on every port."""
    rx = [(port.number, ring) for port in ports for ring in range(port.rx)]
    hosts = [port.host for port in ports if port.host is not None]
    if len(rx) < config.workers:
        raise UsageError(
            f"--workers: error: {config.workers} workers, and {len(rx)} RX queues in all; each needs one of its own"
        )
    if hosts and config.workers > 1:
        raise UsageError("--workers: error: the host stack has one ring, so one worker has to do; or leave out the *")
    return [
        core.worker(
            [*rx[number :: config.workers], *((host, 0) for host in hosts)],
            [*((port.number, number) for port in ports if port.tx), *((host, 0) for host in hosts)],
        )
        for number in range(config.workers)
    ]
