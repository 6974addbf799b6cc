"""A try by an echo request, over raw sockets: ping sockets are for users that most hosts do not name, and FreeBSD has
none. Needs root, or CAP_NET_RAW.
"""

import os
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count

from gfwd.daemon.probe.tcp import OWN_TROUBLE
from gfwd.health.watch import Outcome, Verdict
from gfwd.l2 import icmp
from gfwd.l2.errors import FrameError
from gfwd.rules.model import Address, Family

_IDENTIFIER = int.from_bytes(os.urandom(2))  # of all our requests; others on this host have theirs
_NUMBERS = count()
_BYTES = 2_048


def probe(addresses: Sequence[Address], seconds: float) -> Outcome:
    """Ask all of these; it succeeds when one answers within so many seconds. Raises OSError of OWN_TROUBLE."""
    target = f"icmp {', '.join(map(str, addresses))}"
    end = time.monotonic() + seconds
    echo = icmp.Echo(_IDENTIFIER, next(_NUMBERS) & 0xFFFF)
    failures = []
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for address in addresses:
            try:
                its = stack.enter_context(_socket(address))
            except PermissionError:
                return Outcome(Verdict.UNTRIED, "echo requests take root, or CAP_NET_RAW", target)
            except OSError as error:
                if error.errno in OWN_TROUBLE:
                    raise
                failures.append(error.strerror or str(error))  # a host without IPv6, say
                continue
            try:
                its.connect((str(address), 0))
                its.send(icmp.request(address.family, echo))
            except OSError as error:
                failures.append(error.strerror or str(error))
            else:
                selector.register(its, selectors.EVENT_READ, address.family)
        asked = time.monotonic()
        while selector.get_map():
            left = max(0.0, end - time.monotonic())
            for key, _ in selector.select(left):
                try:
                    is_answer = _is_answer(key.fileobj, key.data, echo)  # type: ignore[arg-type]  # our own sockets
                except OSError as error:  # what a router on the way has said
                    failures.append(error.strerror or str(error))
                    selector.unregister(key.fileobj)
                    continue
                if is_answer:
                    took = (time.monotonic() - asked) * 1000
                    return Outcome(Verdict.SUCCESS, f"an answer after {took:.1f} ms", target)
            if not left:  # what had come by then has been looked at
                return Outcome(Verdict.FAILURE, f"no answer to an echo request in {seconds:g} s", target)
    return Outcome(Verdict.FAILURE, ", ".join(dict.fromkeys(failures)), target)


def _socket(address: Address) -> socket.socket:
    if address.family == 4:
        its = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    else:
        its = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    its.setblocking(False)
    return its


def _is_answer(its: socket.socket, family: Family, echo: icmp.Echo) -> bool:
    """Whether what has come is the answer. A raw socket gets all ICMP that comes from where it is connected to, the
    answers to others, too. Raises OSError.
    """
    try:
        return icmp.reply(family, its.recv(_BYTES)) == echo
    except (BlockingIOError, FrameError):
        return False
