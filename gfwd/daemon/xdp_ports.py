"""AF_XDP ports: the interfaces that the operator names, looked at, and opened in a core."""

import resource
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import strerror

from gfwd.config.port_name import PortName
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Event, Say
from gfwd.daemon.ports import ETHERNET_BYTES, Port, Wanted
from gfwd.errors import GfwdError
from gfwd.l2.kernel import Kernel, Link
from gfwd.native import core

_BUFFERS = (2_048, 4_096)  # what AF_XDP offers
_HEADROOM = core.XDP_HEADROOM
MTU_IN_A_PAGE = 3_000  # what every driver's native mode takes


@dataclass(frozen=True, slots=True)
class Candidate:
    """An interface that can be opened. rx, tx: queues that gfwd will have of it; 0 where it has no use for them."""

    name: PortName
    link: Link
    is_out: bool
    rx: int
    tx: int


def _candidate(kernel: Kernel, wanted: Wanted, workers: int) -> Candidate:
    port, name = wanted.name, wanted.name.name
    rx, tx = core.xdp_queues(name)  # says so where there is no AF_XDP, or no such interface
    link = kernel.link(name)
    if not link.is_up:
        raise GfwdError(f"{port}: error: the interface is down; bring it up: ip link set dev {name} up")
    if len(link.mac) != 6:
        raise GfwdError(f"{port}: error: the interface is not Ethernet")
    if wanted.is_in and (why := too_many_to_read(rx, workers)):
        raise GfwdError(f"{port}: error: {why}; give it fewer (ethtool -L {name}), or use more workers (--workers)")
    if wanted.is_out and (why := too_few_to_send(tx, workers)):
        raise GfwdError(f"{port}: error: {why}; give it more (ethtool -L {name}), or use fewer (--workers {tx})")
    return Candidate(port, link, wanted.is_out, rx if wanted.is_in else 0, workers if wanted.is_out else 0)


def too_many_to_read(rx: int, workers: int) -> str:
    """Why a port that datagrams come in by cannot have so many RX queues; empty where it can."""
    return f"{rx} RX queues, and a worker reads up to {core.PORTS_MAX}" if rx > core.PORTS_MAX * workers else ""


def too_few_to_send(tx: int, workers: int) -> str:
    """Why so few TX queues do not do for a port that leads to collectors; empty where they do."""
    return f"{workers} workers need a TX queue each, and it has {tx}" if tx < workers else ""


def open_xdp_ports(
    its: core.Core, kernel: Kernel, asked: Iterable[Wanted], workers: int, say: Say, *, copies: bool
) -> list[Port]:
    """Those that could be opened, in one memory; of the others, `say` hears why not, once all have been tried.

    Raises NeedsCopies where a driver cannot share zero-copy memory with the others: a new core with `copies` can.
    """
    wanted: list[Candidate] = []
    ports: list[Port] = []
    remarks: list[Event] = []
    for one_asked in asked:
        try:
            wanted.append(_candidate(kernel, one_asked, workers))
        except GfwdError as error:
            remarks.append(events.PORT_FAILED(str(error), port=str(one_asked.name)))
    if wanted:
        ports = _open(its, wanted, remarks, copies=copies)
    for remark in remarks:
        say(remark)
    return ports


def _open(its: core.Core, wanted: Sequence[Candidate], remarks: list[Event], *, copies: bool) -> list[Port]:
    _allow_locked_memory()
    buffer = buffer_bytes(candidate.link.mtu for candidate in wanted)
    umem = its.umem(sum(max(one.rx, one.tx) for one in wanted), sum(one.tx for one in wanted), buffer, copies=copies)
    ports = []
    for one in wanted:
        try:
            number = its.port_xdp(umem, one.name.name, one.rx, one.tx)
        except core.NeedsCopies:
            raise
        except GfwdError as error:
            remarks.append(events.PORT_FAILED(str(error), port=str(one.name)))
            continue
        state = its.xdp(number)
        ports.append(
            Port(
                number=number,
                name=one.name,
                link=one.link,
                is_in=one.rx > 0,
                is_out=one.is_out,
                rx=one.rx,
                tx=one.tx,
                mode=_mode(state),
            )
        )
        remarks += [
            events.PORT_WARNING(f"{one.name}: warning: {warning}", port=str(one.name))
            for warning in _warnings(one, state, buffer)
        ]
    return ports


def buffer_bytes(mtus: Iterable[int]) -> int:
    """What a frame's buffer takes: the smallest size that holds all frames of these MTUs, or else the largest."""
    longest = max(mtus) + ETHERNET_BYTES
    return next((size for size in _BUFFERS if size - _HEADROOM >= longest), _BUFFERS[-1])


def what_is_lost(mtu: int, buffer: int) -> str:
    """What comes of it that frames of this MTU may not fit into such a buffer; empty where they do."""
    most = buffer - _HEADROOM
    if mtu + ETHERNET_BYTES <= most:
        return ""
    return f"its MTU is {mtu}, and datagrams in frames longer than {most:,} bytes will be lost, counted"


def _allow_locked_memory() -> None:
    """Kernels before 5.11 count maps and memory of AF_XDP against this limit, also for root."""
    unlimited = resource.RLIM_INFINITY
    with suppress(ValueError, OSError):  # not ours to raise: the kernel says whether it is enough
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (unlimited, unlimited))


def _mode(state: core.XdpPort) -> str:
    if not state.is_native:
        return "generic"
    return "native, zero-copy" if state.is_zero_copy else "native"


def _warnings(one: Candidate, state: core.XdpPort, buffer: int) -> list[str]:
    name, mtu = one.name.name, one.link.mtu
    found = []
    if not state.is_native:
        advice = f"; its MTU of {mtu} may be too large: ip link set dev {name} mtu 1500" if mtu > MTU_IN_A_PAGE else ""
        why = strerror(state.refused)
        found.append(f"generic mode, which is slower, since the driver refused native XDP ({why}){advice}")
    if one.rx and (lost := what_is_lost(mtu, buffer)):
        found.append(lost)
    if not one.link.has_carrier:
        found.append("the link has no carrier")
    return found
