"""A try by a TCP connection, which is closed as soon as it is there."""

import errno
import os
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from gfwd.health.watch import Outcome, Verdict
from gfwd.rules.model import Address

Point = tuple[int, Any]
"""An address family and an address, as sockets take them."""

OWN_TROUBLE: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""What gfwd or its host has run out of says nothing of a collector."""


def probe(addresses: Sequence[Address], port: int, seconds: float) -> Outcome:
    """Connect to all of these; it succeeds when one connection is there within so many seconds. Raises OSError of
    OWN_TROUBLE.
    """
    at = (f"[{address}]:{port}" if address.family == 6 else f"{address}:{port}" for address in addresses)
    target = f"tcp {', '.join(at)}"
    families = {4: socket.AF_INET, 6: socket.AF_INET6}
    began = time.monotonic()
    made = connect([(families[address.family], (str(address), port)) for address in addresses], seconds)
    if isinstance(made, str):
        return Outcome(Verdict.FAILURE, made, target)
    made.close()
    return Outcome(Verdict.SUCCESS, f"a connection after {(time.monotonic() - began) * 1000:.1f} ms", target)


def connect(points: Sequence[Point], seconds: float) -> socket.socket | str:
    """The first connection of all that were begun at once; or why there is none. Raises OSError of OWN_TROUBLE."""
    end = time.monotonic() + seconds
    failures = []
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for family, point in points:
            try:
                its = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                its.setblocking(False)
                its.connect(point)
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno in OWN_TROUBLE:
                    raise
                failures.append(error.strerror or str(error))
                continue
            selector.register(its, selectors.EVENT_WRITE)
        while selector.get_map():
            left = max(0.0, end - time.monotonic())
            for key, _ in selector.select(left):
                made: socket.socket = key.fileobj  # type: ignore[assignment]  # our own
                code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                selector.unregister(made)
                if code == 0:
                    # Detached from the stack, which closes all others.
                    return socket.socket(made.family, made.type, made.proto, made.detach())
                failures.append(os.strerror(code))
            if not left:
                return f"no connection in {seconds:.1f} s"
    return ", ".join(dict.fromkeys(failures))
