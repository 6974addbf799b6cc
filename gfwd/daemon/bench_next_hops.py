"""Next hops of the benchmark that are found as those of gfwd run are, and confirmed again and again while it measures.

All of it is real but the one who answers: a question leaves by the worker's inject ring, as it does behind a port
without a host stack, and its answer is made here, since the wire of the benchmark leads nowhere.
"""

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager

from gfwd.daemon.neighbours import Neighbours
from gfwd.daemon.wire import WireAsker
from gfwd.l2 import arp
from gfwd.l2.kernel import InterfaceAddress
from gfwd.native.core import Core, NeighbourState, Worker
from gfwd.rules.model import Address

_STEP_S = 10.0  # of the neighbours' time passes …
_EVERY_S = 0.005  # … in so much of ours: each is confirmed some sixty times a second, and not once in thirty
_NETWORK = 0  # length of the prefix that all are on
_THEIRS = bytes.fromhex("020000000002")


class AskedNextHops(AbstractContextManager["AskedNextHops"]):
    """Within the block, slot after slot of the core has the neighbours with these addresses, all with one MAC.

    own: who asks; mac: the asker's. port: of the core, by which they are asked.
    """

    def __init__(
        self, core: Core, worker: Worker, port: int, own: Address, mac: bytes, addresses: Sequence[Address]
    ) -> None:
        self._worker = worker
        self._asker = WireAsker(inject=self._ask, port=port, mac=mac, addresses=(InterfaceAddress(own, _NETWORK),))
        self._questions: deque[bytes] = deque()
        self._ready: set[int] = set()
        self._now = 0.0
        self._core = core
        self._neighbours = Neighbours(self._tell, lambda _: None)
        for slot, address in enumerate(addresses):
            self._neighbours.want(slot, "mem", address, self._asker, self._now)
        while len(self._ready) < len(addresses):
            self._pass_time()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._confirm, name="next hops", daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _ask(self, port: int, frame: bytes) -> bool:
        self._questions.append(frame)
        return self._worker.inject(port, frame)

    def _tell(self, slot: int, mac: bytes | None, state: NeighbourState) -> None:
        self._core.set_neighbour(slot, mac, state)
        if state is NeighbourState.READY:
            self._ready.add(slot)

    def _confirm(self) -> None:
        while not self._is_over.wait(_EVERY_S):
            self._pass_time()

    def _pass_time(self) -> None:
        """What has been asked is answered at once, and then what is due is asked."""
        while self._questions:
            said = arp.reply(arp.parse(self._questions.popleft()), _THEIRS).statement()
            assert said is not None, "an answer says something"
            self._neighbours.heard(self._asker, said, self._now)
        self._now += _STEP_S
        self._neighbours.advance(self._now)
