"""The traffic of the lab: what the exporters send and the collectors receive, and the notes of both.

One loop in one thread does it all: between a datagram and the note of it, nothing can come.
"""

import selectors
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gfwd.daemon.lab.arrivals import Flow, Tally, digest
from gfwd.daemon.lab.network import GFWD, LabNetwork
from gfwd.daemon.lab.scene import Place, Scene, Target
from gfwd.errors import GfwdError
from gfwd.rules.model import Address

_LATE_S = 0.25  # what could not be sent in time is made up for, up to so much; then there are fewer datagrams
_BURST = 64  # datagrams sent, or received from one socket, before the others have their turn
_TICK_S = 0.1
_QUIET_S = 0.2  # where nothing has come for so long, nothing more will
_MISSING_S = 1.0
_PAYLOAD_ROOM = 2_048

Flows = defaultdict[str, Flow]
"""By exporter, as recvfrom() writes its address."""


class Arrivals(NamedTuple):
    """What a collector should have got, what it has got, and from how many exporters."""

    wanted: int = 0
    arrived: int = 0
    exporters: int = 0


class Progress(NamedTuple):
    """seconds since the first datagram, and what has happened in them."""

    seconds: float
    sent: int
    collectors: Mapping[Place, Arrivals]


class Exchange:
    """Sends by the exporters' sockets, receives by the collectors', and knows what became of each datagram."""

    def __init__(self, scene: Scene, network: LabNetwork) -> None:
        self.sent = 0
        self._scene = scene
        self._datagrams = scene.traffic.datagrams
        self._senders = network.senders
        self._flows: dict[Target, Flows] = {target: defaultdict(Flow) for target in network.receivers}
        self._flows_of = {
            stream: tuple(self._flows[target][str(Address(4, stream.source))] for target in targets)
            for stream, targets in scene.targets.items()
        }
        self._selector = selectors.DefaultSelector()
        for target, receiver in network.receivers.items():
            self._selector.register(receiver, selectors.EVENT_READ, self._flows[target])

    def send(self, should_end: Callable[[], bool], watch: Callable[[Progress], None]) -> float:
        """Send at the lab's rate for as long as it wants; returns how many seconds that took."""
        lab = self._scene.lab
        total = lab.rate * lab.seconds
        begin = schedule = now = time.monotonic()  # by the schedule, the nth datagram is due after n / rate
        looks = 0
        while self.sent < total and now - begin < lab.seconds + _LATE_S and not should_end():
            schedule = max(schedule, now - self.sent / lab.rate - _LATE_S)
            due = min(total, int((now - schedule) * lab.rate) + 1) - self.sent
            for _ in range(min(due, _BURST)):
                self._send_one()
            self._receive(min(schedule + self.sent / lab.rate - time.monotonic(), _TICK_S))
            now = time.monotonic()
            if now - begin >= looks + 1:
                looks += 1
                watch(Progress(now - begin, self.sent, self._arrivals()))
        return now - begin

    def settle(self, has_ended: Callable[[], bool]) -> None:
        """Receive until nothing more comes; where something is missing, wait longer for it."""
        heard, since = -1, time.monotonic()
        while not has_ended():
            arrivals = self._arrivals().values()
            arrived = sum(arrived for _, arrived, _ in arrivals)
            if arrived != heard:
                heard, since = arrived, time.monotonic()
            is_missing = any(arrived < wanted for wanted, arrived, _ in arrivals)
            if time.monotonic() - since > (_MISSING_S if is_missing else _QUIET_S):
                return
            self.receive_for(_TICK_S)

    def receive_for(self, seconds: float) -> None:
        """Receive whatever comes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._receive(left)

    def tallies(self) -> dict[Address, tuple[Tally, int]]:
        """For each address of a collector: what became of its datagrams, and how many exporters it has heard of."""
        found = {}
        for address in self._scene.places:
            flows = [self._flows[target] for target in self._flows if target.address == address]
            tally = sum((flow.tally() for by_exporter in flows for flow in by_exporter.values()), Tally())
            found[address] = (tally, _heard(flows))
        return found

    def _send_one(self) -> None:
        stream, payload = next(self._datagrams)
        try:
            self._senders[stream].sendto(payload, (GFWD, stream.port))
        except OSError as error:
            raise GfwdError(f"exporter {Address(4, stream.source)}: error: cannot send: {error.strerror}") from error
        self.sent += 1
        flows = self._flows_of[stream]
        if flows:
            mark = digest(stream.source_port, payload)
            for flow in flows:
                flow.sent.append(mark)

    def _receive(self, seconds: float) -> None:
        """Take in what has come; wait for something so long at most."""
        for key, _ in self._selector.select(seconds):
            flows: Flows = key.data
            receive = key.fileobj.recvfrom  # type: ignore[union-attr] # a socket
            try:
                for _ in range(_BURST):
                    payload, (exporter, source_port) = receive(_PAYLOAD_ROOM)
                    flows[exporter].arrived.append(digest(source_port, payload))
            except BlockingIOError:
                pass

    def _arrivals(self) -> dict[Place, Arrivals]:
        found = {}
        for place in Place:
            flows = [self._flows[target] for target in self._flows if self._scene.places[target.address] is place]
            each = [flow for by_exporter in flows for flow in by_exporter.values()]
            sent, arrived = sum(len(flow.sent) for flow in each), sum(len(flow.arrived) for flow in each)
            found[place] = Arrivals(sent, arrived, _heard(flows))
        return found


def _heard(flows: list[Flows]) -> int:
    return len({exporter for by_exporter in flows for exporter, flow in by_exporter.items() if flow.arrived})
