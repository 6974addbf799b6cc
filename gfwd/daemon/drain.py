"""The end of forwarding: the kernel takes over, and what had come by then is dealt with."""

import time
from collections.abc import Sequence

from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.daemon.ports import Port
from gfwd.native.core import Core, Worker

_QUIET_MS = 20  # without a frame, and all is done
_LONGEST_S = 1.0


def drain(core: Core, ports: Sequence[Port], workers: Sequence[Worker], say: Say) -> None:
    """What had come is forwarded, what was sent leaves, and the ports are closed.

    On netmap the kernel takes over at the end only: what comes meanwhile is forwarded, but not waited for.
    """
    xdp = [port for port in ports if port.name.kind == "xdp"]
    for port in xdp:
        if port.rx:
            core.xdp_redirect(port.number, on=False)
    end, quiet = time.monotonic() + (_LONGEST_S if xdp else _LONGEST_S / 10), 0
    while (quiet < _QUIET_MS or _unread(core, xdp)) and time.monotonic() < end:
        quiet = 0 if sum(worker.step() for worker in workers) else quiet + 1
        time.sleep(0.001)
    for port in ports:
        core.port_close(port.number)
    for port in xdp:
        _tell_what_stays(core, port, say)


def _unread(core: Core, xdp: Sequence[Port]) -> int:
    return sum(core.xdp(port.number).unread for port in xdp)


def _tell_what_stays(core: Core, port: Port, say: Say) -> None:
    state = core.xdp(port.number)
    if state.unread:
        say(
            events.FRAMES_UNREAD(
                f"{port}: warning: {state.unread:,} frames are lost, since what came before them could not leave",
                port=str(port),
                frames=state.unread,
            )
        )
    if state.unsent:
        say(
            events.FRAMES_UNSENT(
                f"{port}: warning: {state.unsent:,} frames that were sent have not left; the link was not up",
                port=str(port),
                frames=state.unsent,
            )
        )
